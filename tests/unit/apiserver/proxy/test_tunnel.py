"""The tunnel over real sockets: not a byte lost, added or held back, whatever the protocol and however it is cut up."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from timonel.api.errors import ApiError
from timonel.apiserver.connections import Connection
from timonel.apiserver.proxy.tunnel import Target, dial, refusal, tunnel, wants_upgrade
from timonel.cluster import pki
from timonel.testing.waiting import stays, wait_until

Backend = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

SPDY = (
    b"POST /exec HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
)
WEBSOCKET = (
    b"GET /exec HTTP/1.1\r\nHost: api\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Transports differ in how they pause, half-close and end; the server runs on uvloop where there is one."""

    def run(*, loop_factory: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(**arguments))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    signature = inspect.signature(test)
    factory = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), factory])  # type: ignore[attr-defined]
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    both: Callable[..., None] = pytest.mark.parametrize("loop_factory", loops, ids=["asyncio", "uvloop"])(run)
    return both


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A backend that switches and gives back what it gets, until the end of that."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(SWITCHED)
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def front(backend: Backend, *, tls: pki.Pki | None = None) -> AsyncIterator[Callable[[], Awaitable[Streams]]]:
    """An API server with nothing but the tunnel in front of `backend`; gives a function that connects to it."""
    ours: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        ours.add(task)
        try:
            await backend(reader, writer)
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's own callback would complain
        finally:
            ours.discard(task)
            writer.close()

    server_tls = client_tls = None
    if tls is not None:
        server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server_tls.load_cert_chain(tls.apiserver.cert, tls.apiserver.key)
        client_tls = ssl.create_default_context(cafile=str(tls.ca.cert))
    behind = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls)
    target = Target("127.0.0.1", behind.sockets[0].getsockname()[1], "/backend?x=1", client_tls)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "PUT":
            return web.Response(body=await request.read())
        assert wants_upgrade(request)
        try:
            return await tunnel(request, target, list(request.headers.items()))
        except ApiError as error:
            return web.json_response(error.status, status=error.status_code)

    manager = web.Server(handle)
    loop = asyncio.get_running_loop()
    facing = await loop.create_server(lambda: Connection(manager, loop=loop), "127.0.0.1", 0, ssl=server_tls)
    port = facing.sockets[0].getsockname()[1]
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_tls, server_hostname="localhost" if client_tls else None
        )
        opened.append(writer)
        return reader, writer

    try:
        yield connect
    finally:
        for writer in opened:
            writer.close()
        facing.close()
        behind.close()
        await manager.shutdown(1)
        for task in list(ours):
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)


async def exactly(reader: asyncio.StreamReader, count: int) -> bytes:
    return await asyncio.wait_for(reader.readexactly(count), 10)


@pytest.mark.parametrize("head", [SPDY, WEBSOCKET])
@on_both_loops
async def test_bytes_that_come_with_the_handshake(head: bytes) -> None:
    early = b"\x80\x03\x00\x01GET / HTTP/1.1\r\n\r\nand more"
    async with front(echo) as connect:
        reader, writer = await connect()
        writer.write(head + early)
        assert await head_of(reader) == SWITCHED
        assert await exactly(reader, len(early)) == early
        writer.write(b"later")
        assert await exactly(reader, 5) == b"later"


@pytest.mark.parametrize("head", [SPDY, WEBSOCKET])
@on_both_loops
async def test_a_handshake_cut_anywhere(head: bytes) -> None:
    early = b"\r\n\r\nearly\x00\xff"
    whole = head + early
    async with front(echo) as connect:
        for cut in (*range(1, len(head), 7), *range(len(head) - 6, len(whole))):
            reader, writer = await connect()
            writer.write(whole[:cut])
            for _ in range(3):
                await asyncio.sleep(0)
            writer.write(whole[cut:])
            assert await head_of(reader) == SWITCHED
            assert await exactly(reader, len(early)) == early, cut
            writer.close()


@on_both_loops
async def test_the_backend_sees_the_clients_headers() -> None:
    seen = asyncio.get_running_loop().create_future()

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(await reader.readuntil(b"\r\n\r\n"))
        writer.write(SWITCHED)

    async with front(backend) as connect:
        _, writer = await connect()
        writer.write(WEBSOCKET)
        lines = (await asyncio.wait_for(seen, 5)).decode().split("\r\n")
    assert lines[0] == "GET /backend?x=1 HTTP/1.1"
    for line in ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Protocol: v5.channel.k8s.io",
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="):  # fmt: skip
        assert lines.count(line) == 1


@pytest.mark.parametrize("secure", [False, True])
@on_both_loops
async def test_much_in_both_directions(tmp_path: Path, secure: bool) -> None:
    tls = pki.ensure_pki(tmp_path, service_address="10.96.0.1") if secure else None
    block = bytes(range(256)) * 4096  # 1 MiB
    async with front(echo, tls=tls) as connect:
        reader, writer = await connect()
        writer.write(SPDY)
        await head_of(reader)

        async def send() -> None:
            for _ in range(8):
                writer.write(block)
                await writer.drain()

        sending = asyncio.create_task(send())
        for _ in range(8):
            assert await exactly(reader, len(block)) == block
        await sending


