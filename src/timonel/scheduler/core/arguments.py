"""What plugins can be told, each with its default: the pluginConfig of a profile, as values.

A file is turned into these in `scheduler/configuration`; the core only reads them.
Source: kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from timonel.scheduler.core.requests import CPU, MEMORY
from timonel.scheduler.core.selectors import NodeTerm


class Strategy(StrEnum):
    LEAST_ALLOCATED = "LeastAllocated"
    MOST_ALLOCATED = "MostAllocated"
    REQUESTED_TO_CAPACITY_RATIO = "RequestedToCapacityRatio"


@dataclass(frozen=True, slots=True)
class WeightedResource:
    name: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class ShapePoint:
    """`utilization` 0 to 100; `score` 0 to 10."""

    utilization: int
    score: int


CPU_AND_MEMORY = (WeightedResource(CPU), WeightedResource(MEMORY))


@dataclass(frozen=True, slots=True)
class NodeResourcesFitArgs:
    ignored_resources: frozenset[str] = frozenset()
    """Extended resources that are not looked at; scoring does."""
    ignored_groups: frozenset[str] = frozenset()
    """The same for all names that begin with one of these and a slash."""
    strategy: Strategy = Strategy.LEAST_ALLOCATED
    resources: tuple[WeightedResource, ...] = CPU_AND_MEMORY
    shape: tuple[ShapePoint, ...] = ()
    """Of RequestedToCapacityRatio only; utilizations rise."""


@dataclass(frozen=True, slots=True)
class NodeResourcesBalancedAllocationArgs:
    resources: tuple[str, ...] = (CPU, MEMORY)


@dataclass(frozen=True, slots=True)
class NodeAffinityArgs:
    """Applies to every pod of the profile beside its own affinity."""

    required: tuple[NodeTerm, ...] | None = None
    """None: no more than the pod's."""
    preferred: tuple[tuple[int, NodeTerm], ...] = ()


@dataclass(frozen=True, slots=True)
class DefaultSpread:
    """A constraint for pods that have none; which pods it counts follows from their Services and workloads."""

    max_skew: int
    topology_key: str
    is_required: bool
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


@dataclass(frozen=True, slots=True)
class PodTopologySpreadArgs:
    constraints: tuple[DefaultSpread, ...] | None = None
    """None: the system's own, which spread a little over hosts and zones."""


@dataclass(frozen=True, slots=True)
class InterPodAffinityArgs:
    hard_pod_affinity_weight: int = 1
    """How much a placed pod's required affinity to this pod counts as a preference."""
    ignore_preferred_terms_of_existing_pods: bool = False
    """Pods without preferences of their own are then not rated at all."""


@dataclass(frozen=True, slots=True)
class VolumeBindingArgs:
    bind_timeout_seconds: float = 600.0
    """How long volumes may take to be made and bound before the pod is decided about again."""


@dataclass(frozen=True, slots=True)
class DefaultPreemptionArgs:
    """Enough candidates are found at the larger of the two."""

    min_candidate_nodes_percentage: int = 10
    min_candidate_nodes_absolute: int = 100


@dataclass(frozen=True, slots=True)
class CoschedulingArgs:
    permit_waiting_time_seconds: float = 60.0
    """How long pods that have a place wait for the others of their group."""


@dataclass(frozen=True, slots=True)
class DynamicResourcesArgs:
    filter_timeout_seconds: float = 10.0
    """Of one pod's search for devices; 0: none."""
    binding_timeout_seconds: float = 600.0
    """How long devices may take until they are ready."""
