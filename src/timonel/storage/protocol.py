"""The revisioned store: a sorted map of keys to bytes with one global revision counter and a history to watch.

The same protocol serves SQLite (default, one server) and etcd (several servers). It knows nothing of Kubernetes:
values are opaque bytes. History older than the last `compact` is gone and asking for it raises `Compacted`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    value: bytes
    create_revision: int
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change. `value` is None for a deletion; `previous` is None for a creation."""

    key: str
    revision: int
    value: bytes | None
    previous: bytes | None
    create_revision: int
    previous_revision: int
    """Revision of `previous`; 0 for a creation."""


@dataclass(slots=True, eq=False)
class Link:
    """Between a change and the next one of the same key, which is submitted before the first is committed."""

    revision: int = 0
    """Of the first one's commit; 0 before it, and when it was refused or failed."""


@dataclass(frozen=True, slots=True)
class Change:
    """A guarded change that goes along with another write: both are committed, or neither is.

    `value` None deletes. `expected` is the key's present revision; 0 creates. Where the store is not shared, a change
    may instead come `after` the link of one that was submitted before: it is refused unless it follows right on it.
    """

    key: str
    value: bytes | None
    expected: int
    after: Link | None = None
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """`entries` in key order, as they were at `revision`; `remaining` is how many a limit cut off."""

    entries: Sequence[Entry]
    revision: int
    remaining: int

    @property
    def more(self) -> bool:
        return self.remaining > 0


class StoreError(Exception):
    """The store could not do it: disk full, file damaged, etcd away. The message says which and what to do."""


class KeyExists(StoreError):
    """`create` of a key that is there; `current` is what is there."""

    def __init__(self, current: Entry) -> None:
        super().__init__(f"key exists: {current.key}")
        self.key = current.key
        self.current = current


class RevisionMismatch(StoreError):
    """`update` or `delete` with an expected revision that is not the present one; `current` is None if it is gone."""

    def __init__(self, key: str, current: Entry | None) -> None:
        super().__init__(f"revision of {key} is {current.mod_revision if current else 'none'}")
        self.key = key
        self.current = current


class Compacted(StoreError):
    """The revision asked for is no longer kept."""

    def __init__(self, requested: int, oldest: int) -> None:
        super().__init__(f"revision {requested} is compacted, the oldest kept is {oldest}")
        self.requested = requested
        self.oldest = oldest


class Store(Protocol):
    async def get(self, key: str) -> Entry | None: ...

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Range:
        """Entries under `prefix` whose key is >= `start`, at most `limit` (0: all), as of `revision` (0: now)."""
        ...

    # `along` are changes of other keys in the same commit: all of it happens, or nothing does. The error then names the
    # key that was in the way, the main one or one of these. In etcd all get one revision, in SQLite one each, the main
    # one the last. For the sake of watches that resume between two events, not two of them should be of one resource.

    async def create(self, key: str, value: bytes, *, ttl_seconds: int = 0, along: Sequence[Change] = ()) -> int:
        """Returns the revision of the commit, which is durable by then. Raises KeyExists. ttl 0: for ever."""
        ...

    async def update(
        self, key: str, value: bytes, expected: int, *, ttl_seconds: int = 0, along: Sequence[Change] = ()
    ) -> int:
        """Replaces the value if the key's mod_revision is `expected`. Raises RevisionMismatch."""
        ...

    async def delete(self, key: str, expected: int, *, along: Sequence[Change] = ()) -> int:
        """Deletes the key if its mod_revision is `expected`. Returns its revision. Raises RevisionMismatch."""
        ...

    def watch(self, prefix: str, start_revision: int) -> AsyncIterator[Sequence[Event]]:
        """Every change under `prefix` with revision >= `start_revision`, in order, without gaps, in batches.

        Raises Compacted when the start is no longer kept. A consumer that stays behind is cut off with StoreError.
        """
        ...

    def subscribe(
        self,
        prefix: str,
        deliver: Callable[[Sequence[Event]], None],
        on_gap: Callable[[], Awaitable[None]] | None = None,
    ) -> Callable[[], None]:
        """Calls `deliver` on the event loop with each later commit's changes under `prefix`, in order of revision.

        It does so before the call that wrote returns, or was refused, which is what makes a cache current with
        acknowledged writes. `previous` is left None, and may be told without its revision: a subscriber has seen it.
        `on_gap` is awaited when changes were lost for good, because the store was out of reach for longer than history
        is kept: the subscriber reads the present state again, and hears nothing until it has. Returns what ends the
        subscription.
        """
        ...

    @property
    def is_shared(self) -> bool:
        """Whether other processes write to it: then subscribers may be behind, and `catch_up` is worth its cost."""
        ...

    async def catch_up(self, revision: int = 0) -> None:
        """Waits until subscribers have what anybody was acknowledged before this call; at once if nobody else writes.

        With `revision`, what was committed up to it is enough; one that does not exist yet is not waited for. Raises
        StoreError when the store is out of reach.
        """
        ...

    async def changes(self, prefix: str, after: int, until: int) -> Sequence[Event]:
        """Changes under `prefix` with `after` < revision <= `until`, in order, with previous values.

        Raises Compacted.
        """
        ...

    async def current_revision(self) -> int: ...

    @property
    def delivered_revision(self) -> int:
        """The newest revision all subscribers have got."""
        ...

    @property
    def compacted_revision(self) -> int:
        """Changes at and below are forgotten: a watch may start after it."""
        ...

    async def compact(self, revision: int) -> None:
        """Forgets changes at and below `revision`; the state at `revision` can still be read, older ones not."""
        ...

    async def backup(self, path: str) -> None:
        """Writes a consistent copy while the store goes on working."""
        ...

    async def size_bytes(self) -> int: ...

    async def check(self) -> None:
        """Raises StoreError when it could not answer now; waits as long as any other call would have to."""
        ...

    async def close(self) -> None: ...
