"""Counts that specs may give as a percentage of something: maxSurge, maxUnavailable, minAvailable."""

from __future__ import annotations


def share_of(value: int | str, total: int, *, round_up: bool) -> int:
    """The number itself, or so many percent of `total`: ("25%", 10, rounded up) is 3. For values already validated."""
    if isinstance(value, int):
        return value
    # Whole numbers only: a float would round 33 % of 100 up to 34.
    product = int(value.rstrip("%")) * total
    return -(-product // 100) if round_up else product // 100
