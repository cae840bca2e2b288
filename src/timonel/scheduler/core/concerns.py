"""Whether one pod's coming or going can matter to where another may go, beyond the resources it takes.

Most pods do not concern each other, and then numbers alone tell what becomes of a node when one of them goes.
"""

from __future__ import annotations

from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.pods import Pod


def concerns(cluster: Cluster, pod: Pod, other: Pod) -> bool:
    """Of `other` on a node, for placing `pod`; True where it is not certain."""
    klass, theirs = pod.klass, other.klass
    if klass.host_ports and theirs.host_ports:
        return True
    if (pod.claims and other.claims) or (pod.disks and other.disks):
        return True
    if any(
        term.match.matches(theirs.namespace, theirs.labels, cluster.namespaces)
        for terms in (klass.affinity, klass.anti_affinity)
        for term in terms
    ):
        return True
    if klass.namespace == theirs.namespace and any(
        constraint.selector.matches(theirs.labels) for constraint in klass.spread_required
    ):
        return True
    return any(term.match.matches(klass.namespace, klass.labels, cluster.namespaces) for term in theirs.anti_affinity)
