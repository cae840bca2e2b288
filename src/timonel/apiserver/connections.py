"""aiohttp's low-level server with one addition: long requests end when their client has gone.

Writes must not be cancelled half-way because a client hung up, but a watch or a log stream without a listener must
not linger. So a handler says which of the two it is.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from timonel.apiserver.proxy.takeover import UpgradeConnection

log = logging.getLogger(__name__)

_IDLE_SECONDS = 190.0
"""Longer than clients keep idle connections (Go: 90), so that it is they who close and no request meets the end."""
_MAX_LINE_BYTES = 256 * 1024
"""Of the request line and of each header: selectors and tokens are long. Go allows 1 MiB for all together."""


class Connection(UpgradeConnection):
    """One client connection. `cancel_when_lost`: set by long-running handlers."""

    __slots__ = ("cancel_when_lost",)

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self.cancel_when_lost = False

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What is no HTTP comes from clients: not worth a traceback in the log. Handlers log their own failures."""
        log.info("connection failed peer=%s error=%r", self.peername, kw.get("exc_info"))

    def connection_lost(self, exc: BaseException | None) -> None:
        task = self._task_handler
        super().connection_lost(exc)
        if self.cancel_when_lost and task is not None and not task.done():
            task.cancel()


class Listener(web.Server):
    """Makes `Connection`s. No access log: the audit log and the metrics say more."""

    def __call__(self) -> RequestHandler:
        return Connection(
            self,
            loop=self._loop,
            access_log=None,
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=2.0,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
        )


def cancel_when_lost(request: web.BaseRequest, on: bool = True) -> None:
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.cancel_when_lost = on
