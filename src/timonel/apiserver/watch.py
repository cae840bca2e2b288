"""WATCH: events as lines of JSON or messages of protobuf, fed from the watch cache; `watch_streams.py` sends them.

The bytes of an event are made once and shared by all its watchers that take it as it is stored.
Source: kubernetes.io/docs/reference/using-api/api-concepts ("Efficient detection of changes", "Watch bookmarks",
"Streaming lists").
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from timonel.api.errors import ApiError, Expired, FieldError, NotAcceptable, invalid
from timonel.api.field_errors import Path, forbidden, not_supported
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.objects import Object
from timonel.api.protobuf import encode_event
from timonel.api.refs import ResourceRef
from timonel.apiserver.negotiation import JSON, PROTOBUF, YAML, Answer
from timonel.apiserver.registry.listing import parse_revision, too_large
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.registry.selection import Selection, select
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.tables import column_definitions, include_option, partial_metadata, row, table
from timonel.apiserver.watch_streams import WatchStream, WebSocketStream, is_websocket
from timonel.storage.cached_object import CachedObject, CacheEvent
from timonel.storage.protocol import Compacted, StoreError
from timonel.storage.watcher import Watcher

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer

log = logging.getLogger(__name__)

_LIST_OPTIONS = ResourceRef("meta.k8s.io", "", "listoptions", "ListOptions")
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_INITIAL_CHUNK = 200
_STREAM = ";stream=watch"


async def serve_watch(context: RequestContext, registry: ResourceRegistry) -> web.StreamResponse:
    """Answers one watch; returns when its time is over, the client has gone or the server stops."""
    server, route = context.server, context.route
    if context.answer.media_type == YAML:
        raise NotAcceptable(f"only the following media types are accepted: {JSON}{_STREAM}, {PROTOBUF}{_STREAM}")
    selection = select(registry.resource, route.namespace, route.text("labelSelector"), route.text("fieldSelector"))
    if route.name and not selection.name:  # the old form /watch/…/name
        selection = select(
            registry.resource, route.namespace, route.text("labelSelector"), f"metadata.name={route.name}"
        )
    send_initial = _initial_events(context)
    revision_text = route.text("resourceVersion")
    revision = parse_revision(revision_text)
    cache = registry.cache
    if revision > cache.revision and send_initial:
        raise too_large(revision, cache.revision)
    timeout = route.integer("timeoutSeconds")
    seconds = timeout if timeout else server.config.min_watch_seconds * random.uniform(1, 2)
    # Of a start in the future nothing can be told yet.
    wants_bookmarks = route.flag("allowWatchBookmarks") and revision <= cache.revision
    encoder = EventEncoder(registry, context.answer, include_option(route.text("includeObject")), server)
    initial = send_initial if send_initial is not None else revision == 0
    # First, for it fails when the client has gone already, and a watcher once made must be closed.
    stream = await _open_stream(context)
    stream.sizes = server.metrics.work.events_of(route.group, route.version, route.resource)
    start = cache.revision if initial or revision == 0 else revision
    try:
        watcher = cache.watch(
            after_revision=start, namespace=selection.namespace, name=selection.name, field=selection.field
        )
    except Compacted as exc:
        stream.send((encoder.error(_expired(exc)),))
        return await _ended(stream)
    if isinstance(stream, WebSocketStream):
        stream.end_with_client(watcher)
    server.watches.add(stream)
    forget = server.flow.control.watches.add(route)
    timer = asyncio.get_running_loop().call_later(seconds, watcher.close)
    try:
        objects = _initial_objects(registry, selection) if initial else ()
        for at in range(0, len(objects), _INITIAL_CHUNK):
            stream.send([encoder.added(cached) for cached in objects[at : at + _INITIAL_CHUNK]])
            await stream.drain()
        if send_initial and wants_bookmarks:
            stream.send((encoder.bookmark(str(start), True),))
        if wants_bookmarks:
            stream.bookmarks_from(watcher, encoder.bookmark)
        if context.ticket is not None:
            server.flow.control.leave(context.ticket)  # it has begun; what follows is charged to those who write
        await _follow(stream, watcher, selection, encoder)
        if wants_bookmarks and not server.is_stopping:
            stream.bookmark()
    except Compacted as exc:
        stream.send((encoder.error(_expired(exc)),))
    except (StoreError, TimeoutError) as exc:
        log.info("cut off a watch resource=%s user=%s why=%s", registry.ref.group_resource, context.user.name, exc)
        stream.cut_off()
    except ConnectionError:
        stream.cut_off()
    finally:
        timer.cancel()
        watcher.close()
        stream.release()
        server.watches.discard(stream)
        forget()
    return await _ended(stream)


async def _open_stream(context: RequestContext) -> WatchStream:
    """Sends the head of the answer. Raises ConnectionError when the client has gone."""
    request, answer = context.request, context.answer
    buffer_bytes = context.server.config.watch_buffer_bytes
    if is_websocket(request):
        socket = WebSocketStream(request, buffer_bytes=buffer_bytes, is_text=answer.media_type == JSON)
        await socket.upgrade(audit_id=context.audit_id)
        return socket
    stream = WatchStream(request, buffer_bytes=buffer_bytes)
    named = answer.stream or answer.media_type == PROTOBUF
    stream.start(
        content_type=answer.media_type + (_STREAM if named else ""),
        audit_id=context.audit_id,
        head_lines=context.ticket.flow.header if context.ticket is not None else b"",
    )
    return stream


async def _ended(stream: WatchStream) -> web.StreamResponse:
    """What aiohttp gets to finish the answer with."""
    if isinstance(stream, WebSocketStream):
        await stream.finish()
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
            stream.send(lines)
            if not stream.flows:
                await stream.drain()


class EventEncoder:
    """How events look to one watcher: as stored, in another version, as Table rows, or as metadata."""

    def __init__(self, registry: ResourceRegistry, answer: Answer, include: str, server: ApiServer) -> None:
        self._registry = registry
        self._answer = answer
        self._include = include
        self._now = server.clock.now
        self._columns_sent = False
        self._protobuf = answer.media_type == PROTOBUF
        self._plain = not answer.transform and registry.conversion is None and not self._protobuf
        self.event: Callable[[CacheEvent, str], bytes] = _plain_event if self._plain else self._made_event

    def added(self, cached: CachedObject) -> bytes:
        if self._plain:
            return b'{"type":"ADDED","object":%b}\n' % cached.value
        return self._framed("ADDED", self._shaped(cached.obj))

    def error(self, error: ApiError) -> bytes:
        return self._framed("ERROR", error.status)

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
        return self._framed("BOOKMARK", obj)

    def _made_event(self, event: CacheEvent, kind: str) -> bytes:
        obj: Object = orjson.loads(event.object_bytes(kind))
        return self._framed(kind, self._shaped(obj))

    def _framed(self, kind: str, obj: Object) -> bytes:
        if self._protobuf:
            return encode_event(kind, obj)
        return b'{"type":"%b","object":%b}\n' % (kind.encode(), orjson.dumps(obj))

    def _shaped(self, obj: Object) -> Object:
        served = self._registry.served(obj)
        answer = self._answer
        if answer.transform == "Table":
            resource = self._registry.resource
            made = row(resource, obj, served, self._now(), include=self._include, version=answer.version)
            columns = None if self._columns_sent else column_definitions(resource)
            self._columns_sent = True
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return table([made], version=answer.version, columns=columns, list_metadata=metadata)
        if answer.transform:
            return partial_metadata(served, answer.version)
        return served


def _plain_event(event: CacheEvent, kind: str) -> bytes:
    return event.wire(kind)


def _initial_objects(registry: ResourceRegistry, selection: Selection) -> list[CachedObject]:
    return list(selection.among(registry.cache.list(registry.resource.storage_range(selection.namespace))))


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
    if match and match != "NotOlderThan":
        found.append(not_supported(path, match, ("NotOlderThan",)))
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
