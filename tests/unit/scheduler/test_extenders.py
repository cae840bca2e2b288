"""Extenders over real HTTP: what they are told, what becomes of their answers, and of ones that fail, hang or babble.

The bodies are those of k8s.io/kube-scheduler/extender/v1.
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.scheduler.objects import node, pod
from tests.unit.scheduler.test_loop import World
from timonel.api.objects import Object
from timonel.api.refs import NODES, PODS
from timonel.scheduler.config import SchedulerConfig
from timonel.scheduler.configuration.extenders import ExtenderConfig, ExtenderTls
from timonel.scheduler.configuration.reading import SchedulerConfiguration
from timonel.scheduler.extender_transport import HttpTransport
from timonel.scheduler.extenders import ExtenderFailed, Extenders

Answer = Callable[[str, Object], Any]

NODES_3 = tuple(node(f"node-{number}") for number in (1, 2, 3))
NAMES = [each["metadata"]["name"] for each in NODES_3]


class Server:
    """Answers each verb with what `answer` gives: JSON, bytes as they are, or a ready response."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Object]] = []
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.method == "POST"
        assert request.headers["Content-Type"] == "application/json"
        verb, question = request.path.rpartition("/")[-1], await request.json()
        self.asked.append((verb, question))
        answer = self.answer(verb, question)
        if isinstance(answer, Awaitable):
            answer = await answer
        if isinstance(answer, web.Response):
            return answer
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        return web.json_response(answer)


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(answer)
    web_server = web.Server(server.handle)
    listener = await asyncio.get_running_loop().create_server(web_server, "127.0.0.1", 0, ssl=tls)
    server.url = f"http{'s' if tls else ''}://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()
        await web_server.shutdown(0.01)  # 0 would be for ever


@asynccontextmanager
async def extenders(*configs: ExtenderConfig) -> AsyncIterator[Extenders]:
    transport = HttpTransport()
    nodes = {each["metadata"]["name"]: each for each in NODES_3}
    try:
        yield Extenders(configs, transport=transport, node=nodes.get)
    finally:
        await transport.close()


def config(server: Server, **more: Any) -> ExtenderConfig:
    return ExtenderConfig(url_prefix=server.url, **{"timeout_seconds": 5.0, "filter_verb": "filter"} | more)


# What they are told and answer


async def test_a_filter_that_knows_the_nodes_is_told_names() -> None:
    def answer(verb: str, question: Object) -> Object:
        return {
            "NodeNames": ["node-2"],
            "FailedNodes": {"node-1": "no room"},
            "FailedAndUnresolvableNodes": {"node-3": "never"},
        }

    wanted = pod("x")
    async with serving(answer) as server, extenders(config(server, node_cache_capable=True)) as asked:
        answers = await asked.answers(wanted, NAMES)
    assert server.asked == [("filter", {"Pod": wanted, "Nodes": None, "NodeNames": NAMES})]
    assert answers.left == ["node-2"]
    assert answers.refused == {"node-1": ("no room", True), "node-3": ("never", False)}


async def test_one_that_does_not_is_told_nodes_and_small_letters_will_do() -> None:
    def answer(verb: str, question: Object) -> Object:
        return {
            "nodes": {"items": [each for each in question["Nodes"]["items"] if each["metadata"]["name"] != "node-1"]}
        }

    async with serving(answer) as server, extenders(config(server)) as asked:
        answers = await asked.answers(pod("x"), NAMES)
    ((_, question),) = server.asked
    assert question["NodeNames"] is None
    assert question["Nodes"]["items"] == list(NODES_3)
    assert answers.refused == {"node-1": (f"node(s) were refused by extender {server.url}", False)}


async def test_several_filter_one_after_the_other_and_rate_by_weight() -> None:
    """The second is asked about what the first left; priorities to 10 count ten times their weight."""

    def answer(verb: str, question: Object) -> Any:
        names = question["NodeNames"]
        if verb == "prioritize":
            return [{"Host": name, "Score": {"node-2": 3, "node-3": 10}[name]} for name in names]
        return {"NodeNames": [name for name in names if name != ("node-1" if len(names) == 3 else "")]}

    async with serving(answer) as server:
        first = config(server, node_cache_capable=True, prioritize_verb="prioritize", weight=2)
        async with extenders(first, replace(first, weight=1)) as asked:
            answers = await asked.answers(pod("x"), NAMES)
    assert [question["NodeNames"] for verb, question in server.asked if verb == "filter"] == [NAMES, NAMES[1:]]
    assert answers.ratings == {"node-2": 3 * 10 * 2 + 3 * 10, "node-3": 10 * 10 * 2 + 10 * 10}


