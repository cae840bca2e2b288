"""What plugins are written against: a class of one's own that filters or rates nodes, and what it sees of the cluster.

    class CheapNodes(Plugin):
        def score_nodes(self, pod: PodToPlace, nodes: Nodes) -> NDArray[np.float64]:
            prices = np.array([float(label or 1) for label in nodes.label("example.org/price")])
            return 100 * prices.min() / prices

A package tells of it by an entry point of the group `timonel.scheduler`, whose name is the plugin's; a profile of the
scheduler's configuration enables it by that name. docs/scheduling.md has a whole example.

A plugin may be asked thousands of times a second and must answer from what it is given: it opens nothing, waits for
nothing and changes nothing. One that raises, that takes longer than `time_limit_seconds` or that answers nonsense lets
the pod wait, with the reason in its events; others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from timonel.api.objects import Object
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, Change, Slots

__all__ = ["Change", "Node", "Nodes", "Plugin", "PodToPlace"]


class Plugin:
    """Override at least one of the four; `filter_nodes` and `score_nodes` where speed matters."""

    name: ClassVar[str] = ""
    """"": as the entry point is called."""
    helped_by: ClassVar[frozenset[Change]] = frozenset(Change)
    """What may let a pod fit that the filter refused: it is tried again when one of these happens, and not before."""
    time_limit_seconds: ClassVar[float] = 1.0
    """Of one question about all nodes."""

    def __init__(self, args: Object) -> None:
        """`args`: what pluginConfig has for it, {} by default. Raise ValueError for what cannot be."""
        self.args = args

    def filter_nodes(self, pod: PodToPlace, nodes: Nodes) -> NDArray[np.bool_]:
        """For each of the nodes, in their order, whether the pod may go there."""
        raise NotImplementedError

    def filter_node(self, pod: PodToPlace, node: Node) -> str | None:
        """Why the pod may not go there, "node(s) had no licence"; None if it may."""
        raise NotImplementedError

    def score_nodes(self, pod: PodToPlace, nodes: Nodes) -> NDArray[Any]:
        """For each of the nodes, in their order, 0 to 100: 100 is the best."""
        raise NotImplementedError

    def score_node(self, pod: PodToPlace, node: Node) -> float:
        raise NotImplementedError

    def refusal(self) -> str:
        """What `filter_nodes` refuses nodes for; it begins the count in the pod's events: "3 node(s) …"."""
        return f"node(s) didn't satisfy plugin {self.name}"


class PodToPlace:
    """A pod as it waits."""

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    @property
    def namespace(self) -> str:
        return self._attempt.pod.key[0]

    @property
    def name(self) -> str:
        return self._attempt.pod.key[1]

    @property
    def labels(self) -> Mapping[str, str]:
        return self._attempt.pod.klass.labels

    @property
    def priority(self) -> int:
        return self._attempt.pod.klass.priority

    @property
    def requests(self) -> Mapping[str, int]:
        """By resource: cpu in thousandths of a core, everything else in its base unit; "pods" is 1."""
        return self._attempt.pod.klass.requests

    @property
    def object(self) -> Object:
        """The pod's JSON, read-only, with metadata and spec; what only kubelets need is left out."""
        return self._attempt.object


class Nodes:
    """Some nodes, all or those that are left. Arrays have one entry for each, in the order of `names`."""

    __slots__ = ("_cluster", "_slots")

    def __init__(self, cluster: Cluster, slots: Slots) -> None:
        self._cluster = cluster
        self._slots = slots

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, index: int) -> Node:
        return Node(self._cluster, int(self._slots[index]))

    def __iter__(self) -> Iterator[Node]:
        return (Node(self._cluster, int(slot)) for slot in self._slots)

    @property
    def names(self) -> list[str]:
        names = self._cluster.nodes.names
        return [names[slot] for slot in self._slots]

    def allocatable(self, resource: str) -> NDArray[np.int64]:
        return self._row(resource, self._cluster.nodes.allocatable)

    def requested(self, resource: str) -> NDArray[np.int64]:
        """By the pods that are there or on their way."""
        return self._row(resource, self._cluster.nodes.requested)

    def free(self, resource: str) -> NDArray[np.int64]:
        return self.allocatable(resource) - self.requested(resource)

    def label(self, key: str) -> list[str | None]:
        labels = self._cluster.nodes.labels
        return [labels(int(slot)).get(key) for slot in self._slots]

    def has_label(self, key: str, *values: str) -> NDArray[np.bool_]:
        """Whether the label has one of the values; without values: whether there is one. Fast for many nodes."""
        column = self._cluster.nodes.label_column(key)
        mask = column.where(values) if values else column.ids >= 0
        chosen: NDArray[np.bool_] = mask[self._slots]
        return chosen

    def _row(self, resource: str, table: NDArray[np.int64]) -> NDArray[np.int64]:
        row = self._cluster.nodes.rows.get(resource)
        return np.zeros(len(self._slots), np.int64) if row is None else table[row][self._slots]


class Node:
    __slots__ = ("_cluster", "_slot")

    def __init__(self, cluster: Cluster, slot: int) -> None:
        self._cluster = cluster
        self._slot = slot

    @property
    def name(self) -> str:
        return self._cluster.nodes.names[self._slot]

    @property
    def labels(self) -> Mapping[str, str]:
        return self._cluster.nodes.labels(self._slot)

    def allocatable(self, resource: str) -> int:
        row = self._cluster.nodes.rows.get(resource)
        return 0 if row is None else int(self._cluster.nodes.allocatable[row, self._slot])

    def requested(self, resource: str) -> int:
        row = self._cluster.nodes.rows.get(resource)
        return 0 if row is None else int(self._cluster.nodes.requested[row, self._slot])

    def free(self, resource: str) -> int:
        return self.allocatable(resource) - self.requested(resource)
