"""The store as the event loop sees it: guarded writes, reads of a quorum, history, backup.

etcd may be written by others, so subscribers learn of changes by the watch alone (`feed`). A write returns when the
watch has brought it: then they are current with all that this process was acknowledged. For what others wrote there is
`catch_up`, which asks a quorum for the newest revision and waits until the watch is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from timonel.api.clock import Clock
from timonel.storage.etcd import etcd_pb2 as pb
from timonel.storage.etcd.client import EtcdClient
from timonel.storage.etcd.compaction import Compactor
from timonel.storage.etcd.config import EtcdConfig
from timonel.storage.etcd.errors import LeaseNotFound
from timonel.storage.etcd.feed import Deliver, Feed, OnGap
from timonel.storage.etcd.keys import Keyspace
from timonel.storage.etcd.leases import Leases
from timonel.storage.etcd.progress import SharedReading
from timonel.storage.etcd.snapshot import write_snapshot
from timonel.storage.etcd.watching import News, follow, full_event_of
from timonel.storage.protocol import Change, Compacted, Entry, Event, KeyExists, Range, RevisionMismatch, StoreError

log = logging.getLogger(__name__)

_PAGE = 1000
"""Entries asked for at once: two megabytes of usual objects."""
_WATCH_LAG = 65536
"""Revisions a `watch` may fall behind between two batches before it is cut off."""
_HISTORY_SECONDS = 0.25
"""After which etcd has begun to tell history, if there is any: it looks for that every 100 ms."""


async def open_etcd(config: EtcdConfig, clock: Clock) -> EtcdStore:
    """Connects and begins to follow. Raises StoreError, saying what to do, when no endpoint answers."""
    store = EtcdStore(config, clock, EtcdClient(config))
    try:
        await store.start()
    except BaseException:
        await store.close()
        raise
    return store


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
        self._feed = Feed(
            client,
            clock,
            self._keys,
            patience_seconds=config.call_seconds,
            read_newest=self._read_newest,
            on_compacted=self._see_compacted,
        )
        self._compacted = 0
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
        self._feed.begin_after(await self._read_newest())
        self._run(self._feed.run(), "etcd-watch")
        log.info("Opened etcd endpoint=%s revision=%d", self._client.endpoint, self._feed.revision)

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_report_loss)
        self._tasks.append(task)

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
                    return Range(entries, revision, answer.count - len(answer.kvs) if answer.more else 0)
                first = answer.kvs[-1].key + b"\0"

    async def current_revision(self) -> int:
        with self._using():
            return await self._newest()

    async def check(self) -> None:
        """A quorum answers."""
        with self._using():
            await self._read_newest()

    async def size_bytes(self) -> int:
        with self._using():
            return (await self._client.status()).db_size

    @property
    def delivered_revision(self) -> int:
        return self._feed.revision

    @property
    def compacted_revision(self) -> int:
        return self._compacted

    def _entry(self, kv: pb.KeyValue) -> Entry:
        return Entry(self._keys.from_etcd(kv.key), kv.value, kv.create_revision, kv.mod_revision)

    async def _read_newest(self) -> int:
        answer = await self._client.range(pb.RangeRequest(key=self._keys.marker, keys_only=True))
        return answer.header.revision

    # Writing

    async def create(self, key: str, value: bytes, *, ttl_seconds: int = 0, along: Sequence[Change] = ()) -> int:
        return await self._write(Change(key, value, 0), ttl_seconds, along)

    async def update(
        self, key: str, value: bytes, expected: int, *, ttl_seconds: int = 0, along: Sequence[Change] = ()
    ) -> int:
        return await self._write(Change(key, value, _guard(expected)), ttl_seconds, along)

    async def delete(self, key: str, expected: int, *, along: Sequence[Change] = ()) -> int:
        return await self._write(Change(key, None, _guard(expected)), 0, along)

    async def _write(self, main: Change, ttl_seconds: int, along: Sequence[Change]) -> int:
        key, changes = main.key, (main, *along)
        with self._using():
            try:
                answer = await self._commit(changes, ttl_seconds)
            except LeaseNotFound:
                answer = await self._commit(changes, ttl_seconds)
            revision = answer.header.revision
            if answer.succeeded:
                if not await self._feed.has_told(revision, is_ours=True):
                    raise StoreError(
                        f"{key} was written at revision {revision}, but etcd's watch has not come that far; "
                        "look before writing again"
                    )
                return revision
            # A refusal too is told when subscribers know why, so that whoever looks again sees what was in the way.
            refused, current = self._refused(changes, answer)
            await self._feed.has_told(current.mod_revision if current else revision, is_ours=current is not None)
        if refused.expected == 0 and current is not None:
            raise KeyExists(current)
        raise RevisionMismatch(refused.key, current)

    def _refused(self, changes: Sequence[Change], answer: pb.TxnResponse) -> tuple[Change, Entry | None]:
        """The first change whose guard did not hold, and what is there."""
        for change, response in zip(changes, answer.responses, strict=True):
            found = response.response_range.kvs
            current = self._entry(found[0]) if found else None
            if change.expected != (current.mod_revision if current else 0):
                return change, current
        raise StoreError(f"etcd refused to change {changes[0].key} without a reason")

    async def _commit(self, changes: Sequence[Change], ttl_seconds: int) -> pb.TxnResponse:
        """The time to live is the first one's; what goes along stays."""
        lease = await self._leases.lease_for(ttl_seconds) if ttl_seconds > 0 else 0
        request = pb.TxnRequest()
        for change in changes:
            if change.after is not None:
                raise ValueError(f"etcd does not commit {change.key} in the order of submission")
            name = self._keys.to_etcd(change.key)
            request.compare.append(pb.Compare(target=pb.Compare.MOD, key=name, mod_revision=change.expected))
            if change.value is None:
                deletion = pb.DeleteRangeRequest(key=name)
                request.success.append(pb.RequestOp(request_delete_range=deletion))
            else:
                put = pb.PutRequest(key=name, value=change.value, lease=lease if change is changes[0] else 0)
                request.success.append(pb.RequestOp(request_put=put))
            request.failure.append(pb.RequestOp(request_range=pb.RangeRequest(key=name)))
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
        known = self._feed.revision  # before asking, for the watch goes on meanwhile
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
            if not await self._feed.has_told(target):
                raise StoreError(f"etcd is at revision {target}, its watch only at {self._feed.revision}")

    def subscribe(self, prefix: str, deliver: Deliver, on_gap: OnGap | None = None) -> Callable[[], None]:
        return self._feed.subscribe(prefix, deliver, on_gap)

    def _see_compacted(self, revision: int) -> None:
        self._compacted = max(self._compacted, revision)

    # History

    async def changes(self, prefix: str, after: int, until: int) -> Sequence[Event]:
        if after < self._compacted:
            raise Compacted(after, self._compacted)
        newest = self._feed.newest_told(prefix)
        if newest is not None and until <= self._feed.revision:
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
                    asyncio.timeout(self._config.call_seconds) as limit,
                    aclosing(follow(self._client, self._clock, interval, after, with_previous=True)) as stream,
                ):
                    async for news in stream:
                        limit.reschedule(asyncio.get_running_loop().time() + self._config.call_seconds)
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

    async def _nudge_later(self) -> None:
        await asyncio.sleep(_HISTORY_SECONDS)
        await self._feed.nudge()

    async def watch(self, prefix: str, start_revision: int) -> AsyncIterator[Sequence[Event]]:
        if start_revision <= self._compacted:
            raise Compacted(start_revision, self._compacted)
        interval = self._keys.interval(prefix)
        stream = follow(self._client, self._clock, interval, start_revision - 1, with_previous=True)
        async with aclosing(stream):
            async for news in stream:
                events = self._full_events(news, prefix, news.revision)
                if events:
                    before = self._feed.revision
                    yield events
                    lag = self._feed.revision - before
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
        revision = min(revision, self._feed.revision)
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
            await asyncio.wait_for(self._idle.wait(), self._config.call_seconds)
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


def _report_loss(task: asyncio.Task[None]) -> None:
    """Without the watch every write fails after a while, and says so; here is why."""
    if not task.cancelled() and task.exception() is not None:
        log.error("A task of the store was lost task=%s", task.get_name(), exc_info=task.exception())


def _guard(expected: int) -> int:
    if expected <= 0:
        raise ValueError(f"an expected revision is positive, not {expected}")
    return expected
