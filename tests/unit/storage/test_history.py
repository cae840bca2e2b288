"""Ranges and watches of the past, and how long the past is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.storage.conftest import OpenStore
from timonel.storage.protocol import Compacted, Event, Store
from timonel.storage.sqlite import SqliteStore, open_sqlite
from timonel.testing.clock import VirtualClock


async def test_a_range_is_cut_and_continued_at_its_revision(store: Store) -> None:
    created = {name: await store.create(f"/pods/{name}", name.encode()) for name in "dbca"}
    last = await store.create("/podsx/outside", b"")
    first = await store.range("/pods/", limit=2)
    assert [entry.key for entry in first.entries] == ["/pods/a", "/pods/b"]
    assert (first.remaining, first.revision) == (2, last)
    await store.delete("/pods/c", created["c"])
    await store.create("/pods/bb", b"late")
    rest = await store.range("/pods/", start="/pods/b\0", limit=2, revision=first.revision)
    assert [entry.key for entry in rest.entries] == ["/pods/c", "/pods/d"]
    assert (rest.remaining, rest.revision) == (0, last)


@pytest.mark.parametrize("subscribed", [False, True])
async def test_changes_carry_what_was_before(store: Store, subscribed: bool) -> None:
    """Also where the last change is not known beforehand, as it is for who subscribed."""
    if subscribed:
        store.subscribe("/a", lambda events: None)
    n = await store.create("/a", b"1")
    await store.create("/other", b"1")
    await store.update("/a", b"2", n)
    await store.delete("/a", n + 2)
    await store.create("/a", b"3")
    await store.create("/other2", b"")
    expected = [
        Event("/a", n + 2, b"2", b"1", n, n),
        Event("/a", n + 3, None, b"2", n, n + 2),
        Event("/a", n + 4, b"3", None, n + 4, 0),
    ]
    assert await store.changes("/a", n, n + 5) == expected
    assert await store.changes("/a", n, n + 3) == expected[:2]
    assert await store.changes("/a", n + 4, n + 5) == []
    assert await store.changes("/a", n + 5, n + 5) == []


async def test_a_watch_joins_past_and_present_without_a_gap(store: Store) -> None:
    base = await store.current_revision()
    for n in range(20):
        await store.create(f"/a/{n}", b"v")
    seen: list[int] = []

    async def consume(watch: AsyncIterator[Sequence[Event]]) -> None:
        async for batch in watch:
            seen.extend(event.revision for event in batch)
            if len(seen) >= 110:
                return

    consumer = asyncio.create_task(consume(store.watch("/a/", base + 11)))
    await asyncio.gather(*(store.create(f"/a/x{n}", b"v") for n in range(100)))
    await consumer
    assert seen[:110] == list(range(base + 11, base + 121))


async def test_compaction_keeps_the_state_at_its_revision_and_forgets_what_was_before(store: Store) -> None:
    n = await store.create("/a", b"1")
    await store.update("/a", b"2", n)
    await store.create("/gone", b"1")
    deletion = await store.delete("/gone", n + 2)
    await store.update("/a", b"3", n + 1)
    await store.compact(deletion)
    assert [(e.key, e.value) for e in (await store.range("/", revision=deletion)).entries] == [("/a", b"2")]
    assert [e.revision for e in await store.changes("/", deletion, n + 4)] == [n + 4]
    with pytest.raises(Compacted):
        await store.range("/", revision=deletion - 1)
    with pytest.raises(Compacted):
        await store.changes("/", deletion - 1, n + 4)
    with pytest.raises(Compacted):
        await anext(store.watch("/", deletion))
    assert store.compacted_revision == deletion
    assert [(e.key, e.value) for e in (await store.range("/")).entries] == [("/a", b"3")]
    await store.compact(deletion - 1)  # done already: nothing happens
    await store.compact(n + 10**9)  # of the future: no more than what there is
    assert store.compacted_revision == n + 4


@given(
    changes=st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    deletions=st.sets(st.integers(0, 60)),
    compactions=st.lists(st.integers(1, 62), max_size=4),
)
async def test_compaction_changes_no_answer_that_is_still_given(
    changes: list[str], deletions: set[int], compactions: list[int]
) -> None:
    store = await open_sqlite(":memory:", clock=VirtualClock())
    await compare_before_and_after_compaction(store, changes, deletions, compactions)


@settings(max_examples=8, deadline=None)
@given(
    changes=st.lists(st.sampled_from("abc"), min_size=1, max_size=30),
    deletions=st.sets(st.integers(0, 30)),
    compactions=st.lists(st.integers(1, 32), max_size=3),
)
async def test_compaction_of_etcd_changes_no_answer_that_is_still_given(
    open_etcd_store: OpenStore, changes: list[str], deletions: set[int], compactions: list[int]
) -> None:
    await compare_before_and_after_compaction(await open_etcd_store(), changes, deletions, compactions)


async def compare_before_and_after_compaction(
    store: Store, changes: list[str], deletions: set[int], compactions: list[int]
) -> None:
    base = await store.current_revision() - 1
    live: dict[str, int] = {}
    for n, key in enumerate(changes):
        if key not in live:
            live[key] = await store.create(key, b"%d" % n)
        elif n in deletions:
            await store.delete(key, live.pop(key))
        else:
            live[key] = await store.update(key, b"%d" % n, live[key])
    first, last = base + 1, store.delivered_revision
    before = {at: await store.range("", revision=at) for at in range(first, last + 1)}
    events = await store.changes("", first, last)
    for target in compactions:
        await store.compact(min(base + target, last))
    oldest = store.compacted_revision
    await store.size_bytes()  # in the queue behind the compaction
    if compactions:
        assert oldest == max(min(base + target, last) for target in compactions)
    for at in range(max(oldest, first), last + 1):
        assert await store.range("", revision=at) == before[at]
    kept = max(oldest, first)
    assert await store.changes("", kept, last) == [event for event in events if event.revision > kept]
    await store.close()


async def test_history_is_kept_for_its_time_and_then_goes(sqlite: SqliteStore, clock: VirtualClock) -> None:
    await sqlite.create("/a", b"1")
    await sqlite.update("/a", b"2", 2)
    await clock.advance(299)
    assert (await sqlite.range("/", revision=2)).entries[0].value == b"1"
    for _ in range(3):  # the timer waits for the writer thread between its steps
        await clock.advance(30)
        await sqlite.size_bytes()
    with pytest.raises(Compacted):
        await sqlite.range("/", revision=2)
    assert (await sqlite.range("/")).entries[0].value == b"2"


async def test_what_changed_less_than_five_minutes_ago_is_never_compacted(
    sqlite: SqliteStore, clock: VirtualClock
) -> None:
    revision = await sqlite.create("/a", b"0")
    written: list[tuple[float, int]] = [(0.0, revision)]
    for step in range(1, 100):
        await clock.advance(10)
        revision = await sqlite.update("/a", b"%d" % step, revision)
        written.append((clock.monotonic(), revision))
        oldest_promised = min(at for when, at in written if when >= clock.monotonic() - 300)
        assert sqlite.compacted_revision < oldest_promised
    assert sqlite.compacted_revision > written[0][1]  # and it did compact meanwhile


async def test_load_cannot_starve_compaction(sqlite: SqliteStore, clock: VirtualClock) -> None:
    """Writers never pause; the history still shrinks to what compaction left."""
    busy = True

    async def load(key: str) -> None:
        revision = await sqlite.create(key, b"x" * 2000)
        while busy:
            revision = await sqlite.update(key, b"x" * 2000, revision)

    writers = [asyncio.create_task(load(f"/{n}")) for n in range(20)]
    async for batch in sqlite.watch("/", 2):
        if batch[-1].revision > 3000:
            break
    await sqlite.compact(sqlite.delivered_revision)
    target = sqlite.compacted_revision
    while await sqlite._call(lambda: sqlite._writer.sweep._swept) < target:
        pass
    old = await sqlite._call(
        lambda: sqlite._writer.connection.execute("SELECT count(*) FROM log WHERE revision < ?", (target,)).fetchone()
    )
    busy = False
    await asyncio.gather(*writers)
    assert old[0] <= 20
