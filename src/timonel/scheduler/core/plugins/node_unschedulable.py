"""Cordoned nodes take only pods that tolerate it."""

from __future__ import annotations

from collections.abc import Sequence

from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, Change, PodScope, Refusal
from timonel.scheduler.core.taints import UNSCHEDULABLE


class NodeUnschedulable:
    name = "NodeUnschedulable"
    is_static = True
    pod_scope = PodScope.NONE
    helped_by = frozenset({Change.NODE_ADDED, Change.NODE_TAINTS})

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        if any(each.tolerates(UNSCHEDULABLE) for each in attempt.pod.klass.tolerations):
            return ()
        return (Refusal("node(s) were unschedulable", cluster.nodes.unschedulable),)
