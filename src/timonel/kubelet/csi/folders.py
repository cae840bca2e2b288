"""Tells when a folder's entries change, by inotify(7): the kernel says so, nobody has to look."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_CREATE, _DELETE, _MOVED = 0x100, 0x200, 0xC0
_BUFFER = 64 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def watch_folder(path: str) -> Iterator[asyncio.Event]:
    """The event is set whenever an entry comes or goes; whoever looks clears it first. Raises OSError."""
    descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        if _libc.inotify_add_watch(descriptor, os.fsencode(path), _CREATE | _DELETE | _MOVED) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)

        def read() -> None:
            os.read(descriptor, _BUFFER)  # what it was is seen by looking
            changed.set()

        loop.add_reader(descriptor, read)
        try:
            yield changed
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)
