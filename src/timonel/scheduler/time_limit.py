"""A limit on the time that foreign code may take, where it runs in the middle of a decision.

An alarm interrupts Python code wherever it is, a loop without end included; only code in C that never comes back cannot
be interrupted. It can be had in the main thread alone, which is where the manager decides; elsewhere there is no limit.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Protocol, TypeVar

Answer = TypeVar("Answer")

_AGAIN_SECONDS = 0.05
"""Code that catches everything is interrupted over and over."""


class TookTooLong(Exception):
    pass


class TimeLimit(Protocol):
    def run(self, seconds: float, call: Callable[[], Answer]) -> Answer:
        """The call's answer. Raises TookTooLong, and whatever the call raises."""
        ...


class _Alarm(BaseException):
    """Not an Exception, so that foreign code is not likely to catch it."""


class AlarmLimit:
    def __init__(self) -> None:
        self._is_armed = False
        self._is_installed = False

    def run(self, seconds: float, call: Callable[[], Answer]) -> Answer:
        if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
            return call()
        if not self._is_installed:
            signal.signal(signal.SIGALRM, self._ring)
            self._is_installed = True
        try:
            try:
                self._is_armed = True
                signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)
                return call()
            finally:
                self._is_armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
        except _Alarm:
            # It may have rung just before it was put off.
            self._is_armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise TookTooLong from None

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._is_armed:
            raise _Alarm
