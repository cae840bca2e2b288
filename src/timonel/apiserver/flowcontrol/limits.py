"""How the server's seats are divided among priority levels: nominally by shares, and from time to time by need. Pure.

Every level lends what it does not need, down to its lower limit, and borrows what others do not need, up to its upper
limit. Need is the demand for seats over the last period, smoothed so that it rises at once and falls slowly.
Source: KEP-1040 "Dispatching" (borrowing), kubernetes.io/docs/concepts/cluster-administration/flow-control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, sqrt

from timonel.api.objects import Object

PERIOD_SECONDS = 10.0
"""Between two adjustments."""
_SMOOTHING = 0.977
"""Weight of the past in a falling demand: half of it is forgotten in 5 minutes."""
_LEAST_TARGET = 0.001
_WIDEST_PART = 0.15
"""Of a level's nominal limit, for one request."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seats. `nominal` is the level's share, `lower` what it keeps however idle, `upper` what it may ever use."""

    nominal: int
    lower: int
    upper: int
    widest: int = 0
    """Most seats of one request; 0: no limit of the level's own."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Seats that a level could have used: over the last period, and smoothed over all."""

    average: float = 0.0
    deviation: float = 0.0
    peak: int = 0
    smoothed: float = 0.0


def next_demand(before: Demand, *, seconds: float, area: float, square: float, peak: int) -> Demand:
    """After one more period, of which `area` and `square` are the integrals of demand and of its square."""
    if seconds <= 0:
        return replace(before, peak=peak)
    average = area / seconds
    deviation = sqrt(max(0.0, square / seconds - average * average))
    envelope = average + deviation
    smoothed = max(envelope, _SMOOTHING * before.smoothed + (1 - _SMOOTHING) * envelope)
    return Demand(average, deviation, peak, smoothed)


def divide(specs: Mapping[str, Object], total: int) -> dict[str, Limits]:
    """The limits of every level by its spec, of `total` seats. Rounded up, so that the sum may be a little more."""
    settings = {name: spec.get("limited") or spec.get("exempt") or {} for name, spec in specs.items()}
    shares = {name: each.get("nominalConcurrencyShares") or 0 for name, each in settings.items()}
    whole = sum(shares.values())
    limits: dict[str, Limits] = {}
    for name, each in settings.items():
        nominal = ceil(total * shares[name] / whole) if whole else 0
        lendable = _round(nominal * (each.get("lendablePercent") or 0) / 100)
        percent = each.get("borrowingLimitPercent")
        borrowed = total if percent is None else _round(nominal * percent / 100)
        queuing = (each.get("limitResponse") or {}).get("queuing")
        widest = 0
        if queuing:
            widest = max(1, min(ceil(nominal * _WIDEST_PART), nominal // queuing["handSize"]))
        limits[name] = Limits(nominal, nominal - lendable, nominal + borrowed, widest)
    return limits


@dataclass(frozen=True, slots=True)
class Adjustment:
    """`current`: seats per level from now on. `targets`: what they were made from, limited levels only."""

    current: dict[str, int]
    targets: dict[str, float]
    fair_fraction: float


def adjust(limits: Mapping[str, Limits], demands: Mapping[str, Demand], exempt: frozenset[str]) -> Adjustment:
    """Gives exempt levels what they used, and the rest to the others in proportion to what they need.

    Where exempt levels used so much that the others' recent use does not fit into the rest, these get their lower
    limits, and as much of the part above as there is.
    """
    current = {name: max(limits[name].lower, demands[name].peak) for name in limits if name in exempt}
    names = [name for name in limits if name not in exempt]
    whole = sum(each.nominal for each in limits.values())
    left = whole - sum(current.values())
    lower = {name: limits[name].lower for name in names}
    recent = {name: max(lower[name], min(limits[name].nominal, demands[name].peak)) for name in names}
    targets = {name: max(float(recent[name]), demands[name].smoothed) for name in names}
    lower_sum, recent_sum = sum(lower.values()), sum(recent.values())
    fraction = 0.0
    if left <= lower_sum:
        current |= lower
    elif left <= recent_sum:
        part = (left - lower_sum) / (recent_sum - lower_sum)
        current |= {name: lower[name] + _round((recent[name] - lower[name]) * part) for name in names}
    else:
        items = [Item(targets[name], recent[name], limits[name].upper) for name in names]
        # All seats, those that exempt levels used included: so upstream does it.
        given, fraction = allocate(whole, items)
        current |= {name: _round(seats) for name, seats in zip(names, given, strict=True)}
    return Adjustment(current, targets, fraction)


@dataclass(frozen=True, slots=True)
class Item:
    """0 <= lower <= upper, lower <= target."""

    target: float
    lower: float
    upper: float


def allocate(total: float, items: Sequence[Item]) -> tuple[list[float], float]:
    """Splits `total` in proportion to the targets, but for those whom that would put beyond a bound, who get the bound.

    Answers the parts and the proportion. They sum to `total` if the bounds allow that; else all lower or all upper
    bounds. The sum of parts rises with the proportion, in straight pieces between the proportions at which some
    item meets a bound, so the answer is in the first piece whose end is enough.
    """
    targets = [max(item.target, _LEAST_TARGET) for item in items]
    if not items:
        return [], 0.0

    def parts(proportion: float) -> list[float]:
        return [
            max(item.lower, min(item.upper, proportion * target)) for item, target in zip(items, targets, strict=True)
        ]

    bends = sorted(
        {bound / target for item, target in zip(items, targets, strict=True) for bound in (item.lower, item.upper)}
    )
    if sum(item.lower for item in items) >= total:
        return [float(item.lower) for item in items], bends[0]
    if sum(item.upper for item in items) <= total:
        return [float(item.upper) for item in items], bends[-1]
    low, low_sum = 0.0, sum(parts(0.0))
    for high in bends:
        high_sum = sum(parts(high))
        if high_sum >= total:
            proportion = low + (high - low) * (total - low_sum) / (high_sum - low_sum)
            return parts(proportion), proportion
        low, low_sum = high, high_sum
    raise AssertionError("the upper bounds are enough, so some piece is")


def _round(value: float) -> int:
    """Halves away from zero; `value` is never negative."""
    return floor(value + 0.5)
