"""The kubelet's own figures, under upstream's names: /metrics and /metrics/probes.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

import re
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from timonel import GIT_VERSION, KUBERNETES_VERSION
from timonel.api.objects import Object, name_of, namespace_of, uid_of
from timonel.kubelet.eviction.critical import is_static
from timonel.kubelet.pods.view import PodView

_DURATIONS = (0.005, 0.0125, 0.03125, 0.078125, 0.1953125, 0.48828125, 1.220703125, 3.0517578125, 7.62939453125)
_START_DURATIONS = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800,
                    2700, 3600)  # fmt: skip
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
_RESULTS = {True: "successful", False: "failed", None: "unknown"}


def operation_name(method: str) -> str:
    """Of a call of CRI, as upstream names it: "/runtime.v1.RuntimeService/RunPodSandbox" -> "run_podsandbox"."""
    name = method.rpartition("/")[2].replace("PodSandbox", "Podsandbox")
    return _WORD.sub("_", name).lower()


class KubeletMetrics:
    """`pods` tells, when scraped, what the last look saw of each pod."""

    def __init__(self, *, node_name: str, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.node_name = node_name
        ProcessCollector(registry=self.registry)
        self._operations = Counter(
            "kubelet_runtime_operations", "Cumulative number of runtime operations by operation type.",
            ("operation_type",), registry=self.registry,
        )  # fmt: skip
        self._failures = Counter(
            "kubelet_runtime_operations_errors", "Cumulative number of runtime operation errors by operation type.",
            ("operation_type",), registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "kubelet_runtime_operations_duration_seconds",
            "Duration in seconds of runtime operations. Broken down by operation type.",
            ("operation_type",), buckets=_DURATIONS, registry=self.registry,
        )  # fmt: skip
        self._starts = Histogram(
            "kubelet_pod_start_duration_seconds",
            "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
            buckets=_START_DURATIONS, registry=self.registry,
        )  # fmt: skip
        self._collector = _Pods(node_name)
        self.registry.register(self._collector)

    def follow(self, pods: Callable[[], Iterable[tuple[Object, PodView]]]) -> None:
        """What running pods and containers are counted from, whenever somebody asks."""
        self._collector.pods = pods

    def operation(self, method: str, seconds: float, failed: bool) -> None:
        name = operation_name(method)
        self._operations.labels(name).inc()
        self._seconds.labels(name).observe(seconds)
        if failed:
            self._failures.labels(name).inc()

    def started(self, seconds: float) -> None:
        """A pod runs, so many seconds after it was first seen."""
        self._starts.observe(seconds)


class _Pods(Collector):
    def __init__(self, node_name: str) -> None:
        self.pods: Callable[[], Iterable[tuple[Object, PodView]]] = tuple
        self._node_name = node_name

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        known = list(self.pods())
        states = Counts(container.state for _, view in known for container in view.containers)
        running = sum(view.sandbox is not None and view.sandbox.ready for _, view in known)
        yield _gauge("kubelet_node_name", "The node's name. The count is always 1.", {"node": self._node_name}, 1)
        yield _gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox", {}, running)
        containers = GaugeMetricFamily(
            "kubelet_running_containers", "Number of containers currently running", labels=("container_state",)
        )
        for state in ("created", "exited", "running", "unknown"):
            if states[state] or state == "running":
                containers.add_metric((state,), states[state])
        yield containers
        desired = GaugeMetricFamily(
            "kubelet_desired_pods", "The number of pods the kubelet is being instructed to run.", labels=("static",)
        )
        static = sum(is_static(pod) for pod, _ in known)
        desired.add_metric(("true",), static)
        desired.add_metric(("",), len(known) - static)
        yield desired
        about = {"git_version": GIT_VERSION, "major": "1", "minor": KUBERNETES_VERSION.lstrip("v").split(".")[1]}
        yield _gauge("kubernetes_build_info", "A metric with a constant '1' value labeled by version.", about, 1)


def _gauge(name: str, text: str, labels: dict[str, str], value: float) -> Metric:
    family = GaugeMetricFamily(name, text, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family


class ProbeMetrics:
    """Results and durations by pod and container; those of a pod go with it."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._results = Counter(
            "prober_probe", "Cumulative number of a liveness, readiness or startup probe for a container by result.",
            ("probe_type", "result", "container", "pod", "namespace", "pod_uid"), registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "prober_probe_duration_seconds", "Duration in seconds for a probe response.",
            ("probe_type", "container", "pod", "namespace"), registry=self.registry,
        )  # fmt: skip
        self._known: dict[str, set[tuple[tuple[str, ...], tuple[str, ...]]]] = {}

    def observe(self, pod: Object, container: str, probe: str, passed: bool | None, seconds: float) -> None:
        """`probe` is "startup", "liveness" or "readiness"; `passed` None when no answer could be had."""
        uid, kind = uid_of(pod), probe.capitalize()
        where = (container, name_of(pod), namespace_of(pod))
        result, timed = (kind, _RESULTS[passed], *where, uid), (kind, *where)
        self._known.setdefault(uid, set()).add((result, timed))
        self._results.labels(*result).inc()
        if passed is not None:
            self._seconds.labels(*timed).observe(seconds)

    def forget(self, uid: str) -> None:
        for result, timed in self._known.pop(uid, ()):
            for metric, labels in ((self._results, result), (self._seconds, timed)):
                try:
                    metric.remove(*labels)
                except KeyError:
                    continue  # the other results of the probe share its durations
