"""The API server: one listener, one path for every request.

    route → authenticate → authorise → find the resource → its verb or subresource → answer

Everything that fails becomes a Status. Which resources, verbs and subresources there are is data: the resource table,
`verbs.VERBS`, `subresources.HANDLERS`, `paths.PATHS`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from aiohttp import web

from timonel.api.clock import Clock
from timonel.api.durations import InvalidDuration, parse_duration
from timonel.api.errors import ApiError, BadRequest, InternalError, Timeout, Unauthorized
from timonel.api.kinds import BUILTIN
from timonel.api.protobuf import can_encode
from timonel.api.refs import NODES, SERVICES
from timonel.api.resource import Resource, ResourceTable
from timonel.apiserver import handlers as _handlers  # noqa: F401 — fills HANDLERS and PATHS
from timonel.apiserver.admission.chain import Admission
from timonel.apiserver.allocators.repair import AllocationRepair
from timonel.apiserver.allocators.services import ServiceAllocation
from timonel.apiserver.audit import AuditTrail
from timonel.apiserver.authn.user import Authenticator, UserInfo
from timonel.apiserver.authz.attributes import Attributes, Authorizer, denied
from timonel.apiserver.bootstrap.reconcile import reconcile_bootstrap
from timonel.apiserver.config import ApiServerConfig
from timonel.apiserver.connections import Listener, cancel_when_lost
from timonel.apiserver.deadlines import Deadline, Deadlines
from timonel.apiserver.discovery import Discovery
from timonel.apiserver.flowcontrol.protocol import Refused
from timonel.apiserver.flowcontrol.service import FlowService
from timonel.apiserver.flowcontrol.tickets import Ticket
from timonel.apiserver.freshness import catch_up
from timonel.apiserver.health import Health, StoreHealth, server_checks
from timonel.apiserver.listening import listen, own_address, remove_socket
from timonel.apiserver.metrics import Metrics
from timonel.apiserver.negotiation import Answer, is_pretty, negotiate, negotiate_error
from timonel.apiserver.openapi.documents import OpenApi
from timonel.apiserver.options import not_allowed, nothing_served
from timonel.apiserver.paths import answer_path
from timonel.apiserver.registry.registry import Registry
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.resource_metrics.collector import ResourceMetricsCollector
from timonel.apiserver.resource_metrics.fetching import KubeletPages
from timonel.apiserver.responses import Reply, error_reply, text_reply, warning_headers
from timonel.apiserver.routing import STREAMS, Route, parse_route
from timonel.apiserver.security import build_security, published_authorities
from timonel.apiserver.subresources import HANDLERS
from timonel.apiserver.system_objects import SystemObjects
from timonel.apiserver.verbs import VERBS
from timonel.apiserver.watch_streams import WatchStream
from timonel.client.workqueue import WorkQueue
from timonel.storage.codec import Codec
from timonel.storage.protocol import Store, StoreError

log = logging.getLogger(__name__)

_STREAM_SECONDS = 1.0
"""How long watches and other streams have to send what is queued once the server stops; then they are cut off. The
supervisor kills a server that takes ten seconds to stop, and what it had still to write would be lost."""
_LEAVE_SECONDS = 1.0
"""How long telling the other servers' clients may take; its record expires anyway."""
_READING = frozenset({"GET", "HEAD"})
_ON_ONE = frozenset({"get", "update", "patch", "delete"})
"""Verbs of one object; the others are of collections (and a watch in the old form of path is of either)."""


