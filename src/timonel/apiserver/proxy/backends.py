"""pods/proxy, services/proxy, nodes/proxy: HTTP to an application or a kubelet by way of the API server.

The name may carry a scheme and a port: "web", "web:8080", "https:web:8443", and for services a port's name.
Source: kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Sequence
from functools import lru_cache

import aiohttp
from aiohttp import web

from timonel.api.errors import BadRequest, ServiceUnavailable, not_found
from timonel.api.objects import Object, get_path
from timonel.api.refs import ENDPOINT_SLICES, PODS, SERVICES
from timonel.apiserver.connections import cancel_when_lost
from timonel.apiserver.proxy.forward import (
    forwarded_headers,
    new_session,
    open_forward,
    origin_headers,
    returned,
    stream_back,
)
from timonel.apiserver.proxy.links import MAX_PAGE_BYTES, Proxied, unpacked
from timonel.apiserver.proxy.locations import (
    allowed_address,
    first_container_port,
    pod_address,
    split_scheme_name_port,
)
from timonel.apiserver.proxy.pods import admit_connect, node_target
from timonel.apiserver.proxy.tunnel import Target, tunnel, wants_upgrade
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.subresources import HANDLERS

_SERVICE_LABEL = "kubernetes.io/service-name"
_PORT_DIGITS = 5


async def proxy_to_pod(context: RequestContext) -> web.StreamResponse:
    scheme, name, port = _split(context, "pod")
    pod = context.server.security.readers.reader(PODS).get(context.namespace, name)
    if pod is None:
        raise not_found(PODS, name)
    number = _number(port) if port else first_container_port(pod)
    if port and number is None:
        raise BadRequest(f'invalid pod request "{context.name}"')
    return await _proxy(context, _application(scheme, pod_address(pod), number, backend_path(context)))


async def proxy_to_service(context: RequestContext) -> web.StreamResponse:
    scheme, name, port = _split(context, "service")
    readers = context.server.security.readers
    service = readers.reader(SERVICES).get(context.namespace, name)
    if service is None:
        raise not_found(SERVICES, name)
    slices = [
        item
        for item in readers.reader(ENDPOINT_SLICES).list(context.namespace)
        if get_path(item, "metadata", "labels", _SERVICE_LABEL) == name
    ]
    choices = endpoints_of(service, slices, port)
    if not choices:
        raise ServiceUnavailable(f'no endpoints available for service "{context.name}"')
    host, number = random.choice(choices)
    return await _proxy(context, _application(scheme, allowed_address(host), number, backend_path(context)))


async def proxy_to_node(context: RequestContext) -> web.StreamResponse:
    """Only the kubelet's own port is proxied to; others would need certificates nobody has given us."""
    _, name, port = _split(context, "node")
    target = node_target(context, name, backend_path(context))
    if port and port != str(target.port):
        raise BadRequest(f"port {port} of a node cannot be proxied to, only the kubelet's own")
    return await _proxy(context, target)


def endpoints_of(service: Object, slices: Sequence[Object], port: str) -> list[tuple[str, int]]:
    """Ready (address, port) pairs behind a service's port, named, numbered or "" for the one without a name.

    Raises ServiceUnavailable for a number that is no port of the service.
    """
    ports = get_path(service, "spec", "ports", default=[])
    if (number := _number(port)) is not None:
        matching = [item for item in ports if item.get("port") == number]
        if not matching:
            name = service["metadata"]["name"]
            raise ServiceUnavailable(f'no service port {port} found for service "{name}"')
        port = matching[0].get("name") or ""
    return [
        (address, item["port"])
        for part in slices
        for item in part.get("ports") or ()
        if (item.get("name") or "") == port and item.get("port")
        for endpoint in part.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint.get("addresses") or ()
    ]


def _number(port: str) -> int | None:
    """None for a name, and for what no port can be."""
    return int(port) if port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS else None


def backend_path(context: RequestContext) -> str:
    """What follows …/proxy in the URL as the client sent it, escapes, trailing slash and query included."""
    _, question, query = context.request.raw_path.partition("?")
    return (_split_path(context)[1] or "/") + (f"?{query}" if question else "")


