"""Pods that extenders are asked about, one after the other, while the decisions about all others go on.

Asking takes as long as an extender likes; it is still told of one pod at a time, as upstream's scheduler does, for what
it keeps of its own may depend on that.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from timonel.scheduler.core.queue import Waiting


class Lane:
    """By priority, then by time."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, float, int, Waiting]] = []
        self._tickets = count()
        self._has_any = asyncio.Event()

    def put(self, waiting: Waiting) -> None:
        """A pod that was taken from the queue; it stays taken."""
        heapq.heappush(self._heap, (-waiting.pod.klass.priority, waiting.since, next(self._tickets), waiting))
        self._has_any.set()

    async def next(self) -> Waiting:
        while not self._heap:
            self._has_any.clear()
            await self._has_any.wait()
        return heapq.heappop(self._heap)[-1]
