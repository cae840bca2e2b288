"""Maintenance in slices: dropping old history, expiring keys, giving pages back.

The writer does one slice between two batches of writes. So load cannot keep it from happening, and it cannot keep
writes waiting for longer than a slice takes.
"""

from __future__ import annotations

import apsw

from timonel.storage.sqlite.schema import BUSY_MILLISECONDS

SLICE_ROWS = 2000
_SLICE_PAGES = 512
_SPARE_PAGES = 1024  # 4 MB of free pages are left for the next writes

_DROP = """
DELETE FROM log WHERE revision IN (
    SELECT previous_revision FROM log WHERE revision > :after AND revision <= :until AND previous_revision > 0
    UNION ALL
    SELECT revision FROM log WHERE revision > :after AND revision <= :until AND value IS NULL
)
"""


class Sweep:
    """Compaction to `compacted`, which is promised at once, and done as far as `swept`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        progress = dict(connection.execute("SELECT name, revision FROM progress"))
        self.compacted: int = progress["compacted"]
        self._swept: int = progress["swept"]
        self._returns_pages = True

    @property
    def is_due(self) -> bool:
        return self._swept < self.compacted or self._returns_pages

    def compact(self, revision: int) -> None:
        """Durably promises that nothing at or below `revision` is asked for any more."""
        if revision > self.compacted:
            self._connection.execute("UPDATE progress SET revision = ? WHERE name = 'compacted'", (revision,))
            self.compacted = revision

    def step(self) -> None:
        """One slice: rows first, then pages, then the log file's own length."""
        if self._swept < self.compacted:
            self._drop_rows()
            self._returns_pages = True
        elif self._returns_pages:
            self._returns_pages = self._return_pages()

    def _drop_rows(self) -> None:
        # Each row of the slice names the row it replaced, which is all that the slice makes superfluous: no search.
        until = min(self._swept + SLICE_ROWS, self.compacted)
        with self._connection:
            self._connection.execute(_DROP, {"after": self._swept, "until": until})
            self._connection.execute("UPDATE progress SET revision = ? WHERE name = 'swept'", (until,))
        self._swept = until

    def _return_pages(self) -> bool:
        """Gives a slice of free pages back to the file system; whether more is left to do."""
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone() or (0,)
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone() or (0,)
        if free > max(_SPARE_PAGES, pages // 8):
            self._connection.execute(f"PRAGMA incremental_vacuum({_SLICE_PAGES})").fetchall()
            return True
        checkpoint(self._connection)
        return False


def checkpoint(connection: apsw.Connection) -> None:
    """Moves the log into the file and empties it, if no reader is in the way just now: never waits for one."""
    connection.set_busy_timeout(0)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.set_busy_timeout(BUSY_MILLISECONDS)
