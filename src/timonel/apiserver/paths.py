"""Paths that name no resource: discovery, OpenAPI, health, version, metrics, and what neighbours register."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from timonel.apiserver.discovery import Document
from timonel.apiserver.negotiation import JSON, check_named, is_pretty
from timonel.apiserver.options import not_allowed, nothing_served
from timonel.apiserver.responses import Reply, json_reply, text_reply
from timonel.apiserver.routing import Route
from timonel.apiserver.version import version_info

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer

PathHandler = Callable[["ApiServer", web.BaseRequest, Route, str], Awaitable[web.StreamResponse]]
"""Gets the audit id as last argument."""

PATHS: dict[str, PathHandler] = {}
"""First segment of the path, or the whole path, -> handler. Authorisation has been done by then."""

_HEAD = frozenset({"livez", "readyz", "healthz", "metrics"})
"""What may be asked for its headers alone; upstream's documents and objects may not."""


async def answer_path(server: ApiServer, request: web.BaseRequest, route: Route, audit_id: str) -> web.StreamResponse:
    # "//" is nobody's: neither an empty segment nor a target without any, such as that of OPTIONS *, has a handler.
    first = route.path.partition("/")[2].partition("/")[0] or "//"
    handler = PATHS.get(route.path) or PATHS.get(first)
    if handler is None:
        return _nothing_here(audit_id)
    if route.verb != "get" and (route.verb != "head" or first not in _HEAD):
        raise not_allowed()
    return await handler(server, request, route, audit_id)


async def _discovery(server: ApiServer, request: web.BaseRequest, route: Route, audit_id: str) -> web.StreamResponse:
    document = server.discovery.document(route.path, request.headers.get("Accept", ""), server.public_address)
    if document is None:
        parts = route.path.split("/")
        if (parts[1], len(parts) > 2) == ("api", True) or (len(parts) > 3 and server.discovery.serves(parts[2])):
            raise nothing_served()
        return _nothing_here(audit_id)
    return answer_document(request, document, audit_id)


async def _openapi(server: ApiServer, request: web.BaseRequest, route: Route, audit_id: str) -> web.StreamResponse:
    document = await server.openapi.document(route.path, request.headers.get("Accept", ""), route.text("hash"))
    if document is None:
        return _nothing_here(audit_id)
    return answer_document(request, document, audit_id)


async def _version(server: ApiServer, request: web.BaseRequest, route: Route, audit_id: str) -> web.StreamResponse:
    check_named(request.headers.get("Accept", ""), (JSON,))
    pretty = is_pretty(route.query.get("pretty"), request.headers.get("User-Agent", ""))
    return json_reply(version_info(), pretty=pretty, audit_id=audit_id)


async def _health(server: ApiServer, request: web.BaseRequest, route: Route, audit_id: str) -> web.StreamResponse:
    verbose = "verbose" in route.query
    await server.store_health.look()
    found = server.health.answer(route.path, verbose=verbose, exclude=frozenset(route.query.get("exclude", ())))
    if found is None:
        return _nothing_here(audit_id)
    status, text = found
    return text_reply(text, status=status, audit_id=audit_id)


async def _metrics(server: ApiServer, request: web.BaseRequest, route: Route, audit_id: str) -> web.StreamResponse:
    await server.metrics.look()
    body, content_type = server.metrics.render()
    return Reply(body, content_type=content_type, audit_id=audit_id)


async def _index(server: ApiServer, request: web.BaseRequest, route: Route, audit_id: str) -> web.StreamResponse:
    groups = server.discovery.groups()
    paths = ["/api", "/api/v1", "/apis", "/apis/", "/openapi/v2", "/openapi/v3", "/openapi/v3/"]
    for group, versions in groups.items():
        paths += [f"/apis/{group}", *(f"/apis/{group}/{version}" for version in versions)]
    for name, checks in server.health.groups.items():
        paths += [f"/{name}", *(f"/{name}/{check}" for check in checks)]
    shown = ("/", "api", "apis", "openapi", *server.health.groups)
    paths += [f"/{path.lstrip('/')}" for path in _listed() if path not in shown]
    return json_reply({"paths": sorted(set(paths))}, pretty=True, audit_id=audit_id)


def _listed() -> list[str]:
    """What is for debugging is found by those who know where."""
    return [path for path in PATHS if not path.startswith("/debug/")]


def answer_document(request: web.BaseRequest, document: Document, audit_id: str) -> Reply:
    """304 when the client has it already; packed as it is kept, for who takes that."""
    extra = []
    body = document.body
    if document.packed:
        extra.append(("Vary", "Accept-Encoding"))
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            extra.append(("Content-Encoding", "gzip"))
            body = document.packed
        else:
            body = gzip.decompress(document.packed)
    if document.etag:
        extra += [("Vary", "Accept"), ("ETag", document.etag)]
    if document.expires:
        extra.append(("Expires", document.expires))
    status = 200
    if document.location:
        status, body = 301, b""
        extra.append(("Location", document.location))
    elif document.etag and request.headers.get("If-None-Match", "").removeprefix("W/") == document.etag:
        status, body = 304, b""
    return Reply(
        body, status=status, content_type=document.content_type, audit_id=audit_id, extra=extra,
        cache_control=document.cache_control,
    )  # fmt: skip


def _nothing_here(audit_id: str) -> Reply:
    return text_reply("404 page not found\n", status=404, audit_id=audit_id)


PATHS.update({
    "/": _index,
    "api": _discovery,
    "apis": _discovery,
    "openapi": _openapi,
    "version": _version,
    "livez": _health,
    "readyz": _health,
    "healthz": _health,
    "metrics": _metrics,
})  # fmt: skip
