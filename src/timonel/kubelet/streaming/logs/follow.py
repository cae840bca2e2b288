"""Reads a container's log file, to its end or for as long as the container runs, across rotations.

The file is renamed and a new one made when it is rotated; a follower finishes the old one first. What was rotated away
before the request is not shown, as upstream does not. Files are read in threads: a disk may make one wait.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from threading import Lock
from typing import BinaryIO

from timonel.api.errors import BadRequest
from timonel.kubelet.streaming.logs.changes import DirectoryChanges
from timonel.kubelet.streaming.logs.lines import LogLines
from timonel.kubelet.streaming.logs.options import LogOptions

_READ_BYTES = 256 * 1024


class LogFile:
    """A log by its path. Raises BadRequest from `open` when there is no such file."""

    def __init__(self, path: str) -> None:
        self._path = os.path.realpath(path)
        self._file: BinaryIO | None = None
        self._previous: BinaryIO | None = None
        self._reading = Lock()  # a descriptor must not be closed, and reused, under a thread that is about to read it

    @property
    def directory(self) -> str:
        return os.path.dirname(self._path)

    def open(self, tail_lines: int | None) -> None:
        try:
            self._file = open(self._path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as exc:
            raise BadRequest(f'failed to open log file "{self._path}": {exc.strerror}') from exc
        if tail_lines is not None:
            self._file.seek(tail_start(self._file, tail_lines))

    def read(self) -> bytes:
        """The next bytes, b"" when there are none yet or it is closed; goes over to the new file after a rotation."""
        with self._reading:
            return self._read()

    def _read(self) -> bytes:
        if self._file is None:
            return b""
        if self._previous is not None:
            # Between making the new file and moving to it, the runtime may have written some more to the old one.
            if late := self._previous.read(_READ_BYTES):
                return late
            if os.fstat(self._file.fileno()).st_size:
                self._previous.close()
                self._previous = None
        if data := self._file.read(_READ_BYTES):
            return data
        try:
            there = os.stat(self._path)
        except OSError:
            return b""
        here = os.fstat(self._file.fileno())
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            try:
                following = open(self._path, "rb", buffering=0)  # noqa: SIM115
            except OSError:
                return b""  # rotated once more, or gone, since it was looked at: the next read finds what is there
            if self._previous is not None:
                self._previous.close()
            self._previous, self._file = self._file, following
            return self._read()
        if here.st_size < self._file.tell():  # cut short in place
            self._file.seek(0)
            return self._file.read(_READ_BYTES)
        return b""

    def close(self) -> None:
        with self._reading:
            for file in (self._file, self._previous):
                if file is not None:
                    file.close()
            self._file = self._previous = None


async def read_log(
    log: LogFile, options: LogOptions, *, changes: DirectoryChanges, ended: asyncio.Task[None] | None
) -> AsyncIterator[bytes]:
    """Pieces of what the client sees, from an opened log. `ended` is done when the container is; needed to follow."""
    lines = LogLines(options)
    wake = asyncio.Event()
    if not options.follow or ended is None:
        async for piece in _to_end(log, lines):
            yield piece
    else:
        ended.add_done_callback(lambda _: wake.set())
        with changes.watch(log.directory, wake):
            while True:
                wake.clear()
                was_over = ended.done()
                async for piece in _to_end(log, lines):
                    yield piece
                if was_over or lines.done:
                    break
                await wake.wait()
    if rest := lines.finish():
        yield rest


async def _to_end(log: LogFile, lines: LogLines) -> AsyncIterator[bytes]:
    while not lines.done and (data := await asyncio.to_thread(log.read)):
        if out := await asyncio.to_thread(lines.feed, data) if len(data) > _READ_BYTES // 4 else lines.feed(data):
            yield out


def tail_start(file: BinaryIO, lines: int, block_bytes: int = 64 * 1024) -> int:
    """Offset of the last `lines` lines. A last line without its newline yet comes on top of them."""
    at = file.seek(0, os.SEEK_END)
    wanted = lines + 1  # the newline before the first wanted line
    while at > 0:
        start = max(0, at - block_bytes)
        file.seek(start)
        block = file.read(at - start)
        count = block.count(b"\n")
        if count >= wanted:
            position = len(block)
            for _ in range(wanted):
                position = block.rindex(b"\n", 0, position)
            return start + position + 1
        wanted -= count
        at = start
    return 0
