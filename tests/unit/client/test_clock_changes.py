"""Waiting for the wall clock to be set, which a test must not do: a file that becomes readable stands in for it."""

from __future__ import annotations

import asyncio
import os

from timonel.client.clock_changes import ClockChanges
from timonel.testing.clock import settle


async def test_nothing_is_told_while_the_clock_just_goes_on() -> None:
    changes = ClockChanges()
    waiting = asyncio.create_task(changes.wait())
    await asyncio.sleep(0)
    await settle()
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    changes.close()
    changes.close()  # twice is no harm


async def test_a_file_that_becomes_readable_ends_the_wait() -> None:
    changes = ClockChanges()
    changes.close()
    changes._file = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    waiting = asyncio.create_task(changes.wait())
    await asyncio.sleep(0)
    os.eventfd_write(changes._file, 1)
    await asyncio.wait_for(waiting, 5)
    assert changes._file == -1  # it is no timer, so it cannot be set anew


async def test_where_it_cannot_be_known_nothing_is_ever_told() -> None:
    changes = ClockChanges()
    changes.close()
    waiting = asyncio.create_task(changes.wait())
    await settle()
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
