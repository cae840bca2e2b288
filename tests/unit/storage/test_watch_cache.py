"""The cache holds what the store holds, at every moment, and hands out the bytes of the wire."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.storage.conftest import OpenStore
from timonel.api.objects import Object
from timonel.storage.cache import WatchCache
from timonel.storage.cached_object import CachedObject, DecodedObjects
from timonel.storage.codec import Codec, encode
from timonel.storage.protocol import Compacted, KeyExists, RevisionMismatch, Store
from timonel.storage.sqlite import SqliteStore, open_sqlite
from timonel.storage.transform import AesGcm, EncryptionKey
from timonel.testing.clock import VirtualClock

PODS = "/registry/pods/"


def node_of(obj: Object) -> str:
    return obj.get("spec", {}).get("nodeName", "")


def pod(name: str, namespace: str = "default", node: str = "", **labels: str) -> Object:
    metadata: Object = {"name": name, "namespace": namespace}
    if labels:
        metadata["labels"] = labels
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"nodeName": node}}


def key(name: str, namespace: str = "default") -> str:
    return f"{PODS}{namespace}/{name}"


async def started(store: Store, **options: object) -> WatchCache:
    cache = WatchCache(
        store,
        PODS,
        codec=Codec(),
        fields={"spec.nodeName": node_of},
        index_fields=("spec.nodeName",),
        **options,  # type: ignore[arg-type]
    )
    await cache.start()
    return cache


async def put(cache: WatchCache, obj: Object) -> CachedObject:
    name = key(obj["metadata"]["name"], obj["metadata"]["namespace"])
    current = cache.get(name)
    if current is None:
        return await cache.create(name, encode(obj))
    return await cache.update(name, encode(obj), current.revision)


async def test_what_was_written_is_read_at_once(store: Store) -> None:
    cache = await started(store)
    written = await put(cache, pod("a", app="web"))
    assert cache.get(key("a")) is written
    assert cache.revision == written.revision
    assert json.loads(written.value)["metadata"]["resourceVersion"] == str(written.revision)
    assert written.obj["metadata"] == {
        "name": "a", "namespace": "default", "labels": {"app": "web"},
        "resourceVersion": str(written.revision),
    }  # fmt: skip
    assert (written.namespace, written.name, dict(written.labels)) == ("default", "a", {"app": "web"})
    assert await cache.delete(key("a"), written.revision) == cache.revision == written.revision + 1
    assert cache.get(key("a")) is None


async def test_refusals_of_the_store_come_through(store: Store) -> None:
    cache = await started(store)
    wrong = (await put(cache, pod("a"))).revision + 97
    with pytest.raises(KeyExists):
        await cache.create(key("a"), encode(pod("a")))
    with pytest.raises(RevisionMismatch):
        await cache.update(key("a"), encode(pod("a")), wrong)
    with pytest.raises(RevisionMismatch):
        await cache.delete(key("a"), wrong)


async def test_every_writer_gets_its_own_state_although_others_follow_in_the_same_commit(
    sqlite: SqliteStore,
) -> None:
    cache = await started(sqlite)
    first, second = await asyncio.gather(
        cache.create(key("a"), encode(pod("a", node="one"))),
        sqlite.update(key("a"), encode(pod("a", node="two")), 2),
    )
    assert (first.revision, first.field("spec.nodeName"), second) == (2, "one", 3)
    assert cache.get(key("a")).field("spec.nodeName") == "two"  # type: ignore[union-attr]


async def test_what_a_writer_hands_along_is_what_decoding_its_bytes_would_give(store: Store) -> None:
    cache = await started(store)
    made = {**pod("a", node="n1", app="web"), "status": {}}
    made["metadata"] = {**made["metadata"], "resourceVersion": "7"}  # as updates have it
    created = await cache.create(key("a"), encode(made), obj=made)
    assert created.obj == json.loads(created.value)
    assert list(created.obj["metadata"]) == list(json.loads(created.value)["metadata"])
    assert made["metadata"]["resourceVersion"] == "7"
    assert (created.labels, created.field("spec.nodeName")) == ({"app": "web"}, "n1")
    # Two at once on one state: the loser's object is nobody's.
    one, other = pod("a", node="n2"), pod("a", node="n3")
    results = await asyncio.gather(
        cache.update(key("a"), encode(one), created.revision, obj=one),
        cache.update(key("a"), encode(other), created.revision, obj=other),
        return_exceptions=True,
    )
    assert sorted(isinstance(result, RevisionMismatch) for result in results) == [False, True]
    held = cache.get(key("a"))
    assert held is not None
    assert held.obj == json.loads(held.value)
    assert cache._expected == {}


async def test_lists_are_sorted_and_cut_by_prefix_start_and_limit(store: Store) -> None:
    cache = await started(store)
    for namespace, name in [("b", "2"), ("a", "9"), ("b", "1"), ("bb", "1"), ("a", "1"), ("b", "3")]:
        await put(cache, pod(name, namespace))
    assert [o.key.removeprefix(PODS) for o in cache.list()] == ["a/1", "a/9", "b/1", "b/2", "b/3", "bb/1"]
    assert [o.name for o in cache.list(f"{PODS}b/")] == ["1", "2", "3"]
    assert [o.name for o in cache.list(f"{PODS}b/", limit=2)] == ["1", "2"]
    assert [o.name for o in cache.list(f"{PODS}b/", start=f"{PODS}b/2\0", limit=2)] == ["3"]
    assert [o.key.removeprefix(PODS) for o in cache.list(start=f"{PODS}b/2")] == ["b/2", "b/3", "bb/1"]
    assert cache.list(f"{PODS}none/") == []


async def test_an_old_list_is_read_from_history(store: Store) -> None:
    cache = await started(store)
    first = (await put(cache, pod("a", node="one"))).revision
    await put(cache, pod("b"))
    await put(cache, pod("a", node="two"))
    then, more = await cache.list_at(first + 1, limit=1)
    assert [(o.name, o.revision, o.field("spec.nodeName")) for o in then] == [("a", first, "one")]
    assert more == 1
    await store.compact(first + 2)
    with pytest.raises(Compacted):
        await cache.list_at(first + 1)


async def test_pages_say_how_many_follow_from_history_and_from_memory(store: Store) -> None:
    cache = await started(store)
    for name in "abcde":
        await put(cache, pod(name, "n"))
    revision = cache.revision
    await store.create("/elsewhere/x", b"")  # no change of this resource: memory still is what it was then
    pages = [await cache.list_at(revision, f"{PODS}n/", start=f"{PODS}n/b", limit=2)]
    await put(cache, pod("c2", "n"))
    pages.append(await cache.list_at(revision, f"{PODS}n/", start=f"{PODS}n/b", limit=2))
    for found, remaining in pages:
        assert ([o.name for o in found], remaining) == (["b", "c"], 2)
    found, remaining = await cache.list_at(revision, f"{PODS}n/", start=f"{PODS}n/c\0")
    assert ([o.name for o in found], remaining) == (["d", "e"], 0)


async def test_an_indexed_field_finds_its_objects_as_they_move(store: Store) -> None:
    cache = await started(store)
    await put(cache, pod("a"))
    b = await put(cache, pod("b", node="n1"))
    await put(cache, pod("a", node="n1"))
    assert [o.name for o in cache.list_by_field("spec.nodeName", "n1")] == ["a", "b"]
    assert cache.list_by_field("spec.nodeName", "") == []
    await cache.delete(key("b"), b.revision)
    assert [o.name for o in cache.list_by_field("spec.nodeName", "n1")] == ["a"]
    with pytest.raises(KeyError):
        cache.list_by_field("spec.other", "x")


async def test_a_new_cache_has_what_was_stored_before_and_what_is_written_while_it_reads(store: Store) -> None:
    first = await started(store)
    await put(first, pod("before"))
    second = WatchCache(store, PODS, codec=Codec())
    await asyncio.gather(second.start(), *(put(first, pod(f"during{n}")) for n in range(20)))
    after = await put(first, pod("after"))
    assert [o.key for o in second.list()] == [o.key for o in first.list()]
    assert [o.revision for o in second.list()] == [o.revision for o in first.list()]
    assert second.get(after.key).value == after.value  # type: ignore[union-attr]


async def test_secrets_are_sealed_in_the_store_and_plain_in_memory(store: Store) -> None:
    sealed = WatchCache(store, PODS, codec=Codec(AesGcm([EncryptionKey("k1", b"1" * 32)])))
    await sealed.start()
    written = await put(sealed, pod("a", node="very-secret"))
    entry = await store.get(key("a"))
    assert entry is not None
    assert entry.value.startswith(b"k8s:enc:aesgcm:v1:k1:")
    assert b"very-secret" not in entry.value
    assert written.obj["spec"] == {"nodeName": "very-secret"}
    assert not written.stale
    rotated = WatchCache(
        store, PODS, codec=Codec(AesGcm([EncryptionKey("k2", b"2" * 32), EncryptionKey("k1", b"1" * 32)]))
    )
    await rotated.start()
    old = rotated.get(key("a"))
    assert old is not None
    assert old.stale  # an update that changes nothing must still be written, to move it to the new key
    assert old.value == written.value
    assert not (await put(rotated, pod("a", node="very-secret"))).stale


async def test_decoded_objects_do_not_pile_up(store: Store) -> None:
    cache = await started(store, decoded=DecodedObjects(max_bytes=2000))
    for n in range(100):
        await put(cache, pod(f"p{n}"))
    for cached in cache.list():
        assert cached.obj["metadata"]["name"] == cached.name
    kept = [cached for cached in cache.list() if cached._obj is not None]
    assert 0 < sum(len(cached.value) for cached in kept) <= 2000


CHANGES_EACH = st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from(["", "n1", "n2", None]))
CHANGES = st.lists(CHANGES_EACH, max_size=30)


@given(changes=CHANGES)
async def test_it_holds_what_the_store_holds(changes: list[tuple[str, str, str | None]]) -> None:
    await compare_with_store(await open_sqlite(":memory:", clock=VirtualClock()), changes)


@settings(max_examples=8, deadline=None)
@given(changes=CHANGES)
async def test_it_holds_what_etcd_holds(open_etcd_store: OpenStore, changes: list[tuple[str, str, str | None]]) -> None:
    await compare_with_store(await open_etcd_store(), changes)


async def compare_with_store(store: Store, changes: list[tuple[str, str, str | None]]) -> None:
    cache = await started(store, ring_size=4)
    for namespace, name, node in changes:
        current = cache.get(key(name, namespace))
        if node is None:
            if current is not None:
                await cache.delete(current.key, current.revision)
        else:
            await put(cache, pod(name, namespace, node))
        entries = (await store.range(PODS)).entries
        assert [(o.key, o.revision) for o in cache.list()] == [(e.key, e.mod_revision) for e in entries]
        for node_name in ("", "n1", "n2"):
            assert cache.list_by_field("spec.nodeName", node_name) == [
                o for o in cache.list() if o.obj["spec"]["nodeName"] == node_name
            ]
    await store.close()


async def test_catching_up_with_a_store_of_ones_own_takes_not_even_a_turn_of_the_loop(sqlite: SqliteStore) -> None:
    cache = await started(sqlite)
    assert not cache.is_shared
    for revision in (0, 1, 10**6):
        with pytest.raises(StopIteration):
            cache.catch_up(revision).send(None)
