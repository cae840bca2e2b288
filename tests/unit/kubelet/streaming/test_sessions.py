"""exec, attach and port-forward over real sockets, from every kind of client to a runtime made from our engine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest

from timonel.kubelet.streaming import attach_end
from timonel.kubelet.streaming.backend import StreamRequest
from timonel.kubelet.streaming.bridge import CommandBridge
from timonel.kubelet.streaming.spdy.connection import Connection, DataReceived, Event, Role, StreamEnded

from .conftest import Node
from .fakes import Session, pod

SUCCESS = b'{"metadata":{},"status":"Success"}'
EXIT_3 = orjson.dumps(
    {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: exit status 3",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
    }
)
EXEC = "/exec/default/web/app?command=cat&command=-n&input=1&output=1&error=1"


@pytest.fixture(autouse=True)
def known_pod(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.backend.known["web"] = pod()
    monkeypatch.setattr(attach_end, "_END_SECONDS", 0.01)


async def cat(session: Session) -> None:
    """Echoes stdin to stdout until its end, says bye on stderr, exits with 3."""
    stdin, stdout, stderr = (
        await session.stream("stdin"),
        await session.stream("stdout"),
        await session.stream("stderr"),
    )
    error = await session.stream("error")
    await session.send(stdout, await session.received_all(stdin), fin=True)
    await session.send(stderr, b"bye", fin=True)
    await session.send(error, EXIT_3, fin=True)


async def messages(socket: aiohttp.ClientWebSocketResponse) -> list[bytes]:
    received = [m.data if isinstance(m.data, bytes) else m.data.encode() async for m in socket]
    return [m for m in received if len(m) > 1]


async def test_websocket_v5_half_closes_stdin_and_gets_the_exit_code(node: Node) -> None:
    node.runtime.program = cat
    async with node.client.ws_connect(EXEC, protocols=("v5.channel.k8s.io", "v4.channel.k8s.io")) as socket:
        assert socket.protocol == "v5.channel.k8s.io"
        assert (await socket.receive()).data == b"\x01"  # connected
        await socket.send_bytes(b"\x00hello ")
        await socket.send_bytes(b"\x00world")
        await socket.send_bytes(b"\xff\x00")
        assert await messages(socket) == [b"\x01hello world", b"\x02bye", b"\x03" + EXIT_3]
        assert socket.close_code == 1000
    session = node.runtime.sessions[0]
    assert (session.path, session.protocols) == ("/exec/token", ["v4.channel.k8s.io"])
    assert node.backend.asked == [
        ("exec", "id-app", ["cat", "-n"], StreamRequest(stdin=True, stdout=True, stderr=True))
    ]


async def test_base64_without_status_reports_only_failures_as_text(node: Node) -> None:
    async def program(session: Session) -> None:
        stdin, stdout, error = [await session.stream(kind) for kind in ("stdin", "stdout", "error")]
        await session.send(stdout, await session.received(stdin, 3))
        await session.send(error, EXIT_3)

    node.runtime.program = program
    async with node.client.ws_connect(EXEC, protocols=("base64.channel.k8s.io",)) as socket:
        await socket.send_str("0bHMK")
        assert await messages(socket) == [
            b"1bHMK",
            b"3Y29tbWFuZCB0ZXJtaW5hdGVkIHdpdGggbm9uLXplcm8gZXhpdCBjb2RlOiBleGl0IHN0YXR1cyAz",
        ]


async def test_without_subprotocol_success_is_silent(node: Node) -> None:
    async def program(session: Session) -> None:
        await session.send(await session.stream("error"), SUCCESS)

    node.runtime.program = program
    async with node.client.ws_connect("/exec/default/web/app?command=true&output=1") as socket:
        assert socket.protocol is None
        assert await messages(socket) == []


async def test_terminal_sizes_reach_the_runtime(node: Node) -> None:
    size = b'{"Width":80,"Height":24}'

    async def program(session: Session) -> None:
        resize = await session.stream("resize")
        await session.send(await session.stream("stdout"), await session.received(resize, len(size)))
        await session.send(await session.stream("error"), SUCCESS)

    node.runtime.program = program
    url = "/exec/default/web/term?command=sh&input=1&output=1&error=1&tty=1"
    async with node.client.ws_connect(url, protocols=("v5.channel.k8s.io",)) as socket:
        await socket.send_bytes(b"\x04" + size)
        assert await messages(socket) == [b"\x01" + size, b"\x03" + SUCCESS]
    kinds = {headers["streamtype"] for headers in node.runtime.sessions[0].headers.values()}
    assert kinds == {"error", "stdin", "stdout", "resize"}  # a terminal has no stderr


async def test_a_runtime_that_goes_without_a_status_is_an_error(node: Node) -> None:
    async with node.client.ws_connect(EXEC, protocols=("v4.channel.k8s.io",)) as socket:
        (last,) = await messages(socket)
    status = orjson.loads(last[1:])
    assert (last[0], status["status"], status["code"]) == (3, "Failure", 500)


async def test_a_client_that_leaves_ends_stdin_and_the_session(node: Node) -> None:
    over: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def program(session: Session) -> None:
        stdin = await session.stream("stdin")
        data = await session.received_all(stdin)
        await session.until(lambda: session.is_over)
        over.set_result(data)

    node.runtime.program = program
    async with node.client.ws_connect(EXEC, protocols=("v4.channel.k8s.io",)) as socket:
        await socket.send_bytes(b"\x00input")
    async with asyncio.timeout(10):
        assert await over == b"input"


async def test_much_output_arrives_whole(node: Node) -> None:
    async def program(session: Session) -> None:
        stdout = await session.stream("stdout")
        for number in range(64):
            await session.send(stdout, bytes([number]) * 65536)
        await session.send(stdout, b"", fin=True)
        await session.send(await session.stream("error"), SUCCESS, fin=True)

    node.runtime.program = program
    url = "/exec/default/web/app?command=x&output=1"
    async with node.client.ws_connect(url, protocols=("v5.channel.k8s.io",)) as socket:
        received = b"".join([m[1:] for m in await messages(socket) if m[0] == 1])
    assert received == b"".join(bytes([number]) * 65536 for number in range(64))


async def test_input_for_a_command_that_has_ended_is_dropped(node: Node) -> None:
    async def program(session: Session) -> None:
        session.spdy.reset(await session.stream("stdin"))
        stdout = await session.stream("stdout")
        await session.send(stdout, b"x", fin=True)
        await session.send(await session.stream("stderr"), b"", fin=True)
        await session.send(await session.stream("error"), EXIT_3, fin=True)

    node.runtime.program = program
    async with node.client.ws_connect(EXEC, protocols=("v5.channel.k8s.io",)) as socket:
        for _ in range(20):
            try:
                await socket.send_bytes(b"\x00" + b"y" * 1000)
            except ConnectionError:
                break
        assert (await messages(socket))[-1] == b"\x03" + EXIT_3


async def test_streams_the_runtime_opens_are_refused(node: Node) -> None:
    async def program(session: Session) -> None:
        stdout = await session.stream("stdout")
        await session.send(session.spdy.open_stream([("streamtype", "stdout")]), b"not wanted")
        await session.send(stdout, b"x")
        await session.until(lambda: 2 in session.ended)
        await session.send(await session.stream("error"), SUCCESS)

    node.runtime.program = program
    async with node.client.ws_connect(EXEC, protocols=("v5.channel.k8s.io",)) as socket:
        assert await messages(socket) == [b"\x01x", b"\x03" + SUCCESS]


async def test_a_mistake_of_ours_is_not_taken_for_success(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def mistake(self: CommandBridge, event: Event) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(CommandBridge, "_event", mistake)
    node.runtime.program = cat
    async with node.client.ws_connect(EXEC, protocols=("v5.channel.k8s.io",)) as socket:
        (last,) = await messages(socket)
    assert (last[0], orjson.loads(last[1:])["status"]) == (3, "Failure")


async def test_unknown_subprotocols_are_refused(node: Node) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await node.client.ws_connect(EXEC, protocols=("v9.channel.k8s.io",))
    assert refusal.value.status == 403


async def test_what_the_runtime_refuses_reaches_the_client(node: Node) -> None:
    node.runtime.refusal = (404, "no such token")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await node.client.ws_connect(EXEC, protocols=("v5.channel.k8s.io",))
    assert refusal.value.status == 404


async def test_attach_has_the_terminal_the_container_has(node: Node) -> None:
    async def program(session: Session) -> None:
        await session.send(await session.stream("error"), SUCCESS)

    node.runtime.program = program
    url = "/attach/default/web/term?output=1&error=1&tty=1"
    async with node.client.ws_connect(url, protocols=("v5.channel.k8s.io",)) as socket:
        assert await messages(socket) == [b"\x03" + SUCCESS]
    assert node.backend.asked == [("attach", "id-term", StreamRequest(stdout=True, tty=True))]


ATTACH = "/attach/default/web/app?input=1&output=1&error=1"


async def test_an_ended_container_cannot_be_attached_to(node: Node) -> None:
    """kubectl run takes the refusal as a sign to show the log; a success without output would be the end of it."""
    node.backend.gone.add("id-app")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await node.client.ws_connect(ATTACH, protocols=("v5.channel.k8s.io",))
    assert refusal.value.status == 500
    assert node.runtime.sessions == []
    async with spdy(node, ATTACH, "v4.channel.k8s.io") as client:
        assert client.head.startswith(b"HTTP/1.1 500 ")
        assert await client.reader.read() == b"container is in CONTAINER_EXITED state"


@pytest.mark.parametrize("way", ["websocket", "spdy"])
async def test_a_container_that_ends_while_the_runtime_answers_is_not_attached_to(node: Node, way: str) -> None:
    over = asyncio.Event()

    async def program(session: Session) -> None:
        await session.until(lambda: session.is_over)
        over.set()

    node.runtime.program = program
    node.runtime.on_upgrade = lambda: node.backend.gone.add("id-app")
    if way == "spdy":
        async with spdy(node, ATTACH, "v4.channel.k8s.io") as client:
            assert client.head.startswith(b"HTTP/1.1 500 ")
    else:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await node.client.ws_connect(ATTACH, protocols=("v5.channel.k8s.io",))
    async with asyncio.timeout(10):
        await over.wait()


async def end_at_once(session: Session) -> None:
    """As containerd ends an attach to a process that is just gone."""
    for kind in ("stdin", "stdout", "stderr"):
        await session.stream(kind)
    await session.send(await session.stream("error"), SUCCESS, fin=True)


async def attach_by(node: Node, way: str) -> bytes:
    """What the error stream of an attach said."""
    if way == "websocket":
        async with node.client.ws_connect(ATTACH, protocols=("v5.channel.k8s.io",)) as socket:
            return b"".join(message[1:] for message in await messages(socket) if message[0] == 3)
    async with spdy(node, ATTACH, "v4.channel.k8s.io") as client:
        for kind in ("error", "stdin", "stdout", "stderr"):
            client.spdy.open_stream([("streamType", kind)])
        client.spdy.send_data(3, b"", fin=True)
        await client.flush()
        return (await run_cat(client))[1]


@pytest.mark.parametrize("way", ["websocket", "spdy"])
@pytest.mark.parametrize("printed", ["", "2026-01-01T00:00:00Z stdout F hello\n"])
async def test_an_attach_that_came_too_late_for_the_output_failed(node: Node, way: str, printed: str) -> None:
    node.runtime.program = end_at_once
    node.backend.ended["id-app"] = asyncio.Event()
    node.backend.ended["id-app"].set()
    log = node.folder / "0.log"
    log.write_text(printed)
    node.backend.logs["id-app"] = str(log)
    status = orjson.loads(await attach_by(node, way))
    if printed:
        assert (status["status"], status["reason"], status["code"]) == ("Failure", "InternalError", 500)
        assert "the container ended while it was attached to" in status["message"]
    else:
        assert status["status"] == "Success"


@pytest.mark.parametrize("way", ["websocket", "spdy"])
async def test_an_attach_that_was_only_left_succeeded(node: Node, way: str) -> None:
    """The runtime also ends an attach at the end of its input; the container runs on."""
    node.runtime.program = end_at_once
    node.backend.ended["id-app"] = asyncio.Event()
    assert orjson.loads(await attach_by(node, way))["status"] == "Success"


@pytest.mark.parametrize("way", ["websocket", "spdy"])
async def test_an_attach_that_delivered_something_succeeded(node: Node, way: str) -> None:
    async def program(session: Session) -> None:
        await session.send(await session.stream("stdout"), b"late\n")
        await end_at_once(session)

    node.runtime.program = program
    node.backend.ended["id-app"] = asyncio.Event()
    node.backend.ended["id-app"].set()
    log = node.folder / "0.log"
    log.write_text("2026-01-01T00:00:00Z stdout F early\n2026-01-01T00:00:01Z stdout F late\n")
    node.backend.logs["id-app"] = str(log)
    assert orjson.loads(await attach_by(node, way))["status"] == "Success"


async def test_input_that_is_no_terminal_is_not_attached_to_one(node: Node) -> None:
    """As upstream's runtimes refuse it; such input could never end, and kubectl would wait for ever."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await node.client.ws_connect(
            "/attach/default/web/term?input=1&output=1&error=1", protocols=("v5.channel.k8s.io",)
        )
    assert refusal.value.status == 500
    assert node.backend.asked == []


