"""Changes that go along with a write happen with it or not at all, on every backend."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timonel.storage.protocol import Change, Event, KeyExists, Link, RevisionMismatch, Store
from timonel.storage.sqlite.commit import Live, Write, forget_links, plan_batch
from timonel.storage.sqlite.store import SqliteStore


async def test_all_of_a_commit_is_there_when_it_returns(store: Store) -> None:
    heard: list[str] = []

    def hear(events: Sequence[Event]) -> None:
        heard.extend(event.key for event in events)

    store.subscribe("/", hear)
    gone = await store.create("/gone", b"x")
    kept = await store.create("/kept", b"x")
    along = [Change("/new", b"1", 0), Change("/gone", None, gone), Change("/kept", b"y", kept)]
    revision = await store.create("/main", b"m", along=along)
    assert {entry.key: entry.value for entry in (await store.range("/")).entries} == {
        "/kept": b"y", "/main": b"m", "/new": b"1",
    }  # fmt: skip
    assert sorted(heard[2:]) == ["/gone", "/kept", "/main", "/new"]
    assert store.delivered_revision == revision
    main = await store.get("/main")
    assert main is not None
    assert main.mod_revision == main.create_revision == revision
    kept_now = await store.get("/kept")
    assert kept_now is not None
    assert kept_now.create_revision == kept
    assert kept < kept_now.mod_revision <= revision
    assert await store.delete("/main", revision, along=[Change("/new", None, (await at(store, "/new")))]) > revision
    assert [entry.key for entry in (await store.range("/")).entries] == ["/kept"]


async def at(store: Store, key: str) -> int:
    entry = await store.get(key)
    assert entry is not None
    return entry.mod_revision


async def test_one_guard_that_does_not_hold_refuses_everything_and_is_named(store: Store) -> None:
    taken = await store.create("/taken", b"t")
    with pytest.raises(KeyExists) as exists:
        await store.create("/main", b"m", along=[Change("/new", b"1", 0), Change("/taken", b"2", 0)])
    assert (exists.value.key, exists.value.current.value) == ("/taken", b"t")
    with pytest.raises(RevisionMismatch) as changed:
        await store.create("/main", b"m", along=[Change("/new", b"1", 0), Change("/taken", None, taken - 1)])
    assert (changed.value.key, changed.value.current and changed.value.current.mod_revision) == ("/taken", taken)
    with pytest.raises(RevisionMismatch) as missing:
        await store.create("/main", b"m", along=[Change("/missing", b"1", taken)])
    assert (missing.value.key, missing.value.current) == ("/missing", None)
    with pytest.raises(KeyExists) as main:
        await store.create("/taken", b"m", along=[Change("/new", b"1", 0)])
    assert main.value.key == "/taken"
    assert [entry.key for entry in (await store.range("/")).entries] == ["/taken"]
    assert await store.current_revision() == taken


async def test_of_commits_racing_for_one_key_exactly_one_wins(store: Store) -> None:
    results = await asyncio.gather(
        *(store.create(f"/main/{n}", b"m", along=[Change("/claimed", b"%d" % n, 0)]) for n in range(30)),
        return_exceptions=True,
    )
    won = [n for n, result in enumerate(results) if isinstance(result, int)]
    assert len(won) == 1
    claimed = await store.get("/claimed")
    assert claimed is not None
    assert claimed.value == b"%d" % won[0]
    assert [entry.key for entry in (await store.range("/main/")).entries] == [f"/main/{won[0]}"]


async def test_what_goes_along_stays_when_the_main_key_expires(store: Store) -> None:
    await store.create("/main", b"m", ttl_seconds=3600, along=[Change("/along", b"1", 0)])
    along = await store.get("/along")
    assert along is not None


async def test_changes_of_one_key_can_follow_each_other_without_waiting(sqlite: SqliteStore) -> None:
    start = await sqlite.create("/shared", b"0")
    links = [Link() for _ in range(4)]
    befores = [None, *links]

    def write(number: int, key: str) -> Coroutine[Any, Any, int]:
        change = Change("/shared", b"%d" % number, start, after=befores[number], link=links[number])
        return sqlite.create(key, b"m", along=[change])

    results = await asyncio.gather(
        write(0, "/a"), write(1, "/b"), write(2, "/a"), write(3, "/c"), return_exceptions=True
    )
    assert [type(result) for result in results] == [int, int, KeyExists, RevisionMismatch]
    assert (links[2].revision, links[3].revision) == (0, 0)
    shared = await sqlite.get("/shared")
    assert shared is not None
    assert (shared.value, shared.mod_revision) == (b"1", links[1].revision)


def test_nothing_follows_on_a_batch_that_failed() -> None:
    """Its revisions go to others, who must not be taken for it."""
    link = Link()
    write = Write("/a", b"m", 0, None, None, [Change("/shared", b"1", 0, link=link)])  # type: ignore[arg-type]
    plan_batch([write], {}, 1)
    assert link.revision == 2
    forget_links([write])
    behind = Write("/b", b"m", 0, None, None, [Change("/shared", b"2", 0, after=link)])  # type: ignore[arg-type]
    plan_batch([behind], {"/shared": Live(2, 2)}, 2)
    assert behind.refused is not None


KEYS = ("/a", "/b", "/c")
guards = st.integers(min_value=0, max_value=6)
changes = st.builds(Change, st.sampled_from(KEYS), st.sampled_from([None, b"x"]), guards).filter(
    lambda change: change.value is not None or change.expected
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(changes, min_size=1, max_size=3, unique_by=lambda change: change.key), max_size=8))
def test_a_batch_is_what_its_commits_would_be_one_after_the_other(commits: list[list[Change]]) -> None:
    """The model applies a commit to a dictionary if every guard holds, and else leaves it alone."""
    index = {"/a": Live(1, 1), "/b": Live(2, 2)}
    model = {"/a": 1, "/b": 2}
    writes = [
        Write(main.key, main.value, main.expected, None, None, along)  # type: ignore[arg-type]
        for main, *along in commits
    ]
    batch = plan_batch(writes, index, 2)
    revision = 2
    for write, commit in zip(writes, commits, strict=True):
        holds = all(model.get(change.key, 0) == change.expected for change in commit)
        assert (write.refused is None) == holds
        if not holds:
            continue
        for change in [*commit[1:], commit[0]]:
            revision += 1
            if change.value is None:
                del model[change.key]
            else:
                model[change.key] = revision
        assert write.revision == revision
    assert [row.revision for row in batch.rows] == list(range(3, revision + 1))
    present = {**index, **batch.changed}
    assert {key: live.mod_revision for key, live in present.items() if live} == model
