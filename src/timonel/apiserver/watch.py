"""WATCH: a chunked answer of one JSON document a line, fed from the watch cache.

The bytes of an event are made once and shared by all its watchers. A stream writes synchronously as soon as it is
handed a batch, so at any moment between, what it was handed is what it has sent; that is why bookmarks can be sent
from one timer for all of them. Source: kubernetes.io/docs/reference/using-api/api-concepts ("Efficient detection of
changes", "Watch bookmarks", "Streaming lists").
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from timonel.api.errors import ApiError, Expired, FieldError, invalid
from timonel.api.field_errors import Path, forbidden
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.apiserver.negotiation import JSON, Answer
from timonel.apiserver.registry.listing import parse_revision, too_large
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.registry.selection import Selection, select
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.tables import column_definitions, include_option, partial_metadata, row, table
from timonel.storage.cached_object import CachedObject, CacheEvent
from timonel.storage.protocol import Compacted, StoreError
from timonel.storage.watcher import Watcher

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer

log = logging.getLogger(__name__)

_LIST_OPTIONS = ResourceRef("meta.k8s.io", "", "listoptions", "ListOptions")
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_DRAIN_SECONDS = 30.0
_INITIAL_CHUNK = 200
_LAST_CHUNK = b"0\r\n\r\n"


class WatchStream(web.StreamResponse):
    """One watch on the wire. To aiohttp it is a response that has been prepared and ends with `write_eof`."""

    def __init__(self, request: web.BaseRequest, *, content_type: str, audit_id: str, buffer_bytes: int) -> None:
        # No super().__init__(): none of what it makes is used.
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._transport = transport
        self._protocol = request.protocol
        self._buffer_bytes = buffer_bytes
        self._watcher: Watcher | None = None
        self._make_bookmark: Callable[[str, bool], bytes] | None = None
        self._ended = False
        self.sent = 0
        head = (
            f"HTTP/1.1 200 OK\r\nAudit-Id: {audit_id}\r\nCache-Control: no-cache, private\r\n"
            f"Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        transport.write(head.encode())

    @property
    def status(self) -> int:
        return 200

    @property
    def body_length(self) -> int:
        return self.sent

    @property
    def keep_alive(self) -> bool | None:
        return not self._ended

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        if not self._ended and not self._transport.is_closing():
            self._transport.write(_LAST_CHUNK)

    def send(self, lines: bytes) -> None:
        self.sent += len(lines)
        self._transport.write(b"%x\r\n%b\r\n" % (len(lines), lines))

    async def drain(self) -> None:
        """Waits for a client that reads slowly, not for ever. Raises TimeoutError, ConnectionError."""
        if self._protocol.writing_paused:
            if self._transport.get_write_buffer_size() > self._buffer_bytes:
                raise TimeoutError("the client reads too slowly")
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._protocol._drain_helper()
        elif self._transport.is_closing():
            raise ConnectionResetError("the client has gone")

    def bookmarks_from(self, watcher: Watcher, make: Callable[[str, bool], bytes]) -> None:
        """From now on `bookmark` may be called."""
        self._watcher, self._make_bookmark = watcher, make

    def bookmark(self) -> None:
        """Tells the client how far it has come, unless it is behind on reading."""
        if self._watcher is not None and self._make_bookmark is not None and not self._protocol.writing_paused:
            self.send(self._make_bookmark(str(self._watcher.revision), False))

    def cut_off(self) -> None:
        """Ends the connection without a last chunk, so that the client sees a broken stream and resumes."""
        self._ended = True
        self._transport.abort()


async def serve_watch(context: RequestContext, registry: ResourceRegistry) -> web.StreamResponse:
    """Answers one watch; returns when its time is over, the client has gone or the server stops."""
    server, route = context.server, context.route
    selection = select(registry.resource, route.namespace, route.text("labelSelector"), route.text("fieldSelector"))
    if route.name and not selection.name:  # the old form /watch/…/name
        selection = select(
            registry.resource, route.namespace, route.text("labelSelector"), f"metadata.name={route.name}"
        )
    send_initial = _initial_events(context)
    revision_text = route.text("resourceVersion")
    revision = parse_revision(revision_text)
    cache = registry.cache
    if revision > cache.revision:
        raise too_large(revision, cache.revision)
    timeout = route.integer("timeoutSeconds")
    seconds = timeout if timeout else server.config.min_watch_seconds * random.uniform(1, 2)
    wants_bookmarks = route.flag("allowWatchBookmarks")
    encoder = EventEncoder(registry, context.answer, include_option(route.text("includeObject")), server)
    initial = send_initial if send_initial is not None else revision == 0
    start = cache.revision if initial or revision == 0 else revision
    # First, for it fails when the client has gone already, and a watcher once made must be closed.
    stream = WatchStream(
        context.request,
        content_type=JSON + (";stream=watch" if context.answer.stream else ""),
        audit_id=context.audit_id,
        buffer_bytes=server.config.watch_buffer_bytes,
    )
    try:
        watcher = cache.watch(
            after_revision=start, namespace=selection.namespace, name=selection.name, field=selection.field
        )
    except Compacted as exc:
        stream.send(_error_line(_expired(exc)))
        return stream
    server.watches.add(stream)
    timer = asyncio.get_running_loop().call_later(seconds, watcher.close)
    try:
        objects = _initial_objects(registry, selection) if initial else ()
        for at in range(0, len(objects), _INITIAL_CHUNK):
            stream.send(b"".join(map(encoder.added, objects[at : at + _INITIAL_CHUNK])))
            await stream.drain()
        if send_initial and wants_bookmarks:
            stream.send(encoder.bookmark(str(start), True))
        if wants_bookmarks:
            stream.bookmarks_from(watcher, encoder.bookmark)
        await _follow(stream, watcher, selection, encoder)
        if wants_bookmarks and not server.is_stopping:
            stream.bookmark()
    except Compacted as exc:
        stream.send(_error_line(_expired(exc)))
    except (StoreError, TimeoutError) as exc:
        log.info("cut off a watch resource=%s user=%s why=%s", registry.ref.group_resource, context.user.name, exc)
        stream.cut_off()
    except ConnectionError:
        stream.cut_off()
    finally:
        timer.cancel()
        watcher.close()
        server.watches.discard(stream)
    return stream


async def _follow(stream: WatchStream, watcher: Watcher, selection: Selection, encoder: EventEncoder) -> None:
    matches = selection.matches
    encode = encoder.event
    async for batch in watcher:
        if matches is None:
            lines = [encode(event, event.type) for event in batch]
        else:
            lines = []
            for event in batch:
                kind = event.type_for(matches)
                if kind is not None:
                    lines.append(encode(event, kind))
        if lines:
            stream.send(lines[0] if len(lines) == 1 else b"".join(lines))
            await stream.drain()


class EventEncoder:
    """How events look to one watcher: as stored, in another version, as Table rows, or as metadata."""

    def __init__(self, registry: ResourceRegistry, answer: Answer, include: str, server: ApiServer) -> None:
        self._registry = registry
        self._answer = answer
        self._include = include
        self._now = server.clock.now
        self._columns_sent = False
        self._plain = not answer.transform and registry.conversion is None
        self.event: Callable[[CacheEvent, str], bytes] = _plain_event if self._plain else self._made_event

    def added(self, cached: CachedObject) -> bytes:
        return b'{"type":"ADDED","object":%b}\n' % (cached.value if self._plain else self._encode(cached.obj))

    def bookmark(self, revision: str, initial_events_end: bool) -> bytes:
        ref = self._registry.ref
        metadata: Object = {"resourceVersion": revision}
        if initial_events_end:
            metadata["annotations"] = {_INITIAL_EVENTS_END: "true"}
        obj: Object = {"kind": ref.kind, "apiVersion": ref.api_version, "metadata": metadata}
        if self._answer.transform == "Table":
            made: Object = {"cells": [], "object": partial_metadata(obj, self._answer.version)}
            list_metadata: Object = {"resourceVersion": revision}
            obj = table([made], version=self._answer.version, columns=None, list_metadata=list_metadata)
        elif self._answer.transform:
            obj = partial_metadata(obj, self._answer.version)
        return b'{"type":"BOOKMARK","object":%b}\n' % orjson.dumps(obj)

    def _made_event(self, event: CacheEvent, kind: str) -> bytes:
        obj: Object = orjson.loads(event.object_bytes(kind))
        return b'{"type":"%b","object":%b}\n' % (kind.encode(), self._encode(obj))

    def _encode(self, obj: Object) -> bytes:
        served = self._registry.served(obj)
        answer = self._answer
        if answer.transform == "Table":
            resource = self._registry.resource
            made = row(resource, obj, served, self._now(), include=self._include, version=answer.version)
            columns = None if self._columns_sent else column_definitions(resource)
            self._columns_sent = True
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return orjson.dumps(table([made], version=answer.version, columns=columns, list_metadata=metadata))
        if answer.transform:
            return orjson.dumps(partial_metadata(served, answer.version))
        return orjson.dumps(served)


def _plain_event(event: CacheEvent, kind: str) -> bytes:
    return event.wire(kind)


def _initial_objects(registry: ResourceRegistry, selection: Selection) -> list[CachedObject]:
    cache, matches = registry.cache, selection.matches
    objects = cache.list(registry.resource.storage_range(selection.namespace))
    if matches is None:
        return list(objects)
    return [cached for cached in objects if matches(cached)]


def _initial_events(context: RequestContext) -> bool | None:
    """The sendInitialEvents option; None when not given. Raises Invalid as KEP-3157 says."""
    route = context.route
    match = route.text("resourceVersionMatch")
    given = "sendInitialEvents" in route.query
    found: list[FieldError] = []
    path = Path("resourceVersionMatch")
    if given and match != "NotOlderThan":
        found.append(forbidden(path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
    elif match and not given:
        found.append(
            forbidden(path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        )
    if given and route.text("continue"):
        found.append(forbidden(Path("continue"), "continue is forbidden for watch"))
    timeout = route.integer("timeoutSeconds")
    if timeout is not None and timeout < 0:
        found.append(invalid_field(Path("timeoutSeconds"), timeout, "must be greater than or equal to 0"))
    if found:
        raise invalid(_LIST_OPTIONS, "", found)
    return route.flag("sendInitialEvents") if given else None


def _expired(exc: Compacted) -> Expired:
    return Expired(f"too old resource version: {exc.requested} ({exc.oldest})")


def _error_line(error: ApiError) -> bytes:
    return b'{"type":"ERROR","object":%b}\n' % orjson.dumps(error.status)
