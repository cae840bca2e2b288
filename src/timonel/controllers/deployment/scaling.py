"""How many replicas each ReplicaSet of a Deployment should have: rolling, proportional, recreating.

`Sizes` holds the wanted sizes while a plan is made; nothing here reads or writes anything else.
Source: kubernetes.io/docs/concepts/workloads/controllers/deployment#rolling-update-deployment and
#proportional-scaling
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from timonel.api.objects import Object, annotations_of, uid_of
from timonel.controllers.deployment.revisions import DESIRED_REPLICAS, MAX_REPLICAS, age_rank
from timonel.controllers.shares import share_of


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a rolling update, in pods; both 0 for Recreate."""

    desired: int
    surge: int
    unavailable: int

    @property
    def max_total(self) -> int:
        return self.desired + self.surge

    @property
    def min_available(self) -> int:
        return self.desired - self.unavailable


def bounds_of(deployment: Object) -> Bounds:
    """Percentages of the desired replicas: surge rounds up, unavailable down; never both 0, or nothing could move."""
    spec = deployment["spec"]
    desired = desired_of(deployment)
    strategy = spec.get("strategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return Bounds(desired, 0, 0)
    rolling = strategy.get("rollingUpdate") or {}
    surge = _share(rolling.get("maxSurge"), desired, round_up=True)
    unavailable = _share(rolling.get("maxUnavailable"), desired, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(desired, surge, min(unavailable, desired))


def _share(value: int | str | None, desired: int, *, round_up: bool) -> int:
    return share_of("25%" if value is None else value, desired, round_up=round_up)


def desired_of(deployment: Object) -> int:
    replicas: int = deployment["spec"].get("replicas", 1)
    return replicas


class Sizes:
    """Wanted sizes of ReplicaSets, beginning with what their specs say. `new` may be missing."""

    def __init__(self, new: Object | None, old: Sequence[Object]) -> None:
        self.new = new
        self.old = sorted(old, key=age_rank)
        self._wanted: dict[str, int] = {}

    @property
    def all(self) -> list[Object]:
        return self.old if self.new is None else [*self.old, self.new]

    @property
    def active(self) -> list[Object]:
        return [replica_set for replica_set in self.all if self.of(replica_set) > 0]

    @property
    def total(self) -> int:
        return sum(map(self.of, self.all))

    def of(self, replica_set: Object) -> int:
        size: int = self._wanted.get(uid_of(replica_set), replica_set["spec"].get("replicas", 1))
        return size

    def set(self, replica_set: Object, size: int) -> bool:
        """Whether that is a change."""
        changed = self.of(replica_set) != size
        self._wanted[uid_of(replica_set)] = size
        return changed


def available_of(replica_set: Object) -> int:
    return (replica_set.get("status") or {}).get("availableReplicas") or 0


def is_scaling_event(deployment: Object, sizes: Sizes) -> bool:
    """The wish changed since the ReplicaSets were last sized: this is scaling, not rolling."""
    desired = desired_of(deployment)
    return any(
        (noted := _noted(replica_set, DESIRED_REPLICAS)) is not None and noted != desired
        for replica_set in sizes.active
    )


def new_size(bounds: Bounds, sizes: Sizes, present: int) -> int:
    """How far the new ReplicaSet may grow now: up to the surge, never beyond what is desired."""
    room = bounds.max_total - sizes.total
    return present if room <= 0 else present + min(room, bounds.desired - present)


def roll(bounds: Bounds, sizes: Sizes) -> None:
    """One step of a rolling update: the new one grows as far as it may; if it cannot, old ones shrink."""
    new = sizes.new
    assert new is not None
    present = sizes.of(new)
    if present > bounds.desired:
        sizes.set(new, bounds.desired)
        return
    if present < bounds.desired and sizes.set(new, new_size(bounds, sizes, present)):
        return
    _shrink_old(bounds, sizes, new)


def _shrink_old(bounds: Bounds, sizes: Sizes, new: Object) -> None:
    """Unavailable old replicas go first, since they serve nobody; then as many available ones as can be missed.

    New replicas that are not yet available are counted as missing, so that a new version that never becomes ready
    stops the rollout here.
    """
    removable = sizes.total - bounds.min_available - (sizes.of(new) - available_of(new))
    if removable <= 0:
        return
    for replica_set in sizes.old:
        size = sizes.of(replica_set)
        broken = min(removable, size - available_of(replica_set))
        if size and broken > 0:
            sizes.set(replica_set, size - broken)
            removable -= broken
    # The counts may lag behind a size just reduced; `removable`, which rests on sizes, keeps both bounds.
    spare = min(removable, sum(map(available_of, sizes.all)) - bounds.min_available)
    for replica_set in sizes.old:
        size = sizes.of(replica_set)
        if spare <= 0:
            break
        taken = min(size, spare)
        sizes.set(replica_set, size - taken)
        spare -= taken


def scale(deployment: Object, bounds: Bounds, sizes: Sizes) -> bool:
    """Meets a changed wish without hastening a rollout under way. True: all active ones' annotations are to be set."""
    active = sizes.active
    if len(active) <= 1:
        only = active[0] if active else sizes.new or (sizes.old[-1] if sizes.old else None)
        if only is not None:
            sizes.set(only, bounds.desired)
        return False
    if sizes.new is not None and _is_saturated(sizes.new, bounds.desired):
        for replica_set in sizes.old:
            sizes.set(replica_set, 0)
        return False
    if (deployment["spec"].get("strategy") or {}).get("type", "RollingUpdate") != "RollingUpdate":
        return False
    _scale_in_proportion(deployment, bounds, sizes, active)
    return True


def _is_saturated(new: Object, desired: int) -> bool:
    return (
        new["spec"].get("replicas", 1) == desired
        and _noted(new, DESIRED_REPLICAS) == desired
        and available_of(new) == desired
    )


def _scale_in_proportion(deployment: Object, bounds: Bounds, sizes: Sizes, active: list[Object]) -> None:
    allowed = bounds.max_total if bounds.desired > 0 else 0
    change = allowed - sum(map(sizes.of, active))
    if change == 0:
        return
    # Large ones first; of equals, grow the newer and shrink the older.
    by_age = sorted(active, key=age_rank, reverse=change > 0)
    ordered = sorted(by_age, key=sizes.of, reverse=True)
    done = 0
    for replica_set in ordered:
        size = sizes.of(replica_set)
        left = change - done
        part = _fraction(deployment, bounds, replica_set, size)
        part = min(part, left) if change > 0 else max(part, left)
        sizes.set(replica_set, size + part)
        done += part
    # What rounding left over goes to the largest.
    first = ordered[0]
    sizes.set(first, max(0, sizes.of(first) + change - done))


def _fraction(deployment: Object, bounds: Bounds, replica_set: Object, size: int) -> int:
    """By how much this one would change if all kept their share of the whole."""
    if bounds.desired == 0:
        return -size
    before = _noted(replica_set, MAX_REPLICAS) or (deployment.get("status") or {}).get("replicas") or 0
    if not before:
        return 0
    return math.floor(size * bounds.max_total / before + 0.5) - size


def _noted(replica_set: Object, annotation: str) -> int | None:
    text = annotations_of(replica_set).get(annotation) or ""
    return int(text) if text.isdigit() else None