class ApiServer:
    """Construct it, run `run` as a task, await `wait_ready`. `codecs` says how each resource's values are stored."""

    def __init__(
        self,
        *,
        config: ApiServerConfig,
        store: Store,
        clock: Clock,
        table: ResourceTable = BUILTIN,
        codecs: Callable[[Resource], Codec] = lambda row: Codec(),
    ) -> None:
        self.config = config
        self.store = store
        self.clock = clock
        self.table = table
        self.admission = Admission()
        self.registry = Registry(
            table=table,
            store=store,
            clock=clock,
            admission=self.admission,
            codecs=codecs,
            event_ttl_seconds=config.event_ttl_seconds,
        )
        self.allocation = ServiceAllocation(
            self.registry, cidrs=config.service_cidr.split(","), node_ports=config.node_port_range
        )
        self.registry.of(SERVICES).allocation = self.allocation
        self.security = build_security(
            config.security,
            readers=self.registry,
            writer=self.registry,
            table=table,
            clock=clock,
            admission=self.admission,
        )
        self.authenticator: Authenticator = self.security.authenticator
        self.authorizer: Authorizer = self.security.authorizer
        self.flow = FlowService(config=config, registry=self.registry, table=table, clock=clock)
        self.discovery = Discovery(table)
        self.openapi = OpenApi(table)
        self.metrics = Metrics(self)
        pages = KubeletPages(self.security.kubelets)
        self.resource_metrics = ResourceMetricsCollector(
            nodes=lambda: self.registry.reader(NODES).list(), fetch=pages.fetch, close=pages.close, clock=clock
        )
        self.store_health = StoreHealth(store)
        self.health = Health(server_checks(self))
        self.watches: set[WatchStream] = set()
        self.queues: list[tuple[str, WorkQueue[Any]]] = []
        """Work queues by name, for metrics."""
        self.is_stopping = False
        self.is_serving = False
        self._ready = asyncio.Event()
        self.port = 0
        """The one really bound, once it is."""
        self.large_bodies = asyncio.Semaphore(2)
        """For reading those that take long: the interpreter has time for few beside the rest."""
        self.in_flight = 0
        self.changing = 0
        """Of those in flight, the ones that may change something."""
        self.streams = 0
        """Of those in flight, the ones that end when their client wishes: watches, logs, exec."""
        self._request_done = asyncio.Event()
        self._deadlines = Deadlines(config.request_timeout_seconds)

    # Life

    async def run(self) -> None:
        """Serves until cancelled, then stops gracefully: not ready, watches closed, requests in flight finished."""
        await self.registry.start()
        await self.allocation.start()
        await reconcile_bootstrap(
            self.registry,
            today=self.clock.now().date(),
            group_versions=dict.fromkeys((row.ref.group, row.ref.version) for row in self.table.rows),
            **published_authorities(self.config.security),
        )
        await self.flow.start()
        system = SystemObjects(
            registry=self.registry,
            clock=self.clock,
            networks=self.config.service_cidr.split(","),
            endpoint=lambda: (self.config.advertise_address or own_address(self.config.bind_address), self.port),
        )
        await system.prepare()
        repair = AllocationRepair(self.registry, self.allocation, clock=self.clock)
        self.queues.append(("ipallocator-repair", repair.queue))
        await repair.start()  # before anybody asks for an address
        listener = Listener(self.handle, head_seconds=self.config.request_head_seconds)
        servers, self.port = await listen(listener, self.config)
        await system.start()
        log.info("server is listening address=%s port=%d", self.config.bind_address, self.port)
        try:
            async with asyncio.TaskGroup() as tasks:
                self.is_serving = True
                tasks.create_task(self._send_bookmarks(), name="apiserver-bookmarks")
                tasks.create_task(self.security.audit.run(), name="apiserver-audit")
                tasks.create_task(self.security.legacy_tokens.run(), name="apiserver-uses-of-legacy-tokens")
                tasks.create_task(system.run(), name="apiserver-own-objects")
                tasks.create_task(repair.run(), name="apiserver-allocation-repair")
                tasks.create_task(self.flow.run(), name="apiserver-flow-control")
                tasks.create_task(self.resource_metrics.run(), name="apiserver-resource-metrics")
                self._ready.set()
        finally:
            await self._stop(listener, servers, system)

    async def wait_ready(self) -> None:
        await self._ready.wait()

    @property
    def public_address(self) -> str:
        """Host and port that clients are told: `advertise_address`, or this host's own."""
        return f"{self.config.advertise_address or own_address(self.config.bind_address)}:{self.port}"

    async def _stop(self, listener: Listener, servers: list[asyncio.Server], system: SystemObjects) -> None:
        self.is_stopping = True
        self.is_serving = False
        with suppress(TimeoutError, ApiError, StoreError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await system.leave()
        for server in servers:
            server.close()
        self.registry.end_watches()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.shutdown_grace_seconds):
                await self._wait_done(but_streams=True)
        await listener.shutdown(_STREAM_SECONDS)
        with suppress(TimeoutError):
            # Those just cut off have yet to be written into the audit log.
            async with asyncio.timeout(_STREAM_SECONDS):
                await self._wait_done()
        # Only now: writes in flight lean on what caches and node ports hear of them and of each other.
        self.allocation.close()
        self.registry.close()
        self._deadlines.close()
        await self.security.audit.flush()
        remove_socket(self.config)
        log.info("server stopped unfinished=%d", self.in_flight)

    async def _wait_done(self, *, but_streams: bool = False) -> None:
        """Until no request is being handled; streams, which would not end by themselves, may be left out."""
        while self.in_flight > (self.streams if but_streams else 0):
            self._request_done.clear()
            await self._request_done.wait()

    async def _send_bookmarks(self) -> None:
        while True:
            await self.clock.sleep(self.config.bookmark_interval_seconds)
            for stream in list(self.watches):
                with suppress(ConnectionError):
                    stream.bookmark()

    # One request

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """What aiohttp calls. Never raises but for cancellation and lost connections."""
        started = time.perf_counter()
        audit_id = request.headers.get("Audit-Id") or ""
        if not audit_id or len(audit_id) > 64 or not audit_id.replace("-", "").isalnum():
            audit_id = new_audit_id()
        route = parse_route(request.method, request.raw_path)
        self.in_flight += 1
        changing = request.method not in _READING
        self.changing += changing
        warnings: list[str] = []
        trail = AuditTrail(request, audit_id, self.clock.now())
        response: web.StreamResponse | None = None
        try:
            if is_long_running(route):
                response = await self._serve(request, route, trail, warnings)
            else:
                with self._time_for(route):
                    response = await self._serve(request, route, trail, warnings)
        except ApiError as error:
            trail.error = error
            response = self._refusal(request, route, error, audit_id, warnings)
        except TimeoutError:
            trail.is_terminated = True
            trail.error = Timeout("Timeout: request did not complete within the allotted timeout", details={})
            response = self._refusal(request, route, trail.error, audit_id, warnings)
        except StoreError as error:
            log.error("store failed path=%s error=%s", route.path, error)
            why = InternalError(f"Internal error occurred: {error}")
            response = self._refusal(request, route, why, audit_id, warnings)
        except ConnectionError:
            raise
        except Exception:
            log.exception("request failed method=%s path=%s audit_id=%s", request.method, route.path, audit_id)
            text = "Internal error occurred: the server could not handle the request; its log has the audit id"
            response = self._refusal(request, route, InternalError(f"{text} {audit_id}"), audit_id, warnings)
        finally:
            self.in_flight -= 1
            self.changing -= changing
            if self.is_stopping:
                self._request_done.set()
            # Without a response: a stream that ended with its client, after its head had been sent.
            self.security.audit.finish(trail, 200 if response is None else response.status)
        if trail.head_lines and isinstance(response, Reply):
            response.head_lines = trail.head_lines
        if self.is_stopping and isinstance(response, Reply):
            response.is_last = True
        self.metrics.observe(route, response, time.perf_counter() - started, trail)
        return response

    def _refusal(
        self, request: web.BaseRequest, route: Route, error: ApiError, audit_id: str, warnings: list[str]
    ) -> web.StreamResponse:
        """The Status, in the form that the client takes."""
        answer = negotiate_error(request.headers.get("Accept", ""))
        pretty = answer.pretty or is_pretty(route.query.get("pretty"), request.headers.get("User-Agent", ""))
        extra = warning_headers(warnings)
        return error_reply(error, audit_id=audit_id, media_type=answer.media_type, pretty=pretty, extra=extra)

    def _time_for(self, route: Route) -> Deadline:
        """How long the request may take: what it asks for with ?timeout, if that is less than our limit."""
        if not route.query or not (text := route.text("timeout")):
            return self._deadlines.start()
        try:
            seconds = float(parse_duration(text))
        except InvalidDuration as exc:
            raise BadRequest(f"invalid timeout specified in the request URL - {exc}") from exc
        return self._deadlines.start(seconds if 0 < seconds < self.config.request_timeout_seconds else None)

    async def _serve(
        self, request: web.BaseRequest, route: Route, trail: AuditTrail, warnings: list[str]
    ) -> web.StreamResponse:
        audit_id = trail.audit_id
        user = await self.authenticator.authenticate(request)
        if user is None:
            raise Unauthorized
        control = self.flow.control
        ticket = control.admit(route, user) or await self._wait_for_seat(request, route, user, trail)
        trail.head_lines = ticket.flow.header
        try:
            attributes = _attributes(route, user)
            decision = await self.authorizer.authorize(attributes)
            trail.decided(attributes, decision)
            if not decision.allowed:
                raise denied(attributes, decision.reason)
            if not route.resource:
                return await answer_path(self, request, route, audit_id)
            resource = self.table.find(route.group, route.version, route.resource)
            if resource is None:
                if not self.discovery.serves(route.group):
                    return text_reply("404 page not found\n", status=404, audit_id=audit_id)
                raise nothing_served()
            return await self._serve_resource(request, route, resource, attributes, trail, warnings, ticket)
        finally:
            control.leave(ticket)

    async def _wait_for_seat(self, request: web.BaseRequest, route: Route, user: UserInfo, trail: AuditTrail) -> Ticket:
        """Raises Refused (429)."""
        trail.attributes = _attributes(route, user)
        cancel_when_lost(request)
        started = time.perf_counter()
        try:
            return await self.flow.control.wait(route, user)
        except Refused as refused:
            trail.head_lines = refused.header
            trail.is_terminated = True
            raise
        finally:
            trail.queued_seconds = time.perf_counter() - started
            cancel_when_lost(request, on=False)

    async def _serve_resource(
        self,
        request: web.BaseRequest,
        route: Route,
        resource: Resource,
        attributes: Attributes,
        trail: AuditTrail,
        warnings: list[str],
        ticket: Ticket,
    ) -> web.StreamResponse:
        ref, verb, audit_id = resource.ref, route.verb, trail.audit_id
        subresource = None
        if route.subresource:
            subresource = resource.subresource(route.subresource)
            if subresource is None or (route.rest and subresource.name != "proxy"):
                raise nothing_served()
            if verb not in subresource.verbs and (verb, subresource.name) != ("options", "proxy"):
                raise not_allowed()
        elif verb not in resource.verbs or (verb != "watch" and (verb in _ON_ONE) != bool(route.name)):
            raise not_allowed()
        if request.method == "HEAD" and route.subresource != "proxy":
            raise not_allowed()
        if not _fits_scope(route, ref.namespaced):
            raise nothing_served()
        if ref.namespaced and not route.namespace and verb not in ("list", "watch"):
            raise not_allowed()
        long_running = is_long_running(route)
        answer = Answer()
        if route.subresource not in STREAMS:
            answer = negotiate(
                request.headers.get("Accept", ""),
                protobuf=can_encode(ref.api_version, ref.kind),
                tables=resource.verbs != ("create",),
            )
        context = RequestContext(
            request, self, route, attributes.user, attributes, resource, subresource, answer, audit_id, warnings,
            trail.annotations, ticket=ticket,
        )  # fmt: skip
        if not ref.namespaced:
            route.namespace = ""
        if resource.deprecation:
            warnings.append(resource.deprecation)
        if subresource is not None and subresource.strategy is None and subresource.name != "status":
            handler = HANDLERS.get((ref.group, ref.plural, subresource.name)) or HANDLERS.get(
                ("*", "*", subresource.name)
            )
        elif not resource.storage_prefix:
            handler = HANDLERS.get((ref.group, ref.plural, ""))
        else:
            handler = VERBS.get(verb)
        if handler is None:
            raise not_allowed()
        if self.store.is_shared and resource.storage_prefix:
            await catch_up(self.store, route)
        if not long_running:
            return await handler(context)
        cancel_when_lost(request)
        self.streams += 1
        self.metrics.stream(route, 1)
        if self.is_stopping:
            self._request_done.set()
        try:
            return await handler(context)
        finally:
            self.streams -= 1
            self.metrics.stream(route, -1)
            cancel_when_lost(request, on=False)


