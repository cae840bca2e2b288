"""The server tells of its own Events like any component, which knows errors of the API and no others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from timonel.api.errors import InternalError
from timonel.api.refs import EVENTS
from timonel.apiserver.own_client import OwnClient
from timonel.client.events import EventRecorder
from timonel.storage.protocol import StoreError
from timonel.testing.clock import VirtualClock


class FullDisk:
    async def create(self, *args: Any, **kw: Any) -> None:
        raise StoreError("disk is full")

    update = create


async def test_a_failing_store_is_an_internal_error() -> None:
    client = OwnClient(FullDisk())  # type: ignore[arg-type]
    with pytest.raises(InternalError, match="disk is full"):
        await client.create(EVENTS, {})
    with pytest.raises(InternalError, match="disk is full"):
        await client.patch(EVENTS, "e", {}, "default", type="merge")


async def test_events_that_cannot_be_written_end_nothing() -> None:
    clock = VirtualClock()
    recorder = EventRecorder(OwnClient(FullDisk()), component="c", clock=clock)  # type: ignore[arg-type]
    recorder.event({"metadata": {"name": "o"}}, "Normal", "Reason", "message")
    task = asyncio.create_task(recorder.run())
    for _ in range(12):
        await asyncio.sleep(0)
        await clock.advance(10)
    await recorder.drain()
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
