"""Every write names the revision it builds on; the store does it exactly if that is still the present one."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.storage.conftest import OpenStore
from timonel.storage.protocol import Entry, Event, KeyExists, RevisionMismatch, Store, StoreError
from timonel.storage.sqlite import SqliteStore, open_sqlite
from timonel.testing.clock import VirtualClock


async def test_an_empty_store_begins_as_an_empty_etcd_does(sqlite: SqliteStore) -> None:
    assert await sqlite.current_revision() == 1
    assert await sqlite.create("/a", b"1") == 2


async def test_revisions_count_every_change_of_every_key(store: Store) -> None:
    base = await store.current_revision()
    assert await store.create("/a", b"1") == base + 1
    assert await store.create("/b", b"1") == base + 2
    assert await store.update("/a", b"2", base + 1) == base + 3
    assert await store.delete("/b", base + 2) == base + 4
    assert await store.current_revision() == store.delivered_revision == base + 4
    assert await store.get("/a") == Entry("/a", b"2", base + 1, base + 3)
    assert await store.get("/b") is None
    assert await store.create("/b", b"new") == base + 5
    assert await store.get("/b") == Entry("/b", b"new", base + 5, base + 5)


async def test_a_refused_write_says_what_is_there(store: Store) -> None:
    created = await store.create("/a", b"1")
    with pytest.raises(KeyExists) as exists:
        await store.create("/a", b"other")
    assert exists.value.current == Entry("/a", b"1", created, created)
    with pytest.raises(RevisionMismatch) as mismatch:
        await store.update("/a", b"2", created + 97)
    assert mismatch.value.current == Entry("/a", b"1", created, created)
    with pytest.raises(RevisionMismatch) as gone:
        await store.delete("/nothing", created)
    assert gone.value.current is None
    assert await store.current_revision() == created  # a refusal takes no revision


async def test_of_writers_racing_for_one_revision_exactly_one_wins(store: Store) -> None:
    at = await store.create("/a", b"0")
    results = await asyncio.gather(*(store.update("/a", b"%d" % n, at) for n in range(50)), return_exceptions=True)
    assert [result for result in results if isinstance(result, int)] == [at + 1]
    winner = results.index(at + 1)
    refused = [result for result in results if isinstance(result, RevisionMismatch)]
    assert len(refused) == 49
    assert all(refusal.current == Entry("/a", b"%d" % winner, at, at + 1) for refusal in refused)


async def test_writers_of_one_key_who_look_again_after_each_refusal_all_get_through(store: Store) -> None:
    """What was in the way is known to subscribers when a write is refused, so looking again makes progress."""
    seen = {"/a": await store.create("/a", b"0")}
    store.subscribe("/a", lambda events: seen.update((event.key, event.revision) for event in events))

    async def add_one() -> None:
        for _ in range(25):
            try:
                await store.update("/a", b"1", seen["/a"])
            except RevisionMismatch:
                continue
            return
        raise AssertionError("starved")

    await asyncio.gather(*(add_one() for _ in range(8)))


async def test_an_expected_revision_must_be_one(store: Store) -> None:
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="positive"):
            await store.update("/a", b"", wrong)
        with pytest.raises(ValueError, match="positive"):
            await store.delete("/a", wrong)


async def test_subscribers_have_every_change_in_order_before_its_writer_returns(store: Store) -> None:
    heard: list[Event] = []
    store.subscribe("/pods/", heard.extend)

    async def write(n: int) -> None:
        revision = await store.create(f"/pods/{n}", b"v")
        assert revision in {event.revision for event in heard}

    await asyncio.gather(*(write(n) for n in range(300)), *(store.create(f"/other/{n}", b"v") for n in range(300)))
    revisions = [event.revision for event in heard]
    assert revisions == sorted(set(revisions))
    assert {event.key for event in heard} == {f"/pods/{n}" for n in range(300)}


async def test_a_broken_subscriber_costs_the_others_nothing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    def broken(events: object) -> None:
        raise RuntimeError("boom")

    heard: list[Event] = []
    store.subscribe("/", broken)
    unsubscribe = store.subscribe("/", heard.extend)
    await store.create("/a", b"1")
    unsubscribe()
    await store.create("/b", b"1")
    assert [event.key for event in heard] == ["/a"]
    assert "A subscriber failed" in caplog.text


async def test_a_cancelled_caller_does_not_disturb_the_rest_of_its_batch(store: Store) -> None:
    tasks = [asyncio.ensure_future(store.create(f"/{n}", b"v")) for n in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(result, int) for result in results) >= 9
    assert await store.create("/after", b"v") > 2


async def test_a_closed_store_refuses_by_name(open_store: OpenStore) -> None:
    store = await open_store()
    base = await store.current_revision()
    pending = asyncio.ensure_future(store.create("/a", b"1"))
    await asyncio.sleep(0)
    await store.close()
    assert await pending == base + 1  # submitted before: done
    with pytest.raises(StoreError, match="is closed"):
        await store.create("/b", b"1")
    await store.close()


KEYS = st.sampled_from(["/a", "/b", "/c"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["create", "update", "delete"]), KEYS, st.sampled_from(["right", "wrong"])), max_size=40
)


@given(steps=STEPS, group=st.integers(1, 8))
async def test_it_behaves_as_a_dictionary_with_a_counter(steps: list[tuple[str, str, str]], group: int) -> None:
    """Writes are submitted in groups, so that batches and their overlays are met."""
    store = await open_sqlite(":memory:", clock=VirtualClock())
    await compare_with_model(store, steps, group)


@settings(max_examples=12, deadline=None)
@given(steps=STEPS)
async def test_etcd_behaves_as_a_dictionary_with_a_counter(
    open_etcd_store: OpenStore, steps: list[tuple[str, str, str]]
) -> None:
    await compare_with_model(await open_etcd_store(), steps, 1)


async def compare_with_model(store: Store, steps: list[tuple[str, str, str]], group: int) -> None:
    """The model: a dict and a number."""
    model: dict[str, tuple[bytes, int, int]] = {}
    base = revision = await store.current_revision()
    history = [dict(model)]
    for at in range(0, len(steps), group):
        pending: list[asyncio.Future[int]] = []
        expected: list[int | type[Exception]] = []
        for verb, key, guard in steps[at : at + group]:
            value = f"{verb}{revision}".encode()
            present = model.get(key)
            wanted = (present[2] if present else revision + 77777) + (guard == "wrong")
            if verb == "create":
                pending.append(asyncio.ensure_future(store.create(key, value)))
                possible = present is None
            elif verb == "update":
                pending.append(asyncio.ensure_future(store.update(key, value, wanted)))
                possible = present is not None and guard == "right"
            else:
                pending.append(asyncio.ensure_future(store.delete(key, wanted)))
                possible = present is not None and guard == "right"
            if not possible:
                expected.append(KeyExists if verb == "create" else RevisionMismatch)
                continue
            revision += 1
            expected.append(revision)
            if verb == "delete":
                del model[key]
            else:
                model[key] = (value, present[1] if present else revision, revision)
            history.append(dict(model))
        results = await asyncio.gather(*pending, return_exceptions=True)
        assert [type(r) if isinstance(r, Exception) else r for r in results] == expected
    for at_revision in range(base, revision + 1):
        found = await store.range("/", revision=at_revision)
        held = {e.key: (e.value, e.create_revision, e.mod_revision) for e in found.entries}
        assert held == history[at_revision - base]
    await store.close()
