"""What clients may not do to a connection: send heads slowly or without end, or what is no HTTP.

The head of a request must arrive in time and may not be too large, all its headers together: such clients are hung up
on, or told so. How long a body may take is the request's own time; how slowly an answer may be read, `responses.py`'s.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from timonel.apiserver.proxy.takeover import UpgradeConnection
from timonel.apiserver.responses import Reply

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 1024 * 1024
"""Of the request line and all headers: selectors and tokens are long. As upstream."""
MAX_HEADERS = 20_000
"""More do not fit into the bytes."""


class LimitedConnection(UpgradeConnection):
    __slots__ = ("_body", "_head_bytes", "_head_seconds", "_head_timer")

    def __init__(
        self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, head_seconds: float = 32.0, **options: Any
    ) -> None:
        super().__init__(manager, loop=loop, **options)
        self._head_seconds = head_seconds
        self._head_timer: asyncio.TimerHandle | None = None
        """Runs while a head is awaited: after connecting, and from its first byte on."""
        self._head_bytes = 0
        self._body: StreamReader = EMPTY_PAYLOAD
        """Of the newest request; what comes after its end is the next head."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(self._head_seconds, self._hang_up)

    def data_received(self, data: bytes) -> None:
        in_head, requests = self._body.is_eof(), self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._head_bytes = 0
            if self._messages:
                self._body = self._messages[-1][1]
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif in_head and not self._upgraded and self._raw is None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
            elif self._head_timer is None:
                self._head_timer = self._loop.call_later(self._head_seconds, self._hang_up)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """aiohttp calls it for every piece of a body that is taken, mostly when nothing was paused; then it would feed
        the parser with nothing, for 5 µs."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _refuse_head(self) -> None:
        """While earlier requests are being answered there is no place to say why."""
        if self.transport is not None and not self._request_in_progress:
            self.transport.write(_refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        self._hang_up()

    def _hang_up(self) -> None:
        log.info(
            "client sent no request head in time, or too large a one peer=%s bytes=%d", self.peername, self._head_bytes
        )
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP: said in plain text, for whoever it is speaks no Status."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        if isinstance(exc, LineTooLong) or (message or "").startswith("Too many headers"):
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        log.info("client sent no HTTP peer=%s status=%d why=%s", self.peername, status, _one_line(message))
        return Reply(_status_line(status).encode(), status=status, content_type="text/plain; charset=utf-8")

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What is no HTTP comes from clients: not worth a traceback in the log. Handlers log their own failures."""
        log.info("connection failed peer=%s error=%r", self.peername, kw.get("exc_info"))

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().connection_lost(exc)


def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _refusal(status: int) -> bytes:
    text = _status_line(status)
    return f"HTTP/1.1 {text}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text}".encode()


def _one_line(message: str | None) -> str:
    return " ".join((message or "").split())[:200]
