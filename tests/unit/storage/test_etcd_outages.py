"""etcd killed, frozen or cut off: no acknowledged write is lost, and watches go on without a gap."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.unit.storage.relay import Relay
from tests.unit.storage.test_watch_cache import PODS, key, node_of, pod, put
from timonel.api.clock import SystemClock
from timonel.storage.cache import WatchCache
from timonel.storage.cached_object import CachedObject
from timonel.storage.codec import Codec, encode
from timonel.storage.etcd import EtcdConfig, EtcdStore, open_etcd
from timonel.storage.protocol import Compacted, Event, Store, StoreError
from timonel.testing.etcd import EtcdProcess, etcd_binary


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[EtcdProcess]:
    if etcd_binary() is None:
        pytest.skip("etcd is not installed (Debian: apt install etcd-server)")
    with EtcdProcess(tmp_path) as process:
        yield process


@pytest.fixture
async def relay(etcd: EtcdProcess) -> AsyncIterator[Relay]:
    opened = await Relay.open(etcd.port)
    yield opened
    await opened.close()


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Sequence[EtcdProcess]]:
    if etcd_binary() is None:
        pytest.skip("etcd is not installed (Debian: apt install etcd-server)")
    cluster = EtcdProcess.cluster(tmp_path)
    with ExitStack() as started:
        for member in cluster:
            started.enter_context(member)
        yield cluster


async def wait_until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


class Load:
    """Writers that note what was acknowledged, and after a doubtful answer look before they go on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.acknowledged: dict[int, tuple[str, bytes | None]] = {}
        self._stopping = False

    async def write(self, worker: int) -> None:
        name, revision, round_number = f"/load/{worker}", 0, 0
        while not self._stopping:
            round_number += 1
            value = b"%d" % round_number
            try:
                if revision and round_number % 7 == 0:
                    at = await self._store.delete(name, revision)
                    self.acknowledged[at], revision = (name, None), 0
                    continue
                if revision:
                    revision = await self._store.update(name, value, revision)
                else:
                    revision = await self._store.create(name, value)
                self.acknowledged[revision] = (name, value)
            except StoreError:
                await asyncio.sleep(0.02)
                with suppress(StoreError):
                    found = await self._store.get(name)
                    revision = found.mod_revision if found else 0

    async def run(self, during: Callable[[], object]) -> None:
        async with asyncio.TaskGroup() as workers:
            for worker in range(8):
                workers.create_task(self.write(worker))
            await asyncio.to_thread(during)
            self._stopping = True


async def test_killed_twice_under_load(own_etcd: EtcdProcess) -> None:
    def kill_twice() -> None:
        for _ in range(2):
            time.sleep(0.4)
            own_etcd.kill()
            time.sleep(0.2)
            own_etcd.start()
        time.sleep(0.6)

    store = await open_etcd(own_etcd.config(), SystemClock())
    await acknowledged_writes_survive(store, kill_twice)
    await store.close()


async def test_each_of_three_members_killed_in_turn(members: Sequence[EtcdProcess]) -> None:
    def kill_each() -> None:
        for member in members:
            time.sleep(0.2)
            member.kill()
            time.sleep(0.8)  # long enough to elect another leader, if this was it
            member.start()
        time.sleep(0.9)

    endpoints = tuple(member.endpoint for member in members)
    store = await open_etcd(members[0].config(endpoints=endpoints), SystemClock())
    await acknowledged_writes_survive(store, kill_each)
    await store.close()


async def test_a_member_that_has_lost_the_others_acknowledges_nothing_until_they_are_back(
    members: Sequence[EtcdProcess],
) -> None:
    alone = await open_etcd(dataclasses.replace(members[0].config(), call_seconds=1), SystemClock())
    await alone.create("/a", b"")
    for member in members[1:]:
        member.pause()
    with pytest.raises(StoreError):
        await alone.create("/b", b"")
    with pytest.raises(StoreError):
        await alone.catch_up()
    for member in members[1:]:
        member.resume()
    async with asyncio.timeout(20):
        while True:
            try:
                await alone.catch_up()
                break
            except StoreError:
                await asyncio.sleep(0.05)
    assert await alone.create("/c", b"") > 0
    await alone.close()


async def acknowledged_writes_survive(store: Store, during: Callable[[], None]) -> None:
    """Puts load on the store meanwhile. Whether any write was refused is left to chance: a short outage is bridged."""
    base = store.delivered_revision
    told: list[Event] = []
    watched: list[Event] = []
    store.subscribe("/load/", told.extend)

    async def watch() -> None:
        async for batch in store.watch("/load/", base + 1):
            watched.extend(batch)

    watching = asyncio.create_task(watch())
    load = Load(store)
    await load.run(during)
    await store.catch_up()
    last = store.delivered_revision
    assert len(load.acknowledged) > 50
    history = await store.changes("/load/", base, last)
    await wait_until(lambda: bool(watched) and watched[-1].revision >= history[-1].revision)
    watching.cancel()
    written = {event.revision: (event.key, event.value) for event in history}
    assert load.acknowledged.items() <= written.items()
    assert watched == list(history)
    assert [(e.key, e.revision, e.value) for e in told] == [(e.key, e.revision, e.value) for e in history]
    for event in history:
        if event.previous_revision:
            assert written[event.previous_revision] == (event.key, event.previous)


