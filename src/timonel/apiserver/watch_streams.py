"""What a watch is sent over: a chunked answer, or a WebSocket with a message for each event.

A stream writes synchronously as soon as it is handed events, so at any moment between, what it was handed is what it
has sent; that is why bookmarks can be sent from one timer for all of them. A client that does not read is cut off.
Source: kubernetes.io/docs/reference/using-api/api-concepts ("Efficient detection of changes"), RFC 6455.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import HttpVersion11, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from timonel.api.buckets import Buckets
from timonel.api.errors import BadRequest
from timonel.storage.watcher import Watcher

_DRAIN_SECONDS = 30.0
_LAST_CHUNK = b"0\r\n\r\n"
_MAX_CLIENT_MESSAGE = 64 * 1024
"""Bytes of what a client may send over its WebSocket, where it has nothing to say."""
_BEARER_PROTOCOL = "base64url.bearer.authorization.k8s.io."
_TEXT, _BINARY = 0x81, 0x82
_CLOSE_SECONDS = 5.0


class WatchStream(web.StreamResponse):
    """One watch on the wire. To aiohttp it is a response that has been prepared and ends with `write_eof`."""

    def __init__(self, request: web.BaseRequest, *, buffer_bytes: int) -> None:
        # No super().__init__(): none of what it makes is used.
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._transport = transport
        self._protocol = request.protocol
        self._buffer_bytes = buffer_bytes
        self._watcher: Watcher | None = None
        self._make_bookmark: Callable[[str, bool], bytes] | None = None
        self.sizes: Buckets | None = None
        """Counts what is sent, by size."""
        self._ended = False
        self._chunked = request.version >= HttpVersion11
        self.sent = 0

    def start(self, *, content_type: str, audit_id: str, head_lines: bytes = b"") -> None:
        """`head_lines`: more of the head, as they are sent."""
        head = (
            f"HTTP/1.1 200 OK\r\nAudit-Id: {audit_id}\r\nCache-Control: no-cache, private\r\n"
            f"Content-Type: {content_type}\r\n"
        )
        # Clients of HTTP/1.0 know no chunks; to them the end of the connection is the end of the answer.
        head += "Transfer-Encoding: chunked\r\n" if self._chunked else "Connection: close\r\n"
        self._transport.write(b"%b%b\r\n" % (head.encode(), head_lines))

    @property
    def status(self) -> int:
        return 200

    @property
    def body_length(self) -> int:
        return self.sent

    @property
    def keep_alive(self) -> bool | None:
        return self._chunked and not self._ended

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        if self._chunked and not self._ended and not self._transport.is_closing():
            self._transport.write(_LAST_CHUNK)

    def send(self, events: Sequence[bytes]) -> None:
        """Each is one event, framed as the media type wants it."""
        if self.sizes is not None:
            for event in events:
                self.sizes.observe(len(event))
        data = events[0] if len(events) == 1 else b"".join(events)
        self.sent += len(data)
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    @property
    def flows(self) -> bool:
        """Whether there is nothing to `drain`."""
        return not self._protocol.writing_paused and not self._transport.is_closing()

    async def drain(self) -> None:
        """Waits for a client that reads slowly, not for ever. Raises TimeoutError, ConnectionError."""
        if self._protocol.writing_paused:
            if self._transport.get_write_buffer_size() > self._buffer_bytes:
                raise TimeoutError("the client reads too slowly")
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._protocol._drain_helper()
        elif self._transport.is_closing():
            raise ConnectionResetError("the client has gone")

    def bookmarks_from(self, watcher: Watcher, make: Callable[[str, bool], bytes]) -> None:
        """From now on `bookmark` may be called."""
        self._watcher, self._make_bookmark = watcher, make

    def bookmark(self) -> None:
        """Tells the client how far it has come, unless it is behind on reading."""
        if self._watcher is not None and self._make_bookmark is not None and not self._protocol.writing_paused:
            self.send((self._make_bookmark(str(self._watcher.revision), False),))

    def release(self) -> None:
        """Nothing of the stream goes on by itself, however it ended."""

    def cut_off(self) -> None:
        """Ends the connection without a last chunk, so that the client sees a broken stream and resumes."""
        self._ended = True
        self._transport.abort()


class WebSocketStream(WatchStream):
    """Over a WebSocket: text messages for JSON, binary ones for protobuf. aiohttp reads; what is written goes past it,
    uncompressed and unmasked, as a server's frames are."""

    def __init__(self, request: web.BaseRequest, *, buffer_bytes: int, is_text: bool) -> None:
        super().__init__(request, buffer_bytes=buffer_bytes)
        self._request = request
        self._opcode = _TEXT if is_text else _BINARY
        offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        protocols = [name for part in offered if (name := part.strip()) and not name.startswith(_BEARER_PROTOCOL)]
        self.socket = web.WebSocketResponse(
            protocols=protocols[:1], timeout=_CLOSE_SECONDS, compress=False, max_msg_size=_MAX_CLIENT_MESSAGE
        )
        self._reader: asyncio.Task[None] | None = None

    async def upgrade(self, *, audit_id: str) -> None:
        """Raises BadRequest for what is no proper handshake."""
        self.socket.headers["Audit-Id"] = audit_id
        try:
            await self.socket.prepare(self._request)
        except web.HTTPException as exc:
            raise BadRequest(exc.text or exc.reason) from exc

    @property
    def status(self) -> int:
        return 101

    @property
    def keep_alive(self) -> bool | None:
        return False

    def end_with_client(self, watcher: Watcher) -> None:
        """From now on the watcher closes when the client does. It has nothing to say, and is not listened to."""

        async def read() -> None:
            while (await self.socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR):
                pass
            watcher.close()

        self._reader = asyncio.create_task(read(), name="watch-websocket-reader")

    def send(self, events: Sequence[bytes]) -> None:
        parts: list[bytes] = []
        for event in events:
            size = len(event)
            if self.sizes is not None:
                self.sizes.observe(size)
            self.sent += size
            if size < 126:
                parts.append(bytes((self._opcode, size)))
            elif size < 1 << 16:
                parts.append(bytes((self._opcode, 126)) + size.to_bytes(2, "big"))
            else:
                parts.append(bytes((self._opcode, 127)) + size.to_bytes(8, "big"))
            parts.append(event)
        self._transport.write(b"".join(parts))

    async def write_eof(self, data: bytes = b"") -> None:
        return

    def release(self) -> None:
        if self._reader is not None:
            self._reader.cancel()

    async def finish(self) -> None:
        """Says goodbye, unless the client has gone or was cut off."""
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
        if not self._ended and not self.socket.closed and not self._transport.is_closing():
            await self.socket.close()


def is_websocket(request: web.BaseRequest) -> bool:
    headers = request.headers
    return headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in headers.get("Connection", "").lower()
