"""The port of a component beside the API: /metrics, health, configuration; TLS, authenticated, authorised.

Whoever asks is known by a client certificate or a bearer token and needs a right to the path, which the API server is
asked about; health is open to everybody, as with upstream's --authorization-always-allow-paths.
Source: kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry

from timonel.api.errors import ApiError, Forbidden, InternalError, MethodNotAllowed, NotFound
from timonel.client.delegated_access import DelegatedAccess, User
from timonel.client.metrics_text import CONTENT_TYPE, render_text

log = logging.getLogger(__name__)

_OPEN = ("/healthz", "/livez", "/readyz")
_ANONYMOUS = User("system:anonymous", groups=("system:unauthenticated",))
_IDLE_SECONDS = 60.0
_STOP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PortConfig:
    port: int
    address: str = "127.0.0.1"
    """As kubeadm binds it: what is for this host's monitoring need not face the network."""
    cert_file: str
    key_file: str
    client_ca_file: str


class ComponentPort:
    """`is_ready` decides /readyz; `configuration` is what /configz shows, by component.

    `pages`: by the beginning of a path, what gives the JSON for its rest, or None where there is nothing.
    """

    def __init__(
        self,
        config: PortConfig,
        *,
        registry: CollectorRegistry,
        access: DelegatedAccess,
        is_ready: Callable[[], bool],
        configuration: Callable[[], Mapping[str, object]] = dict,
        pages: Mapping[str, Callable[[str], object | None]] | None = None,
    ) -> None:
        self._config = config
        self._registry = registry
        self._access = access
        self._is_ready = is_ready
        self._configuration = configuration
        self._pages = pages or {}
        self._ready = asyncio.Event()
        self.port = 0

    async def run(self) -> None:
        """Serves until cancelled. A port that is taken costs the metrics, with a warning, not the component."""
        server = web.Server(self._handle, access_log=None, keepalive_timeout=_IDLE_SECONDS)
        config = self._config
        try:
            listener = await asyncio.get_running_loop().create_server(
                server, config.address, config.port, ssl=self._tls_context(), reuse_address=True
            )
        except OSError as exc:
            log.warning("metrics port not opened address=%s port=%d error=%s", config.address, config.port, exc)
            return
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            listener.close()
            await server.shutdown(_STOP_SECONDS)

    async def wait_ready(self) -> None:
        await self._ready.wait()

    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._config.client_ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_cert_chain(self._config.cert_file, self._config.key_file)
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        try:
            await self._check(request)
            return self._answer(request)
        except ApiError as exc:
            return web.json_response(exc.status, status=exc.status_code)

    async def _check(self, request: web.BaseRequest) -> None:
        path = request.path
        if path in _OPEN:
            return
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        user = await self._access.authenticate(certificate, request.headers.get("Authorization", "")) or _ANONYMOUS
        verb = request.method.lower()
        try:
            allowed = await self._access.may_visit(user, verb, path)
        except ApiError as exc:
            raise InternalError(f"whether {user.name} may {verb} {path} cannot be asked: {exc}") from exc
        if not allowed:
            raise Forbidden(f'forbidden: User "{user.name}" cannot {verb} path "{path}"')

    def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"{request.method} is not supported here")
        path = request.path
        if path == "/metrics":
            body = render_text(self._registry.collect())
            return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
        if path == "/configz":
            return web.Response(body=orjson.dumps(self._configuration(), default=str), content_type="application/json")
        if path in _OPEN:
            if path == "/readyz" and not self._is_ready():
                return web.Response(status=500, text="not ready: the caches are not filled yet")
            return web.Response(text="ok")
        for prefix, page in self._pages.items():
            if path.startswith(prefix) and (found := page(path.removeprefix(prefix))) is not None:
                return web.Response(body=orjson.dumps(found, default=str), content_type="application/json")
        raise NotFound("the server could not find the requested resource")
