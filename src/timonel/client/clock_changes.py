"""Tells when the wall clock is set, or the machine wakes from sleep: timers of the event loop do not notice either.

Linux tells it by a timer file that is cancelled then; nothing is polled. Where there is none, nothing is ever told.
Source: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os

log = logging.getLogger(__name__)

_CLOCK_REALTIME = 0
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_ABSOLUTE, _CANCEL_ON_SET = 1, 2
_NEVER = 2**62
"""Seconds since 1970, later than any clock."""


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_longlong), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Moment), ("value", _Moment))


def _tell(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)


class ClockChanges:
    """One timer file. `wait` returns after each change; `close` when done."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = -1
        create = getattr(self._libc, "timerfd_create", None)
        if create is not None:
            self._file = create(_CLOCK_REALTIME, _FLAGS)
        if self._file >= 0:
            self._arm()

    async def wait(self) -> None:
        """Until the clock is set; for ever, if that cannot be known."""
        if self._file < 0:
            await asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._file, _tell, told)
        try:
            await told
        finally:
            loop.remove_reader(self._file)
        try:
            os.read(self._file, 8)
        except OSError as exc:
            if exc.errno != errno.ECANCELED:
                raise
        self._arm()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _arm(self) -> None:
        timer = _Timer(_Moment(0, 0), _Moment(_NEVER, 0))
        settime = self._libc.timerfd_settime
        if settime(self._file, _ABSOLUTE | _CANCEL_ON_SET, ctypes.byref(timer), None) != 0:
            log.info("changes of the clock cannot be noticed error=%s", os.strerror(ctypes.get_errno()))
            self.close()
