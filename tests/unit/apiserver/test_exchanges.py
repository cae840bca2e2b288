"""Requests on one connection: begun where their bytes arrive, answered in order, and the same however they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from timonel.apiserver.connections import Connection, Listener, cancel_when_lost
from timonel.apiserver.deadlines import Deadlines
from timonel.apiserver.heads import KnownRequest
from timonel.apiserver.responses import Reply

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 1234) if name == "peername" else default

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def bodies(self) -> list[bytes]:
        """Of the answers so far."""
        return [part.split(b"\r\n\r\n", 1)[1] for part in bytes(self.written).split(b"HTTP/1.1 200 OK\r\n")[1:]]


class Line:
    """A connection with its client's end."""

    def __init__(self, handler: Handler) -> None:
        self.transport = Transport()
        connection = Listener(handler, head_seconds=60)()
        assert isinstance(connection, Connection)
        self.connection = connection
        connection.connection_made(self.transport)

    def send(self, *lines: str) -> None:
        """A request without a body, in one piece."""
        self.feed("\r\n".join(lines) + "\r\n\r\n")

    def feed(self, text: str) -> None:
        """From the loop, as transports do, not from the test's task."""
        asyncio.get_running_loop().call_soon(self.connection.data_received, text.encode())

    async def answers(self, count: int) -> list[bytes]:
        async with asyncio.timeout(5):
            while len(self.transport.bodies()) < count:
                await asyncio.sleep(0)
        return self.transport.bodies()


