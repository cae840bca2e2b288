"""Sets of completion indexes, kept as intervals and written as "1,3-5,7".

A Job may have a hundred thousand indexes; nearly all of them are neighbours of others that have ended, too.
Source: kubernetes.io/docs/concepts/workloads/controllers/job "Completion mode".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class IndexSet:
    """Intervals (first, last), in order and never touching each other."""

    intervals: tuple[Interval, ...] = ()

    @classmethod
    def of(cls, indexes: Iterable[int]) -> IndexSet:
        return cls(tuple(_merged(sorted((index, index) for index in set(indexes)))))

    @classmethod
    def parse(cls, text: str | None, completions: int) -> IndexSet:
        """Of the indexes below `completions`; parts that are no intervals are left out."""
        found = (_interval(part, completions) for part in (text or "").split(","))
        return cls(tuple(_merged(sorted(interval for interval in found if interval is not None))))

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.intervals)

    def __contains__(self, index: int) -> bool:
        at = bisect_left(self.intervals, index, key=lambda interval: interval[1])
        return at < len(self.intervals) and self.intervals[at][0] <= index

    def __or__(self, other: IndexSet) -> IndexSet:
        return IndexSet(tuple(_merged(sorted((*self.intervals, *other.intervals)))))

    def __and__(self, other: IndexSet) -> IndexSet:
        return IndexSet(tuple(self._common(other)))

    def __str__(self) -> str:
        """Two neighbours are written "1,2", more "1-3", as the API's own examples."""
        return ",".join(_text(first, last) for first, last in self.intervals)

    def missing(self, count: int, completions: int) -> list[int]:
        """The lowest indexes that are not in it, at most `count` and below `completions`."""
        found: list[int] = []
        candidate = 0
        for first, last in (*self.intervals, (completions, completions)):
            until = min(first, completions, candidate + count - len(found))
            found.extend(range(candidate, until))
            candidate = max(candidate, last + 1)
        return found

    def _common(self, other: IndexSet) -> Iterator[Interval]:
        i = j = 0
        while i < len(self.intervals) and j < len(other.intervals):
            (first, last), (other_first, other_last) = self.intervals[i], other.intervals[j]
            if max(first, other_first) <= min(last, other_last):
                yield max(first, other_first), min(last, other_last)
            if last <= other_last:
                i += 1
            else:
                j += 1


def _merged(intervals: Iterable[Interval]) -> Iterator[Interval]:
    current: Interval | None = None
    for first, last in intervals:
        if current is None:
            current = first, last
        elif first <= current[1] + 1:
            current = current[0], max(current[1], last)
        else:
            yield current
            current = first, last
    if current is not None:
        yield current


def _interval(text: str, completions: int) -> Interval | None:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        return None
    start, end = int(first), min(int(last or first), completions - 1)
    return (start, end) if start <= end else None


def _text(first: int, last: int) -> str:
    if last == first:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"
