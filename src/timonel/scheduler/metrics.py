"""The scheduler's /metrics: its figures and its queue under upstream's names.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from timonel.api.buckets import Buckets, powers
from timonel.client.exposition import counter, gauge, histogram
from timonel.scheduler.core.framework import Change
from timonel.scheduler.core.queue import Event
from timonel.scheduler.figures import ERROR_RESULT, SCHEDULED_RESULT, UNSCHEDULABLE_RESULT
from timonel.scheduler.loop import Scheduler

_NEVER = Buckets(powers(0.001, 2, 15))

EVENTS = {
    Event.ADDED: "UnschedulablePodAdd",
    Event.UPDATED: "UnschedulablePodUpdate",
    Event.UNGATED: "UnschedulablePodUpdatePodSchedulingGatesEliminated",
    Event.FAILED: "ScheduleAttemptFailure",
    Event.BACKED_OFF: "BackoffComplete",
    Event.TIMED_OUT: "UnschedulableTimeout",
    Event.ACTIVATED: "ForceActivate",
    Change.NODE_ADDED.name: "NodeAdd",
    Change.NODE_REMOVED.name: "NodeDelete",
    Change.NODE_ALLOCATABLE.name: "NodeUpdateNodeAllocatable",
    Change.NODE_LABELS.name: "NodeUpdateNodeLabel",
    Change.NODE_TAINTS.name: "NodeUpdateNodeTaint",
    Change.POD_PLACED.name: "AssignedPodAdd",
    Change.POD_GONE.name: "AssignedPodDelete",
    Change.POD_LABELS.name: "AssignedPodUpdatePodLabel",
    Change.POD_SHRUNK.name: "AssignedPodUpdatePodScaleDown",
    Change.CLAIM.name: "PersistentVolumeClaimUpdate",
    Change.VOLUME.name: "PersistentVolumeUpdate",
    Change.STORAGE_CLASS.name: "storage.k8s.io/StorageClassUpdate",
    Change.CSI_NODE.name: "storage.k8s.io/CSINodeUpdate",
}
"""Upstream's words for why a pod comes to a part of the queue; ours where it has none."""


class SchedulerCollector(Collector):
    """`scheduler` gives the one that runs; None while this process does not lead."""

    def __init__(self, scheduler: Callable[[], Scheduler | None]) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        scheduler = self._scheduler()
        if scheduler is None:
            return
        figures = scheduler.figures
        # Results that have not happened yet are there from the start, for rules that add them up.
        attempts = {(result, name): figures.by_result.get((result, name), _NEVER)
                    for result in (SCHEDULED_RESULT, UNSCHEDULABLE_RESULT, ERROR_RESULT)
                    for name in scheduler.profile_names}  # fmt: skip
        labels = ("result", "profile")
        yield counter("scheduler_schedule_attempts", "Attempts to place a pod by their result.", labels,
                      [(key, float(sum(buckets.counts))) for key, buckets in attempts.items()])  # fmt: skip
        yield histogram("scheduler_scheduling_attempt_duration_seconds",
                        "How long attempts take, binding included.", labels, list(attempts.items()))  # fmt: skip
        yield histogram("scheduler_scheduling_algorithm_duration_seconds", "How long deciding takes.", (),
                        [((), figures.algorithm)])  # fmt: skip
        yield histogram("scheduler_framework_extension_point_duration_seconds",
                        "How long all plugins of an extension point take.", ("extension_point", "status", "profile"),
                        [(("Bind", *key), buckets) for key, buckets in figures.bindings.items()])  # fmt: skip
        yield histogram("scheduler_plugin_execution_duration_seconds",
                        "How long a plugin takes, of one pod in ten.", ("plugin", "extension_point", "status"),
                        list(figures.executions.items()))  # fmt: skip
        yield counter("scheduler_plugin_evaluation", "How often plugins are asked, of one pod in ten.",
                      ("plugin", "extension_point", "profile"),
                      [(key, float(count)) for key, count in figures.evaluations.items()])  # fmt: skip
        yield counter("scheduler_preemption_attempts", "Searches for pods to evict.", (),
                      [((), float(figures.preemptions))])  # fmt: skip
        yield histogram("scheduler_preemption_victims", "Pods that a search chose to evict.", (),
                        [((), figures.victims)])  # fmt: skip
        yield histogram("scheduler_pod_scheduling_sli_duration_seconds",
                        "From when a pod could first be placed until it was, by attempts.", ("attempts",),
                        [((number,), buckets) for number, buckets in figures.pods.items()])  # fmt: skip
        yield histogram("scheduler_pod_scheduling_attempts", "Attempts until a pod was placed.", (),
                        [((), figures.attempts)])  # fmt: skip
        waiting = [((place,), float(count)) for place, count in scheduler.queue.counts().items()]
        yield gauge("scheduler_pending_pods", "Pods that wait, by the part of the queue.", ("queue",), waiting)
        yield gauge("scheduler_unschedulable_pods", "Pods that wait because of a plugin.", ("plugin", "profile"),
                    [(key, float(count)) for key, count in scheduler.queue.refused_by().items()])  # fmt: skip
        incoming = [((state, EVENTS.get(why, why)), float(count))
                    for (state, why), count in scheduler.queue.incoming.items()]  # fmt: skip
        yield counter("scheduler_queue_incoming_pods", "Pods that came to a part of the queue, by why.",
                      ("queue", "event"), incoming)  # fmt: skip
        sizes = [(("nodes",), float(scheduler.cluster.nodes.count)), (("pods",), float(scheduler.cluster.pod_count))]
        yield gauge("scheduler_cache_size", "What the scheduler knows of the cluster.", ("type",), sizes)
