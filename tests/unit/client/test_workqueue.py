"""The queue's contract: a key waits once, is with one worker, and comes back when added meanwhile."""

import asyncio

from timonel.client.workqueue import WorkQueue
from timonel.testing.clock import VirtualClock, settle


async def test_a_key_waits_once():
    queue = WorkQueue(VirtualClock())
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_is_with_one_worker_and_comes_back():
    queue = WorkQueue(VirtualClock())
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.is_idle


async def test_earliest_delay_counts():
    clock = VirtualClock()
    queue = WorkQueue(clock)
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    queue.add_after("b", 1)
    await clock.advance(4)
    assert len(queue) == 1
    await clock.advance(1)
    assert len(queue) == 2
    for _ in range(2):
        queue.done(await queue.get())
    await clock.advance(60)
    assert len(queue) == 0


async def test_retries_double_until_forgotten():
    clock = VirtualClock()
    queue = WorkQueue(clock, base_delay=1, max_delay=3)
    for delay in (1, 2, 3, 3):
        queue.add_rate_limited("a")
        await clock.advance(delay - 0.1)
        assert len(queue) == 0
        await clock.advance(0.1)
        queue.done(await queue.get())
    queue.forget("a")
    queue.add_rate_limited("a")
    await clock.advance(1)
    assert len(queue) == 1
    queue.close()


async def test_cancelled_worker_passes_its_wake_up_on():
    queue = WorkQueue(VirtualClock())
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await settle()
    queue.add("a")
    first.cancel()
    assert await second == "a"
