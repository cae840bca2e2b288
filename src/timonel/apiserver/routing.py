"""From method and path to what is asked: verb, group, version, namespace, resource, name, subresource.

Pure and quick: it runs once per request, on the split path. Whether such a resource is served is looked up later,
after authorisation, as upstream does, so that who may not ask learns nothing.
Source: kubernetes.io/docs/reference/access-authn-authz/authorization ("Determine the Request Verb").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from timonel.api.errors import BadRequest
from timonel.api.field_errors import quote
from timonel.api.fields import InvalidFieldSelector, parse_field_selector

if TYPE_CHECKING:
    from timonel.apiserver.authz.attributes import Attributes
    from timonel.apiserver.plans import Plan
    from timonel.apiserver.request_counts import Count

STREAMS = frozenset({"log", "exec", "attach", "portforward", "proxy"})
"""Subresources that end when their client wishes."""
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")

_INTEGER = re.compile(r"[+-]?[0-9]+").fullmatch
_LONGEST_INTEGER = 100
"""Digits; Python takes its time over numbers of thousands, and refuses them then."""
_OUT_OF_RANGE = 1 << 64

_MOST_KNOWN = 1024
_LONGEST_KNOWN = 256
"""Characters. Together they bound what clients can make a server remember to a megabyte."""

Query = dict[str, list[str]]


@dataclass(slots=True)
class Route:
    """`resource` is "" for a path that names none (/healthz, /apis); then only `verb` and `path` are meant."""

    verb: str
    path: str
    query: Query
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    selector_name: str = ""
    """metadata.name of the field selector of a list, watch or deletecollection: for authorisation, it is the name."""
    rest: str = ""
    """What follows the subresource: the path that pods/proxy passes on."""

    # What others have worked out for this path, for whom it is known to them how long that holds.
    plan: Plan | None = field(init=False, default=None, compare=False, repr=False)
    asked: Attributes | None = field(init=False, default=None, compare=False, repr=False)
    """By whoever asked last."""
    counts: dict[int, Count] | None = field(init=False, default=None, compare=False, repr=False)
    """By status."""

    def text(self, option: str) -> str:
        values = self.query.get(option)
        return values[0] if values else ""

    def flag(self, option: str) -> bool:
        """Go's reading of a boolean option: absent, "false" and "0" are false, anything else is true."""
        values = self.query.get(option)
        return values is not None and values[0].lower() not in ("false", "0")

    def integer(self, option: str) -> int | None:
        """Raises BadRequest for what is no integer."""
        text = self.text(option)
        if not text:
            return None
        if not _INTEGER(text):
            raise BadRequest(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
        number = int(text) if len(text) <= _LONGEST_INTEGER else _OUT_OF_RANGE
        if not -(1 << 63) <= number < 1 << 63:
            raise BadRequest(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
        return number


_NO_QUERY: Query = {}


def parse_route(method: str, target: str) -> Route:
    """Takes the request target as sent, percent signs and query included. Never raises for odd paths."""
    path, question, query_text = target.partition("?")
    query = parse_qs(query_text, keep_blank_values=True) if question else _NO_QUERY
    verb = _VERBS.get(method, method.lower())
    parts = path.split("/")
    # A leading slash gives parts[0] == "". Names never hold an escaped slash, so decoding after the split is safe.
    if "%" in path:
        parts = [unquote(part) for part in parts]
        path = unquote(path)
    if len(parts) > 3 and parts[1] == "api":
        group, version, index = "", parts[2], 3
    elif len(parts) > 4 and parts[1] == "apis":
        group, version, index = parts[2], parts[3], 4
    else:
        return Route(method.lower(), path, query)
    if not parts[index]:
        return Route(method.lower(), path, query)  # "/api/v1/": discovery
    rest = parts[index:]
    watching = False
    if rest[0] == "watch" and len(rest) > 1:
        watching, rest = True, rest[1:]  # the old form /api/v1/watch/…
    route = Route(verb, path, query, group, version)
    if rest[0] == "namespaces" and len(rest) > 1:
        route.namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES and rest[2]:
            rest = rest[2:]
    route.resource = rest[0]
    if len(rest) > 1:
        route.name = rest[1]
    if len(rest) > 2:
        route.subresource = rest[2]
        route.rest = "/".join(rest[3:])
    if not route.name or (watching and verb == "get"):
        if verb == "get":
            route.verb = "watch" if watching or route.flag("watch") else "list"
        elif verb == "delete" and not route.name:
            route.verb = "deletecollection"
    if query and route.verb in ("list", "watch", "deletecollection") and not route.name:
        route.selector_name = _name_in_selector(route.text("fieldSelector"))
    return route


class Routes:
    """Routes of GETs, remembered by their targets: clients ask for the same things again. For one server only.

    Looking one up takes a microsecond less than parsing it, and spares others what they keep on it.
    """

    def __init__(self) -> None:
        self._known: dict[str, Route] = {}

    def find(self, method: str, target: str) -> Route:
        if method != "GET":
            return parse_route(method, target)
        route = self._known.get(target)
        if route is None:
            route = parse_route(method, target)
            # The namespace of a Namespace is forgotten on its way, see `plans`: such a route serves once.
            if len(target) <= _LONGEST_KNOWN and not (route.namespace and route.resource == "namespaces"):
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[target] = route
        return route


def _name_in_selector(selector: str) -> str:
    """The name that a field selector asks for: it counts as the request's name, so RBAC by name allows it.

    Read by the parser that the selection itself uses: what is authorised must be what is selected.
    """
    if "metadata.name" not in selector:
        return ""
    try:
        return parse_field_selector(selector).exact_value("metadata.name") or ""
    except InvalidFieldSelector:
        return ""  # refused later, in its own words
