"""Sets of indexes of Indexed Jobs as text: "1,3-5,7". Each of them has one pod that must succeed.

Source: kubernetes.io/docs/concepts/workloads/controllers/job "Completion mode".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from timonel.api.field_errors import quote

Interval = tuple[int, int]
_integer = re.compile(r"\+?[0-9]{1,18}").fullmatch


class InvalidIndexes(ValueError):
    """The message is upstream's."""


def count_indexes(text: str, completions: int) -> int:
    """How many indexes the text names. Raises InvalidIndexes for what is malformed, unordered or too large."""
    total, last = 0, -1
    for first, end in _intervals(text, completions):
        if last >= first:
            raise InvalidIndexes(f"non-increasing order, previous: {last}, current: {first}")
        total += end - first + 1
        last = end
    return total


def overlap(completed: str, failed: str, completions: int) -> int | None:
    """The lowest index that is in both; malformed parts are not looked at."""
    one, other = list(_sound_intervals(completed, completions)), list(_sound_intervals(failed, completions))
    i = j = 0
    while i < len(one) and j < len(other):
        (first, end), (other_first, other_end) = one[i], other[j]
        if first <= other_end and other_first <= end:
            return max(first, other_first)
        if first <= other_first:
            i += 1
        else:
            j += 1
    return None


def _intervals(text: str, completions: int) -> Iterator[Interval]:
    for part in text.split(",") if text else ():
        yield _interval(part, completions)


def _sound_intervals(text: str, completions: int) -> Iterator[Interval]:
    for part in text.split(",") if text else ():
        try:
            yield _interval(part, completions)
        except InvalidIndexes:
            continue


def _interval(text: str, completions: int) -> Interval:
    limits = text.split("-")
    if len(limits) > 2:
        raise InvalidIndexes(
            f"the fragment {quote(text)} violates the requirement that an index interval can have at most two parts "
            "separated by '-'"
        )
    first = end = _index(limits[0], completions)
    if len(limits) == 2:
        end = _index(limits[1], completions)
        if first >= end:
            raise InvalidIndexes(f"non-increasing order, previous: {first}, current: {end}")
    return first, end


def _index(text: str, completions: int) -> int:
    if not _integer(text):
        raise InvalidIndexes(f"cannot convert string to integer for index: {quote(text)}")
    if int(text) >= completions:
        raise InvalidIndexes(f"too large index: {quote(text)}")
    return int(text)
