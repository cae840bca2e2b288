"""Who asks and whether they may: client certificates, bearer tokens by TokenReview, rights by SubjectAccessReview.

Nobody is anonymous here. Answers of the API server are kept for a while, as upstream's kubelet keeps them, and
questions asked at the same time share one review.
Source: kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, Forbidden, InternalError, Unauthorized
from timonel.api.objects import Object, get_path
from timonel.api.refs import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, ResourceRef

logger = logging.getLogger(__name__)

TOKEN_SECONDS = 120.0
ALLOWED_SECONDS = 300.0
DENIED_SECONDS = 30.0
_MOST_KEPT = 4096

_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

_FINE_GRAINED = {"/pods": "pods", "/runningpods": "pods", "/healthz": "healthz", "/configz": "configz"}
"""These are also open to whoever has nodes/proxy."""

_SUBRESOURCES = {
    "/stats": "stats",
    "/metrics": "metrics",
    "/logs": "log",
    "/checkpoint": "checkpoint",
    "/statusz": "statusz",
    "/flagz": "configz",
}

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class User:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = field(default=())


class Reviewer(Protocol):
    """The part of the API client that is needed here."""

    async def create(self, ref: ResourceRef, obj: Object) -> Object: ...


def subresources_of(path: str) -> tuple[str, ...]:
    """Which subresources of the node open a path; any one of them is enough. "/pods" -> ("pods", "proxy")."""
    for prefix, subresource in _SUBRESOURCES.items():
        if _is_under(path, prefix):
            return (subresource,)
    for prefix, subresource in _FINE_GRAINED.items():
        if _is_under(path, prefix):
            return (subresource, "proxy")
    return ("proxy",)


def _is_under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def user_of_certificate(certificate: Mapping[str, Any] | None) -> User | None:
    """CN is the name and every O a group, of a certificate TLS has verified. None without one or without a CN."""
    names: list[str] = []
    groups: list[str] = []
    for relative_name in (certificate or {}).get("subject", ()):
        for key, value in relative_name:
            if key == "commonName":
                names.append(value)
            elif key == "organizationName":
                groups.append(value)
    if not names:
        return None
    return User(names[-1], groups=(*groups, "system:authenticated"))


class Access:
    def __init__(self, *, client: Reviewer, clock: Clock, node_name: str) -> None:
        self._client = client
        self._node_name = node_name
        self._tokens: _Memory[str, User | None] = _Memory(clock)
        self._decisions: _Memory[tuple[User, str, str], bool] = _Memory(clock)

    async def authenticate(self, certificate: Mapping[str, Any] | None, authorization: str) -> User:
        """`authorization` is the HTTP header. Raises Unauthorized, also when there is no credential at all."""
        user = user_of_certificate(certificate)
        if user is not None:
            return user
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized
        user = await self._tokens.get(
            hashlib.sha256(token.encode()).hexdigest(), lambda: self._review_token(token), lambda _: TOKEN_SECONDS
        )
        if user is None:
            raise Unauthorized
        return user

    async def authorize(self, user: User, method: str, path: str) -> None:
        """Raises Forbidden with upstream's words, InternalError when the API server cannot be asked."""
        verb = _VERBS.get(method, "")
        subresources = subresources_of(path)
        for subresource in subresources:
            try:
                allowed = await self._decisions.get(
                    (user, verb, subresource),
                    lambda subresource=subresource: self._review_access(user, verb, subresource),  # type: ignore[misc]
                    lambda allowed: ALLOWED_SECONDS if allowed else DENIED_SECONDS,
                )
            except ApiError as exc:
                logger.warning("could not review access user=%s subresource=%s error=%s", user.name, subresource, exc)
                raise InternalError(
                    f"Authorization error (user={user.name}, verb={verb}, resource=nodes, subresource={subresource})"
                ) from exc
            if allowed:
                return
        raise Forbidden(
            f"Forbidden (user={user.name}, verb={verb}, resource=nodes, subresource(s)=[{' '.join(subresources)}])\n"
        )

    async def _review_token(self, token: str) -> User | None:
        review = {
            "kind": TOKEN_REVIEWS.kind,
            "apiVersion": TOKEN_REVIEWS.api_version,
            "metadata": {},
            "spec": {"token": token},
        }
        try:
            status = (await self._client.create(TOKEN_REVIEWS, review)).get("status") or {}
        except ApiError as exc:
            logger.warning("could not review a token error=%s", exc)
            raise Unauthorized from exc
        user = status.get("user") or {}
        if not status.get("authenticated") or not user.get("username"):
            return None
        extra = tuple((key, tuple(values)) for key, values in sorted((user.get("extra") or {}).items()))
        return User(user["username"], user.get("uid") or "", tuple(user.get("groups") or ()), extra)

    async def _review_access(self, user: User, verb: str, subresource: str) -> bool:
        spec: Object = {
            "user": user.name,
            "groups": list(user.groups),
            "resourceAttributes": {
                "verb": verb,
                "version": "v1",
                "resource": "nodes",
                "subresource": subresource,
                "name": self._node_name,
            },
        }
        if user.uid:
            spec["uid"] = user.uid
        if user.extra:
            spec["extra"] = {key: list(values) for key, values in user.extra}
        review = {
            "kind": SUBJECT_ACCESS_REVIEWS.kind,
            "apiVersion": SUBJECT_ACCESS_REVIEWS.api_version,
            "metadata": {},
            "spec": spec,
        }
        return bool(get_path(await self._client.create(SUBJECT_ACCESS_REVIEWS, review), "status", "allowed"))


class _Memory(Generic[K, V]):
    """Answers kept until they expire, the least recently used going first; failures are not kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._asking: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, ask: Callable[[], Awaitable[V]], seconds: Callable[[V], float]) -> V:
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self._clock.monotonic():
            self._kept.move_to_end(key)
            return kept[1]
        task = self._asking.get(key)
        if task is None:
            task = asyncio.ensure_future(self._ask(key, ask, seconds))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, key: K, ask: Callable[[], Awaitable[V]], seconds: Callable[[V], float]) -> V:
        answer = await ask()
        self._kept[key] = (self._clock.monotonic() + seconds(answer), answer)
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return answer
