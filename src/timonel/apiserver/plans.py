"""What a method and a path ask of a resource, whoever asks: may it be asked at all, and who answers.

Worked out once for a path that is remembered (`routing.Routes`), and anew when its resource has another row.
"""

from __future__ import annotations

from dataclasses import dataclass

from timonel.api.protobuf import can_encode
from timonel.api.resource import Resource, Subresource
from timonel.apiserver import handlers as _handlers  # noqa: F401 — fills HANDLERS and PATHS
from timonel.apiserver.negotiation import Answer, negotiate
from timonel.apiserver.options import not_allowed, nothing_served
from timonel.apiserver.requests import Handler
from timonel.apiserver.routing import STREAMS, Route
from timonel.apiserver.subresources import HANDLERS
from timonel.apiserver.verbs import VERBS

_ON_ONE = frozenset({"get", "update", "patch", "delete"})
"""Verbs of one object; the others are of collections (and a watch in the old form of path is of either)."""
_ANY = Answer()


@dataclass(slots=True)
class Plan:
    resource: Resource
    subresource: Subresource | None
    handler: Handler
    is_long_running: bool
    is_negotiated: bool
    """Whether the answer comes in the forms that objects have."""
    protobuf: bool
    tables: bool

    def negotiate(self, accept: str) -> Answer:
        """Raises NotAcceptable."""
        if not accept or not self.is_negotiated:
            return _ANY
        return negotiate(accept, protobuf=self.protobuf, tables=self.tables)


def plan_of(method: str, route: Route, resource: Resource) -> Plan:
    """Raises NotFound, MethodNotAllowed."""
    plan = route.plan
    if plan is None or plan.resource is not resource:
        plan = route.plan = _make(method, route, resource)
    return plan


def _make(method: str, route: Route, resource: Resource) -> Plan:
    ref, verb = resource.ref, route.verb
    subresource = None
    if route.subresource:
        subresource = resource.subresource(route.subresource)
        if subresource is None or (route.rest and subresource.name != "proxy"):
            raise nothing_served()
        if verb not in subresource.verbs and (verb, subresource.name) != ("options", "proxy"):
            raise not_allowed()
    elif verb not in resource.verbs or (verb != "watch" and (verb in _ON_ONE) != bool(route.name)):
        raise not_allowed()
    if method == "HEAD" and route.subresource != "proxy":
        raise not_allowed()
    if not _fits_scope(route, ref.namespaced):
        raise nothing_served()
    if ref.namespaced and not route.namespace and verb not in ("list", "watch"):
        raise not_allowed()
    if not ref.namespaced:
        route.namespace = ""
    if subresource is not None and subresource.strategy is None and subresource.name != "status":
        handler = HANDLERS.get((ref.group, ref.plural, subresource.name)) or HANDLERS.get(("*", "*", subresource.name))
    elif not resource.storage_prefix:
        handler = HANDLERS.get((ref.group, ref.plural, ""))
    else:
        handler = VERBS.get(verb)
    if handler is None:
        raise not_allowed()
    return Plan(
        resource,
        subresource,
        handler,
        is_long_running(route),
        is_negotiated=route.subresource not in STREAMS,
        protobuf=can_encode(ref.api_version, ref.kind),
        tables=resource.verbs != ("create",),
    )


def is_long_running(route: Route) -> bool:
    """Requests that end when their client wishes; no time is set for them."""
    return route.verb == "watch" or route.subresource in STREAMS


def _fits_scope(route: Route, namespaced: bool) -> bool:
    """Whether the path has a namespace where the kind has one; all namespaces together are a collection only."""
    if namespaced:
        return bool(route.namespace) or not route.name
    return not route.namespace or route.resource == "namespaces"
