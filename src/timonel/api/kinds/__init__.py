"""The rows of every built-in kind: names, storage, defaults, validation, printer columns.

`BUILTIN` is built once, at import. One module per kind; how a pod is described is in `pod`, shared by the kinds that
have pod templates. Only the server needs this package: clients use `timonel.api.refs`.
"""

from __future__ import annotations

from timonel.api.kinds import (
    admission,
    apiservice,
    certificates,
    configmap,
    crd,
    deployment,
    devices,
    endpoints,
    endpointslice,
    events,
    families,
    flowcontrol,
    lease,
    namespace,
    networking,
    node,
    pod,
    priorityclass,
    rbac,
    replicaset,
    resourcemetrics,
    reviews,
    runtimeclass,
    secret,
    service,
    serviceaccount,
    storage,
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
        *families.CORE_ROWS,
        *families.NAMESPACE_LIMIT_ROWS,
        deployment.DEPLOYMENTS,
        replicaset.REPLICA_SETS,
        *families.WORKLOAD_ROWS,
        *families.BATCH_ROWS,
        *families.AUTOSCALING_ROWS,
        *families.POLICY_ROWS,
        endpointslice.ENDPOINT_SLICES,
        events.EVENTS_V1,
        lease.LEASES,
        priorityclass.PRIORITY_CLASSES,
        *networking.NETWORKING_ROWS,
        *storage.STORAGE_ROWS,
        *runtimeclass.NODE_ROWS,
        *devices.RESOURCE_ROWS,
        *certificates.CERTIFICATE_ROWS,
        *flowcontrol.FLOW_CONTROL_ROWS,
        *admission.ADMISSION_ROWS,
        *crd.API_EXTENSIONS_ROWS,
        *apiservice.API_REGISTRATION_ROWS,
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
        *resourcemetrics.RESOURCE_METRICS_ROWS,
    )
)

__all__ = ["BUILTIN"]
