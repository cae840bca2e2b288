"""The same request again on the same connection: answered from what is remembered of it, and by what holds now."""

from __future__ import annotations

import asyncio
import re
import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from tests.api.objects import config_map
from timonel.apiserver import connections
from timonel.apiserver.heads import KnownRequest
from timonel.testing.server import RunningServer, start_api_server
from timonel.testing.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

RBAC = "/apis/rbac.authorization.k8s.io/v1"
_OF_THE_MOMENT = re.compile(rb'"\d+s"|resourceVersion"?: ?"\d+"')
"""Ages, and revisions of the whole store, where others write meanwhile."""
Answer = tuple[int, dict[str, str], bytes]


class Line:
    """One connection, over which a client says the same each time, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: str) -> None:
        self._reader = reader
        self._writer = writer
        self._headers = headers

    async def get(self, path: str) -> Answer:
        self._writer.write(f"GET {path} HTTP/1.1\r\n{self._headers}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        status_line, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await self._reader.readexactly(int(headers["content-length"]))
        return int(status_line.split()[1]), headers, body

    async def status(self, path: str) -> int:
        return (await self.get(path))[0]


@asynccontextmanager
async def connected(
    server: RunningServer, token: str, *more: str, context: ssl.SSLContext | None = None
) -> AsyncIterator[Line]:
    context = context or ssl.create_default_context(cafile=str(server.ca))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.api.port, ssl=context)
    said = ("Host: api", f"Authorization: Bearer {token}", "User-Agent: again/1", *more)
    try:
        yield Line(reader, writer, "".join(f"{line}\r\n" for line in said))
    finally:
        writer.close()


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Targets of requests that were made without the parser."""
    targets: list[str] = []

    class Counted(KnownRequest):
        def __init__(self, head, target, protocol, task):
            targets.append(target)
            super().__init__(head, target, protocol, task)

    monkeypatch.setattr(connections, "KnownRequest", Counted)
    return targets


async def put_config_map(server: RunningServer, namespace: str, name: str = "a") -> str:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    status, _ = await server.request("POST", path, config_map(name, x="1"))
    assert status == 201
    return f"{path}/{name}"


async def allow(server: RunningServer, namespace: str, user: str) -> str:
    """Lets the user read ConfigMaps of the namespace; gives the path of the binding."""
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
    base = f"{RBAC}/namespaces/{namespace}"
    status, _ = await server.request("POST", f"{base}/roles", {"metadata": {"name": "reader"}, "rules": [rule]})
    assert status in (201, 409)
    binding = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    }
    status, _ = await server.request("POST", f"{base}/rolebindings", binding)
    assert status == 201
    return f"{base}/rolebindings/{user}"


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/namespaces/{ns}/configmaps/a",
        "/api/v1/namespaces/{ns}/configmaps/none",
        "/api/v1/namespaces/{ns}/configmaps/a?pretty=true",
        "/api/v1/namespaces/{ns}/configmaps/a?resourceVersion=99999999999",
        "/api/v1/namespaces/{ns}/configmaps/a?timeout=bad",
        "/api/v1/namespaces/{ns}/configmaps",
        "/api/v1/namespaces/{ns}/configmaps?limit=1&labelSelector=a%3Db",
        "/api/v1/namespaces/{ns}/configmaps?limit=-1",
        "/api/v1/namespaces/{ns}/configmaps?fieldSelector=metadata.name%3Da",
        "/api/v1/namespaces/{ns}/configmaps/a/status",
        "/api/v1/namespaces/{ns}",
        "/api/v1/namespaces/{ns}/status",
        "/api/v1/namespaces/{ns}/nodes",
        "/api/v1/configmaps/a",
        "/api/v1/nodes/none",
        "/api/v1/pods/x/log",
        "/api/v1/nothing",
        "/apis/none/v1/things",
        "/apis/apps/v1",
        "/api",
        "/version",
        "/livez",
        "/none",
    ],
)
@pytest.mark.parametrize(
    "accept", ["application/json", "application/yaml", "application/json;as=Table;g=meta.k8s.io;v=v1", "text/none"]
)
async def test_both_ways_to_read_a_head_lead_to_the_same_answer(
    server: RunningServer, namespace: str, known: list[str], target: str, accept: str
) -> None:
    await put_config_map(server, namespace)
    target = target.format(ns=namespace)
    said = (f"Accept: {accept}",)
    answers = []
    async with connected(server, server.token, *said) as line:
        for _ in range(3):
            status, headers, body = await line.get(target)
            del headers["audit-id"], headers["date"], headers["content-length"]
            answers.append((status, headers, _OF_THE_MOMENT.sub(b"-", body)))
    assert answers[0] == answers[1] == answers[2]
    assert known == [target, target]


async def test_what_is_read_again_is_what_is_there_now(server: RunningServer, namespace: str, known: list[str]) -> None:
    path = await put_config_map(server, namespace)
    async with connected(server, server.token) as line:
        for value in ("1", "2", "3"):
            status, _ = await server.request("PUT", path, config_map("a", x=value))
            assert status == 200
            assert orjson.loads((await line.get(path))[2])["data"] == {"x": value}
        status, _ = await server.request("DELETE", path)
        assert status == 200
        assert await line.status(path) == 404
        await put_config_map(server, namespace)
        assert await line.status(path) == 200
    assert len(known) == 4


