"""What is read from the log, on whichever connection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import apsw

from timonel.storage.protocol import Entry, Event, Range
from timonel.storage.sqlite.schema import make_private

_END = "\U0010ffff"
_NEWEST = 1 << 62


def get(connection: apsw.Connection, key: str) -> Entry | None:
    row: Any = connection.execute(
        "SELECT value, create_revision, revision FROM log WHERE key = ? ORDER BY revision DESC LIMIT 1", (key,)
    ).fetchone()
    if row is None or row[0] is None:
        return None
    return Entry(key, row[0], row[1], row[2])


_NEWEST_OF_EACH = (
    "SELECT max(revision) AS newest FROM log INDEXED BY log_key"
    " WHERE key >= ? AND key < ? AND revision <= ? GROUP BY key ORDER BY key"
)


def range_at(connection: apsw.Connection, prefix: str, start: str, limit: int, revision: int) -> Range:
    """One statement finds the newest row of each key, by the index alone, and reads only those rows."""
    interval = (max(prefix, start), prefix + _END, revision or _NEWEST)
    joined = f"FROM ({_NEWEST_OF_EACH}) JOIN log l ON l.revision = newest WHERE l.value IS NOT NULL"
    with connection:  # all answers from one state
        rows: list[Any] = connection.execute(
            f"SELECT l.key, l.value, l.create_revision, l.revision {joined} LIMIT ?",
            (*interval, limit + 1 if limit else -1),
        ).fetchall()
        remaining = 0
        if limit and len(rows) > limit:
            rows.pop()
            (there,) = connection.execute(f"SELECT count(*) {joined}", interval).fetchone() or (0,)
            remaining = there - limit
        now = revision or _newest_revision(connection)
    return Range([Entry(*row) for row in rows], now, remaining)


def changes(connection: apsw.Connection, prefix: str, after: int, until: int) -> Sequence[Event]:
    """By the index on keys: it finds the changes of one kind without reading those of all others."""
    rows: Any = connection.execute(
        "SELECT l.key, l.revision, l.value, p.value, l.create_revision, l.previous_revision"
        " FROM log l INDEXED BY log_key LEFT JOIN log p ON p.revision = l.previous_revision"
        " WHERE l.key >= ? AND l.key < ? AND l.revision > ? AND l.revision <= ? ORDER BY l.revision",
        (prefix, prefix + _END, after, until),
    )
    return [Event(*row) for row in rows]


def _newest_revision(connection: apsw.Connection) -> int:
    (newest,) = connection.execute("SELECT max(revision) FROM log").fetchone() or (None,)
    (compacted,) = connection.execute("SELECT revision FROM progress WHERE name = 'compacted'").fetchone() or (0,)
    return max(newest or 0, compacted, 1)


def size_bytes(connection: apsw.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone() or (0,)
    (page_size,) = connection.execute("PRAGMA page_size").fetchone() or (0,)
    return int(pages) * int(page_size)


def file_bytes(path: str) -> int:
    return sum(os.path.getsize(name) for name in (path, f"{path}-wal") if os.path.exists(name))


def backup(source: apsw.Connection, path: str) -> None:
    """A consistent copy as of one moment, durable and complete under its name when this returns."""
    partial = f"{path}.partial"
    if os.path.exists(partial):
        os.unlink(partial)
    make_private(partial)
    target = apsw.Connection(partial)
    try:
        # All pages in one step: one read transaction, so that writers going on do not make it start again.
        with target.backup("main", source, "main") as copy:
            copy.step(-1)
    finally:
        target.close()
    _sync(partial)
    os.replace(partial, path)
    _sync(os.path.dirname(os.path.abspath(path)))


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
