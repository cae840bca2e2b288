"""Whether a pod's requests fit, and which node they leave emptiest and best balanced.

Source: kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing, reference/scheduling/config
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import MAX_SCORE, Attempt, Change, Ratings, Refusal, Slots
from timonel.scheduler.core.nodes import NodeTable
from timonel.scheduler.core.pods import PodClass
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
            row = nodes.rows.get(name)
            if row is None:
                # Nobody has it. No row is made for it: pods that wait may ask for any number of names.
                allocatable = requested = np.zeros(nodes.capacity, np.int64)
            else:
                allocatable, requested = nodes.allocatable[row], nodes.requested[row]
            # In this order, so that a request of any size cannot overflow.
            mask = allocatable - requested < amount
            if mask.any():
                reason = "Too many pods" if name == PODS else f"Insufficient {name}"
                refusals.append(Refusal(reason, mask, resolvable=allocatable >= amount))
        return refusals

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        return _remembered(self.name, cluster, attempt.pod.klass, _least_allocated)[nodes]


def _least_allocated(table: NodeTable, klass: PodClass, slots: Slots) -> Ratings:
    """The mean of the shares of cpu and memory that stay free, in percent."""
    total = np.zeros(len(slots), np.int64)
    weights = np.zeros(len(slots), np.int64)
    for index, (name, amount) in enumerate(((CPU, klass.assumed_cpu), (MEMORY, klass.assumed_memory))):
        capacity = table.allocatable[table.rows[name]][slots]
        free = capacity - table.assumed[index][slots] - amount
        exists = capacity > 0
        share = np.maximum(free, 0) * MAX_SCORE // np.maximum(capacity, 1)
        total += np.where(exists, share, 0)
        weights += exists
    mean: Ratings = total // np.maximum(weights, 1)
    return mean


class NodeResourcesBalancedAllocation:
    """Prefers nodes whose shares of cpu and memory come nearer to each other by taking the pod.

    A pod that requests neither has no say in the balance.
    """

    name = "NodeResourcesBalancedAllocation"
    weight = 1

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        klass = attempt.pod.klass
        if not any(klass.requests.get(name) for name in (CPU, MEMORY)):
            return None
        return _remembered(self.name, cluster, klass, _improvement)[nodes]


def _improvement(table: NodeTable, klass: PodClass, slots: Slots) -> Ratings:
    """75 when the pod leaves the balance as it is, up to 100 when it improves it, down to 50."""
    rows = np.array([[table.rows[CPU]], [table.rows[MEMORY]]])
    capacity, used = table.allocatable[rows, slots], table.requested[rows, slots]
    added = np.array([[klass.requests.get(CPU, 0)], [klass.requests.get(MEMORY, 0)]], np.int64)
    with_pod, without_pod = _balance(used + added, capacity), _balance(used, capacity)
    half = MAX_SCORE // 2
    rating: Ratings = half + (half + with_pod - without_pod) // 2
    return rating


def _balance(used: NDArray[np.int64], capacity: NDArray[np.int64]) -> Ratings:
    """100 for equal shares, less the larger their standard deviation, which of two shares is half their distance."""
    shares = np.minimum(used / np.maximum(capacity, 1), 1.0)
    deviation = np.where((capacity > 0).all(axis=0), np.abs(shares[0] - shares[1]) / 2, 0.0)
    return ((1 - deviation) * MAX_SCORE).astype(np.int64)


def _remembered(
    name: str, cluster: Cluster, klass: PodClass, rate: Callable[[NodeTable, PodClass, Slots], Ratings]
) -> Ratings:
    """Ratings of every slot, computed anew only where usage changed since a pod of this class last asked.

    For the hundredth replica that is one node of 5 000: it saves nine tenths of a decision.
    """
    table = cluster.nodes
    ratings, version = klass.memo.get((name, "ratings"), (None, 0))
    touched = table.touched_since(version) if ratings is not None and len(ratings) == table.capacity else None
    if touched is None or len(touched) > table.capacity // 2:
        ratings = rate(table, klass, np.arange(table.capacity))
    elif touched:
        slots = np.array(touched)
        ratings[slots] = rate(table, klass, slots)
    klass.memo[name, "ratings"] = (ratings, table.usage_version)
    result: Ratings = ratings
    return result
