"""A range of numbers of which each may be used once: cluster addresses and node ports are both such.

What is used is counted from the objects as the watch cache takes them in; a number picked for a write that is not
stored yet is `reserved` until then. Nothing is kept on disk, so nothing can disagree with the objects.
"""

from __future__ import annotations

import random
from collections import Counter


class RangeFull(Exception):
    def __str__(self) -> str:
        return "range is full"


class Pool:
    """Numbers from `low` to `high`, both included. The first `band` of them are left to those who ask by number.

    Source: kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation (reserved ranges), KEP-3070, KEP-3668
    """

    def __init__(self, low: int, high: int, *, band: int, rng: random.Random) -> None:
        self.low = low
        self.high = high
        self._dynamic = low + band
        self._random = rng
        self._used: Counter[int] = Counter()
        self._reserved: set[int] = set()

    def use(self, numbers: set[int]) -> None:
        self._used.update(numbers)

    def release(self, numbers: set[int]) -> None:
        for number in numbers:
            self._used[number] -= 1
            if self._used[number] <= 0:
                del self._used[number]

    def covers(self, number: int) -> bool:
        return self.low <= number <= self.high

    def is_free(self, number: int) -> bool:
        return number not in self._used and number not in self._reserved

    def reserve(self, number: int) -> bool:
        """False when it is taken."""
        if not self.is_free(number):
            return False
        self._reserved.add(number)
        return True

    def reserve_any(self) -> int:
        """A random free one, from the static band only when the rest is full. Raises RangeFull."""
        for low, high in ((self._dynamic, self.high), (self.low, self._dynamic - 1)):
            size = high - low + 1
            if size <= 0:
                continue
            start = self._random.randrange(size)
            for step in range(size):
                number = low + (start + step) % size
                if self.reserve(number):
                    return number
        raise RangeFull

    def unreserve(self, numbers: set[int]) -> None:
        self._reserved -= numbers

    def __len__(self) -> int:
        return len(self._used)


def static_band(size: int, *, low: int, high: int, step: int) -> int:
    """How many numbers are kept for explicit requests: min(max(low, size/step), high); none of a tiny range."""
    return 0 if size <= low else min(max(low, size // step), high)
