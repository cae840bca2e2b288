"""Bodies that take long to read are read few at a time, also when whoever sent them does not wait for it."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from timonel.api.errors import BadRequest
from timonel.apiserver.requests import RequestContext
from timonel.testing.clock import settle


def context(server: Any, body: bytes = b"a: b\n" * 20_000, media_type: str = "application/yaml") -> RequestContext:
    request: Any = SimpleNamespace(headers={"Content-Type": media_type})
    nothing: Any = None
    return RequestContext(request, server, nothing, nothing, nothing, nothing, None, nothing, body=body)


async def test_a_place_is_free_only_when_its_reading_is_over() -> None:
    server = SimpleNamespace(large_bodies=asyncio.Semaphore(1))
    may_end, began = threading.Event(), threading.Event()

    def slow(body: bytes) -> int:
        began.set()
        may_end.wait(10)
        raise BadRequest("broken")

    gone = asyncio.create_task(context(server).decode_body(slow))
    assert await asyncio.to_thread(began.wait, 10)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert server.large_bodies.locked()
    waiting = asyncio.create_task(context(server).decode_body(len))
    await settle()
    assert not waiting.done()
    may_end.set()
    assert await waiting == 100_000
    assert not server.large_bodies.locked()


@pytest.mark.parametrize(
    ("media_type", "size", "in_thread"),
    [
        ("application/yaml", 10_000, False),
        ("application/yaml", 70_000, True),
        ("application/json", 70_000, False),
        ("application/json; charset=utf-8", 300_000, True),
        ("application/merge-patch+json", 300_000, True),
        ("", 300_000, True),
    ],
)
async def test_what_takes_long_is_read_beside_the_others(media_type: str, size: int, in_thread: bool) -> None:
    server = SimpleNamespace(large_bodies=asyncio.Semaphore(1))
    thread = await context(server, b" " * size, media_type).decode_body(lambda body: threading.current_thread())
    assert (thread is not threading.main_thread()) == in_thread
