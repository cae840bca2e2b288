"""The controllers' /metrics: their queues, Jobs, and the zones of nodes, under upstream's names.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from timonel.client.exposition import counter, gauge, histogram
from timonel.client.workqueue import WorkQueue
from timonel.controllers.cronjob import CronJobController
from timonel.controllers.job import JobController
from timonel.controllers.manager import ControllerManager
from timonel.controllers.nodes import NodeLifecycleController, TaintEvictionController

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


class ZoneCollector(Collector):
    """The health of zones, how many nodes were emptied, and how many pods went for taints."""

    def __init__(self, manager: ControllerManager) -> None:
        self._manager = manager

    def collect(self) -> Iterator[Metric]:
        evictions = self._manager.components.get(TaintEvictionController.name)
        if isinstance(evictions, TaintEvictionController):
            name = "taint_eviction_controller_pod_deletion"
            deletions = evictions.deletions
            yield counter(f"{name}s", "Pods deleted for taints.", (), [((), float(sum(deletions.counts)))])
            text = "From when it was noticed that pods have to go to their deletion."
            yield histogram(f"{name}_duration_seconds", text, (), [((), deletions)])
        lifecycle = self._manager.components.get(NodeLifecycleController.name)
        if not isinstance(lifecycle, NodeLifecycleController):
            return
        zones = [((zone.replace("\x00", ""),), figures) for zone, figures in lifecycle.zones.figures()]
        names = ("zone",)
        yield gauge("node_collector_zone_size", "Nodes of a zone.", names,
                    [(zone, float(each.size)) for zone, each in zones])  # fmt: skip
        yield gauge("node_collector_zone_health", "Percentage of the nodes of a zone that are ready.", names,
                    [(zone, 100.0 * (each.size - each.unhealthy) / each.size) for zone, each in zones])  # fmt: skip
        yield gauge("node_collector_unhealthy_nodes_in_zone", "Nodes of a zone that are not ready.", names,
                    [(zone, float(each.unhealthy)) for zone, each in zones])  # fmt: skip
        yield counter("node_collector_evictions", "Nodes whose pods were sent away since the start.", names,
                      [(zone, float(each.evictions)) for zone, each in zones])  # fmt: skip


class JobCollector(Collector):
    """How Jobs and their pods end, and how late CronJobs start them."""

    def __init__(self, manager: ControllerManager) -> None:
        self._manager = manager

    def collect(self) -> Iterator[Metric]:
        jobs = self._manager.components.get(JobController.name)
        if isinstance(jobs, JobController):
            figures = jobs.figures
            names = ("completion_mode", "result", "action")
            yield counter("job_controller_job_syncs", "Syncs of Jobs.", names,
                          [(key, float(sum(buckets.counts))) for key, buckets in figures.syncs.items()])  # fmt: skip
            yield histogram("job_controller_job_sync_duration_seconds", "How long syncs of Jobs take.", names,
                            figures.syncs.items())  # fmt: skip
            yield counter("job_controller_jobs_finished", "Jobs that ended.", ("completion_mode", "result", "reason"),
                          [(key, float(count)) for key, count in figures.finished.items()])  # fmt: skip
            yield counter("job_controller_job_pods_finished", "Pods that ended and were counted.",
                          ("completion_mode", "result"),
                          [(key, float(count)) for key, count in figures.pods.items()])  # fmt: skip
        cron_jobs = self._manager.components.get(CronJobController.name)
        if isinstance(cron_jobs, CronJobController):
            text = "From when Jobs of CronJobs were due to their creation."
            name = "cronjob_controller_job_creation_skew_duration_seconds"
            yield histogram(name, text, (), [((), cron_jobs.skews)])
