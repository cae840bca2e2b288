"""Flow control of one server, put together: fair queues and the tasks that keep them, or plain limits."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from timonel.api.clock import Clock
from timonel.api.errors import ApiError
from timonel.api.objects import Object
from timonel.api.refs import FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS, ResourceRef
from timonel.api.resource import ResourceTable
from timonel.apiserver.config import ApiServerConfig
from timonel.apiserver.flowcontrol.control import FlowControl
from timonel.apiserver.flowcontrol.following import ConfigurationFollower
from timonel.apiserver.flowcontrol.keeping import ConfigurationKeeper
from timonel.apiserver.flowcontrol.levels import Levels
from timonel.apiserver.flowcontrol.max_in_flight import MaxInFlight
from timonel.apiserver.flowcontrol.protocol import Control
from timonel.apiserver.registry.calls import own_call
from timonel.apiserver.registry.deleting import delete_object
from timonel.apiserver.registry.registry import CacheReader, Registry

log = logging.getLogger(__name__)

_PRODUCER = "api-priority-and-fairness-config-producer-v1"
_CONSUMER = "api-priority-and-fairness-config-consumer-v1"
"""Field managers, upstream's."""
_SAMPLE = 16


class FlowService:
    """`control` is what requests pass; `levels` is None when plain limits are configured instead."""

    def __init__(self, *, config: ApiServerConfig, registry: Registry, table: ResourceTable, clock: Clock) -> None:
        self.levels: Levels | None = None
        self.control: Control
        self._keeper: ConfigurationKeeper | None = None
        self._follower: ConfigurationFollower | None = None
        served = {FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS} <= {row.ref for row in table.rows}
        if served:
            self._keeper = ConfigurationKeeper(objects=_OwnObjects(registry, _PRODUCER), clock=clock)
        if not config.enable_priority_and_fairness:
            self.control = MaxInFlight(reads=config.max_requests_inflight, writes=config.max_mutating_requests_inflight)
            return
        total = config.max_requests_inflight + config.max_mutating_requests_inflight
        self.levels = Levels(total=total, now=clock.monotonic())
        self.control = control = FlowControl(
            levels=self.levels, clock=clock, stored=StoredSizes(registry=registry, table=table)
        )
        if served:
            self._follower = ConfigurationFollower(
                objects=_OwnObjects(registry, _CONSUMER), control=control, clock=clock, jitter=random.uniform
            )

    async def start(self) -> None:
        """Before the first request: the objects exist and are in force. Raises StoreError."""
        try:
            if self._keeper is not None:
                await self._keeper.ensure()
        except ApiError as error:
            # The mandatory levels are in force without objects too; the task will try again.
            log.error("flow control objects could not be made error=%s", error)
        if self._follower is not None:
            self._follower.start()
            with suppress(ApiError):  # the task will try again
                await self._follower.write_conditions()

    async def run(self) -> None:
        """Until cancelled, or until there is nothing to do."""
        async with asyncio.TaskGroup() as tasks:
            if self._keeper is not None:
                tasks.create_task(self._keeper.run(), name="flow-control-objects")
            if self._follower is not None:
                tasks.create_task(self._follower.run(), name="flow-control")

    def checks(self) -> dict[str, Callable[[], str]]:
        """Health checks by upstream's names of the hooks that do the same there."""

        def fine() -> str:
            return ""

        def made() -> str:
            return "" if self._keeper is None or self._keeper.has_ensured else "not finished"

        def followed() -> str:
            return "" if self._follower is None or self._follower.has_started else "not finished"

        checks: dict[str, Callable[[], str]] = {"poststarthook/priority-and-fairness-config-producer": made}
        if self.levels is None:
            return {"poststarthook/max-in-flight-filter": fine, **checks}
        return {
            "poststarthook/priority-and-fairness-config-consumer": followed,
            "poststarthook/priority-and-fairness-filter": fine,
            **checks,
        }


class StoredSizes:
    """Implements `work.Stored` by the watch caches. Sizes are averages over a few objects, worked out now and then."""

    def __init__(self, *, registry: Registry, table: ResourceTable) -> None:
        self._caches = {
            (row.ref.group, row.ref.plural): registry.of(row.ref).cache for row in table.rows if row.storage_prefix
        }
        self._known: dict[tuple[str, str], tuple[int, int]] = {}

    def __call__(self, group: str, resource: str) -> tuple[int, int] | None:
        key = (group, resource)
        cache = self._caches.get(key)
        if cache is None:
            return None
        count = len(cache)
        known = self._known.get(key)
        if known is None or abs(count - known[0]) * 8 > known[0]:
            sample = cache.list(limit=_SAMPLE)
            size = sum(len(cached.value) for cached in sample) // len(sample) if sample else 0
            known = self._known[key] = (count, size)
        return count, known[1]


class _OwnObjects:
    """The registry as `keeping.Objects`: writes of the server itself, under one field manager."""

    def __init__(self, registry: Registry, manager: str) -> None:
        self._registry = registry
        self._manager = manager

    def reader(self, ref: ResourceRef) -> CacheReader:
        return self._registry.reader(ref)

    async def create(self, ref: ResourceRef, obj: Object) -> object:
        registry = self._registry.of(ref)
        call = replace(own_call(registry.resource, "create"), field_manager=self._manager)
        return await registry.create({"kind": ref.kind, "apiVersion": ref.api_version, **obj}, "", call)

    async def update(
        self, ref: ResourceRef, name: str, transform: Callable[[Object], Object], *, subresource: str = ""
    ) -> object:
        registry = self._registry.of(ref)
        call = own_call(registry.resource, "update", "", name, subresource=subresource)
        call = replace(call, field_manager=self._manager)
        return await registry.update("", name, transform, call, subresource=subresource, patching=True)

    async def apply_status(self, ref: ResourceRef, name: str, status: Object) -> object:
        return await self._registry.apply(
            ref, "", name, {"status": status}, manager=self._manager, subresource="status"
        )

    async def delete(self, ref: ResourceRef, name: str) -> object:
        registry = self._registry.of(ref)
        return await delete_object(registry, "", name, {}, own_call(registry.resource, "delete", "", name))