async def test_watching_a_terminal_without_being_one_opens_what_the_runtime_waits_for(node: Node) -> None:
    async def program(session: Session) -> None:
        for kind in ("stdout", "resize"):
            await session.stream(kind)
        await session.send(await session.stream("error"), SUCCESS)

    node.runtime.program = program
    async with node.client.ws_connect(
        "/attach/default/web/term?output=1&error=1", protocols=("v5.channel.k8s.io",)
    ) as socket:
        assert await messages(socket) == [b"\x03" + SUCCESS]


# SPDY clients


class SpdyClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader, self.writer, self.head = reader, writer, head
        self.spdy = Connection(Role.CLIENT)

    async def flush(self) -> None:
        self.writer.write(self.spdy.data_to_send())
        await self.writer.drain()

    async def events(self) -> AsyncIterator[Event]:
        while data := await self.reader.read(65536):
            for event in self.spdy.receive_data(data):
                yield event


@asynccontextmanager
async def spdy(node: Node, path: str, *protocols: str, early: bytes = b"") -> AsyncIterator[SpdyClient]:
    context: ssl.SSLContext = node.certificates.client_context("admin")
    reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port, ssl=context)
    offered = "".join(f"X-Stream-Protocol-Version: {protocol}\r\n" for protocol in protocols)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{offered}\r\n"
    writer.write(head.encode() + early)
    try:
        yield SpdyClient(reader, writer, await reader.readuntil(b"\r\n\r\n"))
    finally:
        writer.close()
        await writer.wait_closed()


