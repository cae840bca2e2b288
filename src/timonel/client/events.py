"""Events: what components tell people about objects. Telling never blocks and never fails the teller.

Repeats of one event raise its `count`; many events that differ only in their message are folded into one; and a source
that talks too much about one object is cut to one event every five minutes after its first 25, as client-go does.
Source: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1; the folding rules are client-go's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from timonel.api.clock import Clock, format_time
from timonel.api.errors import ApiError, NotFound, TooManyRequests
from timonel.api.objects import Object, name_of, namespace_of, resource_version_of, uid_of
from timonel.api.refs import EVENTS, ResourceRef

log = logging.getLogger(__name__)

_CACHE = 1024
_QUEUE = 1000
_SIMILAR_LIMIT = 9
"""Different messages of one kind in ten minutes that are written as they are; the tenth is folded."""
_SIMILAR_SECONDS = 600.0
_BURST = 25.0
_REFILL_PER_SECOND = 1 / 300
_ATTEMPTS = 12
_TELL_DROPS_SECONDS = 10.0

K = TypeVar("K")
V = TypeVar("V")


class _Recent(Generic[K, V]):
    """A mapping that forgets what was not used for the longest."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class _Similar:
    messages: set[str]
    at: float


@dataclass(slots=True)
class _Written:
    name: str
    count: int
    first: str


class EventWriter(Protocol):
    """What of an `ApiClient` it takes to tell events."""

    async def create(self, ref: ResourceRef, obj: Object) -> Object: ...

    async def patch(
        self, ref: ResourceRef, name: str, patch: Any, namespace: str = "", *, type: Literal["merge"]
    ) -> Object: ...


