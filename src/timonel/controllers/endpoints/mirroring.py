"""EndpointSlices for Endpoints that somebody keeps by hand: the loop around mirror_plan.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, NotFound
from timonel.api.objects import Object, ObjectKey, labels_of, name_of, namespace_of, uid_of
from timonel.api.refs import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.conditions import has_cause
from timonel.controllers.endpoints.mirror_plan import MAX_ADDRESSES, MIRROR, MirrorPlan, is_mirrored, plan_mirror
from timonel.controllers.endpoints.slice_plan import MANAGED_BY, SERVICE_NAME, SlicePlan
from timonel.controllers.own_writes import OwnWrites

_INDEX = "mirrored"


@dataclass(frozen=True, slots=True)
class MirroringConfig:
    """Fields are named after the flags of kube-controller-manager."""

    mirroring_max_endpoints_per_subset: int = MAX_ADDRESSES
    mirroring_concurrent_service_endpoint_syncs: int = 5
    mirroring_endpointslice_updates_batch_period: float = 0.0
    """Seconds that changes of slices are gathered."""


class EndpointSliceMirroringController(Controller):
    """Keys are Endpoints, which have the name of their Service."""

    name = "endpointslice-mirroring-controller"

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        config: MirroringConfig | None = None,
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        config = config or MirroringConfig()
        self._max_addresses = config.mirroring_max_endpoints_per_subset
        self.workers = config.mirroring_concurrent_service_endpoint_syncs
        self.own = OwnWrites(clock)
        self.watches = (
            Watch(ENDPOINTS),
            Watch(SERVICES, changed=_selector_changed),
            Watch(
                ENDPOINT_SLICES,
                key=_endpoints_of,
                delay_seconds=config.mirroring_endpointslice_updates_batch_period,
            ),
        )
        self._slices = self.informer(ENDPOINT_SLICES)
        self._slices.add_index(_INDEX, _index)

    async def sync(self, key: ObjectKey) -> Result:
        endpoints = self.lister(ENDPOINTS).get(*key)
        existing = self._slices.lister.by_index(_INDEX, key)
        if endpoints is None or not is_mirrored(endpoints, self.lister(SERVICES).get(*key)):
            # What is left over of Endpoints that are gone belongs to a selector now, or to nobody.
            await self._apply(key, SlicePlan(delete=tuple(existing)))
            self.own.forget(key)
            return Result()
        if not self.own.are_seen(key):
            return Result(requeue_after=1.0)
        plan = plan_mirror(endpoints, existing, self._max_addresses)
        self._warn(endpoints, plan)
        try:
            await self._apply(key, plan.slices)
        except ApiError as exc:
            if has_cause(exc, "NamespaceTerminating"):
                return Result()
            raise
        return Result()

    def _warn(self, endpoints: Object, plan: MirrorPlan) -> None:
        if plan.invalid:
            message = f"Skipped {plan.invalid} invalid IP addresses when mirroring to EndpointSlices"
            self.event(endpoints, "Warning", "InvalidIPAddress", message)
        if plan.skipped > plan.invalid:
            message = (
                f"A max of {self._max_addresses} addresses can be mirrored to EndpointSlices per Endpoints subset."
                f" {plan.skipped} addresses were skipped"
            )
            self.event(endpoints, "Warning", "TooManyAddressesToMirror", message)

    async def _apply(self, key: ObjectKey, plan: SlicePlan) -> None:
        for item in plan.create:
            self.own.wrote(key, self._slices, await self.client.create(ENDPOINT_SLICES, item))
        for item in plan.update:
            self.own.wrote(key, self._slices, await self.client.update(ENDPOINT_SLICES, item))
        for item in plan.delete:
            try:
                await self.client.delete(ENDPOINT_SLICES, name_of(item), namespace_of(item), uid=uid_of(item))
            except NotFound:
                continue
            self.own.deleted(key, self._slices, item)


def _index(item: Object) -> Iterable[ObjectKey]:
    key = _endpoints_of(item)
    return (key,) if isinstance(key, ObjectKey) else ()


def _endpoints_of(item: Object) -> Keys:
    labels = labels_of(item)
    if labels.get(MANAGED_BY) != MIRROR or not labels.get(SERVICE_NAME):
        return None
    return ObjectKey(namespace_of(item), labels[SERVICE_NAME])


def _selector_changed(old: Object, new: Object) -> bool:
    return bool(old["spec"].get("selector")) != bool(new["spec"].get("selector"))
