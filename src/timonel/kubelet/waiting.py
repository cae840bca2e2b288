"""Waiting for whichever comes first: what was announced, or its time."""

from __future__ import annotations

import asyncio

from timonel.api.clock import Clock


async def wait_event(event: asyncio.Event, seconds: float | None, clock: Clock) -> None:
    """Until the event is set or the seconds are over; None: however long it takes."""
    if seconds is None:
        await event.wait()
        return
    if seconds <= 0 or event.is_set():
        return
    waiter = asyncio.ensure_future(event.wait())
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((waiter, timer), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
        timer.cancel()
