"""Acting as somebody else: `Impersonate-*` headers, each piece of which needs the verb `impersonate`.

Source: kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
"""

from __future__ import annotations

from urllib.parse import unquote

from multidict import CIMultiDictProxy

from timonel.api.errors import BadRequest
from timonel.apiserver.authn.user import (
    ANONYMOUS_USER,
    AUTHENTICATED_GROUP,
    UNAUTHENTICATED_GROUP,
    UserInfo,
    service_account_groups,
    split_service_account_user,
)
from timonel.apiserver.authz.attributes import Attributes, Authorizer, denied

_USER, _GROUP, _UID, _EXTRA = "Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"


def wants_impersonation(headers: CIMultiDictProxy[str]) -> bool:
    """One pass over the names; a request that impersonates nobody pays no more than this, half a microsecond."""
    for name in headers:  # noqa: SIM110 - a generator would cost twice as much
        if name[:1] in "Ii" and name[:12].lower() == "impersonate-":
            return True
    return False


async def impersonate(user: UserInfo, headers: CIMultiDictProxy[str], authorizer: Authorizer) -> UserInfo:
    """The user that `user` acts as. Raises Forbidden for the first piece that is not allowed, BadRequest for
    groups, UID or extra without a user."""
    name = headers.get(_USER) or ""
    groups = headers.getall(_GROUP, [])
    uid = headers.get(_UID) or ""
    extra: dict[str, list[str]] = {}
    for header, value in headers.items():
        if header.lower().startswith(_EXTRA):
            extra.setdefault(unquote(header[len(_EXTRA) :].lower()), []).append(value)
    if not name:
        if groups or uid or extra:
            raise BadRequest(f"requested {_describe(groups, uid, extra)} without impersonating a user")
        return user
    account = split_service_account_user(name)
    if account is not None:
        await _check(user, authorizer, resource="serviceaccounts", namespace=account[0], name=account[1])
    else:
        await _check(user, authorizer, resource="users", name=name)
    for group in groups:
        await _check(user, authorizer, resource="groups", name=group)
    for key, values in extra.items():
        for value in values:
            await _check(user, authorizer, group=_AUTHENTICATION, resource="userextras", subresource=key, name=value)
    if uid:
        await _check(user, authorizer, group=_AUTHENTICATION, resource="uids", name=uid)
    if account is not None and not groups:
        groups = list(service_account_groups(account[0]))
    return UserInfo(
        name, uid, (*groups, *_implied_groups(name, groups)), {key: tuple(values) for key, values in extra.items()}
    )


def _implied_groups(name: str, groups: list[str]) -> tuple[str, ...]:
    if UNAUTHENTICATED_GROUP in groups:
        return ()
    if name == ANONYMOUS_USER:
        return (UNAUTHENTICATED_GROUP,)
    return () if AUTHENTICATED_GROUP in groups else (AUTHENTICATED_GROUP,)


async def _check(
    user: UserInfo,
    authorizer: Authorizer,
    *,
    resource: str,
    name: str,
    group: str = "",
    namespace: str = "",
    subresource: str = "",
) -> None:
    attributes = Attributes(
        user=user,
        verb="impersonate",
        group=group,
        version="v1" if group or resource == "serviceaccounts" else "",
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
    )
    decision = await authorizer.authorize(attributes)
    if not decision.allowed:
        raise denied(attributes, decision.reason)


def _describe(groups: list[str], uid: str, extra: dict[str, list[str]]) -> str:
    parts = [f"group {group}" for group in groups]
    parts += [f"uid {uid}"] if uid else []
    parts += [f"extra {key}" for key in extra]
    return ", ".join(parts)
