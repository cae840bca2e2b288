"""Tells when a file of a folder was written, replaced or removed: inotify(7), for which Python has no module."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = (
    0x8, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800,
)  # fmt: skip
_MASK = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF
_EVENT = struct.Struct("=iIII")
_READ_BYTES = 65536


class FileWatch:
    """Calls `on_change` when the file may have changed; whoever is called looks for himself."""

    def __init__(self, path: Path, on_change: Callable[[], None]) -> None:
        self._path = path
        self._on_change = on_change
        self._fd = -1

    def start(self) -> None:
        """The folder must be there. Where inotify is not to be had, nothing is told, and the log says so."""
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            self._fd = _checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
            _checked(libc.inotify_add_watch(self._fd, os.fsencode(self._path.parent), _MASK))
        except OSError as error:
            logger.warning("file not watched path=%s error=%s", self._path, error)
            self.stop()
            return
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def stop(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at + _EVENT.size <= len(data):
            _, _, _, length = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            at += _EVENT.size + length
            # Without a name: the folder itself is gone, or events were lost.
            if not name or name == os.fsencode(self._path.name):
                self._on_change()
                return


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno() or errno.EIO
        raise OSError(code, os.strerror(code))
    return result
