"""The scheduler's /metrics: its figures and its queue under upstream's names.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from timonel.client.exposition import counter, gauge, histogram
from timonel.scheduler.loop import Scheduler

PROFILE = "default-scheduler"


class SchedulerCollector(Collector):
    """`scheduler` gives the one that runs; None while this process does not lead."""

    def __init__(self, scheduler: Callable[[], Scheduler | None]) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        scheduler = self._scheduler()
        if scheduler is None:
            return
        figures = scheduler.figures
        attempts = [((result, PROFILE), buckets) for result, buckets in figures.by_result.items()]
        labels = ("result", "profile")
        yield counter("scheduler_schedule_attempts", "Attempts to place a pod by their result.", labels,
                      [(key, float(sum(buckets.counts))) for key, buckets in attempts])  # fmt: skip
        yield histogram("scheduler_scheduling_attempt_duration_seconds",
                        "How long attempts take, binding included.", labels, attempts)  # fmt: skip
        yield histogram("scheduler_scheduling_algorithm_duration_seconds", "How long deciding takes.", (),
                        [((), figures.algorithm)])  # fmt: skip
        yield histogram("scheduler_framework_extension_point_duration_seconds",
                        "How long all plugins of an extension point take.", ("extension_point", "status", "profile"),
                        [(("Bind", "Success", PROFILE), figures.bindings)])  # fmt: skip
        yield histogram("scheduler_pod_scheduling_sli_duration_seconds",
                        "From when a pod could first be placed until it was, by attempts.", ("attempts",),
                        [((number,), buckets) for number, buckets in figures.pods.items()])  # fmt: skip
        yield histogram("scheduler_pod_scheduling_attempts", "Attempts until a pod was placed.", (),
                        [((), figures.attempts)])  # fmt: skip
        waiting = [((place,), float(count)) for place, count in scheduler.queue.counts().items()]
        yield gauge("scheduler_pending_pods", "Pods that wait, by the part of the queue.", ("queue",), waiting)
        sizes = [(("nodes",), float(scheduler.cluster.nodes.count))]
        yield gauge("scheduler_cache_size", "What the scheduler knows of the cluster.", ("type",), sizes)
