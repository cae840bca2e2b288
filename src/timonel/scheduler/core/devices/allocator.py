"""Looks for devices for all claims of a pod at once, among those that one node reaches.

Devices are tried in order and the first solution is taken, as upstream does, so drivers can say by names what is to be
used first. Two shortcuts never change what is found: of devices that nothing can tell apart only the first is tried in
a place, and no request is begun with fewer candidates than it needs. What is left is exponential at worst, so steps
are counted.
Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, Protocol

from timonel.api.quantity import parse_quantity
from timonel.scheduler.core.devices.capacity import consumed_capacity, fits
from timonel.scheduler.core.devices.catalogue import Device, DeviceId, PoolId, PoolView, View
from timonel.scheduler.core.devices.wishes import (
    MOST_RESULTS,
    CannotAllocate,
    Claim,
    OutOfSteps,
    Rule,
    Selectors,
    Steps,
    Wish,
    is_tolerated,
)

CANNOT = "cannot allocate all claims"
INVALID_POOLS = "invalid resource pools were encountered"
TIMED_OUT = "timed out trying to allocate devices"


class InUse(Protocol):
    """What other claims have."""

    def is_taken(self, device: DeviceId) -> bool:
        """As a whole, by a claim without admin access."""

    def capacity_of(self, device: DeviceId) -> Mapping[str, Decimal] | None:
        """What is taken of a shareable device; None when nobody has a part of it."""


@dataclass(frozen=True, slots=True)
class Pick:
    """`taken`: of a shareable device, how much of each capacity."""

    wish: Wish
    device: Device
    taken: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Allocation:
    """For one claim. `chosen`: of each request, which of its alternatives."""

    picks: tuple[Pick, ...]
    chosen: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str


Classes = Mapping[str, Sequence[str]]
"""Selectors of each class that the claims name."""


def allocate(
    view: View, claims: Sequence[Claim], classes: Classes, in_use: InUse, selectors: Selectors, steps: Steps
) -> tuple[Allocation, ...] | Refused:
    """One allocation for each claim. Raises CannotAllocate where not the node is at fault."""
    try:
        search = _Search(view, claims, classes, in_use, selectors, steps)
        if search.run():
            return search.allocations()
    except OutOfSteps:
        return Refused(TIMED_OUT)
    return Refused(INVALID_POOLS if any(pool.is_invalid for pool in view.pools) else CANNOT)


class _Position(NamedTuple):
    """Where the search is: the next device of a wish, tried from `start` on. `alternative` -1: not chosen yet."""

    claim: int
    request: int = 0
    alternative: int = -1
    placed: int = 0
    start: int = 0


_DONE = _Position(-1)


@dataclass(slots=True)
class _RuleState:
    rule: Rule
    values: list[tuple[str, object]] = field(default_factory=list)

    def add(self, wish: Wish, device: Device) -> bool:
        if not self.rule.concerns(wish):
            return True
        value = device.attributes.get(self.rule.attribute)
        if value is None or not value[0]:
            return False
        if self.values and (value in self.values if self.rule.is_distinct else value != self.values[0]):
            return False
        self.values.append(value)
        return True

    def remove(self, wish: Wish) -> None:
        if self.rule.concerns(wish):
            self.values.pop()


class _Search:
    def __init__(
        self,
        view: View,
        claims: Sequence[Claim],
        classes: Classes,
        in_use: InUse,
        selectors: Selectors,
        steps: Steps,
    ) -> None:
        self._view, self._claims, self._classes = view, claims, classes
        self._in_use, self._selectors, self._steps = in_use, selectors, steps
        self._rules = [[_RuleState(rule) for rule in claim.rules] for claim in claims]
        self._picks: list[list[Pick]] = [[] for _ in claims]
        self._chosen: list[list[int]] = [[0] * len(claim.requests) for claim in claims]
        self._held: dict[DeviceId, list[int]] = {}
        """Device -> claims of this search that have it as a whole."""
        self._parts: dict[DeviceId, list[Mapping[str, str]]] = {}
        """Shareable device -> what claims of this search take of it."""
        self._pools = {pool.id: pool for pool in view.pools}
        self._available: dict[PoolId, dict[tuple[str, str], Decimal]] = {}
        self._candidates: dict[tuple[int, str], list[Device | CannotAllocate]] = {}
        self._check()

    def run(self) -> bool:
        """Not by recursion: claims can want more devices than Python has frames."""
        frames = [self._options(_Position(0))]
        while frames:
            position = next(frames[-1], None)
            if position is None:
                frames.pop()
            elif position is _DONE:
                return True
            else:
                frames.append(self._options(position))
        return False

    def allocations(self) -> tuple[Allocation, ...]:
        return tuple(
            Allocation(tuple(picks), tuple(chosen)) for picks, chosen in zip(self._picks, self._chosen, strict=True)
        )

    # What is asked for

    def _check(self) -> None:
        for index, claim in enumerate(self._claims):
            least = 0
            for request in claim.requests:
                least += min(self._number_of(index, claim, wish) for wish in request)
            if least > MOST_RESULTS:
                raise CannotAllocate(
                    f"claim {claim.name}: number of requested devices {least} exceeds the claim limit of {MOST_RESULTS}"
                )

    def _number_of(self, index: int, claim: Claim, wish: Wish) -> int:
        if not wish.takes_all:
            return wish.count
        where = f"claim {claim.name}, request {wish.own_name}: asks for all devices, but resource pool"
        for pool in self._view.pools:
            if pool.is_incomplete:
                raise CannotAllocate(f"{where} {pool.id} is currently being updated")
            if pool.is_invalid:
                raise CannotAllocate(f"{where} {pool.id} is currently invalid")
        candidates = self._candidates_of(index, wish)
        for each in candidates:
            if isinstance(each, CannotAllocate):
                raise each
        return len(candidates)

    def _candidates_of(self, claim: int, wish: Wish) -> list[Device | CannotAllocate]:
        """Devices that the selectors pick and that are large enough; what is wrong stands where it was found."""
        known = self._candidates.get((claim, wish.name))
        if known is not None:
            return known
        found: list[Device | CannotAllocate] = []
        name, pick = self._claims[claim].name, self._selectors.pick
        for pool in self._view.pools:
            for device in pool.devices:
                self._steps.take()
                try:
                    if (
                        pick(device, self._classes[wish.class_name], f"class {wish.class_name}", self._steps)
                        and pick(device, wish.selectors, f"claim {name}", self._steps)
                        and consumed_capacity(device.capacity, wish.capacity) is not None
                    ):
                        found.append(device)
                except CannotAllocate as exc:
                    found.append(exc)
        self._candidates[claim, wish.name] = found
        return found

    # The search: each step gives the positions to go on from, and undoes what it did when it is asked for the next

    def _options(self, at: _Position) -> Iterator[_Position]:
        if at.claim == len(self._claims):
            yield _DONE
            return
        claim = self._claims[at.claim]
        if at.request == len(claim.requests):
            yield _Position(at.claim + 1)
            return
        wishes = claim.requests[at.request]
        if at.alternative < 0:
            for number in range(len(wishes)):
                self._chosen[at.claim][at.request] = number
                yield at._replace(alternative=number)
            return
        wish = wishes[at.alternative]
        candidates = self._candidates_of(at.claim, wish)
        needed = len(candidates) if wish.takes_all else wish.count
        if wish.takes_all and not candidates:
            return
        if at.placed == needed:
            yield _Position(at.claim, at.request + 1)
            return
        if len(self._picks[at.claim]) + needed - at.placed > MOST_RESULTS:
            return
        yield from self._devices(at, wish, candidates, needed - at.placed)

    def _devices(
        self, at: _Position, wish: Wish, candidates: Sequence[Device | CannotAllocate], needed: int
    ) -> Iterator[_Position]:
        tried: set[bytes] = set()
        for index in range(at.start, len(candidates) - needed + 1):
            self._steps.take()
            device = candidates[index]
            if isinstance(device, CannotAllocate):
                raise device
            if device.twin in tried:
                continue
            pick = self._place(at.claim, wish, device)
            if pick is not None:
                yield at._replace(placed=at.placed + 1, start=index + 1)
                self._undo(at.claim, pick)
                if not wish.has_admin_access:
                    tried.add(device.twin)
            if wish.takes_all:
                return  # it must have each of them, so one that it cannot have is the end

    def _place(self, claim: int, wish: Wish, device: Device) -> Pick | None:
        held = self._held.get(device.id, [])
        if wish.has_admin_access:
            if not device.is_shareable and claim in held:
                return None
        elif held or self._in_use.is_taken(device.id):
            return None
        taken = consumed_capacity(device.capacity, wish.capacity)
        if taken is None or (device.is_shareable and not fits(device.capacity, taken, self._in_use_of(device.id))):
            return None
        if not self._has_counters(device):
            return None
        if any(not is_tolerated(taint, wish.tolerations) for taint in device.taints):
            return None
        if not self._follows_rules(claim, wish, device):
            if wish.takes_all:
                raise CannotAllocate(
                    f"claim {self._claims[claim].name}, request {wish.own_name}: cannot add device {device.id} because "
                    "a claim constraint would not be satisfied"
                )
            return None
        return self._take(claim, Pick(wish, device, taken if device.is_shareable and taken else None))

    def _follows_rules(self, claim: int, wish: Wish, device: Device) -> bool:
        """Adds the device to what the rules know, or to none of them."""
        states = self._rules[claim]
        for number, state in enumerate(states):
            if not state.add(wish, device):
                for earlier in states[:number]:
                    earlier.remove(wish)
                return False
        return True

    def _take(self, claim: int, pick: Pick) -> Pick:
        device = pick.device
        self._count(device, -1)
        if device.is_shareable:
            self._parts.setdefault(device.id, []).append(pick.taken or {})
        else:
            self._held.setdefault(device.id, []).append(claim)
        self._picks[claim].append(pick)
        return pick

    def _undo(self, claim: int, pick: Pick) -> None:
        device = pick.device
        self._picks[claim].pop()
        if device.is_shareable:
            self._parts[device.id].pop()
        else:
            self._held[device.id].pop()
        self._count(device, 1)
        for state in self._rules[claim]:
            state.remove(pick.wish)

    def _in_use_of(self, device: DeviceId) -> dict[str, Decimal]:
        total = dict(self._in_use.capacity_of(device) or {})
        for part in self._parts.get(device, ()):
            for name, amount in part.items():
                total[name] = total.get(name, Decimal(0)) + parse_quantity(amount)
        return total

    # Counters, which devices of a pool share

    def _has_counters(self, device: Device) -> bool:
        if not device.consumes or self._is_shared_already(device):
            return True
        available = self._counters_of(device)
        return all(available[name, counter] >= amount for name, counter, amount in device.consumes)

    def _count(self, device: Device, sign: int) -> None:
        """Of a shareable device, the first part takes the counters and the last gives them back."""
        if not device.consumes or self._is_shared_already(device):
            return
        available = self._counters_of(device)
        for name, counter, amount in device.consumes:
            available[name, counter] += sign * amount

    def _is_shared_already(self, device: Device) -> bool:
        return device.is_shareable and (
            bool(self._parts.get(device.id)) or self._in_use.capacity_of(device.id) is not None
        )

    def _counters_of(self, device: Device) -> dict[tuple[str, str], Decimal]:
        pool: PoolView = self._pools[PoolId(device.id.driver, device.id.pool)]
        available = self._available.get(pool.id)
        if available is None:
            available = self._available[pool.id] = {
                (name, counter): amount for name, each in pool.counters.items() for counter, amount in each.items()
            }
            for other in (*pool.devices, *pool.others):
                if self._in_use.is_taken(other.id) or self._in_use.capacity_of(other.id) is not None:
                    for name, counter, amount in other.consumes:
                        available[name, counter] -= amount
        return available