async def test_a_frozen_etcd_costs_an_error_and_not_the_process(own_etcd: EtcdProcess) -> None:
    config = dataclasses.replace(own_etcd.config(), call_seconds=0.3)
    store = await open_etcd(config, SystemClock())
    revision = await store.create("/a", b"1")
    own_etcd.pause()
    with pytest.raises(StoreError, match="did not answer in time; check its disk"):
        await store.update("/a", b"2", revision)
    with pytest.raises(StoreError, match="did not answer in time"):
        await store.catch_up()
    own_etcd.resume()
    # It may have been done or not, which the writer was told; the cache knows in either case.
    await store.catch_up()
    entry = await store.get("/a")
    assert entry is not None
    assert await store.update("/a", b"3", entry.mod_revision) > revision
    await store.close()


async def test_nobody_there_is_said_with_the_address(own_etcd: EtcdProcess) -> None:
    own_etcd.kill()
    with pytest.raises(StoreError, match=rf"etcd is away at {own_etcd.endpoint}: .*check that it runs"):
        await open_etcd(dataclasses.replace(own_etcd.config(), call_seconds=0.5), SystemClock())


async def open_through(config: EtcdConfig, *relays: Relay) -> EtcdStore:
    endpoints = tuple(relay.endpoint for relay in relays)
    return await open_etcd(dataclasses.replace(config, endpoints=endpoints), SystemClock())


async def test_when_a_member_goes_the_next_one_serves(
    etcd: EtcdProcess, relay: Relay, new_config: Callable[[], EtcdConfig]
) -> None:
    other = await Relay.open(etcd.port)
    store = await open_through(new_config(), relay, other)
    told: list[Event] = []
    store.subscribe("/", told.extend)
    revisions = [await store.create("/0", b"")]
    for number, gone in enumerate((relay, other), 1):
        await gone.stop()
        async with asyncio.timeout(10):
            while True:
                try:
                    revisions.append(await store.create(f"/{number}", b""))
                    break
                except StoreError:  # the call under way when the member went
                    assert await store.get(f"/{number}") is None
        await gone.start()
    assert [event.revision for event in told] == revisions
    await store.close()
    await other.close()


async def test_the_first_endpoint_may_be_down_from_the_start(
    relay: Relay, new_config: Callable[[], EtcdConfig]
) -> None:
    config = new_config()
    await relay.stop()
    config = dataclasses.replace(config, endpoints=(relay.endpoint, *config.endpoints))
    store = await open_etcd(config, SystemClock())
    assert await store.create("/a", b"") > 0
    await store.close()


async def test_cut_off_for_longer_than_history_is_kept(relay: Relay, new_config: Callable[[], EtcdConfig]) -> None:
    """The cache reads all again; its listeners hear what differs, and its watches end, for they would have a gap."""
    config = new_config()
    near, far = await open_through(config, relay), await open_etcd(config, SystemClock())
    cache = WatchCache(near, PODS, codec=Codec(), fields={"spec.nodeName": node_of}, index_fields=("spec.nodeName",))
    await cache.start()
    for name in ("kept", "changed", "gone"):
        await put(cache, pod(name))
    heard: list[tuple[str, str]] = []

    def hear(old: CachedObject | None, new: CachedObject | None) -> None:
        heard.append((old.name if old else "", new.name if new else ""))

    cache.subscribe(hear)
    heard.clear()
    before = cache.revision
    watcher = cache.watch(after_revision=before)
    await relay.stop()
    held = {cached.name: cached for cached in cache.list()}
    await far.update(key("changed"), encode(pod("changed", node="n1")), held["changed"].revision)
    await far.delete(key("gone"), held["gone"].revision)
    last = await far.create(key("new"), encode(pod("new", node="n1")))
    await far.compact(last)
    await relay.start()
    await wait_until(lambda: cache.revision >= last)
    assert sorted(heard) == [("", "new"), ("changed", "changed"), ("gone", "")]
    assert [(cached.name, cached.revision) for cached in cache.list()] == [
        ("changed", last - 2), ("kept", held["kept"].revision), ("new", last),
    ]  # fmt: skip
    assert [cached.name for cached in cache.list_by_field("spec.nodeName", "n1")] == ["changed", "new"]
    assert [event async for event in watcher] == []
    with pytest.raises(Compacted):
        cache.watch(after_revision=before)
    after = cache.watch(after_revision=cache.revision)
    written = await put(cache, pod("later"))
    assert [event.revision for event in await anext(after)] == [written.revision]
    await near.close()
    await far.close()