async def run_cat(client: SpdyClient) -> dict[int, bytes]:
    out: dict[int, bytes] = {}
    async for event in client.events():
        if isinstance(event, DataReceived):
            out[event.stream_id] = out.get(event.stream_id, b"") + event.data
    return out


async def test_spdy_is_passed_through(node: Node) -> None:
    node.runtime.program = cat
    async with spdy(node, EXEC, "v4.channel.k8s.io", "v3.channel.k8s.io") as client:
        assert client.head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n" in client.head
        for kind in ("error", "stdin", "stdout", "stderr"):
            client.spdy.open_stream([("streamType", kind)])
        client.spdy.send_data(3, b"hello", fin=True)
        await client.flush()
        assert await run_cat(client) == {5: b"hello", 7: b"bye", 1: EXIT_3}
    assert node.runtime.sessions[0].protocols == ["v4.channel.k8s.io", "v3.channel.k8s.io"]


async def test_bytes_sent_together_with_the_request_are_not_lost(node: Node) -> None:
    node.runtime.program = cat
    engine = Connection(Role.CLIENT)
    for kind in ("error", "stdin", "stdout", "stderr"):
        engine.open_stream([("streamType", kind)])
    engine.send_data(3, b"early", fin=True)
    async with spdy(node, EXEC, "v4.channel.k8s.io", early=engine.data_to_send()) as client:
        client.spdy = engine
        assert (await run_cat(client))[5] == b"early"


