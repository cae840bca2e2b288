"""The controllers' /metrics: their queues, under the names that upstream's queues have.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from collections.abc import Iterator

from timonel.client.workqueue import WorkQueue
from timonel.controllers.manager import ControllerManager

_NAMES = {
    "certificatesigningrequest-approving-controller": "certificate",
    "certificatesigningrequest-signing-controller": "certificate",
    "clusterrole-aggregation": "ClusterRoleAggregator",
    "bootstrap-signer-controller": "bootstrap_signer_queue",
    "disruption-stale-targets": "stale_pod_disruption",
    "endpointslice": "endpoint_slice",
    "endpointslice-mirroring-controller": "endpoint_slice_mirroring",
    "ephemeral-volume": "ephemeral_volume",
    "garbage-collector": "garbage_collector_attempt_to_delete",
    "horizontal-pod-autoscaler": "horizontalpodautoscaler",
    "job-forsaken-pods": "job_orphan_pod",
    "node-lifecycle": "node_lifecycle_controller",
    "persistentvolume-binder": "claims",
    "persistentvolume-expander": "volume_expand",
    "persistentvolume-protection": "pvprotection",
    "persistentvolumeclaim-protection": "pvcprotection",
    "replicationcontroller": "replicationmanager",
    "resource-claim-controller": "resource_claim",
    "resourceclaim-controller": "resource_claim",
    "resourcequota": "resourcequota_primary",
    "root-ca-cert-publisher": "root_ca_cert_publisher",
    "service-cidr-controller": "ipaddresses",
    "serviceaccount-token-controller": "serviceaccount_tokens_secret",
    "taint-eviction-controller": "noexec_taint_pod",
    "token-cleaner-controller": "token_cleaner",
    "ttl-after-finished": "ttl_jobs_to_delete",
    "volumeattributesclass-protection": "vacprotection",
}
"""Our name of a queue -> upstream's; the others have their own."""


def named_queues(manager: ControllerManager) -> Iterator[tuple[str, WorkQueue]]:  # type: ignore[type-arg]
    """Those of the controllers that run now."""
    for component in manager.components.values():
        for queue in getattr(component, "queues", ()):
            yield _NAMES.get(queue.name, queue.name.replace("-", "_")), queue
