"""One consumer of a watch cache: a bounded queue of shared events, and what it is interested in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass

from timonel.storage.cached_object import CachedObject, CacheEvent
from timonel.storage.protocol import StoreError


class WatcherTooSlow(StoreError):
    """The watcher did not take its events in time and was cut off; it resumes from the last one it has."""

    def __init__(self, queued: int) -> None:
        super().__init__(f"watcher fell {queued} events behind and was cut off")


@dataclass(frozen=True, slots=True)
class Interest:
    """What a watcher wants to see; all that is given must hold for the new or for the old state."""

    namespace: str = ""
    name: str = ""
    field: tuple[str, str] | None = None
    """A selectable field and its value. Of an indexed field, the watcher costs nothing for other values."""

    def covers(self, cached: CachedObject) -> bool:
        return (
            (not self.namespace or cached.namespace == self.namespace)
            and (not self.name or cached.name == self.name)
            and (self.field is None or cached.field(self.field[0]) == self.field[1])
        )

    def sees(self, event: CacheEvent) -> bool:
        return (event.new is not None and self.covers(event.new)) or (event.old is not None and self.covers(event.old))

    @property
    def is_everything(self) -> bool:
        return not self.namespace and not self.name and self.field is None


class Watcher(AsyncIterator[Sequence[CacheEvent]]):
    """Batches of events in order, without gaps, all after one revision.

    Iteration raises WatcherTooSlow when the watcher was cut off and Compacted when its start is no longer kept. The
    store's own history is read (`load_backlog`) only for a start older than the cache's ring.
    """

    def __init__(
        self,
        *,
        channel: Hashable,
        after_revision: int,
        queue_size: int,
        load_backlog: Callable[[], Awaitable[Sequence[CacheEvent]]] | None,
        sees: Callable[[CacheEvent], bool] | None,
        cache_revision: Callable[[], int],
        on_close: Callable[[Watcher], None],
    ) -> None:
        """`sees` filters what the channel lets through, None when the channel is exact; the backlog comes filtered."""
        self.channel = channel
        self._after_revision = after_revision
        self._queue_size = queue_size
        self._load_backlog = load_backlog
        self._sees = sees
        self._cache_revision = cache_revision
        self._on_close = on_close
        self._queue: deque[CacheEvent] = deque()
        self._seen = after_revision
        self._overrun = 0
        self._closed = False
        self._closed_at = 0
        """The cache's revision then: of what it got since, this watcher was told nothing."""
        self._waiter: asyncio.Future[None] | None = None

    @property
    def revision(self) -> int:
        """Every event up to this revision has been handed out: what a bookmark may say."""
        if self._queue or self._load_backlog is not None or self._overrun:
            return self._seen
        return max(self._seen, self._closed_at if self._closed else self._cache_revision())

    def push(self, events: Sequence[CacheEvent]) -> None:
        """Called by the cache on every commit: 0.2 µs, and a wake-up if the watcher waits."""
        queue = self._queue
        queue.extend(events)
        if len(queue) > self._queue_size:
            self._overrun = len(queue)
            queue.clear()
            self._on_close(self)
        self._wake()

    async def __anext__(self) -> Sequence[CacheEvent]:
        if self._load_backlog is not None:
            backlog = await self._load_backlog()
            self._load_backlog = None
            if backlog:
                self._seen = max(self._seen, backlog[-1].revision)
                return backlog
        while True:
            if self._overrun:
                raise WatcherTooSlow(self._overrun)
            if self._queue:
                batch = list(self._queue)
                self._queue.clear()
                first, self._seen = batch[0].revision, batch[-1].revision
                if first <= self._after_revision:  # a start in the future: the cache has yet to get there
                    batch = [event for event in batch if event.revision > self._after_revision]
                if self._sees is not None:
                    batch = [event for event in batch if self._sees(event)]
                if batch:
                    return batch
                continue
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def close(self) -> None:
        """Ends the iteration once what is queued is consumed; calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self._closed_at = self._cache_revision()
            self._on_close(self)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
