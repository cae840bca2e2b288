"""Ranges of sizes and costs, from the least to the most that is possible. Nothing exceeds 64 bits: what would, is MOST.

Source: kubernetes.io/docs/reference/using-api/cel/#resource-constraints
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

MOST = 2**64 - 1


def _bounded(value: int) -> int:
    return min(value, MOST)


def _scaled(value: int, factor: float) -> int:
    if value > 0 and factor > 0 and float(value) > float(MOST) / factor:
        return MOST
    return _bounded(ceil(float(value) * factor))


@dataclass(frozen=True, slots=True)
class Range:
    low: int
    high: int

    def __add__(self, other: Range) -> Range:
        return Range(_bounded(self.low + other.low), _bounded(self.high + other.high))

    def __mul__(self, other: Range) -> Range:
        return Range(_bounded(self.low * other.low), _bounded(self.high * other.high))

    def scaled(self, factor: float) -> Range:
        """Rounded up."""
        return Range(_scaled(self.low, factor), _scaled(self.high, factor))

    def __or__(self, other: Range) -> Range:
        """What covers both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def exactly(value: int) -> Range:
    return Range(value, value)


NONE, ONE = exactly(0), exactly(1)
UNKNOWN = Range(0, MOST)
