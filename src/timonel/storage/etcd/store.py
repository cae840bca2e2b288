"""The store as the event loop sees it: guarded writes, one watch of everything that feeds the subscribers.

etcd may be written by others, so subscribers learn of changes by the watch alone. A write returns when the watch has
brought it: then they are current with all that this process was acknowledged. For what others wrote there is
`catch_up`, which asks a quorum for the newest revision and waits until the watch is there.

The watch spans all keys below the prefix, so each change of ours is an event that moves it on. etcd's way to be told of
progress where nothing happens (WatchProgressRequest) is not relied on: before 3.4.31 and 3.5.13 the answer may overtake
events (github.com/etcd-io/etcd issues 15220, 17507). Where others share the etcd, a write of our own does it instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from timonel.api.clock import Clock
from timonel.storage.etcd import etcd_pb2 as pb
from timonel.storage.etcd.client import EtcdClient
from timonel.storage.etcd.compaction import COMPACT_KEY, Compactor, compacted_revision
from timonel.storage.etcd.config import EtcdConfig
from timonel.storage.etcd.errors import LeaseNotFound
from timonel.storage.etcd.keys import Keyspace
from timonel.storage.etcd.leases import Leases
from timonel.storage.etcd.progress import Progress, SharedReading
from timonel.storage.etcd.snapshot import write_snapshot
from timonel.storage.etcd.watching import News, event_of, follow, full_event_of
from timonel.storage.protocol import Compacted, Entry, Event, KeyExists, Range, RevisionMismatch, StoreError

log = logging.getLogger(__name__)

Deliver = Callable[[Sequence[Event]], None]
OnGap = Callable[[], Awaitable[None]]

_PAGE = 1000
"""Entries asked for at once: two megabytes of usual objects."""
_WATCH_LAG = 65536
"""Revisions a `watch` may fall behind between two batches before it is cut off."""
_NUDGE_SECONDS = 0.02
_HISTORY_SECONDS = 0.25
"""After which etcd has begun to tell history, if there is any: it looks for that every 100 ms."""
_RETRY_SECONDS = 1.0


async def open_etcd(config: EtcdConfig, clock: Clock) -> EtcdStore:
    """Connects and begins to follow. Raises StoreError, saying what to do, when no endpoint answers."""
    store = EtcdStore(config, clock, EtcdClient(config))
    try:
        await store.start()
    except BaseException:
        await store.close()
        raise
    return store


@dataclass(frozen=True, slots=True, eq=False)
class _Subscriber:
    prefix: str
    deliver: Deliver
    on_gap: OnGap | None


class EtcdStore:
    """Implements `timonel.storage.protocol.Store`. Made by `open_etcd`; belongs to one event loop."""

    def __init__(self, config: EtcdConfig, clock: Clock, client: EtcdClient) -> None:
        self._config = config
        self._clock = clock
        self._client = client
        self._keys = Keyspace(config.prefix)
        self._leases = Leases(client, clock)
        self._compactor = Compactor(
            client, clock, interval_seconds=config.history_seconds, on_compacted=self._see_compacted
        )
        self._newest = SharedReading(self._read_newest)
        self._progress = Progress(0)
        self._compacted = 0
        self._subscribers: list[_Subscriber] = []
        self._newest_told: dict[str, int] = {}
        """By subscribed prefix, the newest revision that brought an event."""
        self._tasks: list[asyncio.Task[None]] = []
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    async def start(self) -> None:
        """Raises StoreError."""
        if self._config.history_seconds:
            await self._compactor.take_turn()
            self._run(self._compactor.run(), "etcd-compaction")
        self._progress.advance(await self._read_newest())
        self._run(self._follow(), "etcd-watch")
        log.info("Opened etcd endpoint=%s revision=%d", self._client.endpoint, self._progress.revision)

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    # Reading: always of a quorum, so never older than what anybody was acknowledged before

    async def get(self, key: str) -> Entry | None:
        with self._using():
            answer = await self._client.range(pb.RangeRequest(key=self._keys.to_etcd(key)))
        return self._entry(answer.kvs[0]) if answer.kvs else None

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Range:
        if revision and revision < self._compacted:
            raise Compacted(revision, self._compacted)
        interval = self._keys.interval(prefix, start)
        first = interval.first
        entries: list[Entry] = []
        with self._using():
            while True:
                wanted = min(limit - len(entries), _PAGE) if limit else _PAGE
                request = pb.RangeRequest(key=first, range_end=interval.end, limit=wanted, revision=revision)
                try:
                    answer = await self._client.range(request)
                except Compacted as exc:
                    raise Compacted(revision, max(self._compacted, revision + 1)) from exc
                revision = revision or answer.header.revision  # all pages of one state
                entries += map(self._entry, answer.kvs)
                if not answer.more or len(entries) == limit:
                    return Range(entries, revision, answer.more)
                first = answer.kvs[-1].key + b"\0"

    async def current_revision(self) -> int:
        with self._using():
            return await self._newest()

    async def size_bytes(self) -> int:
        with self._using():
            return (await self._client.status()).db_size

    @property
    def delivered_revision(self) -> int:
        return self._progress.revision

    @property
    def compacted_revision(self) -> int:
        return self._compacted

    def _entry(self, kv: pb.KeyValue) -> Entry:
        return Entry(self._keys.from_etcd(kv.key), kv.value, kv.create_revision, kv.mod_revision)

    async def _read_newest(self) -> int:
        answer = await self._client.range(pb.RangeRequest(key=self._keys.marker, keys_only=True))
        return answer.header.revision

    # Writing

    async def create(self, key: str, value: bytes, *, ttl_seconds: int = 0) -> int:
        return await self._write(key, value, 0, ttl_seconds)

    async def update(self, key: str, value: bytes, expected: int, *, ttl_seconds: int = 0) -> int:
        return await self._write(key, value, _guard(expected), ttl_seconds)

    async def delete(self, key: str, expected: int) -> int:
        return await self._write(key, None, _guard(expected), 0)

    async def _write(self, key: str, value: bytes | None, expected: int, ttl_seconds: int) -> int:
        name = self._keys.to_etcd(key)
        with self._using():
            try:
                answer = await self._change(name, value, expected, ttl_seconds)
            except LeaseNotFound:
                answer = await self._change(name, value, expected, ttl_seconds)
            revision = answer.header.revision
            if answer.succeeded:
                if not await self._told(revision, is_ours=True):
                    raise StoreError(
                        f"{key} was written at revision {revision}, but etcd's watch has not come that far; "
                        "look before writing again"
                    )
                return revision
            # A refusal too is told when subscribers know why, so that whoever looks again sees what was in the way.
            found = answer.responses[0].response_range.kvs
            current = self._entry(found[0]) if found else None
            await self._told(current.mod_revision if current else revision, is_ours=current is not None)
        if expected == 0 and current is not None:
            raise KeyExists(current)
        raise RevisionMismatch(key, current)

    async def _change(self, name: bytes, value: bytes | None, expected: int, ttl_seconds: int) -> pb.TxnResponse:
        lease = await self._leases.lease_for(ttl_seconds) if ttl_seconds > 0 else 0
        if value is None:
            change = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=name))
        else:
            change = pb.RequestOp(request_put=pb.PutRequest(key=name, value=value, lease=lease))
        request = pb.TxnRequest(
            compare=[pb.Compare(target=pb.Compare.MOD, key=name, mod_revision=expected)],
            success=[change],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=name))],
        )
        try:
            return await self._client.txn(request)
        except LeaseNotFound:
            self._leases.forget(lease)
            raise

    # Telling

    @property
    def is_shared(self) -> bool:
        return True

    async def catch_up(self, revision: int = 0) -> None:
        known = self._progress.revision  # before asking, for the watch goes on meanwhile
        if revision and revision <= known:
            return
        with self._using():
            newest = await self._newest()
            if newest < known:
                raise StoreError(
                    f"etcd went back from revision {known} to {newest}: it was restored or replaced; "
                    "restart the servers that use it"
                )
            target = min(revision, newest) if revision else newest
            if not await self._told(target):
                raise StoreError(f"etcd is at revision {target}, its watch only at {self._progress.revision}")

    async def _told(self, revision: int, *, is_ours: bool = False) -> bool:
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
                    await self._nudge()
            await asyncio.wait({reached}, timeout=self._limit)
            return reached.done()
        finally:
            reached.cancel()

    @property
    def _limit(self) -> float:
        return self._config.call_seconds

    async def _nudge(self) -> None:
        """Moves the watch past changes that lie outside of what it sees."""
        with contextlib.suppress(StoreError):
            await self._client.put(self._keys.marker, b"")

    async def _nudge_later(self) -> None:
        if self._keys.root:
            await asyncio.sleep(_HISTORY_SECONDS)
            await self._nudge()

    def subscribe(self, prefix: str, deliver: Deliver, on_gap: OnGap | None = None) -> Callable[[], None]:
        subscriber = _Subscriber(prefix, deliver, on_gap)
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._subscribers.remove(subscriber)

        return unsubscribe

    async def _follow(self) -> None:
        while True:
            after = self._progress.revision
            stream = follow(self._client, self._clock, self._keys.everything, after, from_newest=True)
            try:
                async with aclosing(stream):
                    async for news in stream:
                        self._tell(news)
            except Compacted as exc:
                self._see_compacted(exc.oldest)
                await self._bridge_gap()

    def _tell(self, news: News) -> None:
        self._progress.revision = news.revision
        events = []
        for event in news.events:
            if event.kv.key == COMPACT_KEY:
                self._see_compacted(compacted_revision(event.kv))
            elif event.kv.key != self._keys.marker:
                events.append(event_of(event, self._keys))
        for subscriber in tuple(self._subscribers):
            prefix = subscriber.prefix
            concerned = [event for event in events if event.key.startswith(prefix)]
            if concerned:
                self._newest_told[prefix] = concerned[-1].revision
                try:
                    subscriber.deliver(concerned)
                except Exception:  # one broken subscriber must not cost the others their events
                    log.exception("A subscriber failed prefix=%s revision=%d", prefix, news.revision)
        self._progress.advance(news.revision)

    async def _bridge_gap(self) -> None:
        """We were away for longer than history is kept: everybody reads the present state instead."""
        log.warning("The watch of etcd fell out of the history, read all again after=%d", self._progress.revision)
        while True:
            try:
                revision = await self._read_newest()
                for subscriber in tuple(self._subscribers):
                    if subscriber.on_gap is not None:
                        await subscriber.on_gap()
                break
            except StoreError as exc:
                log.warning("Could not read the present state, will retry error=%s", exc)
                await self._clock.sleep(_RETRY_SECONDS)
        self._newest_told.clear()
        self._progress.advance(revision)

    def _see_compacted(self, revision: int) -> None:
        self._compacted = max(self._compacted, revision)

    # History

    async def changes(self, prefix: str, after: int, until: int) -> Sequence[Event]:
        if after < self._compacted:
            raise Compacted(after, self._compacted)
        newest = self._newest_told.get(prefix)
        if newest is not None and until <= self._progress.revision:
            # We have heard of the last change under this prefix: it ends the search.
            interval, last = self._keys.interval(prefix), min(until, newest)
        else:
            # What was last is not known, so everything is read, where each revision is an event.
            interval, last = self._keys.everything, min(until, await self.current_revision())
        if last <= after:
            return []
        events: list[Event] = []
        with self._using():
            nudge = asyncio.create_task(self._nudge_later(), name="etcd-nudge")
            try:
                async with (
                    asyncio.timeout(self._limit) as limit,
                    aclosing(follow(self._client, self._clock, interval, after, with_previous=True)) as stream,
                ):
                    async for news in stream:
                        limit.reschedule(asyncio.get_running_loop().time() + self._limit)
                        events += self._full_events(news, prefix, until)
                        if news.revision >= last:
                            break
            except Compacted as exc:
                self._see_compacted(exc.oldest)
                raise
            except TimeoutError as exc:
                raise StoreError(f"etcd did not tell the changes after revision {after} in time") from exc
            finally:
                nudge.cancel()
        return events

    async def watch(self, prefix: str, start_revision: int) -> AsyncIterator[Sequence[Event]]:
        if start_revision <= self._compacted:
            raise Compacted(start_revision, self._compacted)
        interval = self._keys.interval(prefix)
        stream = follow(self._client, self._clock, interval, start_revision - 1, with_previous=True)
        async with aclosing(stream):
            async for news in stream:
                events = self._full_events(news, prefix, news.revision)
                if events:
                    before = self._progress.revision
                    yield events
                    lag = self._progress.revision - before
                    if lag > _WATCH_LAG:
                        raise StoreError(f"watch of {prefix} fell {lag} revisions behind and was cut off")

    def _full_events(self, news: News, prefix: str, until: int) -> list[Event]:
        wanted = self._keys.interval(prefix)
        return [
            full_event_of(event, self._keys)
            for event in news.events
            if event.kv.key in wanted and event.kv.mod_revision <= until
        ]

    async def compact(self, revision: int) -> None:
        revision = min(revision, self._progress.revision)
        if revision > self._compacted:
            with self._using():
                try:
                    await self._client.compact(revision)
                except Compacted:
                    pass  # another server was faster
            self._see_compacted(revision)

    async def defragment(self) -> None:
        """Gives what compaction freed back to the file system. Each member answers nobody while it works."""
        with self._using():
            await self._client.defragment()

    # Backup and end

    async def backup(self, path: str) -> None:
        with self._using():
            async with aclosing(self._client.snapshot()) as pieces:
                await write_snapshot(pieces, path)

    async def close(self) -> None:
        """What was submitted before is still done. Further calls raise StoreError."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), self._limit)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        if self._closed:
            raise StoreError(f"the store {', '.join(self._config.endpoints)} is closed")
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()


def _guard(expected: int) -> int:
    if expected <= 0:
        raise ValueError(f"an expected revision is positive, not {expected}")
    return expected
