"""The rows of every built-in kind: names, storage, defaults, validation, printer columns.

`BUILTIN` is built once, at import. One module per kind; how a pod is described is in `pod`, shared by the kinds that
have pod templates. Only the server needs this package: clients use `timonel.api.refs`.
"""

from __future__ import annotations

from timonel.api.kinds import (
    configmap,
    customresourcedefinition,
    deployment,
    endpoints,
    endpointslice,
    events,
    lease,
    namespace,
    node,
    pod,
    priorityclass,
    rbac,
    replicaset,
    reviews,
    secret,
    service,
    serviceaccount,
)
from timonel.api.resource import ResourceTable

BUILTIN = ResourceTable(
    (
        reviews.BINDINGS,
        configmap.CONFIG_MAPS,
        endpoints.ENDPOINTS,
        events.EVENTS,
        namespace.NAMESPACES,
        node.NODES,
        pod.PODS,
        secret.SECRETS,
        serviceaccount.SERVICE_ACCOUNTS,
        service.SERVICES,
        deployment.DEPLOYMENTS,
        replicaset.REPLICA_SETS,
        endpointslice.ENDPOINT_SLICES,
        events.EVENTS_V1,
        lease.LEASES,
        priorityclass.PRIORITY_CLASSES,
        customresourcedefinition.CUSTOM_RESOURCE_DEFINITIONS,
        rbac.CLUSTER_ROLES,
        rbac.CLUSTER_ROLE_BINDINGS,
        rbac.ROLES,
        rbac.ROLE_BINDINGS,
        reviews.TOKEN_REVIEWS,
        reviews.SELF_SUBJECT_REVIEWS,
        reviews.SUBJECT_ACCESS_REVIEWS,
        reviews.SELF_SUBJECT_ACCESS_REVIEWS,
        reviews.LOCAL_SUBJECT_ACCESS_REVIEWS,
        reviews.SELF_SUBJECT_RULES_REVIEWS,
    )
)

__all__ = ["BUILTIN"]