class EventRecorder:
    """`component` and `host` become the events' source. `run()` writes what `event()` queued, in order."""

    def __init__(self, client: EventWriter, *, component: str, host: str = "", clock: Clock) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock
        self._queue: asyncio.Queue[Object] = asyncio.Queue(_QUEUE)
        self._buckets: _Recent[Any, _Bucket] = _Recent(_CACHE)
        self._similar: _Recent[Any, _Similar] = _Recent(_CACHE)
        self._written: _Recent[Any, _Written] = _Recent(_CACHE)
        self._last_stamp = 0
        self._dropped = 0
        self._drops_told = float("-inf")

    def event(
        self,
        obj: Object,
        type: str,
        reason: str,
        message: str,
        *,
        action: str = "",
        field_path: str = "",
        related: Object | None = None,
        annotations: Mapping[str, str] | None = None,
        component: str = "",
    ) -> None:
        """Queues an event about `obj`, which needs kind, apiVersion and metadata. `type` is "Normal" or "Warning".

        `field_path` names a part of it, such as "spec.containers{web}".
        `component`: who says so, instead of the recorder's own.
        Dropped when the queue is full; the log tells how many were, once in ten seconds.
        """
        if self._queue.full():
            self._dropped += 1
            self._tell_drops()
            return
        event = self._build(obj, type, reason, message, action, field_path, component or self._component)
        if related is not None:
            event["related"] = reference_to(related)
        self._queue.put_nowait(event)

    def _tell_drops(self) -> None:
        """When thousands of nodes or pods come at once, a line for each would cost more than what it tells of."""
        now = self._clock.monotonic()
        if self._dropped and now - self._drops_told >= _TELL_DROPS_SECONDS:
            log.warning("events dropped, queue full component=%s count=%d", self._component, self._dropped)
            self._dropped, self._drops_told = 0, now

    async def run(self) -> None:
        while True:
            event = await self._queue.get()
            self._tell_drops()
            try:
                await self._record(event)
            finally:
                self._queue.task_done()

    async def drain(self) -> None:
        """Waits until everything queued is written or given up; needs `run()` running."""
        await self._queue.join()

    def _build(
        self, obj: Object, type: str, reason: str, message: str, action: str, field_path: str, component: str
    ) -> Object:
        involved = reference_to(obj)
        if field_path:
            involved["fieldPath"] = field_path
        now = self._clock.now()
        # The name's suffix is the time in nanoseconds, as client-go's; ours must also differ within one tick.
        self._last_stamp = max(self._last_stamp + 1, int(now.timestamp() * 1_000_000) * 1000)
        source: Object = {"component": component}
        if self._host:
            source["host"] = self._host
        event: Object = {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {
                "name": f"{name_of(obj)}.{self._last_stamp:x}",
                "namespace": namespace_of(obj) or "default",
            },
            "involvedObject": involved,
            "reason": reason,
            "message": message[:1024],
            "source": source,
            "firstTimestamp": format_time(now),
            "lastTimestamp": format_time(now),
            "count": 1,
            "type": type,
            "eventTime": None,
            "reportingComponent": component,
            "reportingInstance": self._host,
        }
        if action:
            event["action"] = action
        return event

    async def _record(self, event: Object) -> None:
        if self._is_spam(event):
            return
        key = self._fold(event)
        written = self._written.get(key)
        for attempt in range(_ATTEMPTS):
            try:
                if written is not None:
                    written = await self._repeat(event, written)
                else:
                    await self._client.create(EVENTS, event)
                    written = _Written(name_of(event), 1, event["firstTimestamp"])
                self._written.put(key, written)
                return
            except NotFound:
                if written is None:
                    return  # the namespace is gone
                written = None  # expired meanwhile: begin a new one
            except ApiError as exc:
                transient = exc.status_code >= 500 or isinstance(exc, TooManyRequests)
                if not transient or attempt == _ATTEMPTS - 1:
                    # Refused for good, for instance since its namespace is being deleted.
                    log.info("event not written reason=%s object=%s error=%s", event["reason"], name_of(event), exc)
                    return
                await self._clock.sleep(min(10.0, 0.5 * 2**attempt))

    async def _repeat(self, event: Object, written: _Written) -> _Written:
        patch = {
            "count": written.count + 1,
            "lastTimestamp": event["lastTimestamp"],
            "message": event["message"],
        }
        await self._client.patch(EVENTS, written.name, patch, namespace_of(event), type="merge")
        return _Written(written.name, written.count + 1, written.first)

    def _is_spam(self, event: Object) -> bool:
        """A bucket per source and object: 25 at once, then one every five minutes."""
        key = (_source_key(event), _involved_key(event))
        now = self._clock.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(_BURST, now)
            self._buckets.put(key, bucket)
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.at) * _REFILL_PER_SECOND)
        bucket.at = now
        if bucket.tokens < 1:
            return True
        bucket.tokens -= 1
        return False

    def _fold(self, event: Object) -> Any:
        """The key under which repeats are counted; rewrites the message once too many similar ones came."""
        similar_key = (_source_key(event), _involved_key(event), event["type"], event["reason"])
        now = self._clock.monotonic()
        similar = self._similar.get(similar_key)
        if similar is None or now - similar.at > _SIMILAR_SECONDS:
            similar = _Similar(set(), now)
            self._similar.put(similar_key, similar)
        similar.at = now
        if event["message"] in similar.messages or len(similar.messages) < _SIMILAR_LIMIT:
            similar.messages.add(event["message"])
            return similar_key, event["message"]
        event["message"] = f"(combined from similar events): {event['message']}"[:1024]
        return similar_key


def reference_to(obj: Object) -> Object:
    """An ObjectReference to the object as it is."""
    reference: Object = {
        "kind": obj.get("kind", ""),
        "namespace": namespace_of(obj),
        "name": name_of(obj),
        "uid": uid_of(obj),
        "apiVersion": obj.get("apiVersion", ""),
        "resourceVersion": resource_version_of(obj),
    }
    return {field: value for field, value in reference.items() if value}


def _source_key(event: Object) -> tuple[str, str]:
    return event["source"]["component"], event["source"].get("host", "")


def _involved_key(event: Object) -> tuple[str, ...]:
    involved = event["involvedObject"]
    return tuple(involved.get(field, "") for field in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath"))
