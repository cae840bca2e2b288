"""EventRateLimit: so many Events a second, of the server, a namespace, a user, or a source and object. Off by default.

Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#eventratelimit
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.api.errors import TooManyRequests, join_errors
from timonel.api.objects import get_path
from timonel.api.refs import EVENTS, EVENTS_V1
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin

_CACHE_SIZE = 4096


def _source_and_object(request: AdmissionRequest) -> str:
    source, about = (get_path(request.obj, part, default={}) for part in ("source", "involvedObject"))
    fields = ("kind", "namespace", "name", "uid", "apiVersion")
    parts = [source.get("component"), source.get("host"), *(about.get(field) for field in fields)]
    return "".join(part or "" for part in parts)


_KEYS: dict[str, Callable[[AdmissionRequest], str]] = {
    "Server": lambda request: "",
    "Namespace": lambda request: request.namespace,
    "User": lambda request: request.user.name,
    "SourceAndObject": _source_and_object,
}


@dataclass(frozen=True, slots=True)
class EventLimit:
    """`qps` Events a second over time, `burst` at once; the last `cache_size` namespaces, users, … are remembered.

    Raises ValueError for what is no limit.
    """

    type: str
    qps: int
    burst: int
    cache_size: int = _CACHE_SIZE

    def __post_init__(self) -> None:
        if self.type not in _KEYS:
            raise ValueError(f"type of an event limit must be one of {', '.join(_KEYS)}, not {self.type}")
        if self.qps <= 0 or self.burst <= 0 or self.cache_size < 0:
            raise ValueError("qps and burst of an event limit must be positive, its cacheSize not negative")


class EventRateLimit(Plugin):
    name = "EventRateLimit"
    operations = frozenset({"CREATE", "UPDATE"})
    resources = frozenset((ref.group, ref.plural) for ref in (EVENTS, EVENTS_V1))

    def __init__(self, *, limits: Sequence[EventLimit], clock: Clock) -> None:
        self._clock = clock
        self._buckets: list[tuple[EventLimit, OrderedDict[str, _Bucket]]] = [(limit, OrderedDict()) for limit in limits]

    async def validate(self, request: AdmissionRequest) -> None:
        if request.dry_run or request.subresource:
            return
        now = self._clock.monotonic()
        found: list[str] = []
        for limit, buckets in self._buckets:
            key = _KEYS[limit.type](request)
            bucket = buckets.get(key)
            if bucket is None:
                bucket = buckets[key] = _Bucket(float(limit.burst), now)
                if len(buckets) > (limit.cache_size or _CACHE_SIZE):
                    buckets.popitem(last=False)
            else:
                buckets.move_to_end(key)
            if not bucket.take(limit, now):
                found.append(f"limit reached on type {limit.type} for key {key}")
        if found:
            raise TooManyRequests(join_errors(found), retry_after_seconds=1)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    since: float

    def take(self, limit: EventLimit, now: float) -> bool:
        self.tokens = min(float(limit.burst), self.tokens + (now - self.since) * limit.qps)
        self.since = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
