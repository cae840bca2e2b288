"""The kubelet's HTTPS server: who asks, whether they may, which handler answers.

Errors go out as plain text with their code, as upstream's kubelet sends them; the API server wraps them in a Status.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, field

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, InternalError, MethodNotAllowed, NotFound
from timonel.client.delegated_access import Reviewer
from timonel.kubelet.streaming.access import Access
from timonel.kubelet.streaming.backend import StreamingBackend
from timonel.kubelet.streaming.logs.changes import DirectoryChanges
from timonel.kubelet.streaming.logs.choice import choose_container_id
from timonel.kubelet.streaming.logs.follow import LogFile, read_log
from timonel.kubelet.streaming.logs.options import parse_log_options
from timonel.kubelet.streaming.metrics import ServerMetrics
from timonel.kubelet.streaming.node_logs.server import NodeLogs
from timonel.kubelet.streaming.sessions import Sessions
from timonel.kubelet.streaming.takeover import TakeoverHandler, TakeoverServer

logger = logging.getLogger(__name__)

_STOP_SECONDS = 2.0
_LINGER_SECONDS = 2.0
_MOST_SEGMENTS = 64
"""Of a path below /logs."""

Handler = Callable[[web.BaseRequest, list[str]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class KubeletServerConfig:
    cert_file: str
    """Serving certificate (PEM, with intermediates); its names must cover the node's addresses."""
    key_file: str
    client_ca_file: str
    """The cluster's CA: client certificates it signed are accepted, others refused during the handshake."""
    address: str = ""
    """Address to listen on; "" is every address, IPv4 and IPv6."""
    port: int = 10250
    """0 takes a free one; `KubeletServer.port` then says which."""
    log_folder: str = ""
    """Of the node's logs, for whoever may read them (nodes/log); "": nobody may."""
    answers_log_queries: bool = False
    """Whether services' logs are looked for, beside files of that folder."""
    service_logs: Mapping[str, str] = field(default_factory=dict)
    """Service -> its log file, where it is neither in the journal nor in the folder."""
    idle_seconds: float = 75.0
    """A connection that asks nothing for so long is closed: nobody has to say who he is to open one."""


