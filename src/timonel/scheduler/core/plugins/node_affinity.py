"""nodeSelector and node affinity. Source: kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from timonel.scheduler.core.arguments import NodeAffinityArgs
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, Change, PodScope, Ratings, Refusal, Slots, normalised
from timonel.scheduler.core.pods import PodClass
from timonel.scheduler.core.selectors import Mask, NodeTerm


class NodeAffinity:
    name = "NodeAffinity"
    is_static = True
    pod_scope = PodScope.NONE
    helped_by = frozenset({Change.NODE_ADDED, Change.NODE_LABELS})

    def __init__(self, args: NodeAffinityArgs | None = None) -> None:
        self.added = args or NodeAffinityArgs()

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        refusals = []
        if self.added.required is not None:
            enforced = any_term(cluster, self.added.required)
            refusals.append(Refusal("node(s) didn't match scheduler-enforced node affinity", ~enforced))
        allowed = required_nodes(cluster, attempt.pod.klass)
        if allowed is not None:
            refusals.append(Refusal("node(s) didn't match Pod's node affinity/selector", ~allowed))
        return refusals

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        preferred = (*attempt.pod.klass.preferred_nodes, *self.added.preferred)
        if not preferred:
            return None
        ratings = np.zeros(len(nodes), np.int64)
        for weight, term in preferred:
            ratings += weight * term.mask(cluster.nodes)[nodes]  # one without any expression prefers nothing
        return normalised(ratings)


def any_term(cluster: Cluster, terms: Sequence[NodeTerm]) -> Mask:
    """Slots that one of the terms matches."""
    mask = np.zeros(cluster.nodes.capacity, np.bool_)
    for term in terms:
        mask |= term.mask(cluster.nodes)
    return mask


def required_nodes(cluster: Cluster, klass: PodClass) -> Mask | None:
    """Slots that the selector and the required affinity allow; None when the pod has neither."""
    if klass.node_selector is None and klass.node_affinity is None:
        return None
    version, mask = klass.memo.get("required nodes", (None, None))
    if version != (cluster.nodes.static_version, cluster.nodes.capacity):
        mask = np.ones(cluster.nodes.capacity, np.bool_)
        if klass.node_selector is not None:
            mask &= klass.node_selector.mask(cluster.nodes)
        if klass.node_affinity is not None:
            mask &= any_term(cluster, klass.node_affinity)
        klass.memo["required nodes"] = ((cluster.nodes.static_version, cluster.nodes.capacity), mask)
    allowed: Mask = mask
    return allowed
