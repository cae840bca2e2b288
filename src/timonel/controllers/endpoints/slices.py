"""EndpointSlices of Services with a selector: the loop around slice_plan.py."""

from __future__ import annotations

from collections.abc import Iterable

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, NotFound
from timonel.api.objects import Object, ObjectKey, is_deleting, labels_of, name_of, namespace_of, uid_of
from timonel.api.refs import ENDPOINT_SLICES, NODES, SERVICES
from timonel.client.controller import Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.conditions import has_cause
from timonel.controllers.endpoints.addresses import ZONE, selects_pods
from timonel.controllers.endpoints.service_watch import ServiceWatchingController
from timonel.controllers.endpoints.slice_plan import MANAGED_BY, MANAGER, SERVICE_NAME, SlicePlan, plan_slices

_SERVICE_INDEX = "service"


class EndpointSliceController(ServiceWatchingController):
    name = "endpointslice"

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.watches = (
            *self.watches,
            Watch(ENDPOINT_SLICES, key=_service_of_slice),
            Watch(NODES, key=self._all_services, changed=_zone_changed),
        )
        self._slices = self.informer(ENDPOINT_SLICES)
        self._slices.add_index(_SERVICE_INDEX, _index_by_service)

    def _all_services(self, node: Object) -> Keys:
        return self.lister(SERVICES).keys()

    async def sync(self, key: ObjectKey) -> Result:
        service = self.lister(SERVICES).get(*key)
        if service is None or is_deleting(service) or not selects_pods(service):
            self.own.forget(key)
            return Result()  # slices of a deleted Service go with it, by their owner reference
        if not self.own.are_seen(key):
            return Result(requeue_after=1.0)
        existing = self._slices.lister.by_index(_SERVICE_INDEX, key)
        zones = {name_of(node): labels_of(node).get(ZONE, "") for node in self.lister(NODES).list()}
        plan = plan_slices(service, self.pods_of(service), zones, existing)
        try:
            await self._apply(key, plan)
        except ApiError as exc:
            if has_cause(exc, "NamespaceTerminating"):
                return Result()
            message = f"Error updating Endpoint Slices for Service {key}: {exc.message}"
            self.event(service, "Warning", "FailedToUpdateEndpointSlices", message)
            raise
        return Result()

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


def _index_by_service(item: Object) -> Iterable[ObjectKey]:
    key = _service_of_slice(item)
    return (key,) if isinstance(key, ObjectKey) else ()


def _service_of_slice(item: Object) -> Keys:
    labels = labels_of(item)
    if labels.get(MANAGED_BY) != MANAGER or not labels.get(SERVICE_NAME):
        return None
    return ObjectKey(namespace_of(item), labels[SERVICE_NAME])


def _zone_changed(old: Object, new: Object) -> bool:
    return labels_of(old).get(ZONE) != labels_of(new).get(ZONE)
