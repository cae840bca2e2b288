"""The watch cache: the present state of one resource in memory, and the changes that led to it.

It follows the store synchronously: a commit is in here before the writer's own call returns, so whoever reads after
writing sees what was written. GET, LIST and WATCH are answered from here; the store is asked only for old revisions.
Where other processes write to the store as well, `catch_up` before reading makes the read current with their writes.

Costs, with n objects: `get` O(1), `list` O(log n + answer), a commit O(n) to keep the keys sorted, which is a memmove
(5 µs at 10 000 objects), plus 0.2 µs for each watcher it concerns.
"""

from __future__ import annotations

import asyncio
import sys
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

from timonel.api.objects import Object
from timonel.storage.cached_object import CachedObject, CacheEvent, DecodedObjects, FieldValues
from timonel.storage.codec import Codec, splice, with_revision
from timonel.storage.protocol import Change, Compacted, Event, KeyExists, Range, RevisionMismatch, Store, StoreError
from timonel.storage.watcher import Interest, Watcher

T = TypeVar("T")
_AFTER_ALL = "\U0010ffff"
"""Sorts after every character a key can hold."""


class WatchCache:
    """One resource. `start` it before use; `fields` are the selectable fields beside metadata.name and .namespace.

    `index_fields` names those of `fields` by which lists and watches shall cost only what matches (spec.nodeName).
    `ring_size` changes are kept for watches that resume; older ones come from the store's history.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        *,
        codec: Codec,
        namespaced: bool = True,
        fields: Mapping[str, Callable[[Object], str]] | None = None,
        index_fields: Collection[str] = (),
        decoded: DecodedObjects | None = None,
        ring_size: int = 1024,
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._codec = codec
        self._namespaced = namespaced
        self._fields = FieldValues(fields or {})
        self._index: dict[str, dict[str, set[str]]] = {path: {} for path in index_fields}
        self._decoded = decoded or DecodedObjects()
        self._ring_size = ring_size
        self._objects: dict[str, CachedObject] = {}
        self._keys: list[str] = []
        self._expected: dict[str, tuple[bytes, Object]] = {}
        """Of writes on their way: what the store is to hold, and what that was made of."""
        self._ring: list[CacheEvent] = []
        self._floor = 0
        """Every change after this revision is in the ring."""
        self._started_at = 0
        self._early: list[Event] | None = []
        """Commits that arrived while the first list was read; None once the cache follows the store."""
        self._synced = asyncio.Event()
        self._channels: dict[Hashable, set[Watcher]] = {}
        self._unsubscribe: Callable[[], None] | None = None
        self._is_ending = False
        self.events_received = 0
        self.on_call: Callable[[str, float, bool], None] | None = None
        """Told of each call of the store: "create", "list" …, the seconds it took, whether it failed."""
        self._listeners: list[Callable[[CachedObject | None, CachedObject | None], None]] = []

    # Life

    async def start(self) -> None:
        """Reads the present state and follows the store from there. Raises StoreError when it cannot be read."""
        self._unsubscribe = self._store.subscribe(self._prefix, self._deliver, self._bridge_gap)
        self._take(await self._timed("list", self._store.range(self._prefix)))
        early, self._early = self._early or (), None
        self._deliver(early)
        self._synced.set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    @property
    def is_synced(self) -> bool:
        return self._synced.is_set()

    def end_watches(self) -> None:
        """For good: those that come later end at once. What is written meanwhile is still followed."""
        self._is_ending = True
        self._end_watches()

    def close(self) -> None:
        """Stops following the store and ends every watch."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        self.end_watches()

    async def _bridge_gap(self) -> None:
        """Nobody can tell what happened meanwhile: every watch ends, and none resumes from before."""
        present = await self._timed("list", self._store.range(self._prefix))
        self._end_watches()
        self._take(present)

    def _take(self, present: Range) -> None:
        """Makes the cache what the store was at one revision, unless it is further already."""
        if present.revision < self._started_at:
            return
        held = {entry.key for entry in present.entries}
        for key in [key for key in self._keys if key not in held]:
            self._tell_listeners(self._remove(key), None)
        for entry in present.entries:
            known = self._objects.get(entry.key)
            if known is None or known.revision != entry.mod_revision:
                new = self._cached(entry.key, entry.value, entry.mod_revision)
                self._tell_listeners(self._put(new), new)
        self._ring.clear()
        self._floor = self._started_at = present.revision

    # Reading

    @property
    def is_shared(self) -> bool:
        """Whether others write to the store, so that reads which must not be stale need `catch_up`."""
        return self._store.is_shared

    async def catch_up(self, revision: int = 0) -> None:
        """Waits until this cache has what anybody was acknowledged before, or what was committed up to `revision`.

        Costs nothing when the store is not shared. Raises StoreError when the store is out of reach.
        """
        await self._store.catch_up(revision)

    @property
    def revision(self) -> int:
        """The newest revision this cache reflects; of the whole store, for other resources' commits are no news."""
        return max(self._floor, self._store.delivered_revision)

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: str) -> CachedObject | None:
        return self._objects.get(key)

    def list(self, prefix: str = "", *, start: str = "", limit: int = 0) -> Sequence[CachedObject]:
        """Objects whose key begins with `prefix` and is >= `start`, by key, at most `limit` (0: all)."""
        keys = self._keys
        low = bisect_left(keys, max(prefix, start)) if prefix or start else 0
        high = bisect_left(keys, prefix + _AFTER_ALL) if prefix and prefix != self._prefix else len(keys)
        if limit:
            high = min(high, low + limit)
        objects = self._objects
        if low == 0 and high == len(keys) == len(objects):
            return list(map(objects.__getitem__, keys))
        return list(map(objects.__getitem__, keys[low:high]))

    def list_by_field(self, path: str, value: str) -> Sequence[CachedObject]:
        """Objects whose indexed field has this value, by key. KeyError for a field that is not indexed."""
        objects = self._objects
        return [objects[key] for key in sorted(self._index[path].get(value, ()))]

    def is_indexed(self, path: str) -> bool:
        return path in self._index

    async def list_at(
        self, revision: int, prefix: str = "", *, start: str = "", limit: int = 0
    ) -> tuple[Sequence[CachedObject], int]:
        """As `list`, as it was at an older revision, and how many more follow. Raises Compacted.

        While nothing of this resource has changed since, as is usual between two pages, memory has the answer.
        """
        last_change = self._ring[-1].revision if self._ring else self._floor
        if last_change <= revision <= self.revision and revision >= self._store.compacted_revision:
            found = self.list(prefix, start=start)
            kept = found[:limit] if limit else found
            return kept, len(found) - len(kept)
        call = self._store.range(prefix or self._prefix, start=start, limit=limit, revision=revision)
        at = await self._timed("list", call)
        return [self._cached(entry.key, entry.value, entry.mod_revision) for entry in at.entries], at.remaining

    # Writing: through the store, so that encryption at rest is in one place

    # `along` is what other caches' `change` made: it goes into the same commit, or all of it fails.

    async def create(
        self,
        key: str,
        plain: bytes,
        *,
        ttl_seconds: int = 0,
        along: Sequence[Change] = (),
        obj: Object | None = None,
    ) -> CachedObject:
        """Stores what `codec.encode` made of `obj`, which nobody may change from then on; it need not be given, and
        saves decoding it again. Raises KeyExists, StoreError."""
        sealed = self._codec.to_store(key, plain)
        call = self._store.create(key, sealed, ttl_seconds=ttl_seconds, along=along)
        revision = await self._write("create", key, sealed, obj, call)
        return self._written(key, plain, revision)

    async def update(
        self,
        key: str,
        plain: bytes,
        expected: int,
        *,
        ttl_seconds: int = 0,
        along: Sequence[Change] = (),
        obj: Object | None = None,
    ) -> CachedObject:
        """Replaces the object if its revision is `expected`; `obj` is as for `create`.

        Raises RevisionMismatch, StoreError.
        """
        sealed = self._codec.to_store(key, plain)
        call = self._store.update(key, sealed, expected, ttl_seconds=ttl_seconds, along=along)
        revision = await self._write("update", key, sealed, obj, call)
        return self._written(key, plain, revision)

    def _write(
        self, operation: str, key: str, sealed: bytes, obj: Object | None, write: Awaitable[int]
    ) -> Awaitable[int]:
        """A write, timed. A store in this process hands back the very same bytes, so that `_apply` knows them again."""
        if obj is None:
            return self._timed(operation, write)
        ours = self._expected[key] = sealed, obj
        return self._timed(operation, write, key, ours)

    async def delete(self, key: str, expected: int, *, along: Sequence[Change] = ()) -> int:
        """Deletes the object if its revision is `expected`; the deletion's revision. Raises RevisionMismatch."""
        return await self._timed("delete", self._store.delete(key, expected, along=along))

    def change(self, key: str, plain: bytes | None, expected: int) -> Change:
        """A write of this resource to go along with another's; None deletes, `expected` 0 creates."""
        return Change(key, None if plain is None else self._codec.to_store(key, plain), expected)

    async def _timed(
        self, operation: str, call: Awaitable[T], key: str = "", expected: tuple[bytes, Object] | None = None
    ) -> T:
        """An answer that somebody else was faster is no failure. `expected` is not any more when it is over."""
        started = time.perf_counter()
        failed = False
        try:
            return await call
        except StoreError as exc:
            failed = not isinstance(exc, KeyExists | RevisionMismatch | Compacted)
            raise
        finally:
            if expected is not None and self._expected.get(key) is expected:
                del self._expected[key]
            if self.on_call is not None:
                self.on_call(operation, time.perf_counter() - started, failed)

    # Watching

    def subscribe(self, listener: Callable[[CachedObject | None, CachedObject | None], None]) -> None:
        """Calls `listener(old, new)` at once for every object there is, then as each commit is taken in.

        Synchronous, for indexes that must be as current as the objects; it must be cheap and never raise.
        """
        for key in self._keys:
            listener(None, self._objects[key])
        self._listeners.append(listener)

    def watch(
        self,
        *,
        after_revision: int,
        namespace: str = "",
        name: str = "",
        field: tuple[str, str] | None = None,
        queue_size: int = 4096,
    ) -> Watcher:
        """Changes after a revision; with this call and `list` in one step of the loop, nothing falls between them.

        Raises Compacted when the revision is no longer kept, at once or from the first iteration.
        """
        interest = Interest(namespace, name, field)
        channel, exact = self._channel_for(interest)
        watcher = Watcher(
            channel=channel,
            after_revision=after_revision,
            queue_size=queue_size,
            load_backlog=self._backlog(after_revision, interest),
            sees=None if exact else interest.sees,
            cache_revision=lambda: self.revision,
            on_close=self._forget,
        )
        self._channels.setdefault(channel, set()).add(watcher)
        if self._is_ending:
            watcher.close()
        return watcher

    @property
    def watchers(self) -> int:
        return sum(map(len, self._channels.values()))

    def _backlog(self, after: int, interest: Interest) -> Callable[[], Awaitable[Sequence[CacheEvent]]] | None:
        """How to get what happened between `after` and now; None when nothing did."""
        if after >= self.revision or (after >= self._floor and not self._ring):
            return None
        if after >= self._floor:
            kept = self._ring[bisect_right(self._ring, after, key=lambda event: event.revision) :]
            events = [event for event in kept if interest.sees(event)]

            async def recent() -> Sequence[CacheEvent]:
                return events

            return recent if events else None
        if after < self._store.compacted_revision:
            raise Compacted(after, self._store.compacted_revision)
        until = self.revision

        async def historic() -> Sequence[CacheEvent]:
            changes = await self._store.changes(self._prefix, after, until)
            events = [self._historic_event(change) for change in changes]
            return [event for event in events if interest.sees(event)]

        return historic

    def _channel_for(self, interest: Interest) -> tuple[Hashable, bool]:
        """The narrowest channel that carries all of the interest, and whether it carries nothing else."""
        if interest.name and (interest.namespace or not self._namespaced):
            key = self._prefix + (f"{interest.namespace}/" if self._namespaced else "") + interest.name
            return ("key", key), interest.field is None
        if interest.field is not None and interest.field[0] in self._index:
            return ("field", *interest.field), not interest.namespace and not interest.name
        if interest.namespace:
            return ("namespace", interest.namespace), interest.field is None and not interest.name
        return None, interest.is_everything

    def _channels_of(self, event: CacheEvent) -> Iterator[Hashable]:
        subject = event.subject
        yield "key", subject.key
        yield "namespace", subject.namespace
        for path in self._index:
            values = {state.field(path) for state in (event.new, event.old) if state is not None}
            for value in values:
                yield "field", path, value

    def _forget(self, watcher: Watcher) -> None:
        watchers = self._channels.get(watcher.channel)
        if watchers is not None:
            watchers.discard(watcher)
            if not watchers:
                del self._channels[watcher.channel]

    # Following the store

    def _deliver(self, changes: Sequence[Event]) -> None:
        if self._early is not None:
            self._early.extend(changes)
            return
        if changes and changes[0].revision <= self._started_at:
            # Committed before the first list was read, and heard of after it: the list has it already.
            changes = [change for change in changes if change.revision > self._started_at]
        self.events_received += len(changes)
        events = [event for event in map(self._apply, changes) if event is not None]
        if not events:
            return
        for event in events:
            self._tell_listeners(event.old, event.new)
            if event.old is not None:
                self._decoded.forget(event.old)
        self._ring.extend(events)
        if len(self._ring) >= 2 * self._ring_size:
            dropped = len(self._ring) - self._ring_size
            self._floor = self._ring[dropped - 1].revision
            del self._ring[:dropped]
        self._dispatch(events)

    def _tell_listeners(self, old: CachedObject | None, new: CachedObject | None) -> None:
        for listener in self._listeners:
            listener(old, new)

    def _end_watches(self) -> None:
        for watchers in list(self._channels.values()):
            for watcher in list(watchers):
                watcher.close()

    def _dispatch(self, events: Sequence[CacheEvent]) -> None:
        channels = self._channels
        unfiltered = channels.get(None, ())
        for watcher in tuple(unfiltered):
            watcher.push(events)
        if len(channels) > bool(unfiltered):
            routed: dict[Hashable, list[CacheEvent]] = {}
            for event in events:
                for channel in self._channels_of(event):
                    if channel in channels:
                        routed.setdefault(channel, []).append(event)
            for channel, of_channel in routed.items():
                for watcher in tuple(channels.get(channel, ())):
                    watcher.push(of_channel)

    def _apply(self, change: Event) -> CacheEvent | None:
        if change.value is None:
            old = self._remove(change.key)
            return None if old is None else CacheEvent("DELETED", None, old, change.revision)
        expected = self._expected.get(change.key)
        obj = None
        if expected is not None and expected[0] is change.value:
            obj = with_revision(expected[1], change.revision)
        new = self._cached(change.key, change.value, change.revision, obj, self._objects.get(change.key))
        old = self._put(new)
        return CacheEvent("ADDED" if old is None else "MODIFIED", new, old, change.revision)

    def _put(self, new: CachedObject) -> CachedObject | None:
        old = self._objects.get(new.key)
        if old is None:
            keys = self._keys
            if not keys or new.key > keys[-1]:
                keys.append(new.key)
            else:
                insort(keys, new.key)
        self._objects[new.key] = new
        self._reindex(new.key, old, new)
        return old

    def _remove(self, key: str) -> CachedObject | None:
        old = self._objects.pop(key, None)
        if old is not None:
            del self._keys[bisect_left(self._keys, key)]
            self._reindex(key, old, None)
        return old

    def _reindex(self, key: str, old: CachedObject | None, new: CachedObject | None) -> None:
        for path, index in self._index.items():
            before = old.field(path) if old is not None else None
            after = new.field(path) if new is not None else None
            if before == after:
                continue
            if before is not None:
                index[before].discard(key)
                if not index[before]:
                    del index[before]
            if after is not None:
                index.setdefault(after, set()).add(key)

    def _cached(
        self, key: str, stored: bytes, revision: int, obj: Object | None = None, before: CachedObject | None = None
    ) -> CachedObject:
        plain = self._codec.from_store(key, stored)
        return self._from_plain(key, plain, revision, self._codec.is_stale(stored), obj, before)

    def _from_plain(
        self,
        key: str,
        plain: bytes,
        revision: int,
        stale: bool = False,
        obj: Object | None = None,
        before: CachedObject | None = None,
    ) -> CachedObject:
        namespace, _, name = key[len(self._prefix) :].rpartition("/")
        return CachedObject(
            key,
            splice(plain, revision),
            revision,
            namespace=sys.intern(namespace),
            name=name,
            fields=self._fields,
            decoded=self._decoded,
            stale=stale,
            obj=obj,
            before=before,
        )

    def _written(self, key: str, plain: bytes, revision: int) -> CachedObject:
        current = self._objects.get(key)
        if current is not None and current.revision == revision:
            return current
        return self._from_plain(key, plain, revision)  # somebody wrote or deleted it again in the same commit

    def _historic_event(self, change: Event) -> CacheEvent:
        old = None
        if change.previous is not None:
            old = self._cached(change.key, change.previous, change.previous_revision)
        if change.value is None:
            return CacheEvent("DELETED", None, old, change.revision)
        new = self._cached(change.key, change.value, change.revision)
        return CacheEvent("ADDED" if old is None else "MODIFIED", new, old, change.revision)
