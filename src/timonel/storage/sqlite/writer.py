"""The one thread that writes. Changes that arrive while it works become the next batch: one transaction, one fsync.

Order of revisions = order of commits = order in which the event loop hears of them.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import apsw

from timonel.storage.protocol import Change, Entry, KeyExists, RevisionMismatch, StoreError
from timonel.storage.sqlite.commit import Batch, Live, Row, Write, chunks, forget_links, plan_batch
from timonel.storage.sqlite.schema import store_error
from timonel.storage.sqlite.sweep import Sweep, checkpoint

log = logging.getLogger(__name__)

_MAX_BATCH = 1000
_COLUMNS = len(Row._fields)


@dataclass(slots=True, eq=False)
class Call:
    """Something to run on the writer's connection, in order with the writes around it."""

    work: Callable[[], Any]
    future: asyncio.Future[Any]


Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]
"""What a caller hears: its future, and the result or the error."""

_STOP = None


class Writer(threading.Thread):
    """Owns the connection and the index of live keys. `deliver` is called in this thread after each batch, with the
    rows that became durable and what the callers hear."""

    def __init__(
        self, connection: apsw.Connection, path: str, deliver: Callable[[list[Batch], list[Outcome]], None]
    ) -> None:
        super().__init__(name="store-writer", daemon=True)
        self.connection = connection
        self.path = path
        self.sweep = Sweep(connection)
        self.index: dict[str, Live] = {
            key: Live(revision, create_revision)
            for key, revision, create_revision in connection.execute(
                "SELECT key, revision, create_revision FROM log"
                " WHERE revision IN (SELECT max(revision) FROM log GROUP BY key) AND value IS NOT NULL"
            )
        }
        (newest,) = connection.execute("SELECT max(revision) FROM log").fetchone() or (None,)
        # Never below the compacted revision, for the newest change may have been a deletion that is swept away; and
        # the first change is 2, as in etcd, because "0" means something else to clients and an empty list needs one.
        self.revision = max(newest or 0, self.sweep.compacted, 1)
        self._deliver = deliver
        self._queue: queue.SimpleQueue[Write | Call | None] = queue.SimpleQueue()
        self._maintenance_failed = False

    # Called from the event loop

    def submit(self, job: Write | Call) -> None:
        self._queue.put(job)

    def stop(self) -> None:
        """Everything submitted before is still done; then the thread ends."""
        self._queue.put(_STOP)

    # The thread

    def run(self) -> None:
        stopping = False
        while not stopping:
            jobs, stopping = self._take()
            batches: list[Batch] = []
            outcomes: list[Outcome] = []
            for is_write, group in groupby(jobs, key=lambda job: isinstance(job, Write)):
                if is_write:
                    batch, heard = self._commit([job for job in group if isinstance(job, Write)])
                    batches.append(batch)
                    outcomes += heard
                else:
                    outcomes += [self._call(job) for job in group if isinstance(job, Call)]
            if outcomes:
                self._deliver(batches, outcomes)
            if self._maintenance_is_due:
                self._maintain()
        try:
            checkpoint(self.connection)
            self.connection.close()
        except apsw.Error as exc:
            log.warning("Could not close the store cleanly path=%s error=%s", self.path, exc)

    @property
    def _maintenance_is_due(self) -> bool:
        return self.sweep.is_due and not self._maintenance_failed

    def _take(self) -> tuple[list[Write | Call], bool]:
        """Everything that waits, at least one job unless there is maintenance to do; and whether to stop after it."""
        jobs: list[Write | Call] = []
        try:
            job = self._queue.get(block=not self._maintenance_is_due)
            while job is not _STOP:
                jobs.append(job)
                if len(jobs) >= _MAX_BATCH:
                    return jobs, False
                job = self._queue.get_nowait()
        except queue.Empty:
            return jobs, False
        return jobs, True

    def _commit(self, writes: list[Write]) -> tuple[Batch, list[Outcome]]:
        batch = plan_batch(writes, self.index, self.revision)
        try:
            if batch.rows:
                self._write_with_room(batch.rows)
            refusals = [self._refusal(write, write.refused) if write.refused else None for write in writes]
        except Exception as exc:  # noqa: BLE001 - see below
            # Of whatever kind, it belongs to the callers: without this thread every later write would wait for ever.
            forget_links(writes)
            log.error("Could not commit path=%s writes=%d error=%r", self.path, len(writes), exc)
            return Batch(writes), [(write.future, None, store_error(exc, self.path)) for write in writes]
        for key, live in batch.changed.items():
            if live is None:
                self.index.pop(key, None)
            else:
                self.index[key] = live
        if batch.rows:
            self.revision = batch.rows[-1].revision
        heard = zip(writes, refusals, strict=True)
        return batch, [(write.future, write.revision, refusal) for write, refusal in heard]

    def _write_with_room(self, rows: list[Row]) -> None:
        """Where the disk is full, what the log holds and the file already has room for may be all that it takes."""
        try:
            self._write(rows)
        except apsw.FullError:
            try:
                checkpoint(self.connection)
            except apsw.Error:
                log.debug("Could not make room either path=%s", self.path)
            self._write(rows)

    def _write(self, rows: list[Row]) -> None:
        connection = self.connection
        if len(rows) == 1:
            connection.execute(_insert(1), rows[0])
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            at = 0
            for size in chunks(len(rows)):
                connection.execute(_insert(size), [value for row in rows[at : at + size] for value in row])
                at += size
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has rolled back by itself
                connection.execute("ROLLBACK")
            raise

    def _refusal(self, write: Write, refused: Change) -> StoreError:
        """Says what is there instead; only here a write costs a read."""
        current = None
        if write.conflict is not None:
            revision, create_revision = write.conflict
            found = self.connection.execute("SELECT value FROM log WHERE revision = ?", (revision,)).fetchone()
            current = Entry(refused.key, found[0] if found else b"", create_revision, revision)
        if refused.expected == 0 and refused.after is None and current is not None:
            return KeyExists(current)
        return RevisionMismatch(refused.key, current)

    def _call(self, call: Call) -> Outcome:
        try:
            return call.future, call.work(), None
        except apsw.Error as exc:
            return call.future, None, store_error(exc, self.path)
        except Exception as exc:  # noqa: BLE001 - it belongs to the caller, not to this thread
            return call.future, None, exc

    def _maintain(self) -> None:
        try:
            self.sweep.step()
        except apsw.Error as exc:
            self._maintenance_failed = True
            log.warning("Could not compact the store, will retry path=%s error=%s", self.path, exc)

    def compact(self, revision: int) -> None:
        """For a `Call`: starts forgetting, slice by slice."""
        self.sweep.compact(min(revision, self.revision))
        self._maintenance_failed = False

    def expire(self, now: int, limit: int = 500) -> tuple[list[tuple[str, int]], int | None]:
        """For a `Call`: keys whose time is over with their revisions, and when the next one is due."""
        rows: list[Any] = self.connection.execute(
            "SELECT key, revision FROM log WHERE expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?",
            (now, limit),
        ).fetchall()
        present = [(key, revision) for key, revision in rows if self.index.get(key, (0,))[0] == revision]
        # Rows that were replaced or deleted meanwhile have nothing left to expire.
        gone = [(revision,) for key, revision in rows if self.index.get(key, (0,))[0] != revision]
        if gone:
            with self.connection:
                self.connection.executemany("UPDATE log SET expires = NULL WHERE revision = ?", gone)
        (due,) = self.connection.execute(
            "SELECT min(expires) FROM log WHERE expires IS NOT NULL AND expires > ?", (now,)
        ).fetchone() or (None,)
        return present, (now if len(rows) == limit else due)


def _insert(rows: int) -> str:
    return _INSERTS[rows]


_INSERTS = {
    size: f"INSERT INTO log VALUES {', '.join(['(' + ', '.join('?' * _COLUMNS) + ')'] * size)}"
    for size in (1 << power for power in range(9))
}
