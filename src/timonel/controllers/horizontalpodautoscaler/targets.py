"""What an autoscaler scales: any kind with the subresource `scale`, found by discovery and asked over the API."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from timonel.api.errors import ApiError, Conflict, NotFound, error_from_status
from timonel.api.names import validate_dns1123_subdomain
from timonel.api.objects import Object, copy_object, get_path
from timonel.api.refs import ResourceRef
from timonel.client.protocol import ApiClient

_TRIES = 5


class UnknownTarget(Exception):
    """There is no such kind; the message says so in upstream's words."""


@dataclass(slots=True)
class Target:
    ref: ResourceRef
    scale: Object

    @property
    def replicas(self) -> int:
        """Those that are wanted."""
        return int(get_path(self.scale, "spec", "replicas", default=0))

    @property
    def present(self) -> int:
        """Those that are there."""
        return int(get_path(self.scale, "status", "replicas", default=0))

    @property
    def selector(self) -> str:
        return str(get_path(self.scale, "status", "selector", default="") or "")


class Targets:
    """Kinds once found are remembered; what a kind's owner changes about it, an answer 404 makes look for anew."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._known: dict[tuple[str, str], list[ResourceRef]] = {}

    async def find(self, namespace: str, reference: Object) -> Target:
        """`reference` is a scaleTargetRef. Raises UnknownTarget or ApiError."""
        refs = await self.resources(reference.get("apiVersion") or "", reference["kind"])
        first: ApiError | None = None
        for ref in refs:
            try:
                scale = await self._client.get(ref, reference["name"], namespace, subresource="scale")
            except ApiError as exc:
                first = first or exc
                if isinstance(exc, NotFound):
                    self._known.pop((ref.group, ref.kind), None)
                continue
            return Target(ref, scale)
        assert first is not None
        raise first

    async def resize(self, target: Target, replicas: int) -> None:
        """Tries again when somebody else wrote in between. Raises ApiError."""
        scale = target.scale
        for left in reversed(range(_TRIES)):
            wanted = copy_object(scale)
            wanted.setdefault("spec", {})["replicas"] = replicas
            try:
                await self._client.update(target.ref, wanted, subresource="scale")
            except Conflict:
                if not left:
                    raise
                metadata = scale["metadata"]
                scale = await self._client.get(target.ref, metadata["name"], metadata["namespace"], subresource="scale")
            else:
                return

    async def resources(self, api_version: str, kind: str) -> list[ResourceRef]:
        """Where a kind is served, the version that was named first. Raises UnknownTarget, ApiError."""
        group, _, version = api_version.rpartition("/")
        if "/" in group or (group and validate_dns1123_subdomain(group)):
            raise UnknownTarget(f"unexpected GroupVersion string: {api_version}")
        known = self._known.get((group, kind))
        if known is None:
            known = await self._discover(group, kind)
            self._known[group, kind] = known
        return sorted(known, key=lambda ref: ref.version != version)

    async def _discover(self, group: str, kind: str) -> list[ResourceRef]:
        versions = ["v1"]
        if group:
            document = await self._document(f"/apis/{group}")
            versions = [each["version"] for each in (document or {}).get("versions") or ()]
        found = []
        for version in versions:
            document = await self._document(f"/apis/{group}/{version}" if group else f"/api/{version}")
            for row in (document or {}).get("resources") or ():
                if row["kind"] == kind and "/" not in row["name"]:
                    found.append(ResourceRef(group, version, row["name"], kind, bool(row["namespaced"])))
        if not found:
            raise UnknownTarget(f'no matches for kind "{kind}" in group "{group}"')
        return found

    async def _document(self, path: str) -> Object | None:
        return await get_document(self._client, path)


async def get_document(client: ApiClient, path: str, params: dict[str, str] | None = None) -> Object | None:
    """None when nothing is there. Raises ApiError."""
    status, _, body = await client.raw("GET", path, params=params)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = {}
    if status == 404:
        return None
    if status >= 400:
        raise error_from_status(document or {"message": f"GET {path} was answered {status}"}, status)
    return document if isinstance(document, dict) else {}
