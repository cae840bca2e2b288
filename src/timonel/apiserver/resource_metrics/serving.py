"""GET and LIST of NodeMetrics and PodMetrics: the collector's figures about objects that there are.

Source: github.com/kubernetes/metrics, pkg/apis/metrics/v1beta1; messages are metrics-server's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from aiohttp import web

from timonel.api.clock import format_time
from timonel.api.durations import format_duration
from timonel.api.errors import not_found
from timonel.api.objects import Object
from timonel.api.quantity import canonical_quantity, format_quantity
from timonel.api.refs import NODE_METRICS, NODES, POD_METRICS, PODS, ResourceRef
from timonel.apiserver.answers import answer_content
from timonel.apiserver.registry.selection import select
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.resource_metrics.points import Usage
from timonel.apiserver.subresources import HANDLERS
from timonel.apiserver.tables import column_definitions, include_option, row, table
from timonel.storage.cached_object import CachedObject


async def serve_node_metrics(context: RequestContext) -> web.StreamResponse:
    usages = (await context.server.resource_metrics.usages()).nodes
    now = context.server.clock.now()
    found = [
        node_metrics(node.name, node.labels, usages[node.name], now)
        for node in _selected(context, NODES)
        if node.name in usages
    ]
    return _answer(context, found, context.name)


async def serve_pod_metrics(context: RequestContext) -> web.StreamResponse:
    usages = (await context.server.resource_metrics.usages()).pods
    now = context.server.clock.now()
    found = [
        pod_metrics(pod.namespace, pod.name, pod.labels, usages[pod.namespace, pod.name], now)
        for pod in _selected(context, PODS)
        if (pod.namespace, pod.name) in usages
    ]
    return _answer(context, found, f"{context.namespace}/{context.name}")


def node_metrics(name: str, labels: Mapping[str, str], usage: Usage, now: datetime) -> Object:
    return {
        "kind": NODE_METRICS.kind,
        "apiVersion": NODE_METRICS.api_version,
        "metadata": _metadata({"name": name}, labels, now),
        **_window(usage),
        "usage": _usage(usage),
    }


def pod_metrics(
    namespace: str, name: str, labels: Mapping[str, str], containers: Mapping[str, Usage], now: datetime
) -> Object:
    """The window is that of the container whose look is the oldest."""
    oldest = min(containers.values(), key=lambda usage: usage.time)
    return {
        "kind": POD_METRICS.kind,
        "apiVersion": POD_METRICS.api_version,
        "metadata": _metadata({"name": name, "namespace": namespace}, labels, now),
        **_window(oldest),
        "containers": [{"name": each, "usage": _usage(usage)} for each, usage in sorted(containers.items())],
    }


def _metadata(names: Object, labels: Mapping[str, str], now: datetime) -> Object:
    made = {**names, "creationTimestamp": format_time(now)}
    return {**made, "labels": dict(labels)} if labels else made


def _window(usage: Usage) -> Object:
    moment = datetime.fromtimestamp(int(usage.time), UTC)
    return {"timestamp": format_time(moment), "window": format_duration(usage.window)}


def _usage(usage: Usage) -> Object:
    """As metrics-server spells them: billionths of a core, and Ki."""
    return {
        "cpu": canonical_quantity(f"{round(usage.cores * 1e9)}n"),
        "memory": format_quantity(usage.memory_bytes, like="1Ki"),
    }


def _selected(context: RequestContext, ref: ResourceRef) -> Iterator[CachedObject]:
    """The objects that are asked for: one, or those that the selectors choose."""
    route, registry = context.route, context.server.registry.of(ref)
    if context.name:
        cached = registry.find(route.namespace, context.name)
        if cached is not None:
            yield cached
        return
    selection = select(context.resource, route.namespace, route.text("labelSelector"), route.text("fieldSelector"))
    yield from selection.among(registry.cache.list(registry.resource.storage_range(route.namespace)))


def _answer(context: RequestContext, found: Iterable[Object], name: str) -> web.StreamResponse:
    ref, answer = context.resource.ref, context.answer
    items = list(found)
    if context.name and not items:
        raise not_found(ResourceRef(ref.group, ref.version, ref.kind.lower(), ref.kind, ref.namespaced), name)
    if answer.transform == "Table":
        include, now = include_option(context.route.text("includeObject")), context.server.clock.now()
        rows = [row(context.resource, each, each, now, include=include, version=answer.version) for each in items]
        columns = column_definitions(context.resource)
        return answer_content(context, table(rows, version=answer.version, columns=columns, list_metadata={}))
    if context.name:
        return answer_content(context, items[0])
    return answer_content(
        context, {"kind": f"{ref.kind}List", "apiVersion": ref.api_version, "metadata": {}, "items": items}
    )


HANDLERS[NODE_METRICS.group, NODE_METRICS.plural, ""] = serve_node_metrics
HANDLERS[POD_METRICS.group, POD_METRICS.plural, ""] = serve_pod_metrics