async def test_a_refused_upgrade_closes_the_connection(node: Node) -> None:
    async with spdy(node, "/exec/default/gone/app?output=1", "v4.channel.k8s.io") as client:
        assert client.head.startswith(b"HTTP/1.1 404 ")
        assert await client.reader.read() == b"pod does not exist"


async def test_the_runtimes_refusal_says_what_it_accepts(node: Node) -> None:
    node.runtime.refusal = (403, "unable to upgrade: unable to negotiate protocol")
    async with spdy(node, EXEC, "v9.channel.k8s.io") as client:
        assert client.head.startswith(b"HTTP/1.1 403 ")
        assert b"X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io\r\n" in client.head
        assert await client.reader.read() == b"unable to upgrade: unable to negotiate protocol"


async def test_a_runtime_that_is_away_is_an_error(node: Node) -> None:
    node.backend.url = "http://127.0.0.1:1"
    async with spdy(node, EXEC, "v4.channel.k8s.io") as client:
        assert client.head.startswith(b"HTTP/1.1 500 ")
        assert b"unable to reach the container runtime's streaming server" in await client.reader.read()


async def test_a_spdy_client_that_leaves_ends_the_runtimes_side(node: Node) -> None:
    over = asyncio.Event()

    async def program(session: Session) -> None:
        await session.until(lambda: session.is_over)
        over.set()

    node.runtime.program = program
    async with spdy(node, "/portForward/default/web", "portforward.k8s.io"):
        pass
    async with asyncio.timeout(10):
        await over.wait()


