"""Spreading pods over zones, nodes or any other label of nodes.

Source: kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from timonel.api.labels import Selector
from timonel.scheduler.core.arguments import DefaultSpread, PodTopologySpreadArgs
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.counters import Counts
from timonel.scheduler.core.framework import MAX_SCORE, Attempt, Change, PodScope, Ratings, Refusal, Slots
from timonel.scheduler.core.plugins.node_affinity import required_nodes
from timonel.scheduler.core.pods import PodClass, SpreadConstraint
from timonel.scheduler.core.selectors import Mask, PodMatch

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"

SYSTEM_DEFAULTS = (
    DefaultSpread(3, HOSTNAME, is_required=False),
    DefaultSpread(5, ZONE, is_required=False),
)

_REASON = "node(s) didn't match pod topology spread constraints"


class PodTopologySpread:
    name = "PodTopologySpread"
    is_static = False
    pod_scope = PodScope.CLUSTER
    helped_by = frozenset(
        {
            Change.NODE_ADDED, Change.NODE_REMOVED, Change.NODE_LABELS, Change.NODE_TAINTS,
            Change.POD_PLACED, Change.POD_GONE, Change.POD_LABELS,
        }
    )  # fmt: skip

    def __init__(self, args: PodTopologySpreadArgs | None = None) -> None:
        self._defaults = (args or PodTopologySpreadArgs()).constraints

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        refusals: list[Refusal] = []
        for constraint, has_label, skew in self.skews(cluster, attempt):
            refusals.append(Refusal(f"{_REASON} (missing required label)", ~has_label))
            refusals.append(Refusal(_REASON, has_label & (skew > constraint.max_skew), resolvable=True))
        return refusals

    def skews(self, cluster: Cluster, attempt: Attempt) -> Iterator[tuple[SpreadConstraint, Mask, Counts]]:
        """For each required constraint: slots that have its label, and the skew if the pod went there."""
        klass = attempt.pod.klass
        constraints = klass.spread_required if klass.has_spread else self._default(attempt, is_required=True)
        has_all_keys = _has_all_keys(cluster, constraints) if constraints else cluster.nodes.alive
        for constraint in constraints:
            eligible = has_all_keys & _included(cluster, klass, constraint)
            counts = np.where(eligible, _pods(cluster, klass, constraint.selector), 0)
            ids, sums = cluster.domain_sums(constraint.topology_key, counts)
            domains = np.unique(ids[eligible])
            fewest = int(sums[domains].min()) if len(domains) >= max(constraint.min_domains, 1) else 0
            itself = constraint.selector.matches(klass.labels)
            yield constraint, ids >= 0, sums[ids] + itself - fewest

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        klass = attempt.pod.klass
        if klass.has_spread:
            constraints, needs_all_keys = klass.spread_preferred, True
        else:
            # With the system's own, a node without a zone can still spread by host name.
            constraints, needs_all_keys = self._default(attempt, is_required=False), self._defaults is not None
        if not constraints:
            return None
        has_all_keys = _has_all_keys(cluster, constraints) if needs_all_keys else cluster.nodes.alive
        candidates = has_all_keys[nodes]
        penalty = np.zeros(len(nodes))
        for constraint in constraints:
            penalty += _penalty(cluster, klass, constraint, nodes, candidates, has_all_keys)
        rounded = np.floor(penalty + 0.5).astype(np.int64)
        return _from_penalty(rounded, candidates)

    def _default(self, attempt: Attempt, *, is_required: bool) -> tuple[SpreadConstraint, ...]:
        """What holds for pods of a Service or a workload that say nothing themselves."""
        selector = attempt.spread_over
        if selector is None or selector.everything:
            return ()
        defaults = SYSTEM_DEFAULTS if self._defaults is None else self._defaults
        return tuple(
            SpreadConstraint(
                each.max_skew,
                each.topology_key,
                selector,
                each.min_domains,
                each.honor_affinity,
                each.honor_taints,
            )
            for each in defaults
            if each.is_required == is_required
        )


def _penalty(
    cluster: Cluster,
    klass: PodClass,
    constraint: SpreadConstraint,
    nodes: Slots,
    candidates: Mask,
    has_all_keys: Mask,
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Grows with the matching pods in a node's domain, and weighs a domain more the more of them there are."""
    pods = _pods(cluster, klass, constraint.selector)
    ids = cluster.nodes.label_column(constraint.topology_key).ids[nodes]
    if constraint.topology_key == HOSTNAME:
        counts = pods[nodes]
        domains = int(candidates.sum())
    else:
        counted = cluster.nodes.alive & has_all_keys & _included(cluster, klass, constraint)
        _, sums = cluster.domain_sums(constraint.topology_key, np.where(counted, pods, 0))
        counts = sums[ids]
        domains = len(np.unique(ids[candidates]))
    per_node = counts * np.log(domains + 2) + (constraint.max_skew - 1)
    result: np.ndarray[tuple[int], np.dtype[np.float64]] = np.where(ids >= 0, per_node, 0.0)
    return result


def _from_penalty(penalty: Ratings, candidates: Mask) -> Ratings:
    """100 for the smallest; nodes that lack a topology label get nothing."""
    if not candidates.any():
        return np.zeros(len(penalty), np.int64)
    smallest, largest = int(penalty[candidates].min()), int(penalty[candidates].max())
    if largest == 0:
        return np.where(candidates, MAX_SCORE, 0)
    return np.where(candidates, MAX_SCORE * (largest + smallest - penalty) // largest, 0)


def _pods(cluster: Cluster, klass: PodClass, selector: Selector) -> Counts:
    """Pods of the same namespace; an empty selector counts none, and those on their way out do not count."""
    if selector.everything or selector.nothing:
        return np.zeros(cluster.nodes.capacity, np.int64)
    match = PodMatch(frozenset((klass.namespace,)), None, selector)
    return cluster.count_pods(match, counts_terminating=False)


def _has_all_keys(cluster: Cluster, constraints: Sequence[SpreadConstraint]) -> Mask:
    mask = cluster.nodes.alive.copy()
    for constraint in constraints:
        mask &= cluster.nodes.label_column(constraint.topology_key).ids >= 0
    return mask


def _included(cluster: Cluster, klass: PodClass, constraint: SpreadConstraint) -> Mask:
    """Nodes whose pods count: by default those the pod's node affinity allows, tainted ones too."""
    mask = cluster.nodes.alive
    if constraint.honor_affinity:
        allowed = required_nodes(cluster, klass)
        if allowed is not None:
            mask = mask & allowed
    if constraint.honor_taints:
        untolerated = cluster.nodes.taints.untolerated(klass.tolerations, cluster.nodes.capacity)
        if untolerated is not None:
            mask = mask & ~untolerated
    return mask
