"""What is counted beside requests themselves: events sent, calls of the store, admission, audit, what was given out.

Plain numbers that become metrics when somebody asks, as in `request_counts.py`. A call of the store and a plugin of
admission cost about 0.5 µs here, an event of a watch 0.2 µs; a GET, which meets none of them, nothing.
Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from timonel.api.buckets import Buckets
from timonel.apiserver.request_counts import LABEL_NAMES, SECONDS, Labels, histogram, scope_of
from timonel.apiserver.routing import Route

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer

_EVENT_BYTES = tuple(1024.0 * 2**power for power in range(8))


class WorkCounts(Collector):
    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._events: dict[Labels, Buckets] = {}
        self._calls: dict[Labels, Buckets] = {}
        self._failed_calls: dict[Labels, int] = {}
        self._terminations: dict[Labels, int] = {}
        self.store_bytes: int | None = None
        """Asked of the store before each look."""

    def events_of(self, group: str, version: str, resource: str) -> Buckets:
        """Sizes of events that watches of a resource were sent."""
        return _find(self._events, (group, version, resource), _EVENT_BYTES)

    def calls_of(self, group: str, resource: str) -> Callable[[str, float, bool], None]:
        """What is to be told of each call of the store: operation, seconds, whether it failed."""

        def count(operation: str, seconds: float, failed: bool) -> None:
            labels = (operation, group, resource)
            _find(self._calls, labels, SECONDS).observe(seconds)
            if failed:
                self._failed_calls[labels] = self._failed_calls.get(labels, 0) + 1

        return count

    def terminated(self, route: Route, code: int) -> None:
        """A request that the server refused or ended to protect itself."""
        verb = {"create": "POST", "update": "PUT"}.get(route.verb, route.verb.upper())
        if self._server.table.find(route.group, route.version, route.resource) is None:
            # Names made up by clients must not become label values for ever.
            route, verb = Route("other", "", {}), "OTHER"
        labels = (verb, route.group, route.version, route.resource, route.subresource, scope_of(route), "apiserver",
                  str(code))  # fmt: skip
        self._terminations[labels] = self._terminations.get(labels, 0) + 1

    def collect(self) -> Iterator[Metric]:
        yield from self._events_and_calls()
        times = self._server.admission.times
        names = ("operation", "rejected", "type")
        yield histogram("apiserver_admission_controller_admission_duration_seconds", "How long a plugin took.",
                        ("name", *names), times.plugins)  # fmt: skip
        yield histogram("apiserver_admission_step_admission_duration_seconds", "How long all plugins of a step took.",
                        names, times.steps)  # fmt: skip
        yield _counter("apiserver_request_terminations", "Requests ended by the server to protect itself.",
                       ("verb", *LABEL_NAMES, "code"), self._terminations)  # fmt: skip
        audit = self._server.security.audit
        yield _counter("apiserver_audit_event", "Events of the audit log.", (), {(): audit.recorded})
        yield _counter("apiserver_audit_error", "Events the audit log lost.", ("plugin",), {("log",): audit.dropped})
        levels: dict[Labels, int] = {("Metadata",): audit.recorded, ("None",): audit.passed_over}
        yield _counter("apiserver_audit_level", "Requests by how much of them is recorded.", ("level",), levels)
        yield _counter("apiserver_audit_requests_rejected", "Requests refused for want of audit.", (), {(): 0})
        lifetimes: dict[Labels, Buckets] = {(): self._server.security.authenticator.certificates.lifetimes}
        text = "How long certificates of clients were still good, once per connection."
        yield histogram("apiserver_client_certificate_expiration_seconds", text, (), lifetimes)
        yield from self._given_out()
        yield from self._storage()

    def _storage(self) -> Iterator[Metric]:
        names = ("group", "resource")
        received: dict[Labels, int] = {}
        for row in self._server.table.rows:
            if row.storage_prefix and (number := self._server.registry.of(row.ref).cache.events_received):
                received[row.ref.group, row.ref.plural] = number
        yield _counter("apiserver_storage_events_received", "Changes heard of from the store.", names, received)
        yield _counter("apiserver_watch_cache_events_received", "Changes that watch caches took in.", names, received)
        yield _counter("apiserver_watch_cache_events_dispatched", "Changes offered to watches.", names, received)
        if self.store_bytes is not None:
            text = "Bytes that the store takes up on disk."
            size = GaugeMetricFamily("apiserver_storage_size_bytes", text, labels=("storage_cluster_id",))
            size.add_metric(("etcd-0",), self.store_bytes)
            yield size

    def _events_and_calls(self) -> Iterator[Metric]:
        names = ("group", "version", "resource")
        sent = {labels: sum(sizes.counts) for labels, sizes in self._events.items()}
        yield _counter("apiserver_watch_events", "Events sent to watches.", names, sent)
        yield histogram("apiserver_watch_events_sizes", "Bytes of events sent to watches.", names, self._events)
        # Dashboards know the store as etcd, whichever it is.
        names = ("operation", "group", "resource")
        yield histogram("etcd_request_duration_seconds", "How long calls of the store took.", names, self._calls)
        calls = {labels: sum(seconds.counts) for labels, seconds in self._calls.items()}
        yield _counter("etcd_requests", "Calls of the store.", names, calls)
        yield _counter("etcd_request_errors", "Calls of the store that failed.", names, self._failed_calls)

    def _given_out(self) -> Iterator[Metric]:
        allocation = self._server.allocation
        prefix = "kube_apiserver_clusterip_allocator_"
        used = GaugeMetricFamily(prefix + "allocated_ips", "Addresses that Services have.", labels=("cidr",))
        free = GaugeMetricFamily(prefix + "available_ips", "Addresses left for Services.", labels=("cidr",))
        for cidr, taken, size in allocation.addresses.use():
            used.add_metric((cidr,), taken)
            free.add_metric((cidr,), size - taken)
        yield used
        yield free
        names = ("cidr", "scope")
        tries = allocation.addresses.tries
        yield _counter(prefix + "allocation", "Addresses given to Services.", names, tries.given)
        yield _counter(prefix + "allocation_errors", "Addresses refused to Services.", names, tries.refused)
        prefix = "kube_apiserver_nodeport_allocator_"
        taken, size = allocation.ports.use()
        yield GaugeMetricFamily(prefix + "allocated_ports", "Node ports that Services have.", taken)
        yield GaugeMetricFamily(prefix + "available_ports", "Node ports left for Services.", size - taken)
        ports = allocation.ports.tries
        yield _counter(prefix + "allocation", "Node ports given to Services.", ("scope",), ports.given)
        yield _counter(prefix + "allocation_errors", "Node ports refused to Services.", ("scope",), ports.refused)


def _find(found: dict[Labels, Buckets], labels: Labels, bounds: tuple[float, ...]) -> Buckets:
    buckets = found.get(labels)
    if buckets is None:
        buckets = found[labels] = Buckets(bounds)
    return buckets


def _counter(name: str, text: str, names: Labels, values: dict[Labels, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=names)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
