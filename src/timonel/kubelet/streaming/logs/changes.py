"""Wakes whoever follows a log when its directory changes: one inotify descriptor for all, for they are rationed.

Where inotify is not to be had (another system, the ration is used up), followers are woken once a second instead.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from struct import Struct

from timonel.api.clock import Clock

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0

_IN_MODIFY, _IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
_MASK = _IN_MODIFY | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
_EVENT = Struct("iIII")
_BUFFER_BYTES = 64 * 1024


class DirectoryChanges:
    """Use from one event loop; `close` when done."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._inotify: _Inotify | None = None
        self._is_missing = False
        self._followers: dict[int, set[asyncio.Event]] = {}

    @contextmanager
    def watch(self, directory: str, wake: asyncio.Event) -> Iterator[None]:
        """Sets `wake` after each change of a file in `directory`, while the context lasts."""
        watch = self._add(directory)
        if watch is None:
            poll = asyncio.create_task(self._poll(wake), name="log-poll")
            try:
                yield
            finally:
                poll.cancel()
            return
        followers = self._followers.setdefault(watch, set())
        followers.add(wake)
        try:
            yield
        finally:
            followers.discard(wake)
            if not followers and self._followers.get(watch) is followers:
                del self._followers[watch]
                if self._inotify is not None:
                    self._inotify.remove(watch)

    def close(self) -> None:
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None

    def _add(self, directory: str) -> int | None:
        if self._is_missing:
            return None
        try:
            if self._inotify is None:
                self._inotify = _Inotify()
                asyncio.get_running_loop().add_reader(self._inotify.fd, self._read)
            return self._inotify.add(directory)
        except (OSError, AttributeError) as exc:
            if self._inotify is None:
                self._is_missing = True
            logger.warning("fell back to looking once a second directory=%s error=%s", directory, exc)
            return None

    def _read(self) -> None:
        assert self._inotify is not None
        for watch in self._inotify.read():
            # -1: the kernel's queue overflowed, so anything may have changed.
            woken = self._followers.values() if watch < 0 else [self._followers.get(watch, set())]
            for followers in woken:
                for wake in followers:
                    wake.set()

    async def _poll(self, wake: asyncio.Event) -> None:
        while True:
            await self._clock.sleep(POLL_SECONDS)
            wake.set()


class _Inotify:
    """The three calls of inotify(7), for which Python has no module. Raises OSError."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, directory: str) -> int:
        return self._checked(self._libc.inotify_add_watch(self.fd, os.fsencode(directory), _MASK))

    def remove(self, watch: int) -> None:
        self._libc.inotify_rm_watch(self.fd, watch)

    def read(self) -> set[int]:
        """The watches that have seen something."""
        watches: set[int] = set()
        try:
            buffer = os.read(self.fd, _BUFFER_BYTES)
        except BlockingIOError:
            return watches
        at = 0
        while at + _EVENT.size <= len(buffer):
            watch, _mask, _cookie, name_length = _EVENT.unpack_from(buffer, at)
            watches.add(watch)
            at += _EVENT.size + name_length
        return watches

    def close(self) -> None:
        os.close(self.fd)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            code = ctypes.get_errno() or errno.EIO
            raise OSError(code, os.strerror(code))
        return result