async def test_only_pods_with_managed_resources_are_told_of() -> None:
    async with serving(lambda verb, question: {"NodeNames": []}) as server:
        managing = config(server, node_cache_capable=True, managed_resources=frozenset({"example.com/gpu"}))
        async with extenders(managing) as asked:
            plain, wanting = pod("plain"), pod("wanting")
            wanting["spec"]["containers"][0]["resources"] = {"limits": {"example.com/gpu": "1"}}
            assert (asked.are_asked(plain), asked.are_asked(wanting)) == (False, True)
            assert (await asked.answers(plain, NAMES)).left
            assert not server.asked
            assert not (await asked.answers(wanting, NAMES)).left


# What goes wrong


async def _hang() -> None:
    await asyncio.Event().wait()


NONSENSE: dict[str, tuple[Any, str]] = {
    "hangs": (_hang, "no answer within 0.1s"),
    "breaks": (lambda: web.Response(status=500), "failed filter with extender at URL {url}/filter, code 500"),
    "moves": (lambda: web.Response(status=302, headers={"Location": "/"}), "code 302"),
    "says so": (lambda: {"Error": "out of luck"}, "out of luck"),
    "no JSON": (lambda: b"<html>", "the answer is no JSON"),
    "nothing": (lambda: b"", "the answer is no JSON"),
    "a list": (lambda: [1], "answered with something else than expected"),
    "a number": (lambda: {"NodeNames": 3}, "answered with something else than nodes"),
    "numbers": (lambda: {"NodeNames": [3]}, "answered with something else than nodes"),
    "strangers": (
        lambda: {"NodeNames": ["node-9"]},
        'extender "{url}" claims a filtered node "node-9" which is not found in the input node list',
    ),
    "bad failures": (lambda: {"NodeNames": [], "FailedNodes": ["node-1"]}, "something else than failed nodes"),
}


@pytest.mark.parametrize("case", NONSENSE)
@pytest.mark.parametrize("ignorable", [False, True])
async def test_a_filter_that_cannot_answer_fails_the_pod_unless_it_is_ignorable(case: str, ignorable: bool) -> None:
    answer, why = NONSENSE[case]
    async with serving(lambda verb, question: answer()) as server:
        bad = config(server, node_cache_capable=True, ignorable=ignorable, timeout_seconds=0.1)
        async with extenders(bad) as asked:
            if ignorable:
                assert sorted((await asked.answers(pod("x"), NAMES)).left) == NAMES
                return
            with pytest.raises(ExtenderFailed) as caught:
                await asked.answers(pod("x"), NAMES)
    assert why.replace("{url}", server.url) in str(caught.value)


async def test_one_that_is_not_there_fails_the_pod() -> None:
    async with serving(lambda verb, question: {}) as server:
        gone = config(server)
    async with extenders(gone) as asked:
        with pytest.raises(ExtenderFailed, match=f'Post "{server.url}/filter": '):
            await asked.answers(pod("x"), NAMES)


@pytest.mark.parametrize(
    "answer", [b"no JSON", [{"Host": "node-1", "Score": 11}], [{"Host": "node-1", "Score": "many"}], 3, {"Score": 1}]
)
async def test_ratings_that_fail_are_left_out(answer: Any) -> None:
    async with serving(lambda verb, question: answer) as server:
        rating = config(server, filter_verb="", prioritize_verb="prioritize", node_cache_capable=True)
        async with extenders(rating) as asked:
            answers = await asked.answers(pod("x"), NAMES)
    assert [verb for verb, _ in server.asked] == ["prioritize"]
    assert (answers.ratings, answers.refused) == ({}, {})


# Preemption


async def test_victims_are_narrowed_by_uid() -> None:
    victim, other = pod("victim"), pod("other")

    def answer(verb: str, question: Object) -> Object:
        uid = question["NodeNameToMetaVictims"]["node-1"]["Pods"][0]["UID"]
        return {"NodeNameToMetaVictims": {"node-1": {"Pods": [{"UID": uid}], "NumPDBViolations": 0}}}

    async with serving(answer) as server:
        narrowing = config(server, filter_verb="", preempt_verb="preempt", node_cache_capable=True)
        async with extenders(narrowing) as asked:
            left = await asked.narrowed(pod("x"), {"node-1": ([victim, other], 1), "node-2": ([pod("third")], 0)})
    ((verb, question),) = server.asked
    assert (verb, question["NodeNameToVictims"]) == ("preempt", None)
    assert question["NodeNameToMetaVictims"]["node-1"]["NumPDBViolations"] == 1
    assert left == {"node-1": ([victim["metadata"]["uid"]], 0)}


