"""The loop around planner.py: one Service after the other, since what one gets the next cannot have.

The finalizer keeps a deleted Service until its addresses are given back, as cloud providers' controllers do.
Events are upstream's; a Service that gets no address has one that says why.
"""

from __future__ import annotations

import logging

from timonel.api.clock import Clock
from timonel.api.objects import (
    Object,
    ObjectKey,
    get_path,
    is_deleting,
    key_of,
    labels_of,
    namespace_of,
    resource_version_of,
)
from timonel.api.refs import ENDPOINT_SLICES, NODES, SERVICES
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.loadbalancer.planner import (
    EXCLUDED_LABEL,
    Held,
    LoadBalancerConfig,
    current_addresses,
    held_by,
    is_ours,
    nodes_with_endpoints,
    plan_assignment,
    serves,
)

log = logging.getLogger(__name__)

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class ServiceLoadBalancerController(Controller):
    """Keys are Services."""

    name = "service-lb-controller"
    workers = 1

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        config: LoadBalancerConfig | None = None,
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._config = config or LoadBalancerConfig()
        self._written: dict[ObjectKey, tuple[int, tuple[str, ...]]] = {}
        """By Service, what was written and the version it made: the cache may not have it yet."""
        self._told: dict[ObjectKey, str] = {}
        """Why each pending Service is, as its last event said."""
        self.watches = (
            Watch(SERVICES, key=self._concerned, changed=lambda old, new: _facts(old) != _facts(new)),
            Watch(NODES, key=self._everybody, changed=lambda old, new: _node_facts(old) != _node_facts(new)),
            Watch(ENDPOINT_SLICES, key=self._of_slice, changed=lambda old, new: _places(old) != _places(new)),
        )

    def _concerned(self, service: Object) -> Keys:
        """Itself, and those that wait for what it may have given back."""
        is_other_type = get_path(service, "spec", "type") != "LoadBalancer"
        if not is_ours(service) and not (is_other_type and FINALIZER in (service["metadata"].get("finalizers") or [])):
            return None
        return [key_of(service), *self._told]

    def _everybody(self, _: Object) -> Keys:
        return [key_of(service) for service in self.lister(SERVICES).list() if is_ours(service)]

    def _of_slice(self, item: Object) -> Keys:
        name = labels_of(item).get(SERVICE_NAME_LABEL)
        service = self.lister(SERVICES).get(namespace_of(item), name) if name else None
        if service is None or get_path(service, "spec", "externalTrafficPolicy") != "Local" or not is_ours(service):
            return None
        return key_of(service)

    async def sync(self, key: ObjectKey) -> Result:
        service = self.lister(SERVICES).get(*key)
        if service is None:
            self._forget(key)
            return Result()
        if get_path(service, "spec", "type") != "LoadBalancer" or (is_deleting(service) and is_ours(service)):
            await self._give_back(service)
            return Result()
        if not is_ours(service):
            return Result()
        addresses = self._addresses(service)
        others = [other for other in self.lister(SERVICES).list() if key_of(other) != key]
        plan = plan_assignment(
            service | {"status": {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}},
            [self._held(other) for other in others if is_ours(other) and not is_deleting(other)],
            self.lister(NODES).list(),
            self._slices(key),
            {
                (port.get("protocol") or "TCP", port["nodePort"])
                for other in others
                for port in get_path(other, "spec", "ports", default=[]) or []
                if port.get("nodePort")
            },
            self._config,
        )
        if plan.problem:
            if self._told.get(key) != plan.problem:
                self.event(service, "Warning", "SyncLoadBalancerFailed", f"Error syncing load balancer: {plan.problem}")
            self._told[key] = plan.problem
        else:
            self._told.pop(key, None)
        if plan.addresses != addresses:
            await self._write(service, plan.addresses)
            if plan.addresses and not addresses:
                self.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
            log.info("load balancer changed service=%s addresses=%s", key, ",".join(plan.addresses) or "none")
        return Result()

    def _addresses(self, service: Object) -> tuple[str, ...]:
        """As written last, which the cache may not know yet."""
        version, addresses = self._written.get(key_of(service), (0, ()))
        return addresses if version > int(resource_version_of(service) or 0) else current_addresses(service)

    def _held(self, service: Object) -> Held:
        """A Service without addresses holds no ports: first come, first served."""
        addresses = self._addresses(service)
        held = held_by(service, addresses, self._config)
        return held if addresses else Held(held.name, frozenset(), frozenset(), held.by_nodes)

    def _slices(self, key: ObjectKey) -> list[Object]:
        return [
            item
            for item in self.lister(ENDPOINT_SLICES).list(key.namespace)
            if labels_of(item).get(SERVICE_NAME_LABEL) == key.name
        ]

    async def _write(self, service: Object, addresses: tuple[str, ...]) -> None:
        ingress = [{"ip": address, "ipMode": "VIP"} for address in addresses]
        patch: Object = {"status": {"loadBalancer": {"ingress": ingress or None}}}
        if FINALIZER not in (service["metadata"].get("finalizers") or []):
            patch["metadata"] = {"finalizers": [FINALIZER]}
        key = key_of(service)
        made = await self.client.patch(SERVICES, key.name, patch, key.namespace, type="strategic", subresource="status")
        self._written[key] = int(resource_version_of(made) or 0), addresses

    async def _give_back(self, service: Object) -> None:
        """Deleted, or of another type now."""
        key = key_of(service)
        if FINALIZER in (service["metadata"].get("finalizers") or []):
            patch: Object = {"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}}
            if current_addresses(service):
                patch["status"] = {"loadBalancer": {"ingress": None}}
            self.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
            await self.client.patch(SERVICES, key.name, patch, key.namespace, type="strategic", subresource="status")
            self.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")
            log.info("load balancer removed service=%s", key)
        self._forget(key)

    def _forget(self, key: ObjectKey) -> None:
        self._written.pop(key, None)
        self._told.pop(key, None)
        for other in self._told:
            self.queue.add(other)


def _facts(service: Object) -> object:
    return service.get("spec"), service.get("status"), service["metadata"].get("finalizers"), is_deleting(service)


def _node_facts(node: Object) -> object:
    return serves(node), get_path(node, "status", "addresses"), EXCLUDED_LABEL in labels_of(node)


def _places(item: Object) -> object:
    return nodes_with_endpoints([item])
