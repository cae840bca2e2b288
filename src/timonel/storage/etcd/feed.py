"""One watch of everything that feeds the subscribers, and who waits until it has come far enough.

The watch spans all keys below the prefix, so each change of ours is an event that moves it on. etcd's way to be told of
progress where nothing happens (WatchProgressRequest) is not relied on: before 3.4.31 and 3.5.13 the answer may overtake
events (github.com/etcd-io/etcd issues 15220, 17507). Where others share the etcd, a write of our own does it instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.storage.etcd.client import EtcdClient
from timonel.storage.etcd.compaction import COMPACT_KEY, compacted_revision
from timonel.storage.etcd.keys import Keyspace
from timonel.storage.etcd.progress import Progress
from timonel.storage.etcd.watching import News, event_of, follow
from timonel.storage.protocol import Compacted, Event, StoreError
from timonel.storage.subscribers import Subscribers

log = logging.getLogger(__name__)

Deliver = Callable[[Sequence[Event]], None]
OnGap = Callable[[], Awaitable[None]]

_NUDGE_SECONDS = 0.02
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Subscriber:
    prefix: str
    deliver: Deliver
    on_gap: OnGap | None


class Feed:
    """`read_newest` asks a quorum for the newest revision; `on_compacted` hears how far history is gone."""

    def __init__(
        self,
        client: EtcdClient,
        clock: Clock,
        keys: Keyspace,
        *,
        patience_seconds: float,
        read_newest: Callable[[], Awaitable[int]],
        on_compacted: Callable[[int], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._keys = keys
        self._patience_seconds = patience_seconds
        self._read_newest = read_newest
        self._on_compacted = on_compacted
        self._progress = Progress(0)
        self._subscribers: Subscribers[_Subscriber] = Subscribers()
        self._newest_told: dict[str, int] = {}

    @property
    def revision(self) -> int:
        """Subscribers have everything up to here."""
        return self._progress.revision

    def newest_told(self, prefix: str) -> int | None:
        """The last revision that brought subscribers of just this prefix an event; None when that is not known."""
        return self._newest_told.get(prefix)

    def subscribe(self, prefix: str, deliver: Deliver, on_gap: OnGap | None) -> Callable[[], None]:
        return self._subscribers.add(prefix, _Subscriber(prefix, deliver, on_gap))

    async def has_told(self, revision: int, *, is_ours: bool = False) -> bool:
        """Waits until subscribers have everything up to `revision`; False when that takes too long.

        `is_ours`: it is the revision of a key that the watch sees.
        """
        if revision <= self._progress.revision:
            return True
        reached = self._progress.reaching(revision)
        try:
            if self._keys.root and not is_ours:
                await asyncio.wait({reached}, timeout=_NUDGE_SECONDS)
                if not reached.done():
                    await self.nudge()
            await asyncio.wait({reached}, timeout=self._patience_seconds)
            return reached.done()
        finally:
            reached.cancel()

    async def nudge(self) -> None:
        """Moves watches of everything past changes that lie outside of what they see."""
        if self._keys.root:
            with contextlib.suppress(StoreError):
                await self._client.put(self._keys.marker, b"")

    # Following

    def begin_after(self, revision: int) -> None:
        """Subscribers will hear of what follows; what is there already they read."""
        self._progress.advance(revision)

    async def run(self) -> None:
        while True:
            after = self._progress.revision
            stream = follow(self._client, self._clock, self._keys.everything, after, from_newest=True)
            try:
                async with aclosing(stream):
                    async for news in stream:
                        self._tell(news)
            except Compacted as exc:
                self._on_compacted(exc.oldest)
                await self._bridge_gap()

    def _tell(self, news: News) -> None:
        self._progress.revision = news.revision  # as who is told now may ask; who waits for it hears afterwards
        events = []
        for event in news.events:
            if event.kv.key == COMPACT_KEY:
                self._on_compacted(compacted_revision(event.kv))
            elif event.kv.key != self._keys.marker:
                events.append(event_of(event, self._keys))
        for prefix, subscriber, concerned in self._subscribers.concerned(events):
            self._newest_told[prefix] = concerned[-1].revision
            try:
                subscriber.deliver(concerned)
            except Exception:  # one broken subscriber must not cost the others their events
                log.exception("A subscriber failed prefix=%s revision=%d", prefix, news.revision)
        self._progress.advance(news.revision)

    async def _bridge_gap(self) -> None:
        """We were away for longer than history is kept: everybody reads the present state instead."""
        log.warning("The watch of etcd fell out of the history, reading all again after=%d", self._progress.revision)
        while True:
            try:
                revision = await self._read_newest()
                for subscriber in self._subscribers:
                    await self._start_over(subscriber)
                break
            except StoreError as exc:
                log.warning("Could not read the present state, will retry error=%s", exc)
                await self._clock.sleep(_RETRY_SECONDS)
        self._newest_told.clear()
        self._progress.advance(revision)

    async def _start_over(self, subscriber: _Subscriber) -> None:
        if subscriber.on_gap is None:
            return
        try:
            await subscriber.on_gap()
        except StoreError:
            raise
        except Exception:  # as when telling: the others go on
            log.exception("A subscriber failed to start over prefix=%s", subscriber.prefix)
