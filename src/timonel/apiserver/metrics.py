"""/metrics with upstream's names, so that its dashboards and alerts carry over.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from timonel import GIT_VERSION
from timonel.apiserver.flowcontrol.metrics import FlowControlCollector
from timonel.apiserver.routing import Route

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer

_LATENCY_BUCKETS = (
    0.005,
    0.025,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1.0,
    1.25,
    1.5,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    15,
    20,
    30,
    45,
    60,
)
_SIZE_BUCKETS = tuple(1000.0 * 10**power for power in range(7))
_LONG = frozenset({"log", "exec", "attach", "portforward", "proxy"})
_Child = tuple[Counter, Histogram | None, Histogram | None]


class Metrics:
    """One collection per server, so that several live in one process without meeting."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter(
            "apiserver_request",
            "Requests by verb, resource and status code.",
            ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code"),
            registry=registry,
        )
        self._duration = Histogram(
            "apiserver_request_duration_seconds",
            "How long requests took, watches and streams left out.",
            ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component"),
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self._sizes = Histogram(
            "apiserver_response_sizes",
            "Bytes of answers to requests about resources.",
            ("verb", "group", "version", "resource", "subresource", "scope", "component"),
            buckets=_SIZE_BUCKETS,
            registry=registry,
        )
        inflight = Gauge(
            "apiserver_current_inflight_requests", "Requests being handled.", ("request_kind",), registry=registry
        )
        inflight.labels("all").set_function(lambda: server.in_flight)
        longrunning = Gauge("apiserver_longrunning_requests", "Watches open now.", ("verb",), registry=registry)
        longrunning.labels("WATCH").set_function(lambda: len(server.watches))
        objects = Gauge(
            "apiserver_resource_objects", "Stored objects by resource.", ("group", "resource"), registry=registry
        )
        for row in server.table.rows:
            if row.storage_prefix:
                cache = server.registry.of(row.ref).cache
                objects.labels(row.ref.group, row.ref.plural).set_function(cache.__len__)
        if server.flow.levels is not None:
            registry.register(FlowControlCollector(server.flow.levels))
        info = Gauge("kubernetes_build_info", "The version of this server.", ("git_version",), registry=registry)
        info.labels(GIT_VERSION).set(1)
        self._children: dict[tuple[str, ...], _Child] = {}

    def observe(self, route: Route, response: web.StreamResponse, seconds: float) -> None:
        """Counts one finished request. Label sets are looked up once: this runs on every request."""
        if not route.resource:
            return
        key = (route.verb, route.group, route.version, route.resource, route.subresource, _scope(route),
               str(response.status), "All" if route.query and "dryRun" in route.query else "")  # fmt: skip
        child = self._children.get(key)
        if child is None:
            child = self._child(key)
        count, duration, sizes = child
        count.inc()
        if duration is not None:
            duration.observe(seconds)
        if sizes is not None:
            sizes.observe(response.body_length)

    def render(self, accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _child(self, key: tuple[str, ...]) -> _Child:
        verb, group, version, resource, subresource, scope, code, dry_run = key
        if self._server.table.find(group, version, resource) is None or len(self._children) > 10_000:
            # Names made up by clients must not become label values for ever.
            verb, group, version, resource, subresource, scope, dry_run = "other", "", "", "", "", "", ""
        shown = {"create": "POST", "update": "PUT"}.get(verb, verb.upper())
        labels = (group, version, resource, subresource, scope, "apiserver")
        count = self._requests.labels(shown, dry_run, *labels, code)
        if verb == "watch" or subresource in _LONG:
            child: _Child = (count, None, None)
        else:
            child = (count, self._duration.labels(shown, dry_run, *labels), self._sizes.labels(shown, *labels))
        if len(self._children) <= 10_000:
            self._children[key] = child
        return child


def _scope(route: Route) -> str:
    if route.name:
        return "resource"
    return "namespace" if route.namespace else "cluster"