async def test_one_without_the_nodes_is_told_whole_pods_and_strangers_are_refused() -> None:
    victim = pod("victim")
    answer = {"NodeNameToMetaVictims": {"node-1": {"Pods": [{"UID": "nobody"}]}}}
    async with (
        serving(lambda verb, question: answer) as server,
        extenders(config(server, filter_verb="", preempt_verb="preempt")) as asked,
    ):
        with pytest.raises(ExtenderFailed, match="claims to preempt pod"):
            await asked.narrowed(pod("x"), {"node-1": ([victim], 0)})
    ((_, question),) = server.asked
    assert question["NodeNameToVictims"]["node-1"]["Pods"] == [victim]


# TLS


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of extender.example.org that is its own CA, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "extender.example.org")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("extender.example.org")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("pki")
    (folder / "cert").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert", folder / "key"


@pytest.mark.parametrize(
    ("https", "tls", "works"),
    [
        (True, None, True),  # without a CA nothing is verified
        (False, None, False),  # the system's CAs do not know it
        (True, ExtenderTls(insecure=True), True),
        (True, "ca", False),  # the CA is known, the name 127.0.0.1 is not the certificate's
        (True, "ca and name", True),
        (True, "data", True),
    ],
)
async def test_tls(pair: tuple[Path, Path], https: bool, tls: Any, works: bool) -> None:
    cert, key = pair
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    if tls == "ca":
        tls = ExtenderTls(ca_file=str(cert))
    elif tls == "ca and name":
        tls = ExtenderTls(ca_file=str(cert), server_name="extender.example.org")
    elif tls == "data":  # with a client certificate, which the server insists on
        context.verify_mode = ssl.CERT_REQUIRED
        pem = cert.read_bytes()
        tls = ExtenderTls(ca_data=pem, cert_data=pem, key_data=key.read_bytes(), server_name="extender.example.org")
    async with (
        serving(lambda verb, question: {"NodeNames": NAMES}, context) as server,
        extenders(config(server, node_cache_capable=True, enable_https=https, tls=tls)) as asked,
    ):
        if works:
            assert sorted((await asked.answers(pod("x"), NAMES)).left) == NAMES
        else:
            with pytest.raises(ExtenderFailed, match="certificate"):
                await asked.answers(pod("x"), NAMES)


async def test_tls_files_that_are_not_there_fail_the_pod(tmp_path: Path) -> None:
    async with (
        serving(lambda verb, question: {}) as server,
        extenders(config(server, tls=ExtenderTls(ca_file=str(tmp_path / "none")))) as asked,
    ):
        with pytest.raises(ExtenderFailed, match="No such file"):
            await asked.answers(pod("x"), NAMES)


# The scheduler


