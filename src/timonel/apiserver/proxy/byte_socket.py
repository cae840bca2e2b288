"""One stream of bytes over a WebSocket, from the server to the client: how browsers follow a log.

Subprotocols: "binary.k8s.io" (and none) sends the bytes as they are, "base64.binary.k8s.io" as text in base64. An empty
message comes first, so that the client knows that the stream stands. What the client says is not listened to.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping

from aiohttp import WSMsgType, web

from timonel.api.errors import BadRequest
from timonel.apiserver.connections import cancel_when_lost

_BINARY, _BASE64 = "binary.k8s.io", "base64.binary.k8s.io"
_CLOSE_SECONDS = 2.0
_MAX_CLIENT_MESSAGE = 4096


async def send_over_websocket(
    request: web.BaseRequest, chunks: AsyncIterator[bytes], headers: Mapping[str, str]
) -> web.WebSocketResponse:
    """Until the stream ends or the client leaves. Raises BadRequest for what is no proper handshake."""
    socket = web.WebSocketResponse(
        protocols=(_BINARY, _BASE64), timeout=_CLOSE_SECONDS, compress=False, max_msg_size=_MAX_CLIENT_MESSAGE
    )
    socket.headers.update(headers)
    cancel_when_lost(request, on=False)  # the socket itself tells when the client leaves
    try:
        await socket.prepare(request)
    except web.HTTPException as exc:
        raise BadRequest(exc.text or exc.reason) from exc

    async def send() -> None:
        await _send(socket, b"")
        async for chunk in chunks:
            await _send(socket, chunk)

    sending = asyncio.create_task(send(), name="bytes to a websocket")
    leaving = asyncio.create_task(_left(socket), name="end of a websocket")
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
    await socket.close()
    return socket


async def _send(socket: web.WebSocketResponse, chunk: bytes) -> None:
    if socket.ws_protocol == _BASE64:
        await socket.send_str(base64.b64encode(chunk).decode())
    else:
        await socket.send_bytes(chunk)


async def _left(socket: web.WebSocketResponse) -> None:
    while (await socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
        pass
