"""How the server itself tells of Events: as any component does, but by its own write path instead of by HTTP."""

from __future__ import annotations

from typing import Any, Literal

from timonel.api.errors import InternalError
from timonel.api.objects import Object
from timonel.api.patch import apply_merge_patch
from timonel.api.refs import ResourceRef
from timonel.apiserver.registry.registry import Registry
from timonel.storage.protocol import StoreError


class OwnClient:
    """Implements `timonel.client.events.EventWriter`. Raises ApiErrors, as a client does."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def create(self, ref: ResourceRef, obj: Object) -> Object:
        try:
            return (await self._registry.create(ref, obj)).obj
        except StoreError as exc:
            raise InternalError(str(exc)) from exc

    async def patch(
        self, ref: ResourceRef, name: str, patch: Any, namespace: str = "", *, type: Literal["merge"]
    ) -> Object:
        try:
            return (await self._registry.update(ref, namespace, name, lambda live: apply_merge_patch(live, patch))).obj
        except StoreError as exc:
            raise InternalError(str(exc)) from exc
