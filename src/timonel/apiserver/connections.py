"""aiohttp's low-level server, and how a connection runs its requests.

aiohttp wakes a task for each request, which starts another one that handles it. Most requests wait for nothing: so they
are begun where their bytes arrive, and only what has to wait is left to the connection's task. That saves a GET three
turns of the event loop, 20 µs. A request is the same coroutine on either way, and runs under the same task's name.

Long requests end when their client has gone: writes must not be cancelled half-way because a client hung up, but a
watch or a log stream without a listener must not linger. So a handler says which of the two it is.
"""

from __future__ import annotations

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import ERROR, PayloadAccessError, RequestHandler

from timonel.apiserver.head_limits import MAX_HEAD_BYTES, MAX_HEADERS, LimitedConnection
from timonel.apiserver.heads import END, Heads, KnownRequest, Request
from timonel.apiserver.responses import Reply

_IDLE_SECONDS = 190.0
"""Longer than clients keep idle connections (Go: 90), so that it is they who close and no request meets the end."""
_LINGER_SECONDS = 2.0
_LONGEST_LENGTH = 20
"""Digits."""
_BODY_IS_OVER = PayloadAccessError()

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Exchange = Coroutine[Any, Any, bool]


class Connection(LimitedConnection):
    """One client connection. `cancel_when_lost`: set by long-running handlers."""

    __slots__ = ("_begun", "_has_ended", "_heads", "_is_between", "cancel_when_lost")

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self.cancel_when_lost = False
        self._heads = Heads()
        self._is_between = True
        """Whether the next byte is known to be the first of a request."""
        self._begun: tuple[Exchange, Any] | None = None
        """A request that has to wait, and for what; for the connection's task to go on with."""
        self._has_ended = False
        """The last request on this connection has been answered."""

    # What arrives

    def data_received(self, data: bytes) -> None:
        waiter, task = self._waiter, self._task_handler
        if (
            waiter is None
            or waiter.done()
            or task is None
            or self._request_in_progress
            or self._messages
            or self._paused
            or self._upgraded
            or self._close
            or self._force_close
            or self._raw is not None
        ):
            self._read(data)
            return
        if self._is_between and (known := self._heads.find(data)) is not None:
            self._carry = b""
            self._request_count += 1
            target, head = known
            self._begin(self._exchange(KnownRequest(head, target, self, task), EMPTY_PAYLOAD), task)
            return
        self._waiter = None  # the parser's caller would wake the task
        try:
            self._read(data)
        finally:
            self._waiter = waiter
        messages = self._messages
        if self._force_close or self._close:
            waiter.cancel()
        elif len(messages) == 1 and messages[0][1] is EMPTY_PAYLOAD and not self._upgraded:
            self._begin(self._next(), task)
        elif messages:
            waiter.set_result(None)  # what has a body waits for the store anyway

    def _read(self, data: bytes) -> None:
        """By the parser; learns what it made of a whole request, to know it again."""
        was_between, requests = self._is_between, self._request_count
        self._is_between = False
        super().data_received(data)
        if self._request_count == requests + 1 and self._messages and not self._upgraded:
            message, payload = self._messages[-1]
            if isinstance(message, RawRequestMessage) and payload.is_eof():
                end = data.find(END) + len(END)
                self._is_between = len(data) - end == _length(message)
                if was_between and self._is_between and payload is EMPTY_PAYLOAD:
                    self._heads.learn(data, message)

    def connection_lost(self, exc: BaseException | None) -> None:
        task = self._task_handler
        super().connection_lost(exc)
        if self.cancel_when_lost and task is not None and not task.done():
            task.cancel()

    # What is done with it

    def _begin(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        """Runs it, as the connection's task, up to where it has to wait."""
        loop = self._loop
        try:
            _enter_task(loop, task)
        except RuntimeError:  # some other task feeds this connection
            self._begun = exchange, None
            self._wake()
            return
        try:
            waits_for = exchange.send(None)
        except StopIteration as stop:
            if not stop.value:
                self._has_ended = True
                self._wake()
        except asyncio.CancelledError:
            self.force_close()
        else:
            self._begun = exchange, waits_for
            self._wake()
        finally:
            _leave_task(loop, task)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def start(self) -> None:
        """The connection's task: what had to wait, and what came while it did."""
        goes_on = True
        while goes_on and not self._force_close:
            if not self._messages:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                except asyncio.CancelledError:
                    task = asyncio.current_task()
                    if self._begun is None or task is None:
                        raise
                    task.uncancel()
                    task.cancel()  # what it waits for, once it does
                finally:
                    self._waiter = None
            if self._begun is not None:
                exchange, waits_for = self._begun
                self._begun = None
                goes_on = await _finish(exchange, waits_for)
            elif self._has_ended:
                goes_on = False
            elif self._messages:
                goes_on = await self._next()
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    def _next(self) -> Exchange:
        """The request that came first."""
        message, payload = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        task = self._task_handler
        assert task is not None
        if isinstance(message, RawRequestMessage):
            request = Request.parsed(message, payload, self, StreamWriter(self, self._loop), task)
            return self._exchange(request, payload)
        request = Request.parsed(ERROR, payload, self, StreamWriter(self, self._loop), task)
        return self._exchange(request, payload, self._make_error_handler(message))

    async def _exchange(self, request: Request, payload: StreamReader, handler: Handler | None = None) -> bool:
        """One request and its answer. Whether the connection may take another."""
        manager = self._manager
        if manager is None:
            return False
        manager.requests_count += 1
        self._request_in_progress = True
        self._current_request = request
        try:
            try:
                response = await (handler or manager.request_handler)(request)
            except (asyncio.CancelledError, ConnectionError):
                raise
            except Exception as exc:  # noqa: BLE001 - as aiohttp does
                response = self.handle_error(request, 500, exc)
            self._current_request = None
            if self._upgraded:
                response, has_gone = await self.finish_response(request, response, None)
                if has_gone:
                    return False
            elif isinstance(response, Reply):
                response.send(request)
                if self._paused:
                    await response.write_eof()
            else:
                await response.prepare(request)
                await response.write_eof()
            self._keepalive = bool(response.keep_alive)
            if payload is not EMPTY_PAYLOAD:
                if not payload.is_eof() and not await self._linger(payload):
                    return False
                payload.set_exception(_BODY_IS_OVER)
        except ConnectionError:
            return False
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception as exc:  # noqa: BLE001 - logged
            self.log_exception("Unhandled exception", exc_info=exc)
            self.force_close()
            return False
        finally:
            self._current_request = None
            self._request_in_progress = False
            if self._handler_waiter is not None and not self._handler_waiter.done():
                self._handler_waiter.set_result(None)
            request._task = None  # type: ignore[assignment]  # a cycle, while an exception is kept
        if not self._keepalive or self._close or self._force_close:
            return False
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        return True

    async def _linger(self, payload: StreamReader) -> bool:
        """Takes what is left of a body that nobody wanted, for the next request comes after it. Whether all came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._lingering_time):
                while not payload.is_eof() and not self._force_close:
                    await payload.readany()
        return payload.is_eof()


def _length(message: RawRequestMessage) -> int:
    """Of the body; -1 if that is not said."""
    if message.chunked:
        return -1
    text = message.headers.get("Content-Length", "0")
    return int(text) if text.isdecimal() and len(text) < _LONGEST_LENGTH else -1


@types.coroutine
def _finish(exchange: Exchange, waits_for: Any) -> Generator[Any, Any, bool]:
    """Goes on with a coroutine that has been run up to its first wait."""
    try:
        yield waits_for
    except BaseException as exc:  # noqa: BLE001 - all of it is for the coroutine
        thrown = exc
    else:
        return bool((yield from exchange))
    try:
        waits_for = exchange.throw(thrown)
    except StopIteration as stop:
        return bool(stop.value)
    return (yield from _finish(exchange, waits_for))


class Listener(web.Server):
    """Makes `Connection`s. No access log: the audit log and the metrics say more."""

    def __init__(
        self,
        handler: Handler,
        *,
        head_seconds: float,
    ) -> None:
        super().__init__(handler)
        self._head_seconds = head_seconds

    def __call__(self) -> RequestHandler:
        return Connection(
            self,
            loop=self._loop,
            access_log=None,
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=_LINGER_SECONDS,
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,  # as upstream, which does not look at Content-Encoding
            head_seconds=self._head_seconds,
        )


def cancel_when_lost(request: web.BaseRequest, on: bool = True) -> None:
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.cancel_when_lost = on
