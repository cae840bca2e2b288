"""exec, attach and port-forward: finds the container, asks the runtime for a stream, connects the client to it.

A client that speaks SPDY is piped through byte by byte; one that tunnels SPDY in a WebSocket is unwrapped and piped;
WebSocket channels are translated (`bridge`).
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web
from multidict import MultiMapping

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, BadRequest, Forbidden, InternalError, NotFound
from timonel.api.objects import Object, get_path, uid_of
from timonel.kubelet.streaming.attach_end import AttachEnd, JudgedAttach
from timonel.kubelet.streaming.backend import StreamingBackend, StreamRequest
from timonel.kubelet.streaming.bridge import CommandBridge
from timonel.kubelet.streaming.byte_stream import ByteStream, RuntimeStream, Tunnel, pipe
from timonel.kubelet.streaming.logs.choice import container_spec
from timonel.kubelet.streaming.metrics import ServerMetrics
from timonel.kubelet.streaming.port_bridge import PortBridge
from timonel.kubelet.streaming.remotecommand import (
    ACCEPTED_PROTOCOLS_HEADER,
    COMMAND_PROTOCOL,
    PORT_FORWARD_PROTOCOL,
    PROTOCOL_HEADER,
    SPDY_UPGRADE,
    parse_ports,
    parse_streams,
)
from timonel.kubelet.streaming.runtime_dial import Upgraded, UpgradeRefused, dial
from timonel.kubelet.streaming.takeover import Done, TakeoverHandler
from timonel.kubelet.streaming.websocket.channels import (
    PORT_FORWARD_PROTOCOLS,
    PROTOCOLS,
    TUNNEL_PREFIX,
    ChannelProtocol,
    choose_protocol,
    requested_protocols,
    tunnelled_protocols,
)

_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_CLOSE_SECONDS = 5.0


class Sessions:
    def __init__(self, *, backend: StreamingBackend, metrics: ServerMetrics, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._metrics = metrics

    async def exec(
        self, request: web.BaseRequest, namespace: str, pod: str, container: str, uid: str
    ) -> web.StreamResponse:
        query = request.rel_url.query
        streams = parse_streams(query)
        self._pod(namespace, pod, uid)
        found = await self._backend.find_container(namespace, pod, container, uid=uid)
        kind = _kind(request)
        url = await self._backend.exec_url(found.id, query.getall("command", []), streams)
        return await self._command(request, "exec", kind, url, streams)

    async def attach(
        self, request: web.BaseRequest, namespace: str, pod: str, container: str, uid: str
    ) -> web.StreamResponse:
        asked = parse_streams(request.rel_url.query)
        spec = container_spec(self._pod(namespace, pod, uid), container)
        if spec is None:
            raise NotFound(f"container {container} not found in pod {pod}_{namespace}")
        found = await self._backend.find_container(namespace, pod, container, uid=uid)
        # Whether there is a terminal was settled when the process started.
        tty = bool(get_path(spec, "tty", default=False))
        if tty and asked.stdin and asked.stderr:
            # Input that is no terminal cannot be ended on one, so it would never end. kubectl shows the log instead.
            raise InternalError("rpc error: code = InvalidArgument desc = tty and stderr cannot both be true")
        streams = StreamRequest(stdin=asked.stdin, stdout=asked.stdout, stderr=asked.stderr and not tty, tty=tty)
        kind = _kind(request)
        end = AttachEnd(backend=self._backend, clock=self._clock, container_id=found.id)
        end.check_runs()
        url = await self._backend.attach_url(found.id, streams)
        return await self._command(request, "attach", kind, url, streams, end)

    async def port_forward(self, request: web.BaseRequest, namespace: str, pod: str, uid: str) -> web.StreamResponse:
        kind = _kind(request)
        requested = _websocket_protocols(request)
        tunnelled = tunnelled_protocols(requested) if kind == "websocket" else []
        ports: list[int] = []
        if kind == "websocket" and not tunnelled:
            ports = parse_ports(request.rel_url.query.getall("port", []))
        self._pod(namespace, pod, uid)
        url = await self._backend.port_forward_url(await self._backend.find_sandbox(namespace, pod, uid=uid))
        if kind == "spdy":
            return await self._pass_through(request, url)
        self._metrics.websocket("portforward")
        try:
            if tunnelled:
                upgraded = await dial(url, tunnelled)
                socket = await _accept(request, TUNNEL_PREFIX + (upgraded.protocol or tunnelled[0]), upgraded.stream)
                await pipe(Tunnel(socket), upgraded.stream)
                return socket
            protocol = _choose(requested, PORT_FORWARD_PROTOCOLS)
            upgraded = await dial(url, [PORT_FORWARD_PROTOCOL])
        except UpgradeRefused as refused:
            return _refusal(refused)
        socket = await _accept(request, protocol.name, upgraded.stream)
        await PortBridge(socket, protocol, upgraded.stream, ports).run()
        return socket

    async def _command(
        self,
        request: web.BaseRequest,
        subresource: str,
        kind: str,
        url: str,
        streams: StreamRequest,
        attach: AttachEnd | None = None,
    ) -> web.StreamResponse:
        if kind == "spdy":
            return await self._pass_through(request, url, attach)
        self._metrics.websocket(subresource)
        protocol = _choose(_websocket_protocols(request), PROTOCOLS)
        try:
            upgraded = await _dial(url, [COMMAND_PROTOCOL], attach)
        except UpgradeRefused as refused:
            return _refusal(refused)
        socket = await _accept(request, protocol.name, upgraded.stream)
        await CommandBridge(socket, protocol, upgraded.stream, streams, attach).run()
        return socket

    async def _pass_through(
        self, request: web.BaseRequest, url: str, attach: AttachEnd | None = None
    ) -> web.StreamResponse:
        handler = request.protocol
        assert isinstance(handler, TakeoverHandler)
        try:
            upgraded = await _dial(url, request.headers.getall(PROTOCOL_HEADER, []), attach)
        except UpgradeRefused as refused:
            return _refusal(refused)
        runtime: ByteStream = upgraded.stream
        if attach is not None and upgraded.protocol == COMMAND_PROTOCOL:
            runtime = JudgedAttach(runtime, attach)
        client = handler.take_over()
        headers = [("Connection", "Upgrade"), ("Upgrade", SPDY_UPGRADE)]
        if upgraded.protocol:
            headers.append((PROTOCOL_HEADER, upgraded.protocol))
        try:
            await client.switch(headers)
            await pipe(client, runtime)
        except ConnectionError:
            await runtime.close()
        return Done()

    def _pod(self, namespace: str, name: str, uid: str) -> Object:
        pod = self._backend.pod(namespace, name)
        if pod is None or (uid and uid_of(pod) != uid):
            raise NotFound("pod does not exist")
        return pod


async def _dial(url: str, protocols: list[str], attach: AttachEnd | None) -> Upgraded:
    upgraded = await dial(url, protocols)
    try:
        if attach is not None:
            attach.check_runs()
    except ApiError:
        await upgraded.stream.close()
        raise
    return upgraded


def _kind(request: web.BaseRequest) -> str:
    """What the client wants to go over to: "spdy" or "websocket". Raises BadRequest for anything else."""
    headers: MultiMapping[str] = request.headers
    if "upgrade" in headers.get("Connection", "").lower():
        upgrade = headers.get("Upgrade", "").strip().lower()
        handler = request.protocol
        if upgrade == SPDY_UPGRADE.lower() and isinstance(handler, TakeoverHandler) and handler.is_upgrade:
            return "spdy"
        if upgrade == "websocket" and request.method == "GET":
            return "websocket"
    raise BadRequest("Upgrade request required")


def _websocket_protocols(request: web.BaseRequest) -> list[str]:
    return requested_protocols(request.headers.getall("Sec-WebSocket-Protocol", []))


def _choose(requested: list[str], supported: Iterable[str]) -> ChannelProtocol:
    names = list(supported)
    protocol = choose_protocol(requested, names)
    if protocol is None:
        raise Forbidden(f"requested protocol(s) are not supported: {requested}; supports {names}")
    return protocol


async def _accept(request: web.BaseRequest, subprotocol: str, runtime: RuntimeStream) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(
        protocols=(subprotocol,) if subprotocol else (),
        max_msg_size=_MAX_MESSAGE_BYTES,
        compress=False,
        timeout=_CLOSE_SECONDS,
    )
    try:
        await socket.prepare(request)
    except BaseException:
        await runtime.close()
        raise
    return socket


def _refusal(refused: UpgradeRefused) -> web.Response:
    response = web.Response(status=refused.status, body=refused.body, content_type="text/plain")
    for protocol in refused.accepted:
        response.headers.add(ACCEPTED_PROTOCOLS_HEADER, protocol)
    return response
