"""What the node runs short of, over time: conditions that do not flap, and thresholds that call for an eviction. Pure.

Source: kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction, "Node conditions".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from timonel.kubelet.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    MEMORY,
    Observation,
    Threshold,
)

Observations = Mapping[str, Observation]
"""By signal; what could not be seen is not in it."""


def is_met(threshold: Threshold, observations: Observations, *, with_reclaim: bool = False) -> bool:
    """`with_reclaim`: unless the minimum reclaim is available too."""
    seen = observations.get(threshold.signal)
    if seen is None:
        return False
    wanted = threshold.value.of(seen.capacity)
    if with_reclaim:
        wanted += threshold.minimum_reclaim.of(seen.capacity)
    return seen.available < wanted


@dataclass(slots=True)
class Pressure:
    """Fed with observations; `conditions` are those of the node as of the last one."""

    thresholds: Sequence[Threshold]
    transition_seconds: float
    """A condition is told until its thresholds have not been met for so long."""
    conditions: frozenset[str] = frozenset()
    _first_met: dict[Threshold, float] = field(default_factory=dict)
    _last_seen: dict[str, float] = field(default_factory=dict)
    """Condition -> when a threshold of its was last met."""
    _due: list[Threshold] = field(default_factory=list)

    def observe(self, observations: Observations, now: float) -> list[Threshold]:
        """`now` in seconds of any clock. Thresholds that call for action, memory's first; [] when there is time."""
        met = [threshold for threshold in self.thresholds if is_met(threshold, observations)]
        met += [each for each in self._due if each not in met and is_met(each, observations, with_reclaim=True)]
        self._first_met = {threshold: self._first_met.get(threshold, now) for threshold in met}
        self._last_seen |= {threshold.condition: now for threshold in met}
        self.conditions = frozenset(
            name for name, seen in self._last_seen.items() if seen == now or now - seen < self.transition_seconds
        )
        self._due = [each for each in met if now - self._first_met[each] >= each.grace_seconds]
        return sorted(self._due, key=lambda each: each.signal not in (MEMORY, ALLOCATABLE_MEMORY))

    def is_relieved(self, observations: Observations) -> bool:
        """Whether nothing falls short any more, minimum reclaims included: after something was given back."""
        return not any(is_met(threshold, observations, with_reclaim=True) for threshold in self.thresholds)
