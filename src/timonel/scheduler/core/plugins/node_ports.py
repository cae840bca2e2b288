"""A host port serves one pod on a node, by address and protocol."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, Change, PodScope, Refusal


class NodePorts:
    name = "NodePorts"
    is_static = False
    pod_scope = PodScope.NODE
    helped_by = frozenset({Change.NODE_ADDED, Change.POD_GONE})

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        taken = [slot for port in attempt.pod.klass.host_ports for slot in cluster.port_conflicts(port)]
        if not taken:
            return ()
        mask = np.zeros(cluster.nodes.capacity, np.bool_)
        mask[taken] = True
        return (Refusal("node(s) didn't have free ports for the requested pod ports", mask, resolvable=True),)
