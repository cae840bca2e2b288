"""EndpointSlices of Services with a selector: the loop around slice_plan.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, NotFound
from timonel.api.objects import (
    Object,
    ObjectKey,
    get_path,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from timonel.api.refs import ENDPOINT_SLICES, NODES, SERVICES
from timonel.client.controller import Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.conditions import has_cause
from timonel.controllers.endpoints.addresses import ZONE, address_types, selects_pods
from timonel.controllers.endpoints.service_watch import ServiceWatchingController
from timonel.controllers.endpoints.slice_plan import (
    MANAGED_BY,
    MANAGER,
    MAX_ENDPOINTS,
    SERVICE_NAME,
    SlicePlan,
    plan_slices,
)
from timonel.controllers.endpoints.topology import (
    DISABLED,
    ENABLED,
    HAS_BEEN_DISABLED,
    HAS_BEEN_ENABLED,
    cpu_ratios,
    wants_topology,
)
from timonel.controllers.endpoints.trigger_times import TriggerTimes
from timonel.controllers.pods import is_ready

_SERVICE_INDEX = "service"


@dataclass(frozen=True, slots=True)
class EndpointSliceConfig:
    """Fields are named after the flags of kube-controller-manager."""

    max_endpoints_per_slice: int = MAX_ENDPOINTS
    concurrent_service_endpoint_syncs: int = 5
    endpointslice_updates_batch_period: float = 0.0
    """Seconds that changes of pods are gathered."""


class EndpointSliceController(ServiceWatchingController):
    name = "endpointslice"

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        config: EndpointSliceConfig | None = None,
    ) -> None:
        config = config or EndpointSliceConfig()
        super().__init__(
            client=client,
            informers=informers,
            clock=clock,
            recorder=recorder,
            batch_period=config.endpointslice_updates_batch_period,
        )
        self.workers = config.concurrent_service_endpoint_syncs
        self._max_endpoints = config.max_endpoints_per_slice
        self._times = TriggerTimes()
        self._hinted: set[ObjectKey] = set()
        """Services whose endpoints have hints by topology-mode, to tell when that changes."""
        self.watches = (
            *self.watches,
            Watch(ENDPOINT_SLICES, key=_service_of_slice),
            Watch(NODES, key=self._all_services, changed=_zone_changed),
            Watch(NODES, key=self._services_by_topology, changed=_capacity_changed),
        )
        self._slices = self.informer(ENDPOINT_SLICES)
        self._slices.add_index(_SERVICE_INDEX, _index_by_service)

    def _all_services(self, node: Object) -> Keys:
        return self.lister(SERVICES).keys()

    def _services_by_topology(self, node: Object) -> Keys:
        return [key_of(service) for service in self.lister(SERVICES).list() if wants_topology(service)]

    async def sync(self, key: ObjectKey) -> Result:
        service = self.lister(SERVICES).get(*key)
        if service is None or is_deleting(service) or not selects_pods(service):
            self.own.forget(key)
            self._times.forget(key)
            self._hinted.discard(key)
            return Result()  # slices of a deleted Service go with it, by their owner reference
        if not self.own.are_seen(key):
            return Result(requeue_after=1.0)
        existing = self._slices.lister.by_index(_SERVICE_INDEX, key)
        zones = {name_of(node): labels_of(node).get(ZONE, "") for node in self.lister(NODES).list()}
        pods = self.pods_of(service)
        trigger_time = self._times.next(key, service, pods)
        ratios = cpu_ratios(self.lister(NODES).list()) if wants_topology(service) else None
        plan = plan_slices(service, pods, zones, existing, self._max_endpoints, trigger_time, ratios)
        try:
            await self._apply(key, plan)
        except ApiError as exc:
            if has_cause(exc, "NamespaceTerminating"):
                return Result()
            message = f"Error updating Endpoint Slices for Service {key}: {exc.message}"
            self.event(service, "Warning", "FailedToUpdateEndpointSlices", message)
            raise
        self._tell_of_topology(key, service, plan)
        return Result()

    def _tell_of_topology(self, key: ObjectKey, service: Object, plan: SlicePlan) -> None:
        for problem in plan.problems:
            self.event(service, "Warning", DISABLED, problem)
        if plan.hinted and key not in self._hinted:
            self.event(service, "Normal", ENABLED, f"{HAS_BEEN_ENABLED}, addressType: {plan.hinted[0]}")
        if key in self._hinted and not plan.hinted and not plan.problems:
            for address_type in address_types(service):
                self.event(service, "Warning", DISABLED, f"{HAS_BEEN_DISABLED}, addressType: {address_type}")
        if plan.hinted:
            self._hinted.add(key)
        else:
            self._hinted.discard(key)

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


def _capacity_changed(old: Object, new: Object) -> bool:
    def relevant(node: Object) -> tuple[object, ...]:
        return is_ready(node), get_path(node, "status", "allocatable", "cpu")

    return relevant(old) != relevant(new)
