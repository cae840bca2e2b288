"""How far subscribers have got, and how far etcd is: what reads wait for that must not be stale."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from itertools import count


class Progress:
    """A revision that only grows, and those who wait for it."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self._order = count()
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []

    def advance(self, revision: int) -> None:
        """Subscribers have everything up to `revision`; wakes who waited for that."""
        self.revision = max(self.revision, revision)
        waiters = self._waiters
        while waiters and waiters[0][0] <= self.revision:
            future = heapq.heappop(waiters)[2]
            if not future.done():
                future.set_result(None)

    def reaching(self, revision: int) -> asyncio.Future[None]:
        """Done when subscribers have everything up to `revision`, which they have not now."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (revision, next(self._order), future))
        return future


class SharedReading:
    """Asks for a number that grows. Callers share readings, but never one that began before they came.

    So however many readers there are, at most one reading is under way and one more waits: what a read costs etcd
    does not grow with the number of clients.
    """

    def __init__(self, read: Callable[[], Awaitable[int]]) -> None:
        self._read = read
        self._one_at_a_time = asyncio.Lock()
        self._next: asyncio.Task[int] | None = None

    async def __call__(self) -> int:
        if self._next is None:
            self._next = asyncio.create_task(self._begin(), name="etcd-newest-revision")
        # Shielded, for one caller that gives up must not take the answer from the others.
        return await asyncio.shield(self._next)

    async def _begin(self) -> int:
        async with self._one_at_a_time:
            self._next = None
            return await self._read()
