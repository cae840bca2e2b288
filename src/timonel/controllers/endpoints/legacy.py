"""The Endpoints object of each Service with a selector: superseded by EndpointSlices, still read by many clients.

Source: kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoints-v1
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, NotFound
from timonel.api.objects import Object, ObjectKey, annotations_of, is_deleting, labels_of, name_of, namespace_of
from timonel.api.refs import ENDPOINTS, SERVICES
from timonel.client.controller import Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.conditions import has_cause
from timonel.controllers.endpoints.addresses import (
    HEADLESS,
    address_types,
    belongs,
    endpoint_ports,
    hostname_of,
    is_headless,
    pod_addresses,
    selects_pods,
    target_of,
)
from timonel.controllers.endpoints.service_watch import ServiceWatchingController
from timonel.controllers.endpoints.subsets import repack, truncate
from timonel.controllers.endpoints.trigger_times import TRIGGER_TIME, TriggerTimes
from timonel.controllers.pods import is_ready, node_name_of

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES = 1000


@dataclass(frozen=True, slots=True)
class EndpointsConfig:
    """Fields are named after the flags of kube-controller-manager."""

    concurrent_endpoint_syncs: int = 5
    endpoint_updates_batch_period: float = 0.0
    """Seconds that changes of pods are gathered."""


class EndpointsController(ServiceWatchingController):
    name = "endpoint"

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        config: EndpointsConfig | None = None,
    ) -> None:
        config = config or EndpointsConfig()
        super().__init__(
            client=client,
            informers=informers,
            clock=clock,
            recorder=recorder,
            batch_period=config.endpoint_updates_batch_period,
        )
        self.workers = config.concurrent_endpoint_syncs
        self._times = TriggerTimes()

    def register(self) -> None:
        self.watches = (*self.watches, Watch(ENDPOINTS))
        super().register()

    async def sync(self, key: ObjectKey) -> Result:
        service = self.lister(SERVICES).get(*key)
        current = self.lister(ENDPOINTS).get(*key)
        if not self.own.are_seen(key):
            return Result(requeue_after=1.0)
        if service is None:
            if current is not None and labels_of(current).get(MANAGED_BY) == MANAGER and not is_deleting(current):
                await self._delete(key, current)
            self._times.forget(key)
            return Result()
        if is_deleting(service) or not selects_pods(service):
            return Result()
        pods = self.pods_of(service)
        trigger_time = self._times.next(key, service, pods)
        wanted = render_endpoints(service, pods, current, trigger_time)
        if current is not None and not _differs(current, wanted):
            return Result()
        informer = self.informer(ENDPOINTS)
        try:
            if current is None:
                written = await self.client.create(ENDPOINTS, wanted)
            else:
                written = await self.client.update(ENDPOINTS, wanted)
        except ApiError as exc:
            if has_cause(exc, "NamespaceTerminating"):
                return Result()
            if current is None:
                message = f"Failed to create endpoint for service {key}: {exc.message}"
                self.event(wanted, "Warning", "FailedToCreateEndpoint", message)
            else:
                message = f"Failed to update endpoint {key}: {exc.message}"
                self.event(wanted, "Warning", "FailedToUpdateEndpoint", message)
            raise
        self.own.wrote(key, informer, written)
        return Result()

    async def _delete(self, key: ObjectKey, current: Object) -> None:
        try:
            await self.client.delete(ENDPOINTS, key.name, key.namespace)
        except NotFound:
            return
        self.own.deleted(key, self.informer(ENDPOINTS), current)


def render_endpoints(service: Object, pods: Iterable[Object], current: Object | None, trigger_time: str = "") -> Object:
    """The whole object, keeping what others put into `current`'s metadata. `trigger_time`: see trigger_times.py."""
    labels = dict(labels_of(service))
    labels.pop(HEADLESS, None)
    if is_headless(service):
        labels[HEADLESS] = ""
    labels[MANAGED_BY] = MANAGER
    subsets, truncated = truncate(_subsets(service, pods), MAX_ADDRESSES)
    annotations = dict(annotations_of(current)) if current else {}
    for key in (OVER_CAPACITY, TRIGGER_TIME):
        annotations.pop(key, None)
    if trigger_time:
        annotations[TRIGGER_TIME] = trigger_time
    if truncated:
        annotations[OVER_CAPACITY] = "truncated"
    metadata: Object = dict(current["metadata"]) if current else {}
    metadata |= {"name": name_of(service), "namespace": namespace_of(service), "labels": labels}
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    made: Object = {"kind": "Endpoints", "apiVersion": "v1", "metadata": metadata}
    if subsets:
        made["subsets"] = subsets
    return made


def _subsets(service: Object, pods: Iterable[Object]) -> list[Object]:
    spec = service["spec"]
    not_ready_too = bool(spec.get("publishNotReadyAddresses"))
    family = address_types(service)[0]
    headless_without_ports = not spec.get("ports") and is_headless(service)
    found: list[Object] = []
    for pod in pods:
        if not belongs(pod, include_terminating=not_ready_too):
            continue
        addresses = pod_addresses(pod, family)
        ports = endpoint_ports(service, pod)
        if not addresses or not (ports or headless_without_ports):
            continue
        address: Object = {"ip": addresses[0]}
        if hostname := hostname_of(pod, service):
            address["hostname"] = hostname
        if node := node_name_of(pod):
            address["nodeName"] = node
        address["targetRef"] = target_of(pod)
        field = "addresses" if not_ready_too or is_ready(pod) else "notReadyAddresses"
        found.append({field: [address], "ports": [_legacy_port(port) for port in ports]})
    return repack(found)


def _legacy_port(port: Object) -> Object:
    return {field: value for field, value in port.items() if field != "name" or value}


def _differs(current: Object, wanted: Object) -> bool:
    return (
        (current.get("subsets") or []) != wanted.get("subsets", [])
        or labels_of(current) != labels_of(wanted)
        or annotations_of(current).get(OVER_CAPACITY) != annotations_of(wanted).get(OVER_CAPACITY)
    )
