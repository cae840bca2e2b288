"""What follows a request for SPDY is kept, however the bytes arrive, and whatever came before on the connection."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from aiohttp import web

from timonel.kubelet.streaming.takeover import Done, TakeoverHandler, TakeoverServer

PLAIN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = b"POST /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nupgrade:  spdy/3.1 \r\n\r\n"
RAW = b"\x80\x03\x00\x01 raw \r\n\r\n GET / HTTP/1.1\r\n\r\n"


class Pipe(asyncio.Transport):
    """A transport that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.reading = True
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.written += data

    def writelines(self, list_of_data: object) -> None:
        for data in list_of_data:  # type: ignore[attr-defined]
            self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


async def serve(pieces: list[bytes]) -> tuple[list[str], bytes, bytes]:
    """The paths asked for, the bytes taken over, and what was written."""
    paths: list[str] = []
    taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        paths.append(request.path)
        handler = request.protocol
        assert isinstance(handler, TakeoverHandler)
        if not handler.is_upgrade or request.path == "/healthz":
            return web.Response(text="ok")
        client = handler.take_over()
        await client.switch([("Upgrade", "SPDY/3.1")])
        received = b""
        while len(received) < len(RAW):
            received += await client.read()
        taken.set_result(received)
        await client.close()
        return Done()

    server = TakeoverServer(handle, access_log=None)
    handler, transport = server(), Pipe()
    handler.connection_made(transport)
    for piece in pieces:
        handler.data_received(piece)
    received = await taken
    handler.connection_lost(None)
    await server.shutdown(1)
    return paths, received, bytes(transport.written)


WIRE = PLAIN + UPGRADE + RAW


@pytest.mark.parametrize(
    "cuts",
    [
        [],
        [len(PLAIN)],
        [len(PLAIN) + len(UPGRADE)],
        [len(PLAIN) + len(UPGRADE) - 1],
        [len(PLAIN) - 2, len(PLAIN) + 5, len(PLAIN) + len(UPGRADE) + 3],
        list(range(1, len(WIRE))),
    ],
)
async def test_however_the_bytes_arrive(cuts: list[int]) -> None:
    pieces = [WIRE[start:end] for start, end in pairwise([0, *cuts, len(WIRE)])]
    paths, received, written = await serve(pieces)
    assert paths == ["/healthz", "/exec"]
    assert received == RAW
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n\r\n")


async def test_a_client_that_sends_faster_than_it_is_read_is_held_back() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    server = TakeoverServer(handle, access_log=None)
    handler, transport = server(), Pipe()
    handler.connection_made(transport)
    handler.data_received(UPGRADE + b"x" * 200_000)
    assert not transport.reading
    handler.connection_lost(None)
    await server.shutdown(0)
