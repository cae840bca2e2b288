"""Waiting for what real processes, threads and sockets do: the one place where tests look again and again.

Whatever can be waited for by an event, a count or the virtual clock is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_LOOK_SECONDS = 0.01


async def wait_until(holds: Callable[[], T | Awaitable[T]], what: str = "", *, seconds: float = 20.0) -> T:
    """The first true answer. Raises AssertionError, with `what`, when there is none in time."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = holds()
                answer: T = await found if isinstance(found, Awaitable) else found
                if answer:
                    return answer
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise AssertionError(f"did not come about in {seconds:g} s: {what or holds}") from None


async def stays(holds: Callable[[], object | Awaitable[object]], what: str = "", *, seconds: float = 0.3) -> None:
    """It is so, and nobody changes it for a while: for what real parts must leave alone. Raises AssertionError."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        found = holds()
        if not (await found if isinstance(found, Awaitable) else found):
            raise AssertionError(f"did not stay: {what or holds}")
        if asyncio.get_running_loop().time() >= end:
            return
        await asyncio.sleep(_LOOK_SECONDS)