def is_long_running(route: Route) -> bool:
    """Requests that end when their client wishes; no time is set for them."""
    return route.verb == "watch" or route.subresource in STREAMS


_NEW_IDS = f"{random.getrandbits(32):08x}-{random.getrandbits(16):04x}-4{random.getrandbits(12):03x}-a"
_ids = count(random.getrandbits(59))


def new_audit_id() -> str:
    """A version 4 UUID: of each process its own beginning, then a number. It only has to be unique, and randomness for
    each would cost 1 µs more."""
    text = f"{next(_ids):015x}"
    return f"{_NEW_IDS}{text[:3]}-{text[3:]}"


def _attributes(route: Route, user: UserInfo) -> Attributes:
    if not route.resource:
        return Attributes(user, route.verb, path=route.path)
    return Attributes(
        user,
        route.verb,
        route.group,
        route.version,
        route.resource,
        route.subresource,
        route.namespace,
        route.name or route.selector_name,
        route.path,
        route.text("fieldSelector") if route.query else "",
        route.text("labelSelector") if route.query else "",
    )


def _fits_scope(route: Route, namespaced: bool) -> bool:
    """Whether the path has a namespace where the kind has one; all namespaces together are a collection only."""
    if namespaced:
        return bool(route.namespace) or not route.name
    return not route.namespace or route.resource == "namespaces"
