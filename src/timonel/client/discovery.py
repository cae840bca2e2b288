"""What a server serves, asked from the server itself, so that kinds nobody here knows are handled as well.

Source: kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from timonel.api.errors import ApiError, InternalError, error_from_status
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.client.protocol import ApiClient


@dataclass(frozen=True, slots=True)
class ServedResource:
    ref: ResourceRef
    verbs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Discovery:
    resources: tuple[ServedResource, ...]
    failed: Mapping[str, ApiError] = field(default_factory=dict)
    """By group version, those whose resources are not known now."""
    unreadable: tuple[str, ...] = ()
    """Group versions that are none, as some extension API server may send: "a/b/c"."""


async def discover(client: ApiClient) -> list[ServedResource]:
    """Every resource once, without subresources: in its group's preferred version, or in the first other one that has
    it. Raises when any part is unavailable: to act on half of what there is would be worse than to try again."""
    found = await discover_available(client)
    for error in found.failed.values():
        raise error
    if found.unreadable:
        raise InternalError(unreadable_message(found.unreadable[0]))
    return list(found.resources)


async def discover_available(client: ApiClient) -> Discovery:
    """The same, for whoever can do with a part: of group versions that do not answer, `failed` tells.

    Raises ApiError when the groups themselves cannot be read.
    """
    groups = (await _get(client, "/apis")).get("groups") or []
    paths = ["/api/v1"]
    for group in groups:
        preferred = group["preferredVersion"]["groupVersion"]
        others = [each["groupVersion"] for each in group.get("versions") or () if each["groupVersion"] != preferred]
        paths += [f"/apis/{group_version}" for group_version in (preferred, *others)]
    documents = await asyncio.gather(*(_get(client, path) for path in paths), return_exceptions=True)
    found: dict[tuple[str, str], ServedResource] = {}
    failed: dict[str, ApiError] = {}
    unreadable: list[str] = []
    for path, document in zip(paths, documents, strict=True):
        if isinstance(document, ApiError):
            failed[path.removeprefix("/apis/").removeprefix("/api/")] = document
            continue
        if isinstance(document, BaseException):
            raise document
        if document["groupVersion"].count("/") > 1:
            unreadable.append(document["groupVersion"])
            continue
        group_name, _, version = document["groupVersion"].rpartition("/")
        for row in document.get("resources") or ():
            key = group_name, row["name"]
            if "/" not in row["name"] and key not in found:
                ref = ResourceRef(group_name, version, row["name"], row["kind"], bool(row["namespaced"]))
                found[key] = ServedResource(ref, frozenset(row.get("verbs") or ()))
    return Discovery(tuple(found.values()), failed, tuple(unreadable))


def unreadable_message(group_version: str) -> str:
    return f"unexpected GroupVersion string: {group_version}"


async def _get(client: ApiClient, path: str) -> Object:
    status, _, body = await client.raw("GET", path)
    try:
        document: Object = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = {}
    if status >= 400:
        raise error_from_status(document or {"message": f"discovery of {path} failed"}, status)
    return document
