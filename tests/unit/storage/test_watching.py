"""Watches are gap-free, ordered, selective, bounded, and resume from any revision that is still kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.storage.conftest import OpenStore
from tests.unit.storage.test_watch_cache import CHANGES, CHANGES_EACH, PODS, key, pod, put, started
from timonel.storage.cache import WatchCache
from timonel.storage.cached_object import CachedObject, CacheEvent
from timonel.storage.codec import Codec
from timonel.storage.protocol import Compacted, Store
from timonel.storage.sqlite import open_sqlite
from timonel.storage.watcher import Watcher, WatcherTooSlow
from timonel.testing.clock import VirtualClock


async def drain(watcher: Watcher) -> list[CacheEvent]:
    """What has been queued so far; ends the watch."""
    watcher.close()
    return [event async for batch in watcher for event in batch]


def brief(events: list[CacheEvent]) -> list[tuple[str, str, int]]:
    return [(event.type, event.subject.name, event.revision) for event in events]


async def test_changes_arrive_in_order_with_what_was_before(store: Store) -> None:
    cache = await started(store)
    watcher = cache.watch(after_revision=cache.revision)
    n = (await put(cache, pod("a", node=""))).revision
    await put(cache, pod("a", node="n1"))
    await cache.delete(key("a"), n + 1)
    events = await drain(watcher)
    assert brief(events) == [("ADDED", "a", n), ("MODIFIED", "a", n + 1), ("DELETED", "a", n + 2)]
    assert [e.old.revision if e.old else None for e in events] == [None, n, n + 1]
    assert [e.new.revision if e.new else None for e in events] == [n, n + 1, None]


async def test_the_line_of_the_wire(store: Store) -> None:
    cache = await started(store)
    watcher, other = cache.watch(after_revision=cache.revision), cache.watch(after_revision=cache.revision)
    n = (await put(cache, pod("a"))).revision
    await cache.delete(key("a"), n)
    added, deleted = await drain(watcher)
    assert added.wire("ADDED") == b'{"type":"ADDED","object":%b}\n' % cache._ring[0].new.value  # type: ignore[union-attr]
    assert json.loads(added.wire("MODIFIED"))["type"] == "MODIFIED"
    # A deletion shows the last state, with the revision of the deletion.
    line = json.loads(deleted.wire("DELETED"))
    assert line["type"] == "DELETED"
    assert line["object"]["metadata"] == {"name": "a", "namespace": "default", "resourceVersion": str(n + 1)}
    assert (await drain(other))[0].wire("ADDED") is added.wire("ADDED")  # built once, shared


async def test_what_a_selector_makes_of_a_change(store: Store) -> None:
    """An object that begins to match is ADDED to the watcher; one that ceases is DELETED, as it last matched."""

    def is_web(cached: CachedObject) -> bool:
        return cached.labels.get("app") == "web"

    cache = await started(store)
    watcher = cache.watch(after_revision=cache.revision)
    await put(cache, pod("a", app="db"))
    await put(cache, pod("a", app="web"))
    await put(cache, pod("a", node="n1", app="web"))
    last = (await put(cache, pod("a", app="db"))).revision
    await cache.delete(key("a"), last)
    events = await drain(watcher)
    assert [event.type_for(is_web) for event in events] == [None, "ADDED", "MODIFIED", "DELETED", None]
    ceased = json.loads(events[3].wire("DELETED"))["object"]
    assert (ceased["metadata"]["labels"], ceased["metadata"]["resourceVersion"]) == ({"app": "web"}, str(last))


@pytest.mark.parametrize(
    ("interest", "expected"),
    [
        ({}, "abcd"),
        ({"namespace": "x"}, "bd"),
        ({"namespace": "x", "name": "b"}, "b"),
        ({"name": "b"}, "b"),
        ({"field": ("spec.nodeName", "n1")}, "ab"),
        ({"namespace": "x", "field": ("spec.nodeName", "n1")}, "b"),
        ({"namespace": "x", "name": "d", "field": ("spec.nodeName", "n1")}, ""),
        ({"field": ("metadata.name", "c")}, "c"),
    ],
)
async def test_an_interest_narrows_live_recent_and_historic_changes_alike(
    store: Store, interest: dict[str, object], expected: str
) -> None:
    cache = await started(store)
    base = cache.revision
    live = cache.watch(after_revision=base, **interest)  # type: ignore[arg-type]
    for name, namespace, node in [("a", "y", "n1"), ("b", "x", "n1"), ("c", "y", ""), ("d", "x", "n2")]:
        await put(cache, pod(name, namespace, node))
    recent = cache.watch(after_revision=base, **interest)  # type: ignore[arg-type]
    restarted = await started(store)
    historic = restarted.watch(after_revision=base, **interest)  # type: ignore[arg-type]
    for watcher in (live, recent, historic):
        assert "".join(event.subject.name for event in await drain(watcher)) == expected


async def test_a_field_that_changes_concerns_both_its_values(store: Store) -> None:
    cache = await started(store)
    old, new = (cache.watch(after_revision=cache.revision, field=("spec.nodeName", node)) for node in ("", "n1"))
    n = (await put(cache, pod("a"))).revision
    await put(cache, pod("a", node="n1"))
    await put(cache, pod("a", node="n1", app="x"))
    assert [event.revision for event in await drain(old)] == [n, n + 1]
    assert [event.revision for event in await drain(new)] == [n + 1, n + 2]


async def test_a_name_can_be_watched_before_anything_exists(store: Store) -> None:
    cache = WatchCache(store, PODS, codec=Codec())
    await cache.start()
    by_name = cache.watch(after_revision=cache.revision, name="a")
    await put(cache, pod("a", "x"))
    assert len(await drain(by_name)) == 1
    nodes = WatchCache(store, "/registry/nodes/", codec=Codec(), namespaced=False)
    await nodes.start()
    by_name = nodes.watch(after_revision=nodes.revision, name="n1")
    await store.create("/registry/nodes/n1", b'{"kind":"Node","apiVersion":"v1","metadata":{"name":"n1"}}')
    await store.create("/registry/nodes/n2", b'{"kind":"Node","apiVersion":"v1","metadata":{"name":"n2"}}')
    assert [event.subject.name for event in await drain(by_name)] == ["n1"]


async def test_resuming_is_gap_free_from_the_ring_and_from_history(store: Store) -> None:
    cache = await started(store, ring_size=10)
    base = cache.revision
    for n in range(100):
        await put(cache, pod("a", node=str(n)))
    for after in (base, base + 1, base + 49, base + 84, base + 94, base + 99, base + 100):
        watcher = cache.watch(after_revision=after)
        await put(cache, pod("a", node=f"again{after}"))
        revision = cache.revision
        assert [event.revision for event in await drain(watcher)] == list(range(after + 1, revision + 1))


async def test_a_compacted_revision_is_refused(store: Store) -> None:
    cache = await started(store, ring_size=2)
    base = cache.revision
    for n in range(20):
        await put(cache, pod("a", node=str(n)))
    waiting = cache.watch(after_revision=base + 4)
    await store.compact(base + 9)
    with pytest.raises(Compacted):
        cache.watch(after_revision=base + 8)
    with pytest.raises(Compacted):
        await anext(waiting)
    assert len(await drain(cache.watch(after_revision=base + 9))) == 11


async def test_a_future_revision_waits_for_it(store: Store) -> None:
    cache = await started(store)
    base = cache.revision
    watcher = cache.watch(after_revision=base + 2)
    for name in "abcd":
        await put(cache, pod(name))
    assert brief(await drain(watcher)) == [("ADDED", "c", base + 3), ("ADDED", "d", base + 4)]


async def test_a_watcher_that_does_not_keep_up_is_cut_off_and_the_others_are_not(store: Store) -> None:
    cache = await started(store)
    slow = cache.watch(after_revision=cache.revision, queue_size=10)
    fast = cache.watch(after_revision=cache.revision, queue_size=10)
    seen = 0
    for n in range(30):
        await put(cache, pod("a", node=str(n)))
        seen += len(await anext(fast))
    assert seen == 30
    assert cache.watchers == 1
    with pytest.raises(WatcherTooSlow, match="fell 11 events behind"):
        await anext(slow)


async def test_a_bookmark_never_runs_ahead_of_what_was_handed_out(store: Store) -> None:
    cache = await started(store)
    base = cache.revision
    watcher = cache.watch(after_revision=base)
    assert watcher.revision == base
    await put(cache, pod("a"))
    assert watcher.revision == base
    await anext(watcher)
    assert watcher.revision == base + 1
    await store.create("/registry/other/x", b"")  # nothing for this watcher, but time goes on
    assert watcher.revision == base + 2


async def test_a_watcher_that_was_closed_vouches_for_nothing_after_that(store: Store) -> None:
    """Its last bookmark would else let the client skip what was committed between the end and the bookmark."""
    cache = await started(store)
    base = cache.revision
    watcher = cache.watch(after_revision=base)
    await put(cache, pod("a"))
    watcher.close()
    await put(cache, pod("b"))
    assert watcher.revision == base  # "a" was not handed out yet
    assert brief(list(await anext(watcher))) == [("ADDED", "a", base + 1)]
    with pytest.raises(StopAsyncIteration):
        await anext(watcher)
    assert watcher.revision == base + 1


async def test_closing_ends_a_waiting_watch(store: Store) -> None:
    cache = await started(store)
    watcher = cache.watch(after_revision=cache.revision)
    waiting = asyncio.ensure_future(drain_all(watcher))
    await asyncio.sleep(0)
    cache.close()
    assert await waiting == []
    assert cache.watchers == 0


async def test_watches_can_end_before_the_cache_does(store: Store) -> None:
    """A server that stops finishes its writes, which read what they have written."""
    cache = await started(store)
    cache.end_watches()
    assert await drain_all(cache.watch(after_revision=cache.revision)) == []
    await put(cache, pod("a"))
    assert [cached.name for cached in cache.list()] == ["a"]
    assert cache.watchers == 0


async def drain_all(watcher: Watcher) -> list[CacheEvent]:
    return [event async for batch in watcher for event in batch]


@given(changes=CHANGES, start=st.integers(0, 30), kept=st.integers(1, 8))
async def test_any_watch_rebuilds_the_state(changes: list[tuple[str, str, str | None]], start: int, kept: int) -> None:
    await rebuild_by_watching(await open_sqlite(":memory:", clock=VirtualClock()), changes, start, kept)


@settings(max_examples=6, deadline=None)
@given(changes=st.lists(CHANGES_EACH, min_size=4, max_size=12), start=st.integers(0, 12), kept=st.integers(1, 4))
async def test_any_watch_of_etcd_rebuilds_the_state(
    open_etcd_store: OpenStore, changes: list[tuple[str, str, str | None]], start: int, kept: int
) -> None:
    await rebuild_by_watching(await open_etcd_store(), changes, start, kept)


async def rebuild_by_watching(store: Store, changes: list[tuple[str, str, str | None]], start: int, kept: int) -> None:
    """List at a revision, apply the watch from there: the result is the present state, from wherever it comes."""
    cache = await started(store, ring_size=kept)
    live: Watcher | None = None
    state: dict[str, int] = {}

    def copy_state() -> dict[str, int]:
        return {cached.key: cached.revision for cached in cache.list()}

    watches: list[tuple[dict[str, int], Callable[[], Watcher]]] = []
    for step, (namespace, name, node) in enumerate(changes):
        if step == start:
            live, state = cache.watch(after_revision=cache.revision), copy_state()
        at = cache.revision
        watches.append((copy_state(), lambda at=at: cache.watch(after_revision=at)))  # type: ignore[misc]
        current = cache.get(key(name, namespace))
        if node is not None:
            await put(cache, pod(name, namespace, node))
        elif current is not None:
            await cache.delete(current.key, current.revision)
    if live is not None:
        watches.append((state, lambda: live))
    for state, watch in watches:
        for event in await drain(watch()):
            if event.new is None:
                del state[event.subject.key]
            else:
                assert (event.subject.key in state) == (event.type == "MODIFIED")
                state[event.subject.key] = event.revision
        assert state == copy_state()
    await store.close()
