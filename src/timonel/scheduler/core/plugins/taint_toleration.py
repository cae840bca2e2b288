"""Taints keep pods away that do not tolerate them, or make a node the lesser choice."""

from __future__ import annotations

from collections.abc import Sequence

from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, Change, PodScope, Ratings, Refusal, Slots, normalised


class TaintToleration:
    name = "TaintToleration"
    is_static = True
    pod_scope = PodScope.NONE
    helped_by = frozenset({Change.NODE_ADDED, Change.NODE_TAINTS})

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        mask = cluster.nodes.taints.untolerated(attempt.pod.klass.tolerations, cluster.nodes.capacity)
        return () if mask is None else (Refusal("node(s) had untolerated taint(s)", mask),)

    def score(self, cluster: Cluster, attempt: Attempt, nodes: Slots) -> Ratings | None:
        counts = cluster.nodes.taints.disliked(attempt.pod.klass.tolerations, cluster.nodes.capacity)
        return None if counts is None else normalised(counts[nodes], reverse=True)
