"""componentstatuses: a deprecated look at the control plane, made up on the spot when somebody asks.

etcd is whatever keeps the objects. The controller manager and the scheduler are judged by the Lease they hold, since
the server has no way to them. Source: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/component-status-v1
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from aiohttp import web

from timonel.api.clock import parse_time
from timonel.api.errors import not_found
from timonel.api.kinds.componentstatus import component_status
from timonel.api.objects import Object, get_path
from timonel.api.refs import COMPONENT_STATUSES, LEASES
from timonel.apiserver.answers import answer_content
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.subresources import HANDLERS
from timonel.apiserver.tables import column_definitions, include_option, row, table

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer

_IN_MANAGER = ("scheduler", "controller-manager")
_LEASE = ("kube-system", "timonel-manager")
"""Both are parts of one process, the manager, and whichever manager leads holds this Lease."""


async def serve_component_statuses(context: RequestContext) -> web.StreamResponse:
    name, now = context.name, context.server.clock.now()
    found = [status for status in component_statuses(context.server, now) if name in ("", status["metadata"]["name"])]
    if name and not found:
        raise not_found(COMPONENT_STATUSES, name)
    answer = context.answer
    if answer.transform == "Table":
        include = include_option(context.route.text("includeObject"))
        rows = [row(context.resource, each, each, now, include=include, version=answer.version) for each in found]
        columns = column_definitions(context.resource)
        return answer_content(context, table(rows, version=answer.version, columns=columns, list_metadata={}))
    if name:
        return answer_content(context, found[0])
    return answer_content(context, {"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": found})


def component_statuses(server: ApiServer, now: datetime) -> Iterator[Object]:
    lost = why_lost(server.registry.reader(LEASES).get(*_LEASE), now)
    for component in _IN_MANAGER:
        yield component_status(component, None, lost) if lost else component_status(component, True, "ok")
    why = server.health.groups["readyz"]["etcd"]()
    yield component_status("etcd-0", not why, why or "ok")


def why_lost(lease: Object | None, now: datetime) -> str:
    """Why nobody who leads is alive, going by the Lease; "" when somebody is."""
    if lease is None or not get_path(lease, "spec", "holderIdentity"):
        return "nobody holds its Lease"
    renewed = get_path(lease, "spec", "renewTime")
    if not renewed:
        return "its Lease was never renewed"
    seconds = get_path(lease, "spec", "leaseDurationSeconds", default=0)
    if (now - parse_time(renewed)).total_seconds() > seconds:
        return f"its Lease was last renewed at {renewed}"
    return ""


HANDLERS["", "componentstatuses", ""] = serve_component_statuses