@on_both_loops
async def test_a_slow_client_slows_the_backend() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        while sent < 64 << 20:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with front(flood) as connect:
        reader, writer = await connect()
        writer.write(SPDY)
        await head_of(reader)

        async def is_full() -> bool:
            before = sent
            with suppress(AssertionError):
                await stays(lambda: sent == before, seconds=0.05)
                return sent > 0
            return False

        await wait_until(is_full, "everything between them is full")
        assert sent < 32 << 20
        writer.transport.abort()


@on_both_loops
async def test_half_close_reaches_the_backend_and_its_answer_comes_back() -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        writer.write(str(len(await reader.read())).encode())

    async with front(count) as connect:
        reader, writer = await connect()
        writer.write(SPDY + b"12345")
        writer.write_eof()
        await head_of(reader)
        assert await asyncio.wait_for(reader.read(), 5) == b"5"


@pytest.mark.parametrize("secure", [False, True])
@on_both_loops
async def test_the_end_of_the_backend_ends_the_client(tmp_path: Path, secure: bool) -> None:
    tls = pki.ensure_pki(tmp_path, service_address="10.96.0.1") if secure else None

    async def say_and_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED + b"bye")

    async with front(say_and_leave, tls=tls) as connect:
        reader, writer = await connect()
        writer.write(SPDY)
        await head_of(reader)
        assert await asyncio.wait_for(reader.read(), 5) == b"bye"


@pytest.mark.parametrize("secure", [False, True])
@on_both_loops
async def test_a_client_that_leaves_is_told_to_the_backend(tmp_path: Path, secure: bool) -> None:
    tls = pki.ensure_pki(tmp_path, service_address="10.96.0.1") if secure else None
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        got.set_result(await reader.read())

    async with front(wait, tls=tls) as connect:
        reader, writer = await connect()
        writer.write(SPDY)
        await head_of(reader)
        writer.write(b"last words")
        writer.close()
        assert await asyncio.wait_for(got, 5) == b"last words"


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nwrong", 400, "wrong"),
        (b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngone\r\n0\r\n\r\n", 404, "gone"),
        (b"HTTP/1.1 500 Oops\r\n\r\nuntil the end", 500, "Internal error occurred: until the end"),
        (b'HTTP/1.1 403 No\r\nContent-Length: 56\r\n\r\n{"kind":"Status","code":403,"message":"no","reason":"x"}',
         403, "no"),
        (b"garbage\r\n\r\n", 500, "Internal error occurred: the backend did not answer in HTTP"),
    ],
)  # fmt: skip
@on_both_loops
async def test_refusals_become_statuses(answer: bytes, code: int, message: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with front(refuse) as connect:
        reader, writer = await connect()
        writer.write(SPDY)
        head = await head_of(reader)
        assert head.startswith(f"HTTP/1.1 {code} ".encode())
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert f'"message": "{message}"'.encode() in await exactly(reader, length)
        # The refused connection is an ordinary one again.
        writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok")
        assert (await head_of(reader)).startswith(b"HTTP/1.1 200")


@on_both_loops
async def test_a_kubelet_that_is_away() -> None:
    with pytest.raises(ApiError) as caught:
        await dial(Target("127.0.0.1", 1, "/"))
    assert caught.value.message == (
        "Internal error occurred: error dialing backend: dial tcp 127.0.0.1:1: connect: connection refused"
    )


@on_both_loops
async def test_a_kubelet_with_another_authoritys_certificate(tmp_path: Path) -> None:
    mine = pki.ensure_pki(tmp_path / "a", service_address="10.96.0.1")
    other = pki.ensure_pki(tmp_path / "b", service_address="10.96.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(other.apiserver.cert, other.apiserver.key)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, ssl=context)
    async with server:
        trusting = ssl.create_default_context(cafile=str(mine.ca.cert))
        with pytest.raises(ApiError, match="failed to verify certificate"):
            await dial(Target("127.0.0.1", server.sockets[0].getsockname()[1], "/", trusting))


@on_both_loops
async def test_the_word_in_a_body_is_only_a_word() -> None:
    bodies = [b"Upgrade: SPDY/3.1\r\n\r\nand the rest", b"SPDY/3.1" * 1000, b"\r\n\r\nSPDY/3.1\r\n\r\n", b"SPDY/3"]
    async with front(echo) as connect:
        reader, writer = await connect()
        for body in bodies:
            whole = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            for size in (1, 7, len(whole)):
                for start in range(0, len(whole), size):
                    writer.write(whole[start : start + size])
                    if len(whole) < 300:
                        await asyncio.sleep(0)
                assert (await head_of(reader)).startswith(b"HTTP/1.1 200")
                assert await exactly(reader, len(body)) == body


def test_a_status_of_the_backend_is_passed_on_whole() -> None:
    status = (
        b'{"kind":"Status","code":404,"reason":"NotFound","message":"pods \\"x\\" not found","details":{"name":"x"}}'
    )
    error = refusal(404, status)
    assert (error.status_code, error.message, error.details) == (404, 'pods "x" not found', {"name": "x"})
