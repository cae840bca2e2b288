"""What the manager keeps of nodes, leases and workloads: there are thousands of each, and they differ in little.

Of nodes and leases it keeps what controllers and the scheduler read; they are never written back whole. Workloads are
whole but for managed fields, with what they have in common kept once: a Deployment's template is its ReplicaSets', too.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from timonel.api.objects import Object
from timonel.api.refs import (
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    LEASES,
    NODES,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    ResourceRef,
)
from timonel.client.informer import Transform
from timonel.client.sharing import SharedParts
from timonel.controllers.slim import SlimPods

_NODE_STATUS_DROPPED = ("nodeInfo", "daemonEndpoints", "features", "runtimeHandlers", "config", "phase")
_WORKLOADS = (DEPLOYMENTS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS, DAEMON_SETS, JOBS)


def transforms() -> Mapping[ResourceRef, Transform]:
    """For Informers.of(ref, transform=…), by kind; they share with each other. All change the object they are given."""
    share = SharedParts()
    slim: dict[ResourceRef, Transform] = {
        PODS: SlimPods(share),
        NODES: lambda node: slim_node(node, share),
        LEASES: lambda lease: slim_lease(lease, share),
    }
    return slim | dict.fromkeys(_WORKLOADS, lambda workload: share_workload(workload, share))


def slim_node(node: Object, share: SharedParts) -> Object:
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    metadata.pop("managedFields", None)
    if metadata.get("labels"):
        # The host name is among them, so no two are alike.
        metadata["labels"] = {sys.intern(key): sys.intern(value) for key, value in metadata["labels"].items()}
    _intern(metadata, "name")
    share.fields(metadata, ("annotations", "creationTimestamp"))
    share.items(spec, "taints")
    for field in _NODE_STATUS_DROPPED:
        status.pop(field, None)
    if status.get("allocatable"):
        status.pop("capacity", None)  # the scheduler asks for it only where the other is not told
    share.fields(status, ("allocatable",))
    share.items(status, "conditions", "images", "addresses")
    return _compact(node, "metadata", "spec", "status")


def slim_lease(lease: Object, share: SharedParts) -> Object:
    """Holders, names and owners of leases are names and uids of nodes: one text each."""
    metadata, spec = lease["metadata"], lease.get("spec") or {}
    for field in ("managedFields", "annotations"):
        metadata.pop(field, None)
    share.fields(metadata, ("ownerReferences", "creationTimestamp", "labels"))
    _intern(metadata, "name", "namespace")
    _intern(spec, "holderIdentity")
    return _compact(lease, "metadata")


def share_workload(workload: Object, share: SharedParts) -> Object:
    metadata, spec, status = workload["metadata"], workload.get("spec") or {}, workload.get("status") or {}
    metadata.pop("managedFields", None)
    share.fields(metadata, ("namespace", "creationTimestamp", "ownerReferences", "labels", "annotations"))
    share.fields(spec.get("template") or {}, ("metadata", "spec"))
    share.fields(spec, ("selector", "strategy", "updateStrategy"))
    share.items(status, "conditions")
    return _compact(workload, "metadata", "spec", "status")


def _intern(part: Object, *fields: str) -> None:
    for field in fields:
        if field in part:
            part[field] = sys.intern(part[field])


def _compact(obj: Object, *parts: str) -> Object:
    """Made anew, since a dictionary that lost fields stays as large as it was."""
    for part in parts:
        if part in obj:
            obj[part] = dict(obj[part].items())
    _intern(obj, "kind", "apiVersion")
    return obj
