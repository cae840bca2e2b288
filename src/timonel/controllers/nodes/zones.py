"""How fast nodes may be given the taint that sends their pods away, zone by zone. Pure: time is an argument.

Many nodes of a zone lost at once are more likely a cut network than broken nodes, so the fewer are well, the slower.
When no zone has a node that is well, it is most likely this side that is cut off: then nobody is sent away at all.
Source: kubernetes.io/docs/concepts/architecture/nodes#rate-limits-on-eviction
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from timonel.api.objects import Object, labels_of

_REGIONS = ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region")
_ZONES = ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone")
_FEW = 2
"""So many lost nodes are never a disruption."""


class ZoneState(enum.Enum):
    NORMAL = "Normal"
    PARTIAL = "PartialDisruption"
    FULL = "FullDisruption"


@dataclass(frozen=True, slots=True)
class EvictionConfig:
    rate: float = 0.1
    """Nodes per second and zone that may be given the taint (node-eviction-rate)."""
    secondary_rate: float = 0.01
    """The same in a large zone that is unhealthy (secondary-node-eviction-rate); in a small one it is 0."""
    unhealthy_threshold: float = 0.55
    """The part of its nodes that makes a zone unhealthy, three at least (unhealthy-zone-threshold)."""
    large_zone: int = 50
    """Zones with more nodes are large (large-cluster-size-threshold)."""


def zone_of(node: Object) -> str:
    """Region and zone by the node's labels; "" without any."""
    labels = labels_of(node)
    region = next((labels[name] for name in _REGIONS if name in labels), "")
    zone = next((labels[name] for name in _ZONES if name in labels), "")
    # As upstream writes it, with something between that no label can contain.
    return f"{region}:\x00:{zone}" if region or zone else ""


def zone_state(ready: int, others: int, threshold: float) -> ZoneState:
    if not ready and others:
        return ZoneState.FULL
    if others > _FEW and others / (ready + others) >= threshold:
        return ZoneState.PARTIAL
    return ZoneState.NORMAL


def eviction_rate(state: ZoneState, size: int, config: EvictionConfig) -> float:
    """Nodes per second. A zone that is lost whole, while others are not, is emptied at the normal pace."""
    if state is not ZoneState.PARTIAL:
        return config.rate
    return config.secondary_rate if size > config.large_zone else 0.0


@dataclass(slots=True)
class _Zone:
    ready: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    evicted_at: float = -math.inf
    evictions: int = 0


@dataclass(frozen=True, slots=True)
class ZoneFigures:
    size: int
    unhealthy: int
    evictions: int
    state: ZoneState


class Zones:
    """Kept from what is told of each node; every question costs the same for any number of nodes."""

    def __init__(self, config: EvictionConfig) -> None:
        self._config = config
        self._zones: dict[str, _Zone] = {}
        self._homes: dict[str, str] = {}
        self._alive = 0
        """Zones with a node that is well."""

    def note(self, name: str, zone: str, is_ready: bool) -> set[str]:
        """A node as it is now; gives the names of nodes for which the pace has changed by it."""
        before = self._pace(zone)
        home = self._homes.get(name)
        if home is not None and home != zone:
            return self.forget(name) | self.note(name, zone, is_ready)
        self._homes[name] = zone
        self._put(zone, name, is_ready)
        return self._affected(zone, before)

    def forget(self, name: str) -> set[str]:
        zone = self._homes.pop(name, None)
        if zone is None:
            return set()
        before = self._pace(zone)
        self._put(zone, name, None)
        entry = self._zones[zone]
        if not entry.ready and not entry.others:
            del self._zones[zone]
        return self._affected(zone, before)

    @property
    def all_are_lost(self) -> bool:
        """No node anywhere is well: nobody is sent away, and who was going to be may stay."""
        return bool(self._zones) and not self._alive

    def wait(self, name: str, now: float) -> float:
        """Seconds until this node may be given the taint; 0: now; infinite: not before something changes."""
        if name not in self._homes:
            return math.inf
        entry = self._zones[self._homes[name]]
        rate = self._rate(entry)
        return max(0.0, entry.evicted_at + 1 / rate - now) if rate else math.inf

    def evicted(self, name: str, now: float) -> None:
        entry = self._zones[self._homes[name]]
        entry.evicted_at = now
        entry.evictions += 1

    def figures(self) -> Iterable[tuple[str, ZoneFigures]]:
        for zone, entry in self._zones.items():
            size = len(entry.ready) + len(entry.others)
            yield zone, ZoneFigures(size, len(entry.others), entry.evictions, self._state(entry))

    def _put(self, zone: str, name: str, is_ready: bool | None) -> None:
        """None: it is gone."""
        entry = self._zones.setdefault(zone, _Zone())
        was_alive = bool(entry.ready)
        entry.ready.discard(name)
        entry.others.discard(name)
        if is_ready is not None:
            (entry.ready if is_ready else entry.others).add(name)
        self._alive += bool(entry.ready) - was_alive

    def _state(self, entry: _Zone) -> ZoneState:
        return zone_state(len(entry.ready), len(entry.others), self._config.unhealthy_threshold)

    def _rate(self, entry: _Zone) -> float:
        if self.all_are_lost:
            return 0.0
        return eviction_rate(self._state(entry), len(entry.ready) + len(entry.others), self._config)

    def _pace(self, zone: str) -> tuple[bool, float]:
        entry = self._zones.get(zone)
        return self.all_are_lost, self._rate(entry) if entry else 0.0

    def _affected(self, zone: str, before: tuple[bool, float]) -> set[str]:
        lost, rate = self._pace(zone)
        if lost != before[0]:
            return set(self._homes)
        entry = self._zones.get(zone)
        return set(entry.others) if entry and rate != before[1] else set()
