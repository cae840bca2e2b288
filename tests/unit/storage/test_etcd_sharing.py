"""Several servers on one etcd: each learns of the others' writes in order, and can wait until it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.unit.storage.test_watch_cache import PODS, key, pod, put, started
from timonel.storage.cache import WatchCache
from timonel.storage.etcd import EtcdConfig, EtcdStore, open_etcd
from timonel.storage.etcd.client import EtcdClient
from timonel.storage.etcd.compaction import Compactor
from timonel.storage.etcd.leases import Leases
from timonel.storage.etcd.progress import SharedReading
from timonel.storage.protocol import Compacted, Event, RevisionMismatch, StoreError
from timonel.testing.clock import VirtualClock
from timonel.testing.etcd import EtcdProcess


@pytest.fixture
async def pair(new_config: Callable[[], EtcdConfig]) -> AsyncIterator[tuple[EtcdStore, EtcdStore]]:
    config = new_config()
    stores = await open_etcd(config, VirtualClock()), await open_etcd(config, VirtualClock())
    yield stores
    for store in stores:
        await store.close()


async def test_two_caches_see_all_writes_in_one_order(pair: tuple[EtcdStore, EtcdStore]) -> None:
    caches = [await started(store) for store in pair]
    watchers = [cache.watch(after_revision=cache.revision) for cache in caches]

    async def write(cache: WatchCache, name: str) -> None:
        for n in range(30):
            written = await put(cache, pod(name, node=str(n)))
            assert cache.get(key(name)) is written
        await cache.delete(key(name), written.revision)

    await asyncio.gather(*(write(cache, f"{at}-{n}") for at, cache in enumerate(caches) for n in range(3)))
    for cache in caches:
        await cache.catch_up()
        assert cache.list() == []
    seen = []
    for watcher in watchers:
        watcher.close()
        seen.append([(event.type, event.subject.key, event.revision) async for batch in watcher for event in batch])
    assert seen[0] == seen[1]
    assert len(seen[0]) == 6 * 31
    revisions = [revision for _, _, revision in seen[0]]
    assert revisions == sorted(set(revisions))


async def test_after_catching_up_a_cache_has_what_others_were_acknowledged(pair: tuple[EtcdStore, EtcdStore]) -> None:
    near, far = await started(pair[0]), await started(pair[1])
    assert near.is_shared
    for n in range(40):
        written = await put(near, pod("a", node=str(n)))
        if n % 2:
            await far.catch_up()
        else:
            await far.catch_up(written.revision)
        cached = far.get(key("a"))
        assert cached is not None
        assert (cached.revision, cached.value) == (written.revision, written.value)


async def test_a_revision_that_does_not_exist_is_not_waited_for(pair: tuple[EtcdStore, EtcdStore]) -> None:
    store = pair[0]
    async with asyncio.timeout(5):
        await store.catch_up(await store.current_revision() + 10**6)


async def test_writes_outside_of_the_prefix_do_not_keep_anybody_waiting(
    pair: tuple[EtcdStore, EtcdStore], new_config: Callable[[], EtcdConfig]
) -> None:
    foreign = await open_etcd(new_config(), VirtualClock())
    cache = await started(pair[0])
    revision = await foreign.create("/x", b"")
    async with asyncio.timeout(5):
        await cache.catch_up()
    assert cache.revision >= revision
    told: list[Event] = []
    pair[0].subscribe("", told.extend)
    revision = await foreign.update("/x", b"", revision)
    await pair[0].catch_up(revision)
    assert told == []  # how the watch was moved on is nobody's business
    assert (await pair[0].range("")).entries == []
    assert await pair[0].changes("", revision - 1, revision) == []
    await foreign.close()


async def test_a_refused_writer_knows_what_was_in_his_way(pair: tuple[EtcdStore, EtcdStore]) -> None:
    near, far = await started(pair[0]), await started(pair[1])
    first = await put(near, pod("a"))
    await far.catch_up()
    second = await put(near, pod("a", node="n1"))
    with pytest.raises(RevisionMismatch):
        await pair[1].update(key("a"), b"", first.revision)
    current = far.get(key("a"))
    assert current is not None
    assert current.revision == second.revision
    await near.delete(key("a"), second.revision)
    with pytest.raises(RevisionMismatch) as gone:
        await pair[1].update(key("a"), b"", second.revision)
    assert gone.value.current is None
    assert far.get(key("a")) is None


async def test_an_etcd_that_went_back_is_noticed(pair: tuple[EtcdStore, EtcdStore]) -> None:
    store = pair[0]
    store._feed.begin_after(await store.current_revision() + 1000)  # as after `etcdctl snapshot restore`
    with pytest.raises(StoreError, match=r"etcd went back from revision \d+ to \d+: it was restored or replaced"):
        await store.catch_up()


async def test_readers_share_readings_but_none_that_began_before_they_came() -> None:
    answers = iter(range(1, 100))
    gates: list[asyncio.Event] = []

    async def read() -> int:
        gates.append(asyncio.Event())
        answer = next(answers)
        await gates[-1].wait()
        return answer

    newest = SharedReading(read)
    first = asyncio.ensure_future(newest())
    for _ in range(3):
        await asyncio.sleep(0)
    later = [asyncio.ensure_future(newest()) for _ in range(50)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(gates) == 1
    gates[0].set()
    assert await first == 1
    while len(gates) < 2:
        await asyncio.sleep(0)
    later.pop().cancel()  # one who gives up takes nothing from the others
    gates[1].set()
    assert set(await asyncio.gather(*later)) == {2}


async def test_only_one_of_several_servers_compacts(etcd: EtcdProcess, new_config: Callable[[], EtcdConfig]) -> None:
    """In each interval one of them takes the turn; what is younger than an interval is kept."""
    config = new_config()
    clients = [EtcdClient(config) for _ in range(2)]
    seen: list[list[int]] = [[], []]
    one, two = (
        Compactor(client, VirtualClock(), interval_seconds=300, on_compacted=heard.append)
        for client, heard in zip(clients, seen, strict=True)
    )
    store = await open_etcd(config, VirtualClock())
    for _ in range(2):  # whatever was agreed before: each learns of it
        await one.take_turn()
        await two.take_turn()
    old = await store.create("/a", b"")
    assert (await one.take_turn(), await two.take_turn()) == (True, False)
    assert seen[0][-1] == seen[1][-1] < old
    between = await store.update("/a", b"", old)
    assert (await one.take_turn(), await two.take_turn()) == (True, False)
    assert old <= seen[0][-1] == seen[1][-1] < between
    assert [event.revision for event in await store.changes("/a", between - 1, between)] == [between]
    with pytest.raises(Compacted):
        await store.changes("/a", old - 1, between)
    # When the one that did it is gone, the other takes over.
    assert await two.take_turn()
    assert seen[1][-1] > seen[0][-1]
    await store.close()
    for client in clients:
        await client.close()


class Grants:
    """Stands in for the client: counts leases."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def grant(self, ttl_seconds: int) -> tuple[int, int]:
        self.asked.append(ttl_seconds)
        await asyncio.sleep(0)
        return len(self.asked), ttl_seconds


