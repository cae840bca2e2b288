"""Bodies that take long to read are read few at a time, also when whoever sent them does not wait for it."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from timonel.api.errors import BadRequest
from timonel.apiserver.requests import RequestContext


def context(server: Any) -> RequestContext:
    request = SimpleNamespace(headers={"Content-Type": "application/yaml"})
    nothing: Any = None
    return RequestContext(
        request, server, nothing, nothing, nothing, nothing, None, nothing, body=b"a: b\n" * 20_000  # type: ignore[arg-type]
    )  # fmt: skip


async def test_a_place_is_free_only_when_its_reading_is_over() -> None:
    server = SimpleNamespace(large_bodies=asyncio.Semaphore(1))
    may_end, began = threading.Event(), threading.Event()

    def slow(body: bytes) -> int:
        began.set()
        may_end.wait(10)
        raise BadRequest("broken")

    gone = asyncio.create_task(context(server).decode_body(slow))
    while not began.is_set():
        await asyncio.sleep(0.001)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert server.large_bodies.locked()
    waiting = asyncio.create_task(context(server).decode_body(len))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    may_end.set()
    assert await waiting == 100_000
    assert not server.large_bodies.locked()
