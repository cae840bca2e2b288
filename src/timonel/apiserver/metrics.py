"""/metrics with upstream's names, so that its dashboards and alerts carry over.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from timonel.apiserver.audit import AuditTrail
from timonel.apiserver.flowcontrol.metrics import FlowControlCollector
from timonel.apiserver.paths import PATHS
from timonel.apiserver.routing import Route
from timonel.apiserver.version import version_info

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer
    from timonel.storage.cache import WatchCache

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
_BUILD_LABELS = {
    "major": "major", "minor": "minor", "git_version": "gitVersion", "git_commit": "gitCommit",
    "git_tree_state": "gitTreeState", "build_date": "buildDate", "go_version": "goVersion", "compiler": "compiler",
    "platform": "platform",
}  # fmt: skip
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
        inflight.labels("mutating").set_function(lambda: server.changing)
        inflight.labels("readOnly").set_function(lambda: max(0, server.in_flight - server.streams - server.changing))
        self._streams = Gauge(
            "apiserver_longrunning_requests",
            "Watches and other streams that are open now.",
            ("verb", "group", "version", "resource", "subresource", "scope", "component"),
            registry=registry,
        )
        # Upstream counts these two without "_total", which no Counter of this library can leave out.
        self._authentications = Gauge(
            "authentication_attempts", "Requests by whether it is known who sent them.", ("result",), registry=registry
        )
        self._users = Gauge(
            "authenticated_user_requests", "Requests of users; all but the administrator are other.", ("username",),
            registry=registry,
        )  # fmt: skip
        self._authorizations = Counter(
            "authorization_attempts", "Requests by what was decided about them.", ("result",), registry=registry
        )
        objects = Gauge(
            "apiserver_resource_objects", "Stored objects by resource.", ("group", "resource"), registry=registry
        )
        stored = Gauge("apiserver_storage_objects", "The same, as older names go.", ("resource",), registry=registry)
        revisions = Gauge(
            "apiserver_watch_cache_resource_version", "What the watch cache has seen.", ("group", "resource"),
            registry=registry,
        )  # fmt: skip
        for row in server.table.rows:
            if row.storage_prefix:
                cache = server.registry.of(row.ref).cache
                objects.labels(row.ref.group, row.ref.plural).set_function(cache.__len__)
                stored.labels(row.ref.group_resource).set_function(cache.__len__)
                revisions.labels(row.ref.group, row.ref.plural).set_function(_revision_of(cache))
        if server.flow.levels is not None:
            registry.register(FlowControlCollector(server.flow.levels))
        version = version_info()
        labels = {label: str(version[field]) for label, field in _BUILD_LABELS.items()}
        info = Gauge("kubernetes_build_info", "The version of this server.", tuple(labels), registry=registry)
        info.labels(**labels).set(1)
        self._children: dict[tuple[str, ...], _Child] = {}
        self._identities: dict[tuple[str, int], Counter | Gauge] = {}

    def observe(self, route: Route, response: web.StreamResponse, seconds: float, trail: AuditTrail) -> None:
        """Counts one finished request. Label sets are looked up once: this runs on every request."""
        self._count_identity(trail, response.status)
        subresource = route.subresource if route.resource else route.path
        key = (route.verb, route.group, route.version, route.resource, subresource, _scope(route),
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

    def stream(self, route: Route, change: int) -> None:
        """A watch or another stream began (1) or ended (-1)."""
        verb = "WATCH" if route.verb == "watch" else "CONNECT"
        labels = (route.group, route.version, route.resource, route.subresource, _scope(route), "apiserver")
        self._streams.labels(verb, *labels).inc(change)

    def _count_identity(self, trail: AuditTrail, status: int) -> None:
        attributes = trail.attributes
        if attributes is None:
            if status == HTTPStatus.UNAUTHORIZED:
                self._identity("failure", self._authentications).inc()
            return
        self._identity("success", self._authentications).inc()
        known = attributes.user.name if attributes.user.name == "admin" else "other"
        self._identity(known, self._users).inc()
        allowed = trail.annotations.get("authorization.k8s.io/decision") == "allow"
        self._identity("allowed" if allowed else "no-opinion", self._authorizations).inc()

    def _identity(self, label: str, counter: Counter | Gauge) -> Counter | Gauge:
        child = self._identities.get((label, id(counter)))
        if child is None:
            child = self._identities[label, id(counter)] = counter.labels(label)
        return child

    def render(self, accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _child(self, key: tuple[str, ...]) -> _Child:
        verb, group, version, resource, subresource, scope, code, dry_run = key
        known = self._server.table.find(group, version, resource) is not None
        if not resource:
            known = subresource.partition("/")[2].partition("/")[0] in PATHS and code != "404"
        if not known or len(self._children) > 10_000:
            # Names made up by clients must not become label values for ever.
            verb, group, version, resource, subresource, scope, dry_run = "other", "", "", "", "", "", ""
        shown = {"create": "POST", "update": "PUT"}.get(verb, verb.upper())
        labels = (group, version, resource, subresource, scope, "apiserver" if resource else "")
        count = self._requests.labels(shown, dry_run, *labels, code)
        if verb == "watch" or subresource in _LONG:
            child: _Child = (count, None, None)
        else:
            child = (count, self._duration.labels(shown, dry_run, *labels), self._sizes.labels(shown, *labels))
        if len(self._children) <= 10_000:
            self._children[key] = child
        return child


def _revision_of(cache: WatchCache) -> Callable[[], float]:
    return lambda: cache.revision


def _scope(route: Route) -> str:
    if not route.resource:
        return ""
    if route.name:
        return "resource"
    return "namespace" if route.namespace else "cluster"
