"""Figures in the form of /metrics: what every process made of clients and queues tells, under upstream's names.

Figures are counted as plain numbers and become samples when somebody asks.
Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from timonel.api.buckets import Buckets
from timonel.client.metrics_text import HistogramFamily
from timonel.client.request_figures import RequestFigures
from timonel.client.workqueue import WorkQueue

Queues = Iterable[tuple[str, WorkQueue]]  # type: ignore[type-arg]  # of keys of any type
"""(upstream's name, queue)"""

V = TypeVar("V")
Found = Iterable[tuple[Sequence[str], V]]
"""(values of the labels, what was found for them)"""


def histogram(name: str, text: str, labels: Sequence[str], found: Found[Buckets]) -> Metric:
    """One histogram by values of its labels."""
    family = HistogramFamily(name, text, labels)
    for values, buckets in found:
        family.add(values, buckets.bounds, buckets.counts, buckets.total)
    return family


def gauge(name: str, text: str, labels: Sequence[str], values: Found[float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def counter(name: str, text: str, labels: Sequence[str], values: Found[float]) -> Metric:
    """`name` without its "_total"."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


class QueueCollector(Collector):
    """`queues` is asked at every scrape: components come and go with leadership. Names may repeat."""

    def __init__(self, queues: Callable[[], Queues]) -> None:
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        by_name: dict[tuple[str, ...], list[WorkQueue]] = {}  # type: ignore[type-arg]
        for name, queue in self._queues():
            by_name.setdefault((name,), []).append(queue)

        def of(read: Callable[[WorkQueue], float]) -> Found[float]:  # type: ignore[type-arg]
            return [(name, sum(map(read, queues))) for name, queues in by_name.items()]

        names = ("name",)
        yield gauge("workqueue_depth", "Keys that wait.", names, of(len))
        yield counter("workqueue_adds", "Keys added.", names, of(lambda queue: queue.figures.adds))
        yield counter("workqueue_retries", "Keys added again after a failure.", names,
                      of(lambda queue: queue.figures.retries))  # fmt: skip
        yield gauge("workqueue_unfinished_work_seconds", "How long the keys that are worked on have been, together.",
                    names, of(lambda queue: sum(queue.under_way())))  # fmt: skip
        longest = [
            (name, max((seconds for queue in queues for seconds in queue.under_way()), default=0.0))
            for name, queues in by_name.items()
        ]
        text = "How long the key has been worked on that has been for the longest."
        yield gauge("workqueue_longest_running_processor_seconds", text, names, longest)
        waits = [(name, _sum(queue.figures.waits for queue in queues)) for name, queues in by_name.items()]
        yield histogram("workqueue_queue_duration_seconds", "How long keys wait until they are taken.", names, waits)
        works = [(name, _sum(queue.figures.works for queue in queues)) for name, queues in by_name.items()]
        yield histogram("workqueue_work_duration_seconds", "How long keys are worked on.", names, works)


class RequestCollector(Collector):
    def __init__(self, host: str, figures: RequestFigures) -> None:
        """`host` is the server's, with its port."""
        self._host = host
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        counts = [((code, method, self._host), float(n)) for (code, method), n in self._figures.counts.items()]
        text = "Requests to the API server by status code and method."
        yield counter("rest_client_requests", text, ("code", "method", "host"), counts)
        seconds = [((method, self._host), buckets) for method, buckets in self._figures.seconds.items()]
        text = "How long the API server takes to answer; watches left out."
        yield histogram("rest_client_request_duration_seconds", text, ("verb", "host"), seconds)


class LeaderCollector(Collector):
    """`leads` says whether this process does; `name` is the Lease's."""

    def __init__(self, name: str, leads: Callable[[], bool]) -> None:
        self._name = name
        self._leads = leads

    def collect(self) -> Iterator[Metric]:
        text = "Whether this process leads: 1, or waits to lead: 0."
        yield gauge("leader_election_master_status", text, ("name",), [((self._name,), float(self._leads()))])


def _sum(many: Iterable[Buckets]) -> Buckets:
    first, *others = many
    if not others:
        return first
    result = Buckets(first.bounds)
    for buckets in (first, *others):
        result.counts = [a + b for a, b in zip(result.counts, buckets.counts, strict=True)]
        result.total += buckets.total
    return result