HEAD = ("Host: api", "Authorization: Bearer secret", "User-Agent: test/1")
Start = Callable[[Handler], Awaitable[Line]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Connects; the connection's task waits for the first request."""
    lines: list[Line] = []

    async def connect(handler: Handler) -> Line:
        line = Line(handler)
        lines.append(line)
        await asyncio.sleep(0)
        return line

    yield connect
    for line in lines:
        line.connection.connection_lost(None)
    await asyncio.sleep(0)


async def tell_path(request: web.BaseRequest) -> web.StreamResponse:
    return Reply(request.raw_path.encode())


def seen_by(requests: list[web.BaseRequest]) -> Handler:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        requests.append(request)
        return Reply(request.raw_path.encode())

    return handler


async def test_what_waits_for_nothing_is_answered_in_the_turn_that_brings_it(start: Start) -> None:
    line = await start(tell_path)
    for number in range(3):
        line.send(f"GET /{number} HTTP/1.1", *HEAD)
        await asyncio.sleep(0)  # one turn
        assert line.transport.bodies()[-1] == f"/{number}".encode()


TARGETS = ("/api/v1/pods", "/a//b", "//x", "/?", "/a?b=c&d", "/a%2Fb/%20?x=%3D%2b", "/a?b=?/", "/a;b=1/../c:d")


@pytest.mark.parametrize("target", TARGETS)
async def test_a_known_head_makes_the_request_that_the_parser_makes(start: Start, target: str) -> None:
    requests: list[web.BaseRequest] = []
    line = await start(seen_by(requests))
    accept = ("Accept: application/json", "accept: application/yaml", "X-Odd:  spaces  ")
    for count in (1, 2):
        line.send(f"GET {target} HTTP/1.1", *HEAD, *accept)
        await line.answers(count)
    parsed, known = requests
    assert (isinstance(parsed, KnownRequest), isinstance(known, KnownRequest)) == (False, target != "/a;b=1/../c:d")
    for name in ("method", "raw_path", "path", "path_qs", "query", "query_string", "rel_url", "url", "headers", "host",
                 "raw_headers", "version", "keep_alive", "remote", "scheme", "secure", "can_read_body", "body_exists",
                 "content_type", "transport", "protocol"):  # fmt: skip
        assert getattr(known, name) == getattr(parsed, name), name
    assert known.headers.getall("Accept") == ["application/json", "application/yaml"]
    assert await known.read() == b""


@pytest.mark.parametrize(
    "lines",
    [
        ("GET /1 HTTP/1.1", *HEAD, "Connection: close"),
        ("GET /1 HTTP/1.0", *HEAD),
        ("GET /1 HTTP/1.1", *HEAD, "Connection: Upgrade", "Upgrade: websocket"),
        ("GET /1 HTTP/1.1", *HEAD, "Expect: 100-continue"),
        ("GET /1 HTTP/1.1", *HEAD, "Content-Length: 0"),
        ("HEAD /1 HTTP/1.1", *HEAD),
        ("DELETE /1 HTTP/1.1", *HEAD),
        ("GET http://api/1 HTTP/1.1", *HEAD),
        ("GET /1 HTTP/1.1", *HEAD, "X-Long: " + "x" * 5000),
    ],
)
async def test_what_is_not_plain_is_read_by_the_parser_each_time(start: Start, lines: tuple[str, ...]) -> None:
    requests: list[web.BaseRequest] = []
    for _ in range(2):
        line = await start(seen_by(requests))
        for count in (1, 2):
            line.send(*lines)
            async with asyncio.timeout(5):
                while line.transport.written.count(b"HTTP/1.1 ") < count and not line.transport.closed:
                    await asyncio.sleep(0)
    if "Content-Length: 0" not in lines:  # says nothing, and is known by its bytes like any other
        assert not any(isinstance(request, KnownRequest) for request in requests)


async def test_few_heads_are_remembered(start: Start) -> None:
    line = await start(tell_path)
    for number in range(20):
        line.send("GET / HTTP/1.1", *HEAD, f"Traceparent: {number}")
        await line.answers(number + 1)
    assert len(line.connection._heads._known) <= 2


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
async def test_however_requests_are_cut_up_each_is_answered_once_and_in_order(start: Start, size: int) -> None:
    line = await start(tell_path)
    text = "".join("\r\n".join((f"GET /{number} HTTP/1.1", *HEAD)) + "\r\n\r\n" for number in range(8))
    text += "POST /8 HTTP/1.1\r\nHost: api\r\nContent-Length: 4\r\n\r\nbody"
    text += "".join("\r\n".join((f"GET /{number} HTTP/1.1", *HEAD)) + "\r\n\r\n" for number in range(9, 12))
    for start_of_piece in range(0, len(text), size):
        line.feed(text[start_of_piece : start_of_piece + size])
        await asyncio.sleep(0)
    assert await line.answers(12) == [f"/{number}".encode() for number in range(12)]


async def test_a_head_that_follows_half_a_request_is_not_taken_for_one(start: Start) -> None:
    requests: list[web.BaseRequest] = []
    line = await start(seen_by(requests))
    line.send("GET /0 HTTP/1.1", *HEAD)
    await line.answers(1)
    line.feed("GET /1 HTTP/1.1\r\nX-Held: ")  # what comes next is this header's value, whatever it looks like
    await asyncio.sleep(0)
    line.send("GET /2 HTTP/1.1", *HEAD)
    assert (await line.answers(2))[1:] == [b"/1"]
    assert requests[1].headers["X-Held"] == "GET /2 HTTP/1.1"


async def test_a_body_that_looks_like_a_head_is_a_body(start: Start) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return Reply(request.raw_path.encode() + b" " + await request.read())

    line = await start(handler)
    line.send("GET /0 HTTP/1.1", *HEAD)
    await line.answers(1)
    inner = "\r\n".join(("GET /2 HTTP/1.1", *HEAD)) + "\r\n\r\n"
    line.send("POST /1 HTTP/1.1", "Host: api", f"Content-Length: {len(inner)}")
    await asyncio.sleep(0)
    line.feed(inner)
    assert (await line.answers(2))[1] == b"/1 " + inner.encode()


async def test_whoever_waits_is_answered_before_those_who_came_later(start: Start) -> None:
    gate = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path == "/slow":
            await gate.wait()
        return Reply(request.raw_path.encode())

    line = await start(handler)
    line.send("GET /quick HTTP/1.1", *HEAD)
    await line.answers(1)
    line.send("GET /slow HTTP/1.1", *HEAD)
    await asyncio.sleep(0)
    line.send("GET /quick HTTP/1.1", *HEAD)
    for _ in range(5):
        await asyncio.sleep(0)
    assert line.transport.bodies() == [b"/quick"]
    gate.set()
    assert await line.answers(3) == [b"/quick", b"/slow", b"/quick"]


async def test_requests_run_as_the_connections_task_whether_they_wait_or_not(start: Start) -> None:
    tasks: list[object] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        tasks.append(asyncio.current_task())
        if request.raw_path == "/slow":
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
            tasks.append(asyncio.current_task())
        return Reply(b"-")

    line = await start(handler)
    for count, path in enumerate(("/quick", "/slow", "/quick"), 1):
        line.send(f"GET {path} HTTP/1.1", *HEAD)
        await line.answers(count)
    assert len(tasks) == 4
    assert set(tasks) == {line.connection._task_handler}


async def test_a_request_that_is_late_before_its_task_has_seen_it_is_late(start: Start) -> None:
    """Its time may be over in the very turn in which it begins to wait."""
    cancelled: list[int] = []
    deadlines = Deadlines(60)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        try:
            with deadlines.start():
                asyncio.get_running_loop().call_soon(task.cancel)
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(task.cancelling())
            task.uncancel()
        return Reply(b"late")

    line = await start(handler)
    for count in (1, 2):
        line.send("GET / HTTP/1.1", *HEAD)
        assert (await line.answers(count))[-1] == b"late"
    assert cancelled == [1, 1]
    deadlines.close()


async def test_long_requests_end_with_their_client_and_others_do_not(start: Start) -> None:
    ended: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        cancel_when_lost(request, on=request.raw_path == "/long")
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        ended.append("done")
        return Reply(b"-")

    for path in ("/long", "/short"):
        line = await start(handler)
        line.send(f"GET {path} HTTP/1.1", *HEAD)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        line.connection.connection_lost(None)
        await asyncio.sleep(0.03)
    assert ended == ["cancelled", "done"]


async def test_a_handler_that_fails_costs_its_connection_only(start: Start) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        raise ValueError("a mistake of ours")

    line = await start(handler)
    line.send("GET / HTTP/1.1", *HEAD)
    async with asyncio.timeout(5):
        while not line.transport.closed:
            await asyncio.sleep(0)
    assert line.transport.written.startswith(b"HTTP/1.1 500 ")


async def test_the_last_answer_closes_the_connection(start: Start) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        answer = Reply(b"bye")
        answer.is_last = True
        return answer

    line = await start(handler)
    line.send("GET / HTTP/1.1", *HEAD)
    async with asyncio.timeout(5):
        while not line.transport.closed:
            await asyncio.sleep(0)
    assert b"Connection: close" in line.transport.written
