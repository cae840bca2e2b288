"""The store as the event loop sees it: awaits the writer thread, tells subscribers, keeps the timers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import apsw

from timonel.api.clock import Clock
from timonel.storage.protocol import Change, Compacted, Entry, Event, Range, RevisionMismatch, StoreError
from timonel.storage.sqlite import reading
from timonel.storage.sqlite.commit import Batch, Write
from timonel.storage.sqlite.lock import FileLock
from timonel.storage.sqlite.schema import MEMORY, open_connection, open_reader, store_error
from timonel.storage.sqlite.writer import Call, Outcome, Writer
from timonel.storage.subscribers import Subscribers

log = logging.getLogger(__name__)

T = TypeVar("T")
Deliver = Callable[[Sequence[Event]], None]

_WATCH_QUEUE = 65536
"""Events a `watch` may lag behind before it is cut off."""
_COMPACTION_SECONDS = 30.0


async def open_sqlite(path: str, *, clock: Clock, history_seconds: float = 300) -> SqliteStore:
    """Opens or makes the store file; ":memory:" serves tests. History is kept for at least `history_seconds`.

    Raises StoreError, saying what to do, when the file is damaged, in use, of another program or not writable.
    """
    lock = None if path == MEMORY else FileLock(path)
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(None, lambda: SqliteStore(path, clock, history_seconds, loop, lock))
    except BaseException:
        if lock is not None:
            lock.release()
        raise


class SqliteStore:
    """Implements `timonel.storage.protocol.Store`. Made by `open_sqlite`; belongs to one event loop."""

    def __init__(
        self,
        path: str,
        clock: Clock,
        history_seconds: float,
        loop: asyncio.AbstractEventLoop,
        lock: FileLock | None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._history_seconds = history_seconds
        self._loop = loop
        self._lock = lock
        self._subscribers: Subscribers[Deliver] = Subscribers()
        self._writer = Writer(open_connection(path), path, self._deliver_from_thread)
        self._reader = None if path == MEMORY else open_reader(path)
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-reader")
        self._delivered = self._writer.revision
        self._compacted = self._writer.sweep.compacted
        self._next_expiry: int | None = 0
        self._expiry_moved = asyncio.Event()
        self._closed = False
        self._writer.start()
        self._timers: list[asyncio.Task[None]] = []
        loop.call_soon_threadsafe(self._start_timers)

    # Reading

    async def get(self, key: str) -> Entry | None:
        return await self._read(lambda connection: reading.get(connection, key))

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Range:
        if revision and revision < self._compacted:
            raise Compacted(revision, self._compacted)
        found = await self._read(lambda connection: reading.range_at(connection, prefix, start, limit, revision))
        if revision and revision < self._compacted:  # it was compacted while we read
            raise Compacted(revision, self._compacted)
        return found

    async def changes(self, prefix: str, after: int, until: int) -> Sequence[Event]:
        if after < self._compacted:
            raise Compacted(after, self._compacted)
        events = await self._read(lambda connection: reading.changes(connection, prefix, after, until))
        if after < self._compacted:
            raise Compacted(after, self._compacted)
        return events

    async def current_revision(self) -> int:
        return self._delivered

    @property
    def delivered_revision(self) -> int:
        return self._delivered

    @property
    def compacted_revision(self) -> int:
        return self._compacted

    async def size_bytes(self) -> int:
        if self._path == MEMORY:
            return await self._read(reading.size_bytes)
        return await self._loop.run_in_executor(None, reading.file_bytes, self._path)

    async def check(self) -> None:
        """The thread that writes answers, and the file can be read."""
        await self._call(lambda: self._writer.connection.execute("SELECT 1 FROM progress LIMIT 1").fetchall())

    # Writing

    async def create(self, key: str, value: bytes, *, ttl_seconds: int = 0, along: Sequence[Change] = ()) -> int:
        return await self._write(key, value, 0, ttl_seconds, along)

    async def update(
        self, key: str, value: bytes, expected: int, *, ttl_seconds: int = 0, along: Sequence[Change] = ()
    ) -> int:
        return await self._write(key, value, self._guard(expected), ttl_seconds, along)

    async def delete(self, key: str, expected: int, *, along: Sequence[Change] = ()) -> int:
        return await self._write(key, None, self._guard(expected), 0, along)

    @staticmethod
    def _guard(expected: int) -> int:
        if expected <= 0:
            raise ValueError(f"an expected revision is positive, not {expected}")
        return expected

    def _write(
        self, key: str, value: bytes | None, expected: int, ttl_seconds: int, along: Sequence[Change] = ()
    ) -> asyncio.Future[int]:
        expires = None
        if ttl_seconds > 0:
            expires = int(self._clock.now().timestamp()) + ttl_seconds
            if self._next_expiry is None or expires < self._next_expiry:
                self._next_expiry = expires
                self._expiry_moved.set()
        if along and len({key, *(change.key for change in along)}) <= len(along):
            raise ValueError(f"a key is changed twice in the commit of {key}")
        future: asyncio.Future[int] = self._loop.create_future()
        self._submit(Write(key, value, expected, expires, future, along))
        return future

    def _submit(self, job: Write | Call) -> None:
        if self._closed:
            raise StoreError(f"the store {self._path} is closed")
        self._writer.submit(job)

    def _call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Runs `work` in the writer thread, after all writes submitted before."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._submit(Call(work, future))
        return future

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        if self._reader is None:
            return await self._call(lambda: work(self._writer.connection))
        if self._closed:
            raise StoreError(f"the store {self._path} is closed")
        try:
            return await self._loop.run_in_executor(self._reading, work, self._reader)
        except apsw.Error as exc:
            raise store_error(exc, self._path) from exc

    # Telling

    @property
    def is_shared(self) -> bool:
        return False

    async def catch_up(self, revision: int = 0) -> None:
        """Nothing to wait for: the only writer is in this process, and its commits are told before acknowledged."""

    def subscribe(
        self, prefix: str, deliver: Deliver, on_gap: Callable[[], Awaitable[None]] | None = None
    ) -> Callable[[], None]:
        """There are no gaps: `on_gap` is never called."""
        return self._subscribers.add(prefix, deliver)

    async def watch(self, prefix: str, start_revision: int) -> AsyncIterator[Sequence[Event]]:
        arrived: deque[Event] = deque()
        wake = asyncio.Event()

        def deliver(events: Sequence[Event]) -> None:
            arrived.extend(events)
            wake.set()

        unsubscribe = self.subscribe(prefix, deliver)
        try:
            seen = max(start_revision - 1, 0)
            while True:
                if self._delivered > seen:
                    # From the log, not from `arrived`: a watch of the protocol carries previous values.
                    until = self._delivered
                    lag = len(arrived)
                    arrived.clear()
                    if lag > _WATCH_QUEUE:
                        raise StoreError(f"watch of {prefix} fell {lag} events behind and was cut off")
                    events = await self.changes(prefix, seen, until)
                    seen = until
                    if events:
                        yield events
                        continue
                if not arrived:
                    wake.clear()
                    await wake.wait()
        finally:
            unsubscribe()

    def _deliver_from_thread(self, batches: list[Batch], outcomes: list[Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, batches, outcomes)
        except RuntimeError:  # the loop is closed: nobody is left to hear
            log.warning("Nobody was left to hear of writes path=%s writes=%d", self._path, len(outcomes))

    def _deliver(self, batches: list[Batch], outcomes: list[Outcome]) -> None:
        for batch in batches:
            if batch.rows:
                self._tell(batch.events())
        for future, result, error in outcomes:
            if future.done():  # its caller was cancelled; the write stands all the same
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def _tell(self, events: list[Event]) -> None:
        self._delivered = events[-1].revision
        for prefix, deliver, concerned in self._subscribers.concerned(events):
            try:
                deliver(concerned)
            except Exception:  # one broken subscriber must not cost the others their events
                log.exception("A subscriber failed prefix=%s revision=%d", prefix, self._delivered)

    # Timers

    def _start_timers(self) -> None:
        if not self._closed:
            self._timers = [
                self._loop.create_task(self._compact_regularly(), name="store-compaction"),
                self._loop.create_task(self._expire_regularly(), name="store-expiry"),
            ]

    async def _compact_regularly(self) -> None:
        """Notes the revision now and then, and forgets what is below a note that is old enough."""
        notes: deque[tuple[float, int]] = deque([(self._clock.monotonic(), self._delivered)])
        while True:
            await self._clock.sleep(min(_COMPACTION_SECONDS, self._history_seconds))
            now = self._clock.monotonic()
            target = 0
            while notes and notes[0][0] < now - self._history_seconds:
                target = notes.popleft()[1]
            if target > self._compacted:
                try:
                    await self.compact(target)
                except StoreError as exc:
                    log.warning("Could not compact the store, will retry error=%s", exc)
            if not notes or notes[-1][1] != self._delivered:
                notes.append((now, self._delivered))

    async def compact(self, revision: int) -> None:
        revision = min(revision, self._delivered)
        if revision > self._compacted:
            before, self._compacted = self._compacted, revision  # nobody begins to read what is about to go
            try:
                await self._call(lambda: self._writer.compact(revision))
            except StoreError:
                if self._compacted == revision:
                    self._compacted = before  # nothing went
                raise

    async def _expire_regularly(self) -> None:
        while True:
            now = int(self._clock.now().timestamp())
            if self._next_expiry is not None and self._next_expiry <= now:
                await self._expire(now)
                continue
            delay = None if self._next_expiry is None else self._next_expiry - now
            await self._wait_for_expiry(delay)

    async def _wait_for_expiry(self, delay: float | None) -> None:
        """Until `delay` seconds are over or an earlier expiry is known."""
        self._expiry_moved.clear()
        moved = self._loop.create_task(self._expiry_moved.wait(), name="store-expiry-moved")
        tasks: set[asyncio.Task[Any]] = {moved}
        if delay is not None:
            tasks.add(self._loop.create_task(self._clock.sleep(delay), name="store-expiry-sleep"))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _expire(self, now: int) -> None:
        self._next_expiry = None
        try:
            due, following = await self._call(lambda: self._writer.expire(now))
            if following is not None and (self._next_expiry is None or following < self._next_expiry):
                self._next_expiry = following
            results = await asyncio.gather(
                *(self._write(key, None, revision, 0) for key, revision in due), return_exceptions=True
            )
        except StoreError as exc:
            results = [exc]
        failures = [result for result in results if isinstance(result, StoreError)]
        if any(not isinstance(failure, RevisionMismatch) for failure in failures):
            log.warning("Could not delete expired keys, will retry error=%s", failures[0])
            self._next_expiry = now + int(_COMPACTION_SECONDS)

    # Backup and end

    async def backup(self, path: str) -> None:
        if self._reader is None:
            await self._call(lambda: reading.backup(self._writer.connection, path))
            return

        def copy() -> None:
            source = open_reader(self._path)
            try:
                reading.backup(source, path)
            finally:
                source.close()

        try:
            await self._loop.run_in_executor(None, copy)
        except apsw.Error as exc:
            raise store_error(exc, path) from exc

    async def close(self) -> None:
        """What was submitted before is still done. Further calls raise StoreError."""
        if self._closed:
            return
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        self._reading.shutdown(wait=True)
        if self._reader is not None:
            self._reader.close()
        self._writer.stop()
        await self._loop.run_in_executor(None, self._writer.join)
        if self._lock is not None:
            self._lock.release()
