"""etcd killed, frozen or cut off: no acknowledged write is lost, and watches go on without a gap."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
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
from timonel.testing.waiting import wait_until


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


class Load:
    """Writers that note what was acknowledged, and after a doubtful answer look before they go on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.acknowledged: dict[int, tuple[str, bytes | None]] = {}
        self._arrived = threading.Condition()
        self._stopping = False

    def _acknowledge(self, revision: int, name: str, value: bytes | None) -> None:
        with self._arrived:
            self.acknowledged[revision] = (name, value)
            self._arrived.notify_all()

    def go_on(self, writes: int = 20) -> None:
        """In another thread: until so many more have been acknowledged."""
        target = len(self.acknowledged) + writes
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.acknowledged) >= target, 30):
                raise AssertionError(f"no {writes} writes were acknowledged in 30 s")

    async def write(self, worker: int) -> None:
        name, revision, round_number = f"/load/{worker}", 0, 0
        while not self._stopping:
            round_number += 1
            value = b"%d" % round_number
            try:
                if revision and round_number % 7 == 0:
                    self._acknowledge(await self._store.delete(name, revision), name, None)
                    revision = 0
                    continue
                if revision:
                    revision = await self._store.update(name, value, revision)
                else:
                    revision = await self._store.create(name, value)
                self._acknowledge(revision, name, value)
            except StoreError:
                found = await wait_until(lambda: self._look(name), seconds=30)
                revision = found[0]

    async def _look(self, name: str) -> tuple[int] | None:
        """The revision of what is there, 0 when nothing is; None when nobody knows."""
        try:
            found = await self._store.get(name)
        except StoreError:
            return None
        return (found.mod_revision if found else 0,)

    async def run(self, during: Callable[[Load], object]) -> None:
        async with asyncio.TaskGroup() as workers:
            for worker in range(8):
                workers.create_task(self.write(worker))
            await asyncio.to_thread(during, self)
            self._stopping = True


async def test_killed_twice_under_load(own_etcd: EtcdProcess) -> None:
    def kill_twice(load: Load) -> None:
        for _ in range(2):
            load.go_on()
            own_etcd.kill()
            own_etcd.start()
        load.go_on()

    store = await open_etcd(own_etcd.config(), SystemClock())
    await acknowledged_writes_survive(store, kill_twice)
    await store.close()


async def test_each_of_three_members_killed_in_turn(members: Sequence[EtcdProcess]) -> None:
    def kill_each(load: Load) -> None:
        for member in members:
            load.go_on()
            member.kill()
            load.go_on()  # with another leader, if this was it
            member.start()
        load.go_on()

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

    async def is_back() -> bool:
        with suppress(StoreError):
            await alone.catch_up()
            return True
        return False

    await wait_until(is_back)
    assert await alone.create("/c", b"") > 0
    await alone.close()


async def acknowledged_writes_survive(store: Store, during: Callable[[Load], None]) -> None:
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
