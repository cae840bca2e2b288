"""Whether a pod's requests fit, and which node they leave emptiest and best balanced.

Source: kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing, reference/scheduling/config
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import MAX_SCORE, Attempt, Change, Ratings, Refusal, Slots
from timonel.scheduler.core.requests import CPU, MEMORY, PODS


class NodeResourcesFit:
    """Requests must fit into what is allocatable; of those that fit, the least allocated node is preferred."""

    name = "NodeResourcesFit"
    is_static = False
    helped_by = frozenset({Change.NODE_ADDED, Change.NODE_ALLOCATABLE, Change.POD_GONE, Change.POD_SHRUNK})
    weight = 1

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        nodes, refusals = cluster.nodes, []
        for name, amount in attempt.pod.klass.requests.items():
            if amount <= 0:
                continue
            row = nodes.row_of(name)
            allocatable = nodes.allocatable[row]
            # In this order, so that a request of any size cannot overflow.
            mask = allocatable - nodes.requested[row] < amount
            if mask.any():
                reason = "Too many pods" if name == PODS else f"Insufficient {name}"
                refusals.append(Refusal(reason, mask, resolvable=allocatable >= amount))
        return refusals

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        klass, table = attempt.pod.klass, cluster.nodes
        total = np.zeros(len(nodes), np.int64)
        weights = np.zeros(len(nodes), np.int64)
        for index, (name, amount) in enumerate(((CPU, klass.assumed_cpu), (MEMORY, klass.assumed_memory))):
            capacity = table.allocatable[table.rows[name]][nodes]
            free = capacity - table.assumed[index][nodes] - amount
            exists = capacity > 0
            # In thousandths of the capacity first would lose precision; percent of 2**56 bytes still fits 64 bits.
            share = np.maximum(free, 0) * MAX_SCORE // np.maximum(capacity, 1)
            total += np.where(exists, share, 0)
            weights += exists
        return total // np.maximum(weights, 1)


class NodeResourcesBalancedAllocation:
    """Prefers nodes whose shares of cpu and memory come nearer to each other by taking the pod.

    A pod that requests neither has no say in the balance.
    """

    name = "NodeResourcesBalancedAllocation"
    weight = 1

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        requests, table = attempt.pod.klass.requests, cluster.nodes
        if not any(requests.get(name) for name in (CPU, MEMORY)):
            return None
        rows = [table.rows[name] for name in (CPU, MEMORY)]
        capacity = table.allocatable[rows][:, nodes]
        used = table.requested[rows][:, nodes]
        added = np.array([[requests.get(CPU, 0)], [requests.get(MEMORY, 0)]], np.int64)
        with_pod, without_pod = _balance(used + added, capacity), _balance(used, capacity)
        half = MAX_SCORE // 2  # the difference is between -50 and 50
        rating: Ratings = half + (half + with_pod - without_pod) // 2
        return rating


def _balance(used: NDArray[np.int64], capacity: NDArray[np.int64]) -> Ratings:
    """100 for equal shares, less the larger their standard deviation, which of two shares is half their distance."""
    shares = np.minimum(used / np.maximum(capacity, 1), 1.0)
    deviation = np.where((capacity > 0).all(axis=0), np.abs(shares[0] - shares[1]) / 2, 0.0)
    return ((1 - deviation) * MAX_SCORE).astype(np.int64)