async def test_rights_are_those_of_this_moment(server: RunningServer, namespace: str, known: list[str]) -> None:
    path = await put_config_map(server, namespace)
    async with connected(server, server.alice_token) as line:
        assert await line.status(path) == 403
        for _ in range(2):
            binding = await allow(server, namespace, "alice")
            assert [await line.status(path) for _ in range(2)] == [200, 200]
            assert (await server.request("DELETE", binding))[0] == 200
            assert [await line.status(path) for _ in range(2)] == [403, 403]
        await allow(server, namespace, "alice")
        role = f"{RBAC}/namespaces/{namespace}/roles/reader"
        assert await line.status(path) == 200
        assert (await server.request("DELETE", role))[0] == 200
        assert await line.status(path) == 403
    assert len(known) == 10


async def test_users_who_ask_for_the_same_are_not_taken_for_each_other(
    server: RunningServer, namespace: str, known: list[str]
) -> None:
    path = await put_config_map(server, namespace)
    async with connected(server, server.token) as admin, connected(server, server.alice_token) as alice:
        for _ in range(3):
            assert await admin.status(path) == 200
            assert await alice.status(path) == 403
    assert len(known) == 4


async def test_a_token_ends_with_its_account(server: RunningServer, namespace: str, known: list[str]) -> None:
    base = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    assert (await server.request("POST", base, {"metadata": {"name": "bot"}}))[0] == 201
    status, made = await server.request("POST", f"{base}/bot/token", {"spec": {}})
    assert status == 201
    async with connected(server, made["status"]["token"]) as line:
        assert [await line.status("/version") for _ in range(2)] == [200, 200]
        assert await line.status(f"{base}/bot") == 403  # known, but may not
        assert (await server.request("DELETE", f"{base}/bot"))[0] == 200
        assert await line.status("/version") == 401
        assert (await server.request("POST", base, {"metadata": {"name": "bot"}}))[0] == 201
        assert await line.status("/version") == 401  # an account of that name, but another one
    assert len(known) == 4


async def test_flow_schemas_are_those_of_this_moment(server: RunningServer, namespace: str, known: list[str]) -> None:
    api = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
    name = f"own-{uuid.uuid4().hex[:8]}"
    rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"], "namespaces": [namespace]}
    subjects = [{"kind": "User", "user": {"name": "alice"}}]
    schema = {
        "metadata": {"name": name},
        "spec": {
            "priorityLevelConfiguration": {"name": "workload-high"},
            "matchingPrecedence": 7,
            "rules": [{"subjects": subjects, "resourceRules": [rule]}],
        },
    }
    path = f"/api/v1/namespaces/{namespace}/configmaps/a"
    async with connected(server, server.alice_token) as line:

        async def taken_by() -> str:
            return (await line.get(path))[1]["x-kubernetes-pf-flowschema-uid"]

        before = await taken_by()
        assert await taken_by() == before
        status, made = await server.request("POST", api, schema)
        assert status == 201
        async with asyncio.timeout(10):
            while await taken_by() == before:
                await asyncio.sleep(0.01)
        assert await taken_by() == made["metadata"]["uid"]
        assert (await server.request("DELETE", f"{api}/{name}"))[0] == 200
        async with asyncio.timeout(10):
            while await taken_by() != before:
                await asyncio.sleep(0.01)
    assert known


async def test_each_has_its_own_event_in_the_audit_log(tmp_path: Path, known: list[str]) -> None:
    log = tmp_path / "audit.log"
    server = await start_api_server(tmp_path, audit_log=log)
    try:
        base = "/api/v1/namespaces/default/configmaps"
        assert (await server.request("POST", base, config_map("a")))[0] == 201
        told: list[tuple[str, str, str, int, str]] = []
        async with connected(server, server.token) as admin, connected(server, server.alice_token) as alice:
            for path in (f"{base}/a", f"{base}/b", f"{base}/a", base):
                for user, line in (("admin", admin), ("alice", alice)):
                    status, headers, _ = await line.get(path)
                    told.append((headers["audit-id"], user, path, status, "allow" if user == "admin" else "forbid"))
        await wait_until(lambda: log.exists() and log.read_bytes().count(b"again/1") == len(told))
        events = [orjson.loads(text) for text in log.read_bytes().splitlines()]
        ours = [event for event in events if event.get("userAgent") == "again/1"]
        assert [
            (
                event["auditID"], event["user"]["username"], event["requestURI"], event["responseStatus"]["code"],
                event["annotations"]["authorization.k8s.io/decision"],
            )
            for event in ours
        ] == told  # fmt: skip
        assert [event["objectRef"].get("name", "") for event in ours] == ["a", "a", "b", "b", "a", "a", "", ""]
        assert all(event["sourceIPs"] == ["127.0.0.1"] for event in ours)
        assert len({event["auditID"] for event in ours}) == len(ours)
        assert len(known) == 6
    finally:
        await server.stop()


async def test_each_is_counted(server: RunningServer, namespace: str, known: list[str]) -> None:
    path = await put_config_map(server, namespace)

    def counted(metrics: bytes) -> float:
        line = b'apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps"'
        return sum(
            float(text.split()[-1]) for text in metrics.splitlines() if text.startswith(line) and b'"GET"' in text
        )

    async with connected(server, server.token) as line:
        _, before = await server.request("GET", "/metrics")
        for _ in range(5):
            assert await line.status(path) == 200
        _, after = await server.request("GET", "/metrics")
    assert counted(after) - counted(before) == 5
    assert len(known) >= 4
