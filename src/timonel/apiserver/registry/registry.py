"""All resources of one server: their caches, their write paths, and how neighbours in this process reach them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from timonel.api.clock import Clock
from timonel.api.managed_fields import apply as apply_configuration
from timonel.api.objects import Object, copy_object
from timonel.api.refs import ResourceRef
from timonel.api.resource import Resource, ResourceTable
from timonel.api.schema import schemas
from timonel.apiserver.admission.chain import Admission
from timonel.apiserver.registry.calls import own_call
from timonel.apiserver.registry.conversion import CONVERSIONS, views_of
from timonel.apiserver.registry.deleting import delete_object
from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.registry.written import Transform, Written
from timonel.storage.cache import WatchCache
from timonel.storage.cached_object import CachedObject
from timonel.storage.codec import Codec
from timonel.storage.protocol import Store

INDEXED_FIELDS = {"/registry/pods/": ("spec.nodeName",)}
"""Kubelets list and watch by node: without the index every pod would be looked at for each of them."""
RETURNS_DELETED = frozenset({
    ("", "namespaces"), ("", "persistentvolumeclaims"), ("", "persistentvolumes"), ("", "pods"), ("", "podtemplates"),
    ("", "resourcequotas"), ("", "serviceaccounts"), ("", "services"), ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "csidrivers"), ("storage.k8s.io", "csinodes"), ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"), ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceclaims"), ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourceslices"),
})  # fmt: skip
"""Kinds whose DELETE answers with the object; the others answer with a Status."""


class Registry:
    def __init__(
        self,
        *,
        table: ResourceTable,
        store: Store,
        clock: Clock,
        admission: Admission,
        codecs: Callable[[Resource], Codec],
        event_ttl_seconds: int = 3600,
    ) -> None:
        self.table = table
        self.store = store
        self._caches: dict[str, WatchCache] = {}
        self._registries: dict[ResourceRef, ResourceRegistry] = {}
        stored = [row for row in table.rows if row.storage_prefix]
        for row in stored:
            prefix = row.storage_prefix
            if prefix not in self._caches:
                fields: dict[str, Callable[[Object], str]] = {}
                for other in stored:
                    if other.storage_prefix == prefix:
                        fields.update(other.selectable_fields)
                self._caches[prefix] = WatchCache(
                    store,
                    prefix,
                    codec=codecs(row),
                    namespaced=row.ref.namespaced,
                    fields=fields,
                    index_fields=[path for path in INDEXED_FIELDS.get(prefix, ()) if path in fields],
                )
            cache = self._caches[prefix]
            conversion = CONVERSIONS.get(row.ref)
            self._registries[row.ref] = ResourceRegistry(
                resource=row,
                stored=_stored_row(row, stored) if conversion else None,
                cache=cache,
                clock=clock,
                admission=admission,
                ttl_seconds=event_ttl_seconds if row.ref.plural == "events" else 0,
                conversion=conversion,
                views=views_of(row, stored),
                returns_deleted=(row.ref.group, row.ref.plural) in RETURNS_DELETED,
            )

    async def start(self) -> None:
        """Reads every resource into memory. Raises StoreError."""
        await asyncio.gather(*(cache.start() for cache in self._caches.values()))

    def end_watches(self) -> None:
        """After what is queued. Writes go on, and are followed."""
        for cache in self._caches.values():
            cache.end_watches()

    def close(self) -> None:
        """No write may be under way: it would not be heard of."""
        for cache in self._caches.values():
            cache.close()

    @property
    def caches(self) -> Iterable[tuple[str, WatchCache]]:
        return self._caches.items()

    def of(self, ref: ResourceRef) -> ResourceRegistry:
        """KeyError when the resource is not served, or never stored."""
        return self._registries[ref]

    def reader(self, ref: ResourceRef) -> CacheReader:
        """KeyError when the resource is not served."""
        return CacheReader(self._registries[ref])

    # Writes of the server itself. They pass admission like everybody's, as system:apiserver.

    async def create(self, ref: ResourceRef, obj: Object, namespace: str = "") -> Written:
        """`obj` becomes the registry's. Raises AlreadyExists, Invalid, …"""
        registry = self._registries[ref]
        obj.setdefault("kind", ref.kind)
        obj.setdefault("apiVersion", ref.api_version)
        namespace = namespace or (obj.get("metadata") or {}).get("namespace") or ""
        return await registry.create(obj, namespace, own_call(registry.resource, "create", namespace))

    async def update(
        self, ref: ResourceRef, namespace: str, name: str, transform: Transform, *, subresource: str = ""
    ) -> Written:
        """Raises NotFound, Invalid, …"""
        registry = self._registries[ref]
        call = own_call(registry.resource, "update", namespace, name, subresource=subresource)
        return await registry.update(namespace, name, transform, call, subresource=subresource, patching=True)

    async def apply(
        self, ref: ResourceRef, namespace: str, name: str, part: Object, *, manager: str, subresource: str = ""
    ) -> Written:
        """Server-side apply of `part` ({"status": …}) to an object that is there, by force. Raises NotFound, Invalid, …

        What the manager applied before and leaves out now goes.
        """
        registry = self._registries[ref]
        call = replace(
            own_call(registry.resource, "patch", namespace, name, subresource=subresource), field_manager=manager
        )
        config = {"kind": ref.kind, "apiVersion": ref.api_version, "metadata": {"name": name}, **part}
        if ref.namespaced:
            config["metadata"]["namespace"] = namespace

        def transform(live: Object) -> Object:
            applied = apply_configuration(
                live, copy_object(config), registry.resource.definition, manager, True, registry.clock.now(),
                ref.api_version, subresource=subresource,
                views=registry.views,
            )  # fmt: skip
            schemas().check(registry.resource.definition, applied)  # fills in what is always shown
            return applied

        return await registry.update(
            namespace, name, transform, call, subresource=subresource, tracked=False, patching=True
        )

    async def delete(self, ref: ResourceRef, namespace: str, name: str) -> Written:
        registry = self._registries[ref]
        return await delete_object(
            registry, namespace, name, {}, own_call(registry.resource, "delete", namespace, name)
        )


@dataclass(frozen=True, slots=True)
class CacheReader:
    """`timonel.apiserver.readers.Reader` over a watch cache, in the stored shape. Objects are shared: read only."""

    registry: ResourceRegistry

    def get(self, namespace: str, name: str) -> Object | None:
        cached = self.registry.find(namespace, name)
        return None if cached is None else cached.obj

    def list(self, namespace: str | None = None) -> Sequence[Object]:
        cache = self.registry.cache
        return [cached.obj for cached in cache.list(self.registry.resource.storage_range(namespace or ""))]

    def subscribe(self, listener: Callable[[Object | None, Object | None], None]) -> None:
        """Calls `listener` for every object there is, then for every change as the cache takes it in."""
        self.registry.cache.subscribe(lambda old, new: listener(_obj(old), _obj(new)))


def _obj(cached: CachedObject | None) -> Object | None:
    return None if cached is None else cached.obj


def _stored_row(row: Resource, rows: Iterable[Resource]) -> Resource:
    """The row whose shape a shared storage holds: the first of its prefix that needs no conversion."""
    return next(other for other in rows if other.storage_prefix == row.storage_prefix and other.ref not in CONVERSIONS)
