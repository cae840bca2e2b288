"""The Endpoints object of each Service with a selector: superseded by EndpointSlices, still read by many clients.

Source: kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoints-v1
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from timonel.api.errors import ApiError, NotFound
from timonel.api.objects import Object, ObjectKey, annotations_of, is_deleting, labels_of, name_of, namespace_of
from timonel.api.refs import ENDPOINTS, SERVICES
from timonel.client.controller import Result, Watch
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
from timonel.controllers.pods import is_ready, node_name_of

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES = 1000


class EndpointsController(ServiceWatchingController):
    name = "endpoint"

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
            return Result()
        if is_deleting(service) or not selects_pods(service):
            return Result()
        wanted = render_endpoints(service, self.pods_of(service), current)
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


def render_endpoints(service: Object, pods: Iterable[Object], current: Object | None) -> Object:
    """The whole object, keeping what others put into `current`'s metadata."""
    labels = dict(labels_of(service))
    labels.pop(HEADLESS, None)
    if is_headless(service):
        labels[HEADLESS] = ""
    labels[MANAGED_BY] = MANAGER
    subsets, truncated = _truncate(_subsets(service, pods))
    annotations = dict(annotations_of(current)) if current else {}
    annotations.pop(OVER_CAPACITY, None)
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
    """One subset per set of ports, addresses in numeric order."""
    spec = service["spec"]
    not_ready_too = bool(spec.get("publishNotReadyAddresses"))
    family = address_types(service)[0]
    headless_without_ports = not spec.get("ports") and is_headless(service)
    groups: dict[tuple[Any, ...], Object] = {}
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
        named = [_legacy_port(port) for port in ports]
        named.sort(key=lambda port: (port.get("name", ""), port["port"], port["protocol"]))
        key = tuple(tuple(sorted(port.items())) for port in named)
        subset = groups.setdefault(key, {"addresses": [], "notReadyAddresses": [], "ports": named})
        subset["addresses" if not_ready_too or is_ready(pod) else "notReadyAddresses"].append(address)
    result = []
    for key in sorted(groups):
        subset = groups[key]
        for field in ("addresses", "notReadyAddresses"):
            subset[field].sort(key=lambda item: (int(ipaddress.ip_address(item["ip"])), item["targetRef"]["uid"]))
        result.append({field: value for field, value in subset.items() if value})
    return result


def _legacy_port(port: Object) -> Object:
    return {field: value for field, value in port.items() if field != "name" or value}


def _truncate(subsets: list[Object]) -> tuple[list[Object], bool]:
    """At most a thousand addresses, ready ones first. Clients that need all read EndpointSlices."""
    left = MAX_ADDRESSES
    total = 0
    kept: list[Object] = [{"ports": subset["ports"]} if "ports" in subset else {} for subset in subsets]
    for field in ("addresses", "notReadyAddresses"):
        for subset, short in zip(subsets, kept, strict=True):
            addresses = subset.get(field) or []
            total += len(addresses)
            if addresses[:left]:
                short[field] = addresses[:left]
                left -= len(short[field])
    if total <= MAX_ADDRESSES:
        return subsets, False
    return [short for short in kept if short.keys() - {"ports"}], True


def _differs(current: Object, wanted: Object) -> bool:
    return (
        (current.get("subsets") or []) != wanted.get("subsets", [])
        or labels_of(current) != labels_of(wanted)
        or annotations_of(current).get(OVER_CAPACITY) != annotations_of(wanted).get(OVER_CAPACITY)
    )
