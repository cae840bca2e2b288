"""Settings of the autoscaler; each is the flag of kube-controller-manager of that name, with its default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AutoscalerConfig:
    sync_period_seconds: float = 15.0
    """--horizontal-pod-autoscaler-sync-period: between two looks at one autoscaler."""
    downscale_stabilization_seconds: float = 300.0
    """--horizontal-pod-autoscaler-downscale-stabilization: the highest recommendation of so long counts when going
    down, where an autoscaler does not say otherwise."""
    tolerance: float = 0.1
    """--horizontal-pod-autoscaler-tolerance: a ratio of use to target this near to 1 changes nothing."""
    cpu_initialization_period_seconds: float = 300.0
    """--horizontal-pod-autoscaler-cpu-initialization-period: while a pod is younger, its CPU counts only when it is
    ready, and has been for a whole window."""
    initial_readiness_delay_seconds: float = 30.0
    """--horizontal-pod-autoscaler-initial-readiness-delay: a pod that turned unready so soon after its start has never
    really been ready."""