class KubeletServer:
    """`run` serves until cancelled; open streams are then closed."""

    def __init__(
        self,
        *,
        config: KubeletServerConfig,
        backend: StreamingBackend,
        client: Reviewer,
        clock: Clock,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._config = config
        self._backend = backend
        self._clock = clock
        self._registry = registry or CollectorRegistry()
        self._metrics = ServerMetrics(self._registry)
        self._access = Access(client=client, clock=clock, node_name=backend.node_name)
        self._sessions = Sessions(backend=backend, metrics=self._metrics, clock=clock)
        self._changes = DirectoryChanges(clock=clock)
        self._requests: set[asyncio.Task[object]] = set()
        self._ready = asyncio.Event()
        self._tls: ssl.SSLContext | None = None
        self.port = config.port
        self._routes: dict[str, tuple[tuple[str, ...], Container[int], Handler]] = {
            # first segment: methods, how many segments may follow, handler
            "containerLogs": (("GET",), (3,), self._container_logs),
            "exec": (("GET", "POST"), (3, 4), self._exec),
            "attach": (("GET", "POST"), (3, 4), self._attach),
            "portForward": (("GET", "POST"), (2, 3), self._port_forward),
            "run": (("POST",), (3, 4), self._run_command),
            "pods": (("GET",), (0,), self._pods),
            "runningpods": (("GET",), (0,), self._running_pods),
            "healthz": (("GET", "HEAD"), (0, 1), self._healthz),
            "metrics": (("GET",), (0, 1), self._prometheus),
            "stats": (("GET",), (0, 1), self._stats),
        }
        if config.log_folder:
            logs = NodeLogs(
                folder=config.log_folder, answers_queries=config.answers_log_queries, own=config.service_logs
            )
            self._routes["logs"] = (("GET",), range(_MOST_SEGMENTS), logs.answer)

    async def run(self) -> None:
        self._tls = self._tls_context()
        server = TakeoverServer(
            self._handle,
            access_log=None,
            keepalive_timeout=self._config.idle_seconds,
            lingering_time=_LINGER_SECONDS,
        )
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            server, self._config.address or None, self._config.port, ssl=self._tls, reuse_address=True
        )
        self.port = listener.sockets[0].getsockname()[1]
        logger.info("served the kubelet API address=%s port=%d", self._config.address or "*", self.port)
        self._ready.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            listener.close()
            for task in self._requests:
                task.cancel()
            await asyncio.gather(*self._requests, return_exceptions=True)
            await server.shutdown(_STOP_SECONDS)
            self._changes.close()

    async def wait_ready(self) -> None:
        await self._ready.wait()

    def reload_certificate(self) -> None:
        """Reads the certificate and key files again, for connections from now on. Raises OSError, ssl.SSLError."""
        if self._tls is not None:
            self._tls.load_cert_chain(self._config.cert_file, self._config.key_file)

    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._config.client_ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_cert_chain(self._config.cert_file, self._config.key_file)
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._requests.add(task)
        began = self._clock.monotonic()
        labels = self._metrics.started(request.method, request.path)
        try:
            response = await self._answer(request)
        finally:
            self._requests.discard(task)
            self._metrics.ended(labels, self._clock.monotonic() - began)
        if "Upgrade" in request.headers:
            response.force_close()  # what may follow such a request is not HTTP
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            await self._admit(request)
            name, *segments = request.path.strip("/").split("/")
            methods, counts, handle = self._routes.get(name) or _unknown(name, request.path)
            if len(segments) not in counts or not all(segments):
                raise NotFound("404 page not found\n")
            if request.method not in methods:
                raise MethodNotAllowed("405: Method Not Allowed")
            return await handle(request, segments)
        except ApiError as exc:
            response = web.Response(status=exc.status_code, text=exc.message)
            if exc.retry_after_seconds is not None:
                response.headers["Retry-After"] = str(exc.retry_after_seconds)
            return response
        except web.HTTPException as exc:
            return web.Response(status=exc.status, text=exc.text)
        except Exception:
            logger.exception("failed to answer method=%s path=%s", request.method, request.path)
            return web.Response(status=500, text="internal error")

    async def _admit(self, request: web.BaseRequest) -> None:
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        user = await self._access.authenticate(certificate, request.headers.get("Authorization", ""))
        await self._access.authorize(user, request.method, request.path)

    # Handlers: the segments after the first are in their second argument

    async def _exec(self, request: web.BaseRequest, segments: list[str]) -> web.StreamResponse:
        namespace, pod, *uid, container = segments
        return await self._sessions.exec(request, namespace, pod, container, uid[0] if uid else "")

    async def _attach(self, request: web.BaseRequest, segments: list[str]) -> web.StreamResponse:
        namespace, pod, *uid, container = segments
        return await self._sessions.attach(request, namespace, pod, container, uid[0] if uid else "")

    async def _port_forward(self, request: web.BaseRequest, segments: list[str]) -> web.StreamResponse:
        namespace, pod, *uid = segments
        return await self._sessions.port_forward(request, namespace, pod, uid[0] if uid else "")

    async def _run_command(self, request: web.BaseRequest, segments: list[str]) -> web.StreamResponse:
        namespace, pod, *uid, container = segments
        if self._backend.pod(namespace, pod) is None:
            raise NotFound("pod does not exist")
        found = await self._backend.find_container(namespace, pod, container, uid=uid[0] if uid else "")
        command = request.rel_url.query.get("cmd", "").split(" ")
        result = await self._backend.exec_sync(found.id, command)
        if result.exit_code:
            output = result.stderr.decode("utf-8", "replace")
            raise InternalError(f"command '{' '.join(command)}' exited with {result.exit_code}: {output}")
        return web.Response(body=result.stdout + result.stderr, content_type="text/plain")

    async def _container_logs(self, request: web.BaseRequest, segments: list[str]) -> web.StreamResponse:
        namespace, pod_name, container = segments
        options = parse_log_options(request.rel_url.query, self._clock.now())
        pod = self._backend.pod(namespace, pod_name)
        if pod is None:
            raise NotFound(f'pod "{pod_name}" does not exist')
        container_id = choose_container_id(pod, container, previous=options.previous)
        log = LogFile((await self._backend.container_log(container_id)).path)
        ended: asyncio.Task[None] | None = None
        try:
            await asyncio.to_thread(log.open, options.tail_lines)
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            if options.follow:
                ended = asyncio.create_task(self._backend.wait_ended(container_id), name="log-ended")

            async def write() -> None:
                async for piece in read_log(log, options, changes=self._changes, ended=ended):
                    await response.write(piece)

            await _until_lost(request, write())
            return response
        finally:
            if ended is not None:
                ended.cancel()
            log.close()

    async def _pods(self, request: web.BaseRequest, segments: list[str]) -> web.StreamResponse:
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(self._backend.pods())})

    async def _running_pods(self, request: web.BaseRequest, segments: list[str]) -> web.StreamResponse:
        items = list(await self._backend.running_pods())
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def _healthz(self, request: web.BaseRequest, segments: list[str]) -> web.StreamResponse:
        checks = {"ping": "", "log": "", "syncloop": self._backend.health()}
        if segments:
            if segments[0] not in checks:
                raise NotFound("404 page not found\n")
            checks = {segments[0]: checks[segments[0]]}
        failed = [name for name, why in checks.items() if why]
        lines = [f"[-]{name} failed: {why}" if why else f"[+]{name} ok" for name, why in checks.items()]
        if failed:
            raise InternalError("\n".join([*lines, "healthz check failed", ""]))
        if "verbose" in request.rel_url.query:
            return web.Response(text="\n".join([*lines, "healthz check passed", ""]))
        return web.Response(text="ok")

    async def _prometheus(self, request: web.BaseRequest, segments: list[str]) -> web.StreamResponse:
        body = await self._backend.metrics_page(segments[0] if segments else "")
        if body is None:
            raise NotFound("404 page not found\n")
        if not segments:
            body = generate_latest(self._registry) + body
        response = web.Response(body=body)
        response.headers["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
        return response

    async def _stats(self, request: web.BaseRequest, segments: list[str]) -> web.StreamResponse:
        if segments != ["summary"]:
            raise NotFound("404 page not found\n")
        only = request.rel_url.query.get("only_cpu_and_memory", "").lower() in ("true", "1", "t")
        return _json(await self._backend.stats_summary(only_cpu_and_memory=only))


async def _until_lost(request: web.BaseRequest, work: Awaitable[None]) -> None:
    """Waits for `work`, but no longer than the client stays."""
    handler = request.protocol
    assert isinstance(handler, TakeoverHandler)
    working = asyncio.ensure_future(work)
    lost = asyncio.create_task(handler.lost.wait(), name="client-lost")
    try:
        await asyncio.wait((working, lost), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    except ConnectionError:
        return
    finally:
        for task in (working, lost):
            task.cancel()
        await asyncio.gather(working, lost, return_exceptions=True)


def _json(body: object) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


_DISABLED = {"logs": "logs endpoint is disabled.", "debug": "profiling endpoint is disabled."}
_NOT_BUILT = ("checkpoint", "configz", "statusz", "flagz")


def _not_built(path: str) -> ApiError:
    return ApiError(f"{path} is not built in this kubelet", code=501, reason="NotImplemented")


def _unknown(name: str, path: str) -> tuple[tuple[str, ...], Container[int], Handler]:
    """Raises what a path without a handler is answered with."""
    if name in _DISABLED:
        raise MethodNotAllowed(_DISABLED[name])
    if name in _NOT_BUILT:
        raise _not_built(path)
    raise NotFound("404 page not found\n")
