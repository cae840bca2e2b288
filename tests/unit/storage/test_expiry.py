"""Keys with a time to live go by an ordinary deletion that watchers see."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from timonel.storage.protocol import Event
from timonel.storage.sqlite import SqliteStore, open_sqlite
from timonel.testing.clock import VirtualClock


class Deletions:
    def __init__(self, store: SqliteStore) -> None:
        self.keys: list[str] = []
        self._changed = asyncio.Event()
        store.subscribe("/", self._hear)

    def _hear(self, events: Sequence[Event]) -> None:
        self.keys += [event.key for event in events if event.value is None]
        self._changed.set()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.keys) < count:
                self._changed.clear()
                await self._changed.wait()


async def settle(store: SqliteStore) -> None:
    """The timers answer after the writer thread; a read queues behind it."""
    for _ in range(5):
        await store.size_bytes()
        await asyncio.sleep(0)


async def test_a_key_goes_when_its_time_is_over_and_not_before(sqlite: SqliteStore, clock: VirtualClock) -> None:
    deletions = Deletions(sqlite)
    await sqlite.create("/late", b"", ttl_seconds=100)
    await sqlite.create("/early", b"", ttl_seconds=10)
    await sqlite.create("/for-ever", b"")
    await settle(sqlite)
    await clock.advance(9)
    await settle(sqlite)
    assert deletions.keys == []
    await clock.advance(1)
    await deletions.wait_for(1)
    await settle(sqlite)
    await clock.advance(89)
    await settle(sqlite)
    assert deletions.keys == ["/early"]
    await clock.advance(1)
    await deletions.wait_for(2)
    assert deletions.keys == ["/early", "/late"]
    assert await sqlite.get("/late") is None
    assert await sqlite.get("/for-ever") is not None


async def test_an_update_gives_a_new_time_or_none(sqlite: SqliteStore, clock: VirtualClock) -> None:
    deletions = Deletions(sqlite)
    first = await sqlite.create("/kept", b"", ttl_seconds=10)
    second = await sqlite.create("/longer", b"", ttl_seconds=10)
    await sqlite.update("/kept", b"", first)
    await sqlite.update("/longer", b"", second, ttl_seconds=50)
    await settle(sqlite)
    await clock.advance(20)
    await settle(sqlite)
    assert deletions.keys == []
    await clock.advance(30)
    await deletions.wait_for(1)
    assert deletions.keys == ["/longer"]


async def test_thousands_may_expire_at_once(sqlite: SqliteStore, clock: VirtualClock) -> None:
    deletions = Deletions(sqlite)
    await asyncio.gather(*(sqlite.create(f"/{n}", b"", ttl_seconds=5) for n in range(1700)))
    await settle(sqlite)
    await clock.advance(5)
    await deletions.wait_for(1700)
    assert len(set(deletions.keys)) == 1700
    assert (await sqlite.range("/")).entries == []


async def test_time_goes_on_while_the_store_is_closed(tmp_path: pytest.TempPathFactory) -> None:
    path = f"{tmp_path}/state.db"
    clock = VirtualClock()
    store = await open_sqlite(path, clock=clock)
    await store.create("/a", b"", ttl_seconds=10)
    await store.close()
    await clock.advance(60)
    store = await open_sqlite(path, clock=clock)
    deletions = Deletions(store)
    await deletions.wait_for(1)
    assert await store.get("/a") is None
    await store.close()
