"""/metrics with upstream's names, so that its dashboards and alerts carry over.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from timonel.apiserver.audit import AuditTrail
from timonel.apiserver.flowcontrol.metrics import FlowControlCollector
from timonel.apiserver.paths import PATHS
from timonel.apiserver.request_counts import RequestCounts, scope_of
from timonel.apiserver.routing import Route
from timonel.apiserver.version import version_info
from timonel.apiserver.work_counts import WorkCounts
from timonel.client.exposition import QueueCollector
from timonel.client.metrics_text import CONTENT_TYPE, render_text
from timonel.storage.protocol import StoreError

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer
    from timonel.storage.cache import WatchCache

_BUILD_LABELS = {
    "major": "major", "minor": "minor", "git_version": "gitVersion", "git_commit": "gitCommit",
    "git_tree_state": "gitTreeState", "build_date": "buildDate", "go_version": "goVersion", "compiler": "compiler",
    "platform": "platform",
}  # fmt: skip

_STORE_SECONDS = 2.0


class Metrics:
    """One collection per server, so that several live in one process without meeting."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = RequestCounts(
            is_known=lambda *names: server.table.find(*names) is not None, is_path=PATHS.__contains__
        )
        registry.register(self._requests)
        self.work = WorkCounts(server)
        registry.register(self.work)
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
                if cache.on_call is None:  # the first row names what two versions share
                    cache.on_call = self.work.calls_of(row.ref.group, row.ref.plural)
                objects.labels(row.ref.group, row.ref.plural).set_function(cache.__len__)
                stored.labels(row.ref.group_resource).set_function(cache.__len__)
                revisions.labels(row.ref.group, row.ref.plural).set_function(_revision_of(cache))
        registry.register(_DeprecatedUse(server, self._requests))
        registry.register(QueueCollector(lambda: server.queues))
        if server.flow.levels is not None:
            registry.register(FlowControlCollector(server.flow.levels, server.clock.monotonic))
        version = version_info()
        labels = {label: str(version[field]) for label, field in _BUILD_LABELS.items()}
        info = Gauge("kubernetes_build_info", "The version of this server.", tuple(labels), registry=registry)
        info.labels(**labels).set(1)

    def observe(self, route: Route, response: web.StreamResponse, seconds: float, trail: AuditTrail) -> None:
        """Counts one finished request."""
        if trail.is_terminated:
            self.work.terminated(route, response.status)
        self._requests.observe(route, response.status, response.body_length, seconds, trail)

    def stream(self, route: Route, change: int) -> None:
        """A watch or another stream began (1) or ended (-1)."""
        verb = "WATCH" if route.verb == "watch" else "CONNECT"
        labels = (route.group, route.version, route.resource, route.subresource, scope_of(route), "apiserver")
        self._streams.labels(verb, *labels).inc(change)

    async def look(self) -> None:
        """Finds out what has to be asked for, before `render`."""
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                self.work.store_bytes = await self._server.store.size_bytes()
        except (StoreError, TimeoutError):
            self.work.store_bytes = None

    def render(self) -> tuple[bytes, str]:
        """The page, and its type."""
        return render_text(self.registry.collect()), CONTENT_TYPE


class _DeprecatedUse(Collector):
    def __init__(self, server: ApiServer, requests: RequestCounts) -> None:
        self._server = server
        self._requests = requests

    def collect(self) -> Iterator[Metric]:
        names = ("group", "version", "resource", "subresource", "removed_release")
        used = GaugeMetricFamily("apiserver_requested_deprecated_apis", "Deprecated APIs in use.", labels=names)
        for group, version, resource, subresource in sorted(self._requests.resources()):
            row = self._server.table.find(group, version, resource)
            if row is not None and row.deprecation:
                used.add_metric((group, version, resource, subresource, ""), 1)
        yield used


def _revision_of(cache: WatchCache) -> Callable[[], float]:
    return lambda: cache.revision
