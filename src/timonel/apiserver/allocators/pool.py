"""Ranges of numbers of which each may be used once: cluster addresses and node ports are both such."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


class RangeFull(Exception):
    def __str__(self) -> str:
        return "range is full"


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Numbers from `low` to `high`, both included. The first `band` of them are left to those who ask by number.

    Source: kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation (reserved ranges), KEP-3070, KEP-3668
    """

    low: int
    high: int
    band: int

    def covers(self, number: int) -> bool:
        return self.low <= number <= self.high

    def pick(self, is_free: Callable[[int], bool], rng: random.Random) -> int:
        """A free one from a random place on, from the static band only when the rest is full. Raises RangeFull.

        Asks once as a rule, and at most once for each number that is taken.
        """
        dynamic = self.low + self.band
        for low, high in ((dynamic, self.high), (self.low, dynamic - 1)):
            size = high - low + 1
            if size <= 0:
                continue
            start = rng.randrange(size)
            for step in range(size):
                number = low + (start + step) % size
                if is_free(number):
                    return number
        raise RangeFull


def static_band(size: int, *, low: int, high: int, step: int) -> int:
    """How many numbers are kept for explicit requests: min(max(low, size/step), high); none of a tiny range."""
    return 0 if size <= low else min(max(low, size // step), high)
