"""Settings of evictions."""

from __future__ import annotations

from dataclasses import dataclass

from timonel.kubelet.eviction.thresholds import Threshold


@dataclass(frozen=True, slots=True)
class EvictionConfig:
    thresholds: tuple[Threshold, ...]
    transition_seconds: float = 300.0
    """How long a condition outlives its cause, so that it does not flap."""
    maximum_grace_seconds: int = 0
    """Of pods that a soft threshold ends."""
    interval_seconds: float = 10.0
