"""Hints that keep traffic in its zone where a Service asks for it by `service.kubernetes.io/topology-mode: Auto`. Pure.

Each zone gets a share of the endpoints like its share of the processors, and no endpoint more than a fifth too much
traffic; where that cannot be, there are no hints.
Source: kubernetes.io/docs/concepts/services-networking/topology-aware-routing
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from timonel.api.objects import Object, annotations_of, get_path, labels_of
from timonel.api.quantity import milli_value
from timonel.controllers.endpoints.addresses import ZONE
from timonel.controllers.pods import is_ready

_MODE, _OLD_MODE = "service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"
_EXCLUDED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_OVERLOAD = 0.2

ENABLED, DISABLED = "TopologyAwareHintsEnabled", "TopologyAwareHintsDisabled"
HAS_BEEN_ENABLED = "Topology Aware Hints has been enabled"
HAS_BEEN_DISABLED = "Topology Aware Hints has been disabled"
_NO_NODE_INFO = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
_NO_ZONE = "One or more endpoints do not have a zone specified"
_TOO_FEW = "Insufficient number of endpoints"
_TOO_UNEVEN = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"

Ratios = Mapping[str, float]
"""Zone -> its share of all processors."""


class NoHints(Exception):
    """Hints would do more harm than good; the message says why."""


@dataclass(frozen=True, slots=True)
class Member:
    """A ready endpoint: where it is, and for which zone it is now, "" for all."""

    zone: str
    present: str = ""


def wants_topology(service: Object) -> bool:
    annotations = annotations_of(service)
    return annotations.get(_OLD_MODE, annotations.get(_MODE)) in ("Auto", "auto")


def cpu_ratios(nodes: Iterable[Object]) -> Ratios | None:
    """None: there are fewer than two zones, or something is not known of a node. Nodes of the control plane and those
    that are not ready do not count."""
    by_zone: Counter[str] = Counter()
    for node in nodes:
        if any(label in labels_of(node) for label in _EXCLUDED) or not is_ready(node):
            continue
        zone = labels_of(node).get(ZONE)
        milli_cpu = milli_value(get_path(node, "status", "allocatable", "cpu", default="0"))
        if not zone or not milli_cpu:
            return None
        by_zone[zone] += milli_cpu
    total = sum(by_zone.values())
    return {zone: milli_cpu / total for zone, milli_cpu in by_zone.items()} if len(by_zone) > 1 else None


def assign_zones(members: Sequence[Member], ratios: Ratios | None) -> list[str]:
    """For which zone each member shall be. Raises NoHints.

    Those that are for a zone already stay so, as long as every zone has enough of them.
    """
    if ratios is None:
        raise NoHints(_NO_NODE_INFO)
    shares = _shares(len(members), ratios)
    if any(not member.zone for member in members):
        raise NoHints(_NO_ZONE)
    kept = [member.present if member.present in ratios else "" for member in members]
    assigned = _assign(members, kept, shares)
    counts = Counter(assigned)
    if all(share.minimum <= counts[zone] <= share.maximum for zone, share in shares.items()):
        return assigned
    return _assign(members, [""] * len(members), shares)


@dataclass(frozen=True, slots=True)
class _Share:
    minimum: int
    maximum: int
    desired: float


def _shares(count: int, ratios: Ratios) -> dict[str, _Share]:
    numbers = f"({count} endpoints, {len(ratios)} zones)"
    if len(ratios) > count:
        raise NoHints(f"{_TOO_FEW} {numbers}")
    desired = {zone: ratio * count for zone, ratio in ratios.items()}
    minimum = {zone: math.ceil(each * (1 / (1 + _OVERLOAD))) for zone, each in desired.items()}
    spare = count - sum(minimum.values())
    if spare < 0:
        raise NoHints(f"{_TOO_UNEVEN} {numbers}")
    return {zone: _Share(each, each + spare, max(desired[zone], each)) for zone, each in minimum.items()}


def _assign(members: Sequence[Member], kept: Sequence[str], shares: Mapping[str, _Share]) -> list[str]:
    """First everybody else to their own zone, then as many of them as it takes to where they are missing."""
    assigned = [zone or member.zone for zone, member in zip(kept, members, strict=True)]
    gives, receives = _exchange(Counter(assigned), shares)
    for index, member in enumerate(members):
        if not kept[index] and gives[member.zone] and (receiver := next(iter(+receives), "")):
            assigned[index] = receiver
            gives[member.zone] -= 1
            receives[receiver] -= 1
    return assigned


def _exchange(counts: Mapping[str, int], shares: Mapping[str, _Share]) -> tuple[Counter[str], Counter[str]]:
    """How many endpoints each zone gives away, and how many it receives."""
    surplus = {zone: counts.get(zone, 0) - share.desired for zone, share in sorted(shares.items())}
    gives: Counter[str] = Counter()
    receives: Counter[str] = Counter()
    while True:
        giver = max(surplus, key=lambda zone: surplus[zone])
        receiver = min(surplus, key=lambda zone: surplus[zone])
        most, least = surplus[giver], -surplus[receiver]
        if most < 0.5 or least < 0.5 or (most < 1.0 and least < 1.0):
            return gives, receives
        gives[giver] += 1
        receives[receiver] += 1
        surplus[giver] -= 1
        surplus[receiver] += 1
