"""Who asks and whether they may, by what the API server says; nobody is anonymous here.

Source: kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, Forbidden, InternalError, Unauthorized
from timonel.client.delegated_access import DelegatedAccess, Reviewer, User

logger = logging.getLogger(__name__)

TOKEN_SECONDS = 120.0
ALLOWED_SECONDS = 300.0
DENIED_SECONDS = 30.0

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


class Access:
    def __init__(self, *, client: Reviewer, clock: Clock, node_name: str) -> None:
        self._node_name = node_name
        self._access = DelegatedAccess(
            client=client,
            clock=clock,
            token_seconds=TOKEN_SECONDS,
            allowed_seconds=ALLOWED_SECONDS,
            denied_seconds=DENIED_SECONDS,
        )

    async def authenticate(self, certificate: Mapping[str, Any] | None, authorization: str) -> User:
        """`authorization` is the HTTP header. Raises Unauthorized, also when there is no credential at all."""
        user = await self._access.authenticate(certificate, authorization)
        if user is None:
            raise Unauthorized
        return user

    async def authorize(self, user: User, method: str, path: str) -> None:
        """Raises Forbidden with upstream's words, InternalError when the API server cannot be asked."""
        verb = _VERBS.get(method, "")
        subresources = subresources_of(path)
        for subresource in subresources:
            asked = (
                ("verb", verb),
                ("version", "v1"),
                ("resource", "nodes"),
                ("subresource", subresource),
                ("name", self._node_name),
            )
            try:
                allowed = await self._access.may_use(user, asked)
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
