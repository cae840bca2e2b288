"""How fast replicas may change, and how long a recommendation has to last. Pure.

First the recommendations of some time back are looked at: upwards the lowest of them counts, downwards the highest.
Then policies, and the fewest and most replicas, limit what is left.
Source: kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale, "Configurable scaling behavior"
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from timonel.api.objects import Object

_FACTOR = 2
_AT_LEAST = 4
"""Without behaviour: at most twice the replicas at once, or four."""

Moment = tuple[datetime, int]
"""When, and how many replicas."""


@dataclass(frozen=True, slots=True)
class History:
    """Oldest first; what is too old for every window is dropped when something is added."""

    recommendations: tuple[Moment, ...] = ()
    ups: tuple[Moment, ...] = ()
    """Replicas added, and taken away below."""
    downs: tuple[Moment, ...] = ()

    def rescaled(self, before: int, after: int, behavior: Object | None, now: datetime) -> History:
        if behavior is None:
            return self  # without policies nobody asks
        longest = max((_period(policy) for rules in behavior.values() for policy in rules["policies"]), default=0)
        since = now - timedelta(seconds=longest)
        ups = [moment for moment in self.ups if moment[0] > since]
        downs = [moment for moment in self.downs if moment[0] > since]
        (ups if after > before else downs).append((now, abs(after - before)))
        return replace(self, ups=tuple(ups), downs=tuple(downs))

    def recommended(self, replicas: int, now: datetime, longest_seconds: float) -> History:
        since = now - timedelta(seconds=longest_seconds)
        kept = [moment for moment in self.recommendations if moment[0] >= since]
        return replace(self, recommendations=(*kept, (now, replicas)))


@dataclass(frozen=True, slots=True)
class Limited:
    replicas: int
    history: History
    stabilized: tuple[str, str]
    """Reason and message for AbleToScale."""
    is_limited: bool
    limit: tuple[str, str]
    """Reason and message for ScalingLimited."""


_FITS = ("DesiredWithinRange", "the desired count is within the acceptable range")
_READY = ("ReadyForNewScale", "recommended size matches current size")
_UP_STABILIZED = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_DOWN_STABILIZED = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
_TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_TOO_QUICK_UP = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_TOO_QUICK_DOWN = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")


def limit_plainly(
    desired: int, *, current: int, fewest: int, most: int, history: History, window_seconds: float, now: datetime
) -> Limited:
    """For autoscalers without behaviour."""
    since = now - timedelta(seconds=window_seconds)
    stable = max([desired, *(replicas for at, replicas in history.recommendations if at >= since)])
    quickest = max(_FACTOR * current, _AT_LEAST)
    if stable < fewest:
        replicas, limit = fewest, _TOO_FEW
    elif stable > min(most, quickest):
        replicas, limit = min(most, quickest), _TOO_QUICK_UP if most > quickest else _TOO_MANY
    else:
        replicas, limit = stable, _FITS
    return Limited(
        replicas,
        history.recommended(desired, now, window_seconds),
        _READY if stable == desired else _DOWN_STABILIZED,
        replicas != stable,
        limit,
    )


def limit_by_behavior(
    desired: int,
    *,
    current: int,
    fewest: int,
    most: int,
    behavior: Object,
    history: History,
    down_window_seconds: float,
    now: datetime,
) -> Limited:
    """`behavior` is complete, but for the window downwards, which is `down_window_seconds` where it is not given."""
    up_window = behavior["scaleUp"].get("stabilizationWindowSeconds") or 0
    down_window = behavior["scaleDown"].get("stabilizationWindowSeconds")
    if down_window is None:
        down_window = down_window_seconds
    stable = _stabilize(desired, current, history.recommendations, up_window, down_window, now)
    replicas, limit = _limit_rate(stable, current, fewest, most, behavior, history, now)
    how = _READY
    if stable != desired:
        how = _UP_STABILIZED if desired >= current else _DOWN_STABILIZED
    kept = history.recommended(desired, now, max(up_window, down_window))
    return Limited(replicas, kept, how, replicas != stable, limit)


def _stabilize(
    desired: int, current: int, recommendations: Iterable[Moment], up_window: float, down_window: float, now: datetime
) -> int:
    """The present number, moved no further than recent recommendations agree on."""
    lowest = highest = desired
    for at, replicas in recommendations:
        if at > now - timedelta(seconds=up_window):
            lowest = min(lowest, replicas)
        if at > now - timedelta(seconds=down_window):
            highest = max(highest, replicas)
    return min(max(current, lowest), highest)


def _limit_rate(
    desired: int, current: int, fewest: int, most: int, behavior: Object, history: History, now: datetime
) -> tuple[int, tuple[str, str]]:
    if desired > current:
        quickest = max(current, up_limit(current, behavior["scaleUp"], history, now))
        if desired > min(most, quickest):
            return (quickest, _TOO_QUICK_UP) if most > quickest else (most, _TOO_MANY)
    elif desired < current:
        quickest = min(current, down_limit(current, behavior["scaleDown"], history, now))
        if desired < max(fewest, quickest):
            return (quickest, _TOO_QUICK_DOWN) if fewest < quickest else (fewest, _TOO_FEW)
    return desired, _FITS


def up_limit(current: int, rules: Object, history: History, now: datetime) -> int:
    """The most replicas that policies allow now."""
    if rules["selectPolicy"] == "Disabled":
        return current
    proposed: list[int] = []
    for policy in rules["policies"]:
        start = _at_start_of_period(current, policy, history, now)
        if policy["type"] == "Pods":
            proposed.append(start + policy["value"])
        else:
            proposed.append(ceil(start * (100 + policy["value"]) / 100))
    return min(proposed) if rules["selectPolicy"] == "Min" else max(proposed)


def down_limit(current: int, rules: Object, history: History, now: datetime) -> int:
    """The fewest replicas that policies allow now."""
    if rules["selectPolicy"] == "Disabled":
        return current
    proposed: list[int] = []
    for policy in rules["policies"]:
        start = _at_start_of_period(current, policy, history, now)
        if policy["type"] == "Pods":
            proposed.append(start - policy["value"])
        else:
            proposed.append(int(start * (100 - policy["value"]) / 100))
    return max(proposed) if rules["selectPolicy"] == "Min" else min(proposed)


def _at_start_of_period(current: int, policy: Object, history: History, now: datetime) -> int:
    since = now - timedelta(seconds=_period(policy))
    added = sum(replicas for at, replicas in history.ups if at > since)
    removed = sum(replicas for at, replicas in history.downs if at > since)
    return current - added + removed


def _period(policy: Object) -> int:
    seconds: int = policy["periodSeconds"]
    return seconds
