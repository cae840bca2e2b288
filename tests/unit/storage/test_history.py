"""Ranges and watches of the past, and how long the past is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.storage.protocol import Compacted, Event
from timonel.storage.sqlite import SqliteStore, open_sqlite
from timonel.testing.clock import VirtualClock


async def test_a_range_is_cut_and_continued_at_its_revision(store: SqliteStore) -> None:
    for name in "dbca":
        await store.create(f"/pods/{name}", name.encode())
    await store.create("/podsx/outside", b"")
    first = await store.range("/pods/", limit=2)
    assert [entry.key for entry in first.entries] == ["/pods/a", "/pods/b"]
    assert (first.more, first.revision) == (True, 6)
    await store.delete("/pods/c", 4)
    await store.create("/pods/bb", b"late")
    rest = await store.range("/pods/", start="/pods/b\0", limit=2, revision=first.revision)
    assert [entry.key for entry in rest.entries] == ["/pods/c", "/pods/d"]
    assert (rest.more, rest.revision) == (False, 6)


async def test_changes_carry_what_was_before(store: SqliteStore) -> None:
    await store.create("/a", b"1")
    await store.create("/other", b"1")
    await store.update("/a", b"2", 2)
    await store.delete("/a", 4)
    await store.create("/a", b"3")
    assert await store.changes("/a", 2, 6) == [
        Event("/a", 4, b"2", b"1", 2, 2),
        Event("/a", 5, None, b"2", 2, 4),
        Event("/a", 6, b"3", None, 6, 0),
    ]


async def test_a_watch_joins_past_and_present_without_a_gap(store: SqliteStore) -> None:
    for n in range(20):
        await store.create(f"/a/{n}", b"v")
    seen: list[int] = []

    async def consume(watch: AsyncIterator[Sequence[Event]]) -> None:
        async for batch in watch:
            seen.extend(event.revision for event in batch)
            if len(seen) >= 110:
                return

    consumer = asyncio.create_task(consume(store.watch("/a/", 12)))
    await asyncio.gather(*(store.create(f"/a/x{n}", b"v") for n in range(100)))
    await consumer
    assert seen[:110] == list(range(12, 122))


async def test_compaction_keeps_the_state_at_its_revision_and_forgets_what_was_before(store: SqliteStore) -> None:
    await store.create("/a", b"1")  # 2
    await store.update("/a", b"2", 2)  # 3
    await store.create("/gone", b"1")  # 4
    await store.delete("/gone", 4)  # 5
    await store.update("/a", b"3", 3)  # 6
    await store.compact(5)
    assert [(e.key, e.value) for e in (await store.range("/", revision=5)).entries] == [("/a", b"2")]
    assert [e.revision for e in await store.changes("/", 5, 6)] == [6]
    with pytest.raises(Compacted):
        await store.range("/", revision=4)
    with pytest.raises(Compacted):
        await store.changes("/", 4, 6)
    with pytest.raises(Compacted):
        await anext(store.watch("/", 5))
    assert store.compacted_revision == 5
    assert [(e.key, e.value) for e in (await store.range("/")).entries] == [("/a", b"3")]


@given(
    changes=st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    deletions=st.sets(st.integers(0, 60)),
    compactions=st.lists(st.integers(1, 62), max_size=4),
)
async def test_compaction_changes_no_answer_that_is_still_given(
    changes: list[str], deletions: set[int], compactions: list[int]
) -> None:
    store = await open_sqlite(":memory:", clock=VirtualClock())
    live: dict[str, int] = {}
    for n, key in enumerate(changes):
        if key not in live:
            live[key] = await store.create(key, b"%d" % n)
        elif n in deletions:
            await store.delete(key, live.pop(key))
        else:
            live[key] = await store.update(key, b"%d" % n, live[key])
    last = store.delivered_revision
    before = {at: await store.range("", revision=at) for at in range(1, last + 1)}
    events = await store.changes("", 1, last)
    for target in compactions:
        await store.compact(target)
    oldest = store.compacted_revision
    await store.size_bytes()  # in the queue behind the compaction
    assert oldest == max([min(target, last) for target in compactions], default=0)
    for at in range(max(oldest, 1), last + 1):
        assert await store.range("", revision=at) == before[at]
    assert await store.changes("", max(oldest, 1), last) == [e for e in events if e.revision > max(oldest, 1)]
    await store.close()


async def test_history_is_kept_for_its_time_and_then_goes(store: SqliteStore, clock: VirtualClock) -> None:
    await store.create("/a", b"1")
    await store.update("/a", b"2", 2)
    await clock.advance(299)
    assert (await store.range("/", revision=2)).entries[0].value == b"1"
    for _ in range(3):  # the timer waits for the writer thread between its steps
        await clock.advance(30)
        await store.size_bytes()
    with pytest.raises(Compacted):
        await store.range("/", revision=2)
    assert (await store.range("/")).entries[0].value == b"2"


async def test_what_changed_less_than_five_minutes_ago_is_never_compacted(
    store: SqliteStore, clock: VirtualClock
) -> None:
    revision = await store.create("/a", b"0")
    written: list[tuple[float, int]] = [(0.0, revision)]
    for step in range(1, 100):
        await clock.advance(10)
        revision = await store.update("/a", b"%d" % step, revision)
        written.append((clock.monotonic(), revision))
        oldest_promised = min(at for when, at in written if when >= clock.monotonic() - 300)
        assert store.compacted_revision < oldest_promised
    assert store.compacted_revision > written[0][1]  # and it did compact meanwhile


async def test_load_cannot_starve_compaction(store: SqliteStore, clock: VirtualClock) -> None:
    """Writers never pause; the history still shrinks to what compaction left."""
    busy = True

    async def load(key: str) -> None:
        revision = await store.create(key, b"x" * 2000)
        while busy:
            revision = await store.update(key, b"x" * 2000, revision)

    writers = [asyncio.create_task(load(f"/{n}")) for n in range(20)]
    async for batch in store.watch("/", 2):
        if batch[-1].revision > 3000:
            break
    await store.compact(store.delivered_revision)
    target = store.compacted_revision
    while await store._call(lambda: store._writer.sweep._swept) < target:
        pass
    old = await store._call(
        lambda: store._writer.connection.execute("SELECT count(*) FROM log WHERE revision < ?", (target,)).fetchone()
    )
    busy = False
    await asyncio.gather(*writers)
    assert old[0] <= 20
