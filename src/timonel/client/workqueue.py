"""The queue between "something about this key changed" and the worker that looks at it.

A key waits at most once, and is never with two workers: added while being worked on, it waits until that is done.
Source of the contract: the client-go workqueue.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from timonel.api.buckets import Buckets, powers
from timonel.api.clock import Clock

Key = TypeVar("Key", bound=Hashable)


_SECONDS = powers(1e-8, 10, 10)


class QueueFigures:
    """What /metrics tells of a queue; times in seconds."""

    __slots__ = ("adds", "retries", "waits", "works")

    def __init__(self) -> None:
        self.adds = 0
        self.retries = 0
        self.waits = Buckets(_SECONDS)
        """From being added to being taken."""
        self.works = Buckets(_SECONDS)


class WorkQueue(Generic[Key]):
    """Bounded by the number of keys, since each waits once. `close` it to end the timer of delayed keys."""

    def __init__(
        self,
        clock: Clock,
        *,
        name: str = "",
        base_delay: float = 0.005,
        max_delay: float = 60.0,
    ) -> None:
        self.name = name
        self._clock = clock
        self._base_delay = base_delay
        self._max_delay = max_delay
        self.figures = QueueFigures()
        self._ready: deque[Key] = deque()
        self._waiting: dict[Key, float] = {}  # ready or to be added again when done -> since
        self._processing: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = 0
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = 0.0
        self._getters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nobody works; delayed keys do not count."""
        return not self._waiting and not self._processing

    def under_way(self) -> list[float]:
        """For how many seconds each key that is being worked on has been."""
        now = self._clock.monotonic()
        return [now - since for since in self._processing.values()]

    def add(self, key: Key) -> None:
        if key in self._waiting:
            return
        self._waiting[key] = self._clock.monotonic()
        self.figures.adds += 1
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Adds the key later; of several times asked for, the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, key))
        if self._timer is None or due < self._timer_due:
            self._start_timer()

    def add_rate_limited(self, key: Key) -> None:
        """Adds after a delay that doubles with every call until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.figures.retries += 1
        self.add_after(key, min(self._base_delay * 2 ** min(failures, 40), self._max_delay))

    def failures(self, key: Key) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: Key) -> None:
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key, now yours until `done`."""
        while not self._ready:
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    self._wake()  # it was told of a key it will not take
                raise
        key = self._ready.popleft()
        now = self._clock.monotonic()
        self.figures.waits.observe(now - self._waiting.pop(key))
        self._processing[key] = now
        return key

    def done(self, key: Key) -> None:
        self.figures.works.observe(self._clock.monotonic() - self._processing.pop(key))
        if key in self._waiting:
            self._push(key)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _push(self, key: Key) -> None:
        self._ready.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = self._heap[0][0]
        self._timer = asyncio.get_running_loop().create_task(self._run_timer(), name=f"delayed keys of {self.name}")

    async def _run_timer(self) -> None:
        while self._heap:
            due, _, key = self._heap[0]
            now = self._clock.monotonic()
            if due > now:
                self._timer_due = due
                await self._clock.sleep(due - now)
                continue
            heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._timer = None
