"""Who asks a component, and whether they may: client certificates, bearer tokens by TokenReview, rights by
SubjectAccessReview. The kubelet's port and the manager's rest on it.

Answers of the API server are kept for a while, as upstream keeps them, and questions asked at the same time share one
review.
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
from timonel.api.errors import ApiError, Unauthorized
from timonel.api.objects import Object, get_path
from timonel.api.refs import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, ResourceRef

log = logging.getLogger(__name__)

_MOST_KEPT = 4096

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


Attributes = tuple[tuple[str, str], ...]
"""Of the request, as resourceAttributes or nonResourceAttributes name them, in any fixed order."""


class DelegatedAccess:
    """Times in seconds: how long answers are kept."""

    def __init__(
        self,
        *,
        client: Reviewer,
        clock: Clock,
        token_seconds: float = 10.0,
        allowed_seconds: float = 10.0,
        denied_seconds: float = 10.0,
    ) -> None:
        self._client = client
        self._token_seconds = token_seconds
        self._allowed_seconds = allowed_seconds
        self._denied_seconds = denied_seconds
        self._tokens: _Memory[str, User | None] = _Memory(clock)
        self._decisions: _Memory[tuple[User, str, Attributes], bool] = _Memory(clock)

    async def authenticate(self, certificate: Mapping[str, Any] | None, authorization: str) -> User | None:
        """`authorization` is the HTTP header. None without any credential; raises Unauthorized for a bad one."""
        user = user_of_certificate(certificate)
        if user is not None:
            return user
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        digest = hashlib.sha256(token.encode()).hexdigest()
        user = await self._tokens.get(digest, lambda: self._review_token(token), lambda _: self._token_seconds)
        if user is None:
            raise Unauthorized
        return user

    async def may_use(self, user: User, resource: Attributes) -> bool:
        """Whether the user has a right to a resource. Raises ApiError when the API server cannot be asked."""
        return await self._may(user, "resourceAttributes", resource)

    async def may_visit(self, user: User, verb: str, path: str) -> bool:
        """The same for a plain path."""
        return await self._may(user, "nonResourceAttributes", (("path", path), ("verb", verb)))

    async def _may(self, user: User, kind: str, attributes: Attributes) -> bool:
        return await self._decisions.get(
            (user, kind, attributes),
            lambda: self._review_access(user, kind, attributes),
            lambda allowed: self._allowed_seconds if allowed else self._denied_seconds,
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
            log.warning("could not review a token error=%s", exc)
            raise Unauthorized from exc
        user = status.get("user") or {}
        if not status.get("authenticated") or not user.get("username"):
            return None
        extra = tuple((key, tuple(values)) for key, values in sorted((user.get("extra") or {}).items()))
        return User(user["username"], user.get("uid") or "", tuple(user.get("groups") or ()), extra)

    async def _review_access(self, user: User, kind: str, attributes: Attributes) -> bool:
        spec: Object = {"user": user.name, "groups": list(user.groups), kind: dict(attributes)}
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
