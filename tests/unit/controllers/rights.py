"""A client that may do what an identity may by the default policy, in front of the fake client, which allows all.

Every suite that runs the manager thereby shows that each controller gets by with its own role.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from timonel.api.errors import Forbidden
from timonel.api.objects import Object, name_of, namespace_of
from timonel.api.refs import ResourceRef
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes, denied
from timonel.apiserver.authz.rules import matches
from timonel.apiserver.bootstrap.policy import (
    default_cluster_role_bindings,
    default_cluster_roles,
    default_role_bindings,
    default_roles,
)

MANAGER = "system:kube-controller-manager"


def account(name: str) -> str:
    return f"system:serviceaccount:kube-system:{name}"


@cache
def rules_of(user: str) -> tuple[tuple[str, Object], ...]:
    """(namespace or "", rule) pairs that the user holds when the cluster is new."""
    roles = {
        (namespace_of(role), name_of(role)): role["rules"] for role in (*default_cluster_roles(), *default_roles())
    }
    held = []
    for binding in (*default_cluster_role_bindings(), *default_role_bindings()):
        if any(_is(subject, user) for subject in binding.get("subjects") or ()):
            where = namespace_of(binding)
            source = where if binding["roleRef"]["kind"] == "Role" else ""
            held += [(where, rule) for rule in roles[source, binding["roleRef"]["name"]]]
    return tuple(held)


def _is(subject: Object, user: str) -> bool:
    if subject["kind"] == "ServiceAccount":
        return user == f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
    return subject["kind"] == "User" and subject["name"] == user


class Guarded:
    """`client` as one user; what is refused is noted in `refused` as well, since controllers survive refusals."""

    def __init__(self, client: Any, user: str, refused: list[str]) -> None:
        self._client = client
        self._user = user
        self._refused = refused

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def _check(self, verb: str, ref: ResourceRef, namespace: str, name: str = "", subresource: str = "") -> None:
        request = Attributes(
            UserInfo(self._user), verb, ref.group, ref.version, ref.plural, subresource, namespace, name
        )
        if not any(where in ("", namespace) and matches(rule, request) for where, rule in rules_of(self._user)):
            error = denied(request)
            self._refused.append(str(error))
            raise Forbidden(str(error))

    async def get(self, ref, name, namespace="", *, subresource=""):
        self._check("get", ref, namespace, name, subresource)
        return await self._client.get(ref, name, namespace, subresource=subresource)

    async def list(self, ref, namespace="", **options):
        self._check("list", ref, namespace)
        return await self._client.list(ref, namespace, **options)

    def watch(self, ref, namespace="", **options):
        self._check("watch", ref, namespace)
        return self._client.watch(ref, namespace, **options)

    async def create(self, ref, obj, namespace="", **options):
        subresource = options.get("subresource", "")
        self._check("create", ref, namespace or namespace_of(obj), options.get("name", ""), subresource)
        return await self._client.create(ref, obj, namespace, **options)

    async def update(self, ref, obj, **options):
        self._check("update", ref, namespace_of(obj), name_of(obj), options.get("subresource", ""))
        return await self._client.update(ref, obj, **options)

    async def patch(self, ref, name, patch, namespace="", **options):
        self._check("patch", ref, namespace, name, options.get("subresource", ""))
        return await self._client.patch(ref, name, patch, namespace, **options)

    async def delete(self, ref, name, namespace="", **options):
        self._check("delete", ref, namespace, name)
        return await self._client.delete(ref, name, namespace, **options)

    async def delete_collection(self, ref, namespace="", **options):
        self._check("deletecollection", ref, namespace)
        return await self._client.delete_collection(ref, namespace, **options)


def identities(client: Any, refused: list[str]) -> Any:
    """For ControllerManager(identities=…)."""
    return lambda name: Guarded(client, account(name), refused)


def without_rights(names: Iterable[str]) -> set[str]:
    """Those of the accounts that hold nothing."""
    return {name for name in names if not rules_of(account(name))}
