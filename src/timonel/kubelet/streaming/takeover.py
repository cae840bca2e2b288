"""Taking an HTTP connection over from aiohttp, for the protocols it does not know (`Upgrade: SPDY/3.1`).

aiohttp would parse whatever follows such a request as the next request. `TakeoverHandler` looks at each request head as
it arrives and keeps what comes after one that asks for SPDY, so that no byte is lost, not even one sent together with
the request. It also tells handlers when the client has gone, which plain aiohttp only does by cancelling them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_protocol import RequestHandler

from timonel.kubelet.streaming.byte_stream import READ_BYTES

_END_OF_HEAD = b"\r\n\r\n"
_MAX_HEAD_BYTES = 64 * 1024
_ASKS_FOR_SPDY = re.compile(rb"^upgrade:[ \t]*spdy/3\.1[ \t]*$", re.IGNORECASE | re.MULTILINE)


class TakeoverHandler(RequestHandler):
    __slots__ = ("_head", "_raw", "lost")

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(manager, loop=loop, **kwargs)
        self._head = bytearray()
        self._raw: asyncio.StreamReader | None = None
        self.lost = asyncio.Event()
        """Set when the connection is closed, by whichever side."""

    def data_received(self, data: bytes) -> None:
        if self._raw is None:
            self._head += data
            while (end := self._head.find(_END_OF_HEAD)) >= 0:
                end += len(_END_OF_HEAD)
                head, rest = bytes(self._head[:end]).replace(b"\r\n", b"\n"), bytes(self._head[end:])
                if _ASKS_FOR_SPDY.search(head):
                    self._start_raw(rest)
                    data = data[: len(data) - len(rest)]
                    break
                del self._head[:end]
            if len(self._head) > _MAX_HEAD_BYTES:
                del self._head[: -len(_END_OF_HEAD)]
            super().data_received(data)
        else:
            self._raw.feed_data(data)

    def _start_raw(self, first: bytes) -> None:
        assert self.transport is not None
        self._head.clear()
        self._raw = asyncio.StreamReader(limit=READ_BYTES, loop=self._loop)
        self._raw.set_transport(self.transport)
        if first:
            self._raw.feed_data(first)

    def eof_received(self) -> None:
        if self._raw is not None:
            self._raw.feed_eof()
        super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set()
        if self._raw is not None:
            self._raw.feed_eof()
        super().connection_lost(exc)

    @property
    def is_upgrade(self) -> bool:
        """The present request asks for SPDY; if it is refused, the connection must be closed."""
        return self._raw is not None

    def take_over(self) -> TakenOver:
        """From here on the connection is the caller's; its handler must return a `Done`."""
        if self._raw is None:
            raise RuntimeError("the request does not ask for SPDY")
        return TakenOver(self, self._raw)


class TakenOver:
    """The client's side after the 101, which `switch` writes."""

    def __init__(self, handler: TakeoverHandler, reader: asyncio.StreamReader) -> None:
        self._handler = handler
        self._reader = reader

    async def switch(self, headers: Iterable[tuple[str, str]]) -> None:
        lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in headers), "", ""]
        await self.write("\r\n".join(lines).encode("latin-1"))

    async def read(self) -> bytes:
        return await self._reader.read(READ_BYTES)

    async def write(self, data: bytes) -> None:
        transport = self._handler.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        transport.write(data)
        await self._handler._drain_helper()

    async def close(self) -> None:
        if self._handler.transport is not None:
            self._handler.transport.close()


class Done(web.StreamResponse):
    """Tells aiohttp that everything has been sent and the connection is used up."""

    def __init__(self) -> None:
        super().__init__(status=101)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return


class TakeoverServer(web.Server):
    def __call__(self) -> TakeoverHandler:
        return TakeoverHandler(self, loop=self._loop, **self._kwargs)
