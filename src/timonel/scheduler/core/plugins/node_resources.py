"""Whether a pod's requests fit, and which node they leave emptiest, fullest or best balanced.

Source: kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing, reference/scheduling/config
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from timonel.scheduler.core.arguments import (
    NodeResourcesBalancedAllocationArgs,
    NodeResourcesFitArgs,
    ShapePoint,
    Strategy,
)
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import MAX_SCORE, Attempt, Change, PodScope, Ratings, Refusal, Slots
from timonel.scheduler.core.nodes import NodeTable
from timonel.scheduler.core.pods import PodClass
from timonel.scheduler.core.requests import CPU, EPHEMERAL_STORAGE, MEMORY, PODS

_SHAPE_SCALE = MAX_SCORE // 10
"""Scores of a shape go to 10."""
_ASSUMED_ROWS = {CPU: 0, MEMORY: 1}

Amounts = NDArray[np.int64]


class NodeResourcesFit:
    """Requests must fit into what is allocatable; how full the nodes then are says which is preferred."""

    name = "NodeResourcesFit"
    is_static = False
    pod_scope = PodScope.NODE
    helped_by = frozenset({Change.NODE_ADDED, Change.NODE_ALLOCATABLE, Change.POD_GONE, Change.POD_SHRUNK})

    def __init__(self, args: NodeResourcesFitArgs | None = None) -> None:
        self._args = args or NodeResourcesFitArgs()
        self._by_percent = _broken_line(self._args.shape)

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        nodes, refusals = cluster.nodes, []
        for name, amount in self.checked(attempt).items():
            row = nodes.rows.get(name)
            if row is None:
                # Nobody has it. No row is made for it: pods that wait may ask for any number of names.
                allocatable = requested = np.zeros(nodes.capacity, np.int64)
            else:
                allocatable, requested = nodes.allocatable[row], nodes.requested[row]
            # In this order, so that a request of any size cannot overflow.
            mask = allocatable - requested < amount
            if name in cluster.devices.by_resource:
                mask &= allocatable > 0  # a node without it may have devices that stand for it
            if mask.any():
                reason = "Too many pods" if name == PODS else f"Insufficient {name}"
                refusals.append(Refusal(reason, mask, resolvable=allocatable >= amount))
        return refusals

    def checked(self, attempt: Attempt) -> dict[str, int]:
        """The requests that must fit, by resource."""
        requests = attempt.pod.klass.requests
        return {name: amount for name, amount in requests.items() if amount > 0 and not self._is_ignored(name)}

    def _is_ignored(self, name: str) -> bool:
        if "/" not in name or "kubernetes.io/" in name:
            return False  # not an extended resource
        return name in self._args.ignored_resources or name.split("/")[0] in self._args.ignored_groups

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        return _remembered(self, cluster, attempt.pod.klass, self._rate)[nodes]

    def _rate(self, table: NodeTable, klass: PodClass, slots: Slots) -> Ratings:
        """The mean, by weight, of what the strategy says about each resource that the node has."""
        total = np.zeros(len(slots), np.int64)
        weights = np.zeros(len(slots), np.int64)
        for resource in self._args.resources:
            found = _with_pod(table, klass, resource.name, slots)
            if found is None:
                continue
            capacity, used = found
            share = self._share(np.maximum(capacity, 1), used)
            counts = capacity > 0
            if self._args.strategy is Strategy.REQUESTED_TO_CAPACITY_RATIO:
                counts &= share > 0
            total += np.where(counts, share * resource.weight, 0)
            weights += counts * resource.weight
        if self._args.strategy is Strategy.REQUESTED_TO_CAPACITY_RATIO:
            return np.floor(total / np.maximum(weights, 1) + 0.5).astype(np.int64)
        mean: Ratings = total // np.maximum(weights, 1)
        return mean

    def _share(self, capacity: Amounts, used: Amounts) -> Ratings:
        """Of one resource, 0 to 100."""
        percent: Ratings
        match self._args.strategy:
            case Strategy.LEAST_ALLOCATED:
                percent = np.maximum(capacity - used, 0) * MAX_SCORE // capacity
            case Strategy.MOST_ALLOCATED:
                percent = np.minimum(used, capacity) * MAX_SCORE // capacity
            case Strategy.REQUESTED_TO_CAPACITY_RATIO:
                percent = self._by_percent[np.minimum(used, capacity) * 100 // capacity]
        return percent


def _with_pod(table: NodeTable, klass: PodClass, name: str, slots: Slots) -> tuple[Amounts, Amounts] | None:
    """(allocatable, requested by the pods there and this one); None for what scoring does not look at.

    Containers that ask for no cpu or memory count as if they did; extended resources only if the pod asks for them.
    """
    row = table.rows.get(name)
    if row is None or name == PODS:
        return None
    capacity = table.allocatable[row][slots]
    if name in _ASSUMED_ROWS:
        added = klass.assumed_cpu if name == CPU else klass.assumed_memory
        return capacity, table.assumed[_ASSUMED_ROWS[name]][slots] + added
    added = klass.requests.get(name, 0)
    if not added and name != EPHEMERAL_STORAGE:
        return None
    return capacity, table.requested[row][slots] + added


def _broken_line(shape: Sequence[ShapePoint]) -> Ratings:
    """Scores for 0 to 100 percent: the first point's before it, the last one's after it, straight lines between."""
    scores = np.zeros(101, np.int64)
    if not shape:
        return scores
    for percent in range(101):
        after = next((index for index, point in enumerate(shape) if percent <= point.utilization), len(shape))
        if after in (0, len(shape)):
            scores[percent] = shape[min(after, len(shape) - 1)].score * _SHAPE_SCALE
            continue
        low, high = shape[after - 1], shape[after]
        rise = (high.score - low.score) * _SHAPE_SCALE * (percent - low.utilization)
        # Toward zero, also where the line falls.
        scores[percent] = low.score * _SHAPE_SCALE + int(rise / (high.utilization - low.utilization))
    return scores


class NodeResourcesBalancedAllocation:
    """Prefers nodes whose shares of the resources come nearer to each other by taking the pod.

    A pod that requests none of them has no say in the balance.
    """

    name = "NodeResourcesBalancedAllocation"

    def __init__(self, args: NodeResourcesBalancedAllocationArgs | None = None) -> None:
        self._resources = (args or NodeResourcesBalancedAllocationArgs()).resources

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        klass = attempt.pod.klass
        if not any(klass.requests.get(name) for name in self._resources if name != PODS):
            return None
        return _remembered(self, cluster, klass, self._improvement)[nodes]

    def _improvement(self, table: NodeTable, klass: PodClass, slots: Slots) -> Ratings:
        """75 when the pod leaves the balance as it is, up to 100 when it improves it, down to 50."""
        names = [
            name
            for name in self._resources
            if name in table.rows
            and name != PODS
            and (klass.requests.get(name) or name in (CPU, MEMORY, EPHEMERAL_STORAGE))
        ]
        rows = np.array([[table.rows[name]] for name in names], np.intp).reshape(-1, 1)
        capacity, used = table.allocatable[rows, slots], table.requested[rows, slots]
        added = np.array([[klass.requests.get(name, 0)] for name in names], np.int64).reshape(-1, 1)
        # Both at once: for few slots, the calls cost more than the numbers.
        balance = _balance(np.hstack((used + added, used)), np.hstack((capacity, capacity)))
        with_pod, without_pod = balance[: len(slots)], balance[len(slots) :]
        half = MAX_SCORE // 2
        rating: Ratings = half + (half + with_pod - without_pod) // 2
        return rating


def _balance(used: Amounts, capacity: Amounts) -> Ratings:
    """100 for equal shares, less the larger their standard deviation. Resources that a node lacks do not count."""
    shares = np.minimum(used / np.maximum(capacity, 1), 1.0)
    has = capacity > 0
    if len(shares) == 2:  # of two shares it is half their distance
        deviation = np.where(has.all(axis=0), np.abs(shares[0] - shares[1]) / 2, 0.0)
    else:
        count = np.maximum(has.sum(axis=0), 1)
        mean = np.where(has, shares, 0.0).sum(axis=0) / count
        deviation = np.sqrt((np.where(has, shares - mean, 0.0) ** 2).sum(axis=0) / count)
    return ((1 - deviation) * MAX_SCORE).astype(np.int64)


def _remembered(
    plugin: object, cluster: Cluster, klass: PodClass, rate: Callable[[NodeTable, PodClass, Slots], Ratings]
) -> Ratings:
    """Ratings of every slot, computed anew only where usage changed since a pod of this class last asked.

    For the hundredth replica that is one node of 5 000: it saves nine tenths of a decision.
    """
    table = cluster.nodes
    ratings, version = klass.memo.get((plugin, "ratings"), (None, 0))
    touched = table.touched_since(version) if ratings is not None and len(ratings) == table.capacity else None
    if touched is None or len(touched) > table.capacity // 2:
        ratings = rate(table, klass, np.arange(table.capacity))
    elif touched:
        slots = np.array(touched)
        ratings[slots] = rate(table, klass, slots)
    klass.memo[plugin, "ratings"] = (ratings, table.usage_version)
    result: Ratings = ratings
    return result