class FakeTransport:
    """In memory, so that time stands still: `answer` may be awaited."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[tuple[str, Object]] = []

    async def ask(self, extender: ExtenderConfig, verb: str, question: Object) -> Any:
        self.asked.append((verb, question))
        answer = self._answer(verb, question)
        return await answer if isinstance(answer, Awaitable) else answer


@asynccontextmanager
async def scheduling(answer: Answer, *objects: Object, **more: Any) -> AsyncIterator[tuple[World, FakeTransport]]:
    extender = ExtenderConfig(url_prefix="http://e", **{"filter_verb": "filter", "node_cache_capable": True} | more)
    configuration = SchedulerConfiguration(extenders=(extender,))
    transport = FakeTransport(answer)
    world = World(*objects, config=SchedulerConfig(slice_seconds=-1, configuration=configuration), transport=transport)
    tasks = [asyncio.create_task(part.run()) for part in (world.informers, world.recorder, world.scheduler)]
    await world.settle()
    await world.scheduler.wait_ready()
    try:
        yield world, transport
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_pod_goes_where_the_extender_lets_it() -> None:
    async with scheduling(lambda verb, question: {"NodeNames": ["node-3"]}, *NODES_3) as (world, _):
        await world.create(pod("x"))
        assert world.node_of("x") == "node-3"


async def test_ratings_outweigh_plugins() -> None:
    def answer(verb: str, question: Object) -> Any:
        return [{"Host": name, "Score": 10 if name == "node-2" else 0} for name in question["NodeNames"]]

    more = {"filter_verb": "", "prioritize_verb": "prioritize", "weight": 100}
    async with scheduling(answer, *NODES_3, **more) as (world, _):
        await world.create(pod("x"))
        assert world.node_of("x") == "node-2"


async def test_a_refusal_is_counted_beside_those_of_plugins_and_any_change_tries_again() -> None:
    allowed: list[str] = []

    def answer(verb: str, question: Object) -> Object:
        left = [name for name in question["NodeNames"] if name in allowed]
        return {"NodeNames": left, "FailedAndUnresolvableNodes": dict.fromkeys(question["NodeNames"], "no licence")}

    async with scheduling(answer, node("small", cpu="1"), *NODES_3) as (world, transport):
        await world.create(pod("x", "2"))
        assert [question["NodeNames"] for _, question in transport.asked] == [NAMES]
        message = world.condition("x")["message"]
        assert message.startswith("0/4 nodes are available: 1 Insufficient cpu, 3 no licence. ")
        allowed.append("node-2")
        world.client.change(NODES, "node-1", "", lambda new: new["metadata"]["labels"].update(some="label"))
        await world.settle()
        await world.clock.advance(3)
        await world.settle()
        assert world.node_of("x") == "node-2"


async def test_while_an_extender_is_slow_others_go_on() -> None:
    release = asyncio.Event()

    async def answer(verb: str, question: Object) -> Object:
        await release.wait()
        return {"NodeNames": ["node-1"]}

    more = {"managed_resources": frozenset({"example.com/gpu"})}
    wanting = pod("wanting")
    wanting["spec"]["containers"][0]["resources"] = {"limits": {"example.com/gpu": "1"}}
    async with scheduling(answer, *NODES_3, **more) as (world, _):
        await world.create(wanting)
        await world.create(pod("plain"))
        assert (world.node_of("wanting"), bool(world.node_of("plain"))) == ("", True)
        release.set()
        await world.settle()
        assert world.node_of("wanting") == "node-1"


async def test_a_failing_extender_lets_the_pod_wait_and_it_is_tried_again() -> None:
    broken = [True]

    def answer(verb: str, question: Object) -> Object:
        if broken:
            raise ExtenderFailed("out of luck")
        return {"NodeNames": question["NodeNames"]}

    async with scheduling(answer, *NODES_3) as (world, _):
        await world.create(pod("x"))
        condition = world.condition("x")
        assert (condition["reason"], condition["message"]) == ("SchedulerError", "out of luck")
        broken.clear()
        await world.clock.advance(3)
        await world.settle()
        assert world.node_of("x")


async def test_a_node_that_fills_while_the_extender_thinks_is_not_taken() -> None:
    release = asyncio.Event()

    async def answer(verb: str, question: Object) -> Object:
        await release.wait()
        return {"NodeNames": ["node-1"]}

    more = {"managed_resources": frozenset({"example.com/gpu"})}
    wanting = pod("wanting", "3")
    wanting["spec"]["containers"][0]["resources"]["limits"] = {"example.com/gpu": "1"}
    async with scheduling(answer, node("node-1", cpu="4"), **more) as (world, _):
        await world.create(wanting)
        await world.create(pod("plain", "2"))
        assert world.node_of("plain") == "node-1"
        release.set()
        await world.settle()
        assert world.node_of("wanting") == ""
        assert "Insufficient cpu" in world.condition("wanting")["message"]


async def test_an_extender_binds_in_the_schedulers_stead() -> None:
    async with scheduling(lambda verb, question: {}, *NODES_3, filter_verb="", bind_verb="bind") as (world, transport):
        await world.create(pod("x"))
        ((verb, question),) = transport.asked
        uid = world.client.objects(PODS)[0]["metadata"]["uid"]
        assert verb == "bind"
        assert question == {"PodName": "x", "PodNamespace": "default", "PodUID": uid, "Node": question["Node"]}
        assert question["Node"] in NAMES
        assert not [write for write in world.client.writes if write.subresource == "binding"]
        assert ("Normal", "Scheduled") in [(kind, reason) for kind, reason, _ in world.events()]


@pytest.mark.parametrize("ignorable", [False, True])
async def test_a_binder_that_fails_is_told_or_done_without(ignorable: bool) -> None:
    more = {"filter_verb": "", "bind_verb": "bind", "ignorable": ignorable}
    async with scheduling(lambda verb, question: {"Error": "no"}, *NODES_3, **more) as (world, _):
        await world.create(pod("x"))
        assert bool(world.node_of("x")) is ignorable
        if not ignorable:
            assert world.condition("x")["message"] == "binding rejected: no"


async def test_an_extender_chooses_among_victims() -> None:
    def answer(verb: str, question: Object) -> Object:
        return {"NodeNameToMetaVictims": {"node-2": question["NodeNameToMetaVictims"]["node-2"]}}

    crowd = [pod(f"on-{name}", "4", on=name, priority=0) for name in NAMES]
    nodes = [node(name, cpu="4") for name in NAMES]
    more = {"filter_verb": "", "preempt_verb": "preempt"}
    async with scheduling(answer, *nodes, *crowd, **more) as (world, transport):
        await world.create(pod("x", "4", priority=10))
        assert [verb for verb, _ in transport.asked] == ["preempt"]
        left = {each["metadata"]["name"] for each in world.client.objects(PODS)}
        gone = {f"on-{name}" for name in NAMES} - {
            each["metadata"]["name"]
            for each in world.client.objects(PODS)
            if "deletionTimestamp" not in each["metadata"]
        }
        assert gone == {"on-node-2"}
        assert "x" in left
