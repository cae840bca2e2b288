"""The identity of a request, and the well-known users and groups.

Source: kubernetes.io/docs/reference/access-authn-authz/authentication
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from timonel.api.objects import Object

ANONYMOUS_USER = "system:anonymous"
AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"
MASTERS_GROUP = "system:masters"
NODES_GROUP = "system:nodes"
NODE_USER_PREFIX = "system:node:"
SERVICE_ACCOUNT_USER_PREFIX = "system:serviceaccount:"
SERVICE_ACCOUNTS_GROUP = "system:serviceaccounts"

_NO_EXTRA: Mapping[str, tuple[str, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class UserInfo:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NO_EXTRA, hash=False)

    def as_object(self) -> Object:
        """The UserInfo of authentication.k8s.io/v1, empty fields left out."""
        user: Object = {"username": self.name}
        if self.uid:
            user["uid"] = self.uid
        if self.groups:
            user["groups"] = list(self.groups)
        if self.extra:
            user["extra"] = {key: list(values) for key, values in self.extra.items()}
        return user


ANONYMOUS = UserInfo(ANONYMOUS_USER, groups=(UNAUTHENTICATED_GROUP,))
LOOPBACK = UserInfo("system:apiserver", groups=(MASTERS_GROUP, AUTHENTICATED_GROUP))
"""The server acting for itself."""


def service_account_user_name(namespace: str, name: str) -> str:
    return f"{SERVICE_ACCOUNT_USER_PREFIX}{namespace}:{name}"


def split_service_account_user(user_name: str) -> tuple[str, str] | None:
    """(namespace, name) of "system:serviceaccount:ns:name", None for any other user."""
    if not user_name.startswith(SERVICE_ACCOUNT_USER_PREFIX):
        return None
    namespace, separator, name = user_name.removeprefix(SERVICE_ACCOUNT_USER_PREFIX).partition(":")
    return (namespace, name) if separator and namespace and name and ":" not in name else None


def service_account_groups(namespace: str) -> tuple[str, ...]:
    return (SERVICE_ACCOUNTS_GROUP, f"{SERVICE_ACCOUNTS_GROUP}:{namespace}")


def node_name_of(user: UserInfo) -> str | None:
    """The node a kubelet speaks for; None for everybody else, "" for a node without a name."""
    if NODES_GROUP in user.groups and user.name.startswith(NODE_USER_PREFIX):
        return user.name.removeprefix(NODE_USER_PREFIX)
    return None


class Authenticator(Protocol):
    async def authenticate(self, request: Any) -> UserInfo | None:
        """Who sends this aiohttp request.

        None: it carries no credentials and anonymous requests are off. Raises Unauthorized for bad credentials.
        """
        ...