async def test_ten_thousand_events_share_ten_leases() -> None:
    grants, clock = Grants(), VirtualClock()
    leases = Leases(grants, clock)  # type: ignore[arg-type]
    used = await asyncio.gather(*(leases.lease_for(3600) for _ in range(10_000)))
    assert len(set(used)) == len(grants.asked) == 10
    assert set(grants.asked) == {3660}  # at most a minute longer
    assert await leases.lease_for(3600) == 11  # the tenth has its thousand
    await clock.advance(60)
    assert await leases.lease_for(3600) == 11
    await clock.advance(1)  # it would end a second too early
    assert await leases.lease_for(3600) == 12
    assert await leases.lease_for(100) == 13
    assert grants.asked[-1] == 105  # a twentieth of a short life
    assert await leases.lease_for(3600) == 12
    leases.forget(12)
    assert await leases.lease_for(3600) == 14


async def test_keys_expire_and_a_lease_that_is_gone_is_replaced(new_config: Callable[[], EtcdConfig]) -> None:
    """Our clock stands still here, so the lease is believed to last when etcd has ended it."""
    store = await open_etcd(new_config(), VirtualClock())
    gone: asyncio.Queue[str] = asyncio.Queue()

    def hear(events: list[Event]) -> None:
        for event in events:
            if event.value is None:
                gone.put_nowait(event.key)

    store.subscribe("/", hear)  # type: ignore[arg-type]
    await store.create("/a", b"", ttl_seconds=1)
    kept = await store.create("/kept", b"", ttl_seconds=1)
    await store.update("/kept", b"", kept)  # an update without a time to live lives for ever
    async with asyncio.timeout(20):
        assert await gone.get() == "/a"
        assert await store.get("/a") is None
        assert await store.get("/kept") is not None
        await store.create("/b", b"", ttl_seconds=1)
        assert await gone.get() == "/b"
    await store.close()


def test_pods_lie_where_upstream_puts_them() -> None:
    assert key("web", "default") == PODS + "default/web" == "/registry/pods/default/web"
