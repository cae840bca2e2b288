"""What a plugin is. A filter refuses nodes by masks with reasons; a score rates the nodes that are left.

Masks and vectors run over slots of the node table. A plugin whose filter depends only on the nodes' labels, taints and
names says so (`is_static`), and is asked once for all pods that are alike until a node changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from timonel.api.labels import Selector
from timonel.api.objects import Object
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.pods import Pod
from timonel.scheduler.core.selectors import Mask

Slots = NDArray[np.intp]
Ratings = NDArray[np.int64]

MAX_SCORE = 100


class Change(Enum):
    """What can happen in a cluster that may let a refused pod fit."""

    NODE_ADDED = "node added"
    NODE_REMOVED = "node removed"
    NODE_ALLOCATABLE = "node allocatable changed"
    NODE_LABELS = "node labels changed"
    NODE_TAINTS = "node taints changed"
    POD_PLACED = "pod placed"
    POD_GONE = "pod gone from its node"
    POD_LABELS = "labels of a placed pod changed"
    POD_SHRUNK = "requests of a placed pod changed"
    NAMESPACE = "namespace labels changed"
    CLAIM = "claim changed"
    VOLUME = "volume changed"
    STORAGE_CLASS = "storage class changed"
    CSI_NODE = "volume limits of a node changed"
    DEVICE_SLICE = "devices of a driver changed"
    DEVICE_CLASS = "device class changed"
    DEVICES_FREED = "devices were given back"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A pod to place. `spread_over`: the pods it shall spread among by default, None when it belongs to no group.
    `freed_node`: where others were evicted for it. `expected`: the pods at least as important for which room is kept,
    by node; it must fit there both beside them and, since they may never come, without them.
    """

    pod: Pod
    spread_over: Selector | None = None
    freed_node: str = ""
    expected: Mapping[str, Sequence[Pod]] = field(default_factory=dict)
    object: Object = field(default_factory=dict)
    """The pod as it came, for plugins of others; the core's own go by `pod`."""
    now: datetime | None = None
    """For what has taken too long."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nodes refused for one reason, in upstream's words; `resolvable` are those where evicting pods could help."""

    reason: str
    mask: Mask
    resolvable: Mask | bool = False


class PodScope(Enum):
    """Whose coming or going can change what a filter says of a node."""

    NONE = "of no pod"
    NODE = "of pods on the node itself"
    CLUSTER = "of pods on any node"


class Filter(Protocol):
    name: str
    is_static: bool
    pod_scope: PodScope
    helped_by: frozenset[Change]

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        """Masks over all slots, also those without a node."""
        ...


class PluginFailed(Exception):
    """The pod has to wait, others go on. The message is its event's."""


class Score(Protocol):
    name: str

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        """Ratings 0 to 100 of the given nodes, in their order; None when it has nothing to say."""
        ...


def normalised(ratings: Ratings, *, reverse: bool = False) -> Ratings:
    """Scales so that the largest becomes 100; `reverse`: so that zero does."""
    largest = int(ratings.max(initial=0))
    if largest == 0:
        return np.full(len(ratings), MAX_SCORE if reverse else 0, np.int64)
    scaled = ratings * MAX_SCORE // largest
    return MAX_SCORE - scaled if reverse else scaled