# Port-forward


async def echo_port(session: Session) -> None:
    data = await session.stream("data", port="80")
    await session.stream("error", port="80")
    await session.send(data, b"from 80: " + await session.received(data, 4), fin=True)


async def test_port_forward_tunnelled_in_a_websocket(node: Node) -> None:
    node.runtime.program = echo_port
    protocol = "SPDY/3.1+portforward.k8s.io"
    async with node.client.ws_connect("/portForward/default/web", protocols=(protocol,)) as socket:
        assert socket.protocol == protocol
        engine = Connection(Role.CLIENT)
        for kind in ("error", "data"):
            engine.open_stream([("streamType", kind), ("port", "80"), ("requestID", "0")])
        engine.send_data(3, b"ping")
        for byte in engine.data_to_send():  # however the client cuts its bytes into messages
            await socket.send_bytes(bytes([byte]))
        events: list[Event] = []
        async for message in socket:
            events += engine.receive_data(message.data)
        assert DataReceived(3, b"from 80: ping") in events
        assert StreamEnded(3) in events
        assert socket.close_code == 1000
    assert node.runtime.sessions[0].protocols == ["portforward.k8s.io"]


async def test_a_tunnel_carries_binary_messages_only(node: Node) -> None:
    async def program(session: Session) -> None:
        await session.until(lambda: session.is_over)

    node.runtime.program = program
    url = "/portForward/default/web"
    async with node.client.ws_connect(url, protocols=("SPDY/3.1+portforward.k8s.io",)) as socket:
        await socket.send_str("text")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1003


async def test_port_forward_over_channels(node: Node) -> None:
    node.runtime.program = echo_port
    url = "/portForward/default/web?port=80"
    async with node.client.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket:
        await socket.send_bytes(b"\x00ping")
        assert await messages(socket) == [b"\x00\x50\x00", b"\x01\x50\x00", b"\x00from 80: ping"]


async def test_port_forward_over_channels_needs_ports(node: Node) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await node.client.ws_connect("/portForward/default/web", protocols=("v4.channel.k8s.io",))
    assert refusal.value.status == 400
