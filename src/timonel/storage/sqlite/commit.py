"""What a batch of writes does to the store, decided in memory before anything is written.

The writer keeps, for every live key, the revisions that guards are checked against. So a batch needs no reads, and its
rows go into the file by a few statements. That matters beyond SQLite's own speed: each statement gives up the
interpreter lock, and getting it back from a busy event loop takes up to five milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from timonel.storage.protocol import Change, Event


class Live(NamedTuple):
    """A key that is there."""

    mod_revision: int
    create_revision: int


class Row(NamedTuple):
    """One row of the log."""

    revision: int
    key: str
    value: bytes | None
    create_revision: int
    previous_revision: int
    expires: int | None


@dataclass(slots=True, eq=False)
class Write:
    """A change somebody asked for. `value` None deletes; `expected` 0 creates."""

    key: str
    value: bytes | None
    expected: int
    expires: int | None
    future: asyncio.Future[int]
    along: Sequence[Change] = ()
    """More changes of the same commit: all of them are done, or none."""
    revision: int = 0
    """Set when it was done."""
    conflict: Live | None = None
    """Set, with `refused`, to what was there instead; None when nothing was."""
    refused: Change | None = None
    """The change that was in the way, with the guard that did not hold."""


@dataclass(slots=True)
class Batch:
    """What to write, what the writes' callers hear, and what becomes of the index once the file has it."""

    writes: list[Write]
    rows: list[Row] = field(default_factory=list)
    changed: dict[str, Live | None] = field(default_factory=dict)

    def events(self) -> list[Event]:
        return [
            Event(row.key, row.revision, row.value, None, row.create_revision, row.previous_revision)
            for row in self.rows
        ]


def plan_batch(writes: Iterable[Write], index: dict[str, Live], revision: int) -> Batch:
    """Gives every write its revision, after `revision`, in the order they came, or marks it refused."""
    batch = Batch(list(writes))
    changed = batch.changed
    for write in batch.writes:
        key = write.key
        live = changed[key] if key in changed else index.get(key)
        if write.expected != (live.mod_revision if live else 0):
            write.refused, write.conflict = Change(key, write.value, write.expected), live
            continue
        if write.along:
            if _refuses(write, changed, index):
                continue
            for change in write.along:
                revision += 1
                _do(batch, change, changed.get(change.key, index.get(change.key)), revision)
        revision += 1
        write.revision = revision
        create_revision = live.create_revision if live else revision
        batch.rows.append(
            Row(revision, key, write.value, create_revision, live.mod_revision if live else 0, write.expires)
        )
        changed[key] = None if write.value is None else Live(revision, create_revision)
    return batch


def _refuses(write: Write, changed: dict[str, Live | None], index: dict[str, Live]) -> bool:
    for change in write.along:
        live = changed[change.key] if change.key in changed else index.get(change.key)
        if change.after is not None:
            holds = live is not None and change.after.revision == live.mod_revision
        else:
            holds = change.expected == (live.mod_revision if live else 0)
        if not holds:
            write.refused, write.conflict = change, live
            return True
    return False


def _do(batch: Batch, change: Change, live: Live | None, revision: int) -> None:
    create_revision = live.create_revision if live else revision
    previous = live.mod_revision if live else 0
    batch.rows.append(Row(revision, change.key, change.value, create_revision, previous, None))
    batch.changed[change.key] = None if change.value is None else Live(revision, create_revision)
    if change.link is not None:
        change.link.revision = revision


def forget_links(writes: Iterable[Write]) -> None:
    """The batch failed: its revisions go to others."""
    for write in writes:
        for change in write.along:
            if change.link is not None:
                change.link.revision = 0


def chunks(count: int, largest: int = 256) -> Iterable[int]:
    """Splits a number into powers of two, so that a handful of prepared statements serves every batch size."""
    size = largest
    while count:
        if size <= count:
            yield size
            count -= size
        else:
            size //= 2
