"""What takes longer than a request may is ended with TimeoutError, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest

from timonel.apiserver.deadlines import Deadlines


async def _wait(deadlines: Deadlines, seconds: float | None = None) -> None:
    with deadlines.start(seconds):
        await asyncio.Event().wait()


async def test_whoever_waits_too_long_is_ended() -> None:
    deadlines = Deadlines(0.01)
    with pytest.raises(TimeoutError):
        await _wait(deadlines)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_each_of_several_has_its_own_time() -> None:
    deadlines = Deadlines(0.05)
    ended: list[str] = []

    async def run(name: str, after: asyncio.Event, begun: asyncio.Event) -> None:
        await after.wait()
        begun.set()
        with pytest.raises(TimeoutError):
            await _wait(deadlines)
        ended.append(name)

    first, second, third, fourth = (asyncio.Event() for _ in range(4))
    first.set()
    await asyncio.gather(run("second", second, third), run("first", first, second), run("third", third, fourth))
    assert ended == ["first", "second", "third"]


async def test_less_time_can_be_asked_for() -> None:
    deadlines = Deadlines(60)
    with pytest.raises(TimeoutError):
        await _wait(deadlines, 0.01)
    deadlines.close()


async def test_a_cancelled_request_is_cancelled_and_not_late() -> None:
    deadlines = Deadlines(60)
    task = asyncio.create_task(_wait(deadlines))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadlines.close()


async def test_cancelled_and_late_at_once_is_cancelled() -> None:
    deadlines = Deadlines(60)

    async def wait() -> None:
        with (deadline := deadlines.start()):
            asyncio.get_running_loop().call_soon(deadline.expire)
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadlines.close()


async def test_whoever_ended_in_time_is_left_alone() -> None:
    deadlines = Deadlines(0.01)
    with deadlines.start():
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await _wait(deadlines)  # whose time is over later than that one's was
