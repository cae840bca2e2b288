"""A stream of bytes over a WebSocket, by its two subprotocols."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import ClientSession, WSMsgType, web
from aiohttp.test_utils import TestServer

from timonel.apiserver.proxy.byte_socket import send_over_websocket


def served(chunks: Callable[[], AsyncIterator[bytes]]) -> TestServer:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await send_over_websocket(request, chunks(), {"Audit-Id": "a"})

    app = web.Application()
    app.router.add_get("/", handle)
    return TestServer(app)


async def two_lines() -> AsyncIterator[bytes]:
    yield b"one\n"
    yield b"\xfftwo\n"


@pytest.mark.parametrize(
    "protocols", [(), ("binary.k8s.io",), ("base64url.bearer.authorization.k8s.io.x", "binary.k8s.io")]
)
async def test_bytes_as_they_are_after_an_empty_message(protocols: tuple[str, ...]) -> None:
    async with (
        served(two_lines) as server,
        ClientSession() as client,
        client.ws_connect(server.make_url("/"), protocols=protocols) as socket,
    ):
        got = [message async for message in socket]
    assert [(message.type, message.data) for message in got] == [
        (WSMsgType.BINARY, b""),
        (WSMsgType.BINARY, b"one\n"),
        (WSMsgType.BINARY, b"\xfftwo\n"),
    ]


async def test_base64_for_those_who_take_only_text() -> None:
    async with (
        served(two_lines) as server,
        ClientSession() as client,
        client.ws_connect(server.make_url("/"), protocols=("base64.binary.k8s.io",)) as socket,
    ):
        assert socket.protocol == "base64.binary.k8s.io"
        got = [base64.b64decode(message.data) async for message in socket if message.type is WSMsgType.TEXT]
    assert got == [b"", b"one\n", b"\xfftwo\n"]


async def test_a_client_that_leaves_ends_the_stream() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"one\n"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with served(endless) as server, ClientSession() as client:
        async with client.ws_connect(server.make_url("/")) as socket:
            assert [(await socket.receive()).data for _ in range(2)] == [b"", b"one\n"]
        await asyncio.wait_for(ended.wait(), 5)
