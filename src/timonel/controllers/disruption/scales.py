"""How many pods the controllers of some pods want, whichever kinds they are.

Those of built-in kinds are read from the shared copies. Of any other kind the subresource `scale` is asked for; whether
there is one is known from discovery.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson

from timonel.api.errors import NotFound, error_from_status
from timonel.api.objects import Object, controller_of, get_path, name_of, namespace_of, uid_of
from timonel.api.refs import DEPLOYMENTS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS, ResourceRef
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient

WORKLOADS = (DEPLOYMENTS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS)


class UnknownScale(Exception):
    """It cannot be known, and asking again will not help; the message says why."""


@dataclass(frozen=True, slots=True)
class Scale:
    replicas: int
    unmanaged: tuple[str, ...]
    """Names of pods that no controller owns."""


@dataclass(frozen=True, slots=True)
class _Served:
    ref: ResourceRef
    scales: bool


class Scales:
    """Kinds once discovered are remembered; those that were not served, or had no scale, are looked for again."""

    def __init__(self, client: ApiClient, informers: Informers) -> None:
        self._client = client
        self._listers = {(ref.kind, ref.group): informers.of(ref).lister for ref in WORKLOADS}
        self._served: dict[tuple[str, str], _Served] = {}

    async def of(self, pods: Iterable[Object]) -> Scale:
        """The sum over all controllers of the pods. Raises UnknownScale, or ApiError when the server cannot tell."""
        scales: dict[str, int] = {}
        seen: set[str] = set()
        unmanaged: list[str] = []
        for pod in sorted(pods, key=name_of):
            owner = controller_of(pod)
            if owner is None:
                unmanaged.append(name_of(pod))
            elif owner["uid"] not in seen:
                found = self._known(owner, namespace_of(pod)) or await self._asked(owner, namespace_of(pod))
                if found is None:
                    raise UnknownScale(f'found no controllers for pod "{name_of(pod)}"')
                seen.add(owner["uid"])
                scales[found[0]] = found[1]
        return Scale(sum(scales.values()), tuple(unmanaged))

    def _known(self, owner: Object, namespace: str) -> tuple[str, int] | None:
        """(uid, replicas) of a built-in controller, or of the Deployment above a ReplicaSet."""
        lister = self._listers.get((owner["kind"], owner["apiVersion"].rpartition("/")[0]))
        found = lister.get(namespace, owner["name"]) if lister is not None else None
        if found is None or uid_of(found) != owner["uid"]:
            return None
        above = controller_of(found)
        if owner["kind"] == REPLICA_SETS.kind and above is not None and above["kind"] == DEPLOYMENTS.kind:
            return self._known(above, namespace)
        return uid_of(found), get_path(found, "spec", "replicas", default=1)

    async def _asked(self, owner: Object, namespace: str) -> tuple[str, int] | None:
        served = await self._discover(owner["apiVersion"], owner["kind"])
        if not served.scales:
            raise UnknownScale(f"{served.ref.group_resource} does not implement the scale subresource")
        where = namespace if served.ref.namespaced else ""
        try:
            scale = await self._client.get(served.ref, owner["name"], where, subresource="scale")
        except NotFound:
            return None
        if uid_of(scale) != owner["uid"]:
            return None
        return uid_of(scale), get_path(scale, "spec", "replicas", default=0)

    async def _discover(self, api_version: str, kind: str) -> _Served:
        served = self._served.get((api_version, kind))
        if served is not None:
            return served
        path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        status, _, body = await self._client.raw("GET", path)
        if status == 404:
            raise UnknownScale(_no_matches(kind, api_version))
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = {}
        if status >= 400 or not document:
            raise error_from_status(document or {"message": f"discovery of {path} failed"}, max(status, 500))
        rows = document.get("resources") or []
        found = next((row for row in rows if row["kind"] == kind and "/" not in row["name"]), None)
        if found is None:
            raise UnknownScale(_no_matches(kind, api_version))
        group, _, version = api_version.rpartition("/")
        ref = ResourceRef(group, version, found["name"], kind, bool(found["namespaced"]))
        served = _Served(ref, False)
        for row in rows:
            if row["name"] == f"{ref.plural}/scale" and row["kind"] == "Scale":
                served = replace(served, scales=True)
                self._served[api_version, kind] = served
        return served


def _no_matches(kind: str, api_version: str) -> str:
    return f'no matches for kind "{kind}" in version "{api_version}"'
