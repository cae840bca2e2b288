"""pods/log, exec, attach, portforward: passed to the kubelet of the pod's node, which answers in its own words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import aiohttp
from aiohttp import web

from timonel.api.errors import BadRequest, not_found
from timonel.api.objects import Object
from timonel.api.refs import NODES, PODS
from timonel.apiserver.admission.chain import AdmissionRequest
from timonel.apiserver.authz.attributes import denied
from timonel.apiserver.connections import cancel_when_lost
from timonel.apiserver.proxy.byte_socket import send_over_websocket
from timonel.apiserver.proxy.forward import forwarded_headers, new_session, open_forward
from timonel.apiserver.proxy.kubelets import kubelet_address
from timonel.apiserver.proxy.locations import log_path, port_forward_path, stream_path
from timonel.apiserver.proxy.tunnel import Target, refusal, tunnel, wants_upgrade
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.subresources import HANDLERS
from timonel.apiserver.watch_streams import is_websocket

_MAX_ERROR_BYTES = 10 * 1024


async def exec_in_pod(context: RequestContext) -> web.StreamResponse:
    return await _stream(context, lambda pod: stream_path("exec", pod, context.route.query))


async def attach_to_pod(context: RequestContext) -> web.StreamResponse:
    return await _stream(context, lambda pod: stream_path("attach", pod, context.route.query))


async def forward_port(context: RequestContext) -> web.StreamResponse:
    return await _stream(context, lambda pod: port_forward_path(pod, context.route.query))


async def _stream(context: RequestContext, locate: Callable[[Object], str]) -> web.StreamResponse:
    pod = _pod(context)
    await require_create(context)
    await admit_connect(context)
    path = locate(pod)
    target = kubelet_target(context, pod, path)
    if target is None:
        raise BadRequest(f"pod {context.name} does not have a host assigned")
    if not wants_upgrade(context.request):
        raise BadRequest("Upgrade request required")
    # What the client sent just before it hung up must still arrive: the tunnel sees the end by itself.
    cancel_when_lost(context.request, on=False)
    return await tunnel(context.request, target, forwarded_headers(context.request))


async def read_log(context: RequestContext) -> web.StreamResponse:
    """Streams as the container writes. A pod that has no node yet has an empty log, as upstream answers."""
    pod = _pod(context)
    target = kubelet_target(context, pod, log_path(pod, context.route.query))
    if target is None:
        return await _send_log(context, _nothing())
    async with new_session() as session:
        backend = await open_forward(session, target)
        if not 200 <= backend.status <= 206:
            raise refusal(backend.status, await backend.content.read(_MAX_ERROR_BYTES))
        try:
            return await _send_log(context, backend.content.iter_any())
        except aiohttp.ClientError as exc:
            # The head has been sent; the only way to say that the log is cut short is to cut it short.
            raise ConnectionResetError("the kubelet broke off") from exc


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def _send_log(context: RequestContext, chunks: AsyncIterator[bytes]) -> web.StreamResponse:
    if is_websocket(context.request):
        return await send_over_websocket(context.request, chunks, {"Audit-Id": context.audit_id})
    headers = {"Content-Type": "text/plain", "Cache-Control": "no-cache, private", "Audit-Id": context.audit_id}
    response = web.StreamResponse(headers=headers)
    await response.prepare(context.request)
    async for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


def kubelet_target(context: RequestContext, pod: Object, path: str) -> Target | None:
    """The kubelet of the pod's node; None before the pod has one."""
    node_name = pod["spec"].get("nodeName")
    return node_target(context, node_name, path) if node_name else None


def node_target(context: RequestContext, node_name: str, path: str) -> Target:
    """Raises NotFound for an unknown node."""
    security = context.server.security
    node = security.readers.reader(NODES).get("", node_name)
    if node is None:
        raise not_found(NODES, node_name)
    host, port = kubelet_address(node)
    return Target(host, port, path, security.kubelets.tls)


async def require_create(context: RequestContext) -> None:
    """WebSocket handshakes are GETs; running something in a pod must still need the right to create.

    Raises Forbidden. Source: KEP-4006's follow-up, AuthorizePodWebsocketUpgradeCreatePermission.
    """
    attributes = context.attributes
    if attributes.verb == "create":
        return
    creating = replace(attributes, verb="create")
    decision = await context.server.security.authorizer.authorize(creating)
    if not decision.allowed:
        raise denied(creating, decision.reason)


async def admit_connect(context: RequestContext) -> None:
    request = AdmissionRequest(
        context.attributes, context.resource, "CONNECT",
        warnings=context.warnings, subresource=context.route.subresource, audit=context.audit,
    )  # fmt: skip
    await context.server.admission.admit(request)


def _pod(context: RequestContext) -> Object:
    pod = context.server.security.readers.reader(PODS).get(context.namespace, context.name)
    if pod is None:
        raise not_found(PODS, context.name)
    return pod


HANDLERS.update({
    ("", "pods", "exec"): exec_in_pod,
    ("", "pods", "attach"): attach_to_pod,
    ("", "pods", "portforward"): forward_port,
    ("", "pods", "log"): read_log,
})  # fmt: skip