def _split_path(context: RequestContext) -> tuple[str, str]:
    """The path as the client sent it, up to and including …/proxy, and what follows."""
    path = context.request.raw_path.partition("?")[0]
    parts = path.split("/")
    # By position, since namespaces and pods may be called "proxy" too: /api/v1/namespaces/NAMESPACE/KIND/NAME/proxy,
    # /api/v1/nodes/NAME/proxy, and the old form of either below /api/v1/watch.
    end = (8 if context.route.namespace else 6) + (parts[3] == "watch")
    prefix = "/".join(parts[:end])
    return prefix, path[len(prefix) :]


async def _proxy(context: RequestContext, target: Target) -> web.StreamResponse:
    await admit_connect(context)
    request = context.request
    prefix, rest = _split_path(context)
    if wants_upgrade(request):
        cancel_when_lost(request, on=False)
        return await tunnel(request, target, [*forwarded_headers(request), *origin_headers(request)])
    if not rest and request.method in ("GET", "HEAD"):
        # Relative links of the application only work below a path that ends in a slash.
        query = request.raw_path[len(prefix) :]
        return web.Response(status=301, headers={"Location": f"{prefix}/{query}"})
    headers = [*forwarded_headers(request), *origin_headers(request), ("Host", request.host)]
    async with new_session() as session:
        body = request.content if request.can_read_body else None
        backend = await open_forward(session, target, method=request.method, headers=headers, body=body)
        response = returned(backend)
        proxied = Proxied(prefix, frozenset({target.authority, request.host}))
        if "Location" in response.headers:
            response.headers["Location"] = proxied.lead(response.headers["Location"])
        try:
            if request.method != "HEAD" and _is_whole_page(backend):
                return await _send_page(request, backend, response, proxied)
            return await stream_back(request, backend, response)
        except aiohttp.ClientError as exc:
            raise ConnectionResetError("the backend broke off") from exc


def _is_whole_page(backend: aiohttp.ClientResponse) -> bool:
    """Not a part, whose place in the page its head tells, nor an answer that has no body (304)."""
    if backend.status in (204, 206, 304):
        return False
    kind = backend.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind == "text/html" and (backend.content_length or 0) <= MAX_PAGE_BYTES


async def _send_page(
    request: web.BaseRequest, backend: aiohttp.ClientResponse, response: web.StreamResponse, proxied: Proxied
) -> web.StreamResponse:
    """A web page, with its links; one that is too large, or packed in a way not known, goes as it is."""
    body = bytearray()
    async for chunk in backend.content.iter_any():
        body += chunk
        if len(body) > MAX_PAGE_BYTES:
            await response.prepare(request)
            await response.write(body)
            return await stream_back(request, backend, response)
    encoding = backend.headers.get("Content-Encoding", "").strip().lower()
    page = await asyncio.to_thread(_led_back, bytes(body), encoding, proxied)
    if page is not None:
        for name in ("Content-Encoding", "Content-Length"):
            response.headers.popall(name, None)
        response.content_length = len(page)
    await response.prepare(request)
    await response.write(body if page is None else page)
    await response.write_eof()
    return response


def _led_back(body: bytes, encoding: str, proxied: Proxied) -> bytes | None:
    page = unpacked(body, encoding)
    return None if page is None else proxied.lead_page(page)


def _split(context: RequestContext, kind: str) -> tuple[str, str, str]:
    parts = split_scheme_name_port(context.name)
    if parts is None:
        raise BadRequest(f'invalid {kind} request "{context.name}"')
    return parts


def _application(scheme: str, host: str, port: int | None, path: str) -> Target:
    if scheme == "https":
        return Target(host, port or 443, path, _unverified())
    return Target(host, port or 80, path)


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    """For https to pods and services: nobody can tell which authority an application's certificate is from."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


HANDLERS.update({
    ("", "pods", "proxy"): proxy_to_pod,
    ("", "services", "proxy"): proxy_to_service,
    ("", "nodes", "proxy"): proxy_to_node,
})  # fmt: skip
