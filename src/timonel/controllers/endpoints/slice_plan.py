"""How a Service's endpoints are spread over EndpointSlices with the fewest writes. Pure.

Endpoints stay in the slice they are in. New ones go where a slice is written anyhow, then where there is room, then
into new slices; so a change of one pod is a write of one slice of at most a hundred endpoints.
Source: kubernetes.io/docs/concepts/services-networking/endpoint-slices#distribution-of-endpointslices
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timonel.api.objects import (
    Object,
    annotations_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    owner_references,
    uid_of,
)
from timonel.api.refs import SERVICES
from timonel.controllers.endpoints.addresses import (
    HEADLESS,
    AddressType,
    address_types,
    belongs,
    endpoint,
    endpoint_ports,
    is_headless,
    pod_addresses,
)
from timonel.controllers.endpoints.hints import add_topology_hints, plan_hints
from timonel.controllers.endpoints.topology import Ratios
from timonel.controllers.endpoints.trigger_times import TRIGGER_TIME
from timonel.controllers.ownership import controller_reference
from timonel.controllers.pods import node_name_of

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
MAX_ENDPOINTS = 100
_RESERVED = {SERVICE_NAME, MANAGED_BY, HEADLESS}


@dataclass(frozen=True, slots=True)
class SlicePlan:
    create: tuple[Object, ...] = ()
    update: tuple[Object, ...] = ()
    delete: tuple[Object, ...] = ()
    hinted: tuple[AddressType, ...] = ()
    """Address types whose endpoints have hints by topology-mode."""
    problems: tuple[str, ...] = ()
    """Why others of them have none."""


def plan_slices(
    service: Object,
    pods: Iterable[Object],
    zones: Mapping[str, str],
    existing: Sequence[Object],
    max_endpoints: int = MAX_ENDPOINTS,
    trigger_time: str = "",
    ratios: Ratios | None = None,
) -> SlicePlan:
    """`zones` maps the names of existing nodes to their zone or ""; pods on nodes that are not there are left out.

    `trigger_time` is noted on what is written: see trigger_times.py. `ratios`: the zones' shares of the processors.
    """
    create: list[Object] = []
    update: list[Object] = []
    delete: list[Object] = []
    types = address_types(service)
    # Of an earlier Service of this name: the garbage collector takes them, whatever is written there.
    strange = [item for item in existing if not _is_owned(item, service)]
    existing = [item for item in existing if _is_owned(item, service)]
    wanted = _wanted(service, list(pods), zones, types)
    of_types = {kind: [group for (each, _), group in wanted.items() if each == kind] for kind in types}
    hinted, problems = add_topology_hints(service, of_types, existing, ratios)
    for address_type in types:
        of_type = [item for item in existing if item.get("addressType") == address_type]
        groups = {ports: group for (kind, ports), group in wanted.items() if kind == address_type}
        placed: set[str] = set()
        for ports, group in groups.items():
            own = [item for item in of_type if port_key(item.get("ports")) == ports]
            placed.update(map(name_of, own))
            plan = _plan_group(service, address_type, ports, group, own, max_endpoints)
            create += plan.create
            update += plan.update
            delete += plan.delete
        stale = [item for item in of_type if name_of(item) not in placed]
        if not groups:
            # A Service without endpoints keeps one empty slice of each address type, as a sign that it was looked at.
            empty = _slice(service, address_type, (), [])
            if not stale:
                create.append(empty)
            elif _differs(stale[0], empty):
                update.append(_merged(stale[0], empty))
            stale = stale[1:]
        delete += stale
    delete += [item for item in existing if item.get("addressType") not in types] + strange
    return SlicePlan(
        tuple(_timed(item, trigger_time) for item in create),
        tuple(_timed(item, trigger_time) for item in update),
        tuple(item for item in delete if not is_deleting(item)),
        hinted,
        problems,
    )


def _is_owned(item: Object, service: Object) -> bool:
    return any(owner.get("uid") == uid_of(service) for owner in owner_references(item))


def _timed(item: Object, trigger_time: str) -> Object:
    annotations = {key: text for key, text in annotations_of(item).items() if key != TRIGGER_TIME}
    if trigger_time:
        annotations[TRIGGER_TIME] = trigger_time
    metadata = {key: value for key, value in item["metadata"].items() if key != "annotations"}
    return item | {"metadata": metadata | ({"annotations": annotations} if annotations else {})}


_Ports = tuple[tuple[tuple[str, Any], ...], ...]


def port_key(ports: Iterable[Object] | None) -> _Ports:
    return tuple(sorted(tuple(sorted(port.items(), key=str)) for port in ports or ()))


def _wanted(
    service: Object, pods: Sequence[Object], zones: Mapping[str, str], types: Sequence[AddressType]
) -> dict[tuple[AddressType, _Ports], dict[str, Object]]:
    """Endpoints by address type and port set, then by the uid of their pod."""
    wanted: dict[tuple[AddressType, _Ports], dict[str, Object]] = {}
    not_ready_too = bool(service["spec"].get("publishNotReadyAddresses"))
    for pod in pods:
        if not belongs(pod, include_terminating=True):
            continue
        node = node_name_of(pod)
        if node not in zones and not not_ready_too:
            continue
        ports = port_key(endpoint_ports(service, pod))
        for address_type in types:
            addresses = pod_addresses(pod, address_type)
            if addresses:
                made = endpoint(pod, service, addresses, zones.get(node, ""))
                if hints := plan_hints(service, made):
                    made["hints"] = hints
                wanted.setdefault((address_type, ports), {})[made["targetRef"]["uid"]] = made
    return wanted


def _plan_group(
    service: Object,
    address_type: AddressType,
    ports: _Ports,
    wanted: dict[str, Object],
    existing: Sequence[Object],
    max_endpoints: int,
) -> SlicePlan:
    left = dict(wanted)
    kept: list[tuple[Object, list[Object]]] = []
    for item in sorted(existing, key=name_of):
        endpoints = []
        for present in item.get("endpoints") or ():
            made = left.pop((present.get("targetRef") or {}).get("uid", ""), None)
            if made is not None:
                # A field this controller does not own stays.
                extra = {k: v for k, v in present.items() if k == "deprecatedTopology"}
                endpoints.append(extra | made)
        kept.append((item, endpoints))
    fresh = list(left.values())

    def is_written(entry: tuple[Object, list[Object]]) -> bool:
        return _differs(entry[0], _slice(service, address_type, ports, entry[1]))

    # First where something is written anyhow, the fullest first; then into the fullest that holds all that is left.
    written = {name_of(item) for item, endpoints in kept if endpoints and is_written((item, endpoints))}
    for item, endpoints in sorted(kept, key=lambda entry: -len(entry[1])):
        if fresh and name_of(item) in written:
            room = max_endpoints - len(endpoints)
            endpoints += fresh[:room]
            fresh = fresh[room:]
    while len(fresh) > max_endpoints:
        kept.append(({}, fresh[:max_endpoints]))
        fresh = fresh[max_endpoints:]
    if fresh:
        with_room = [entry for entry in kept if entry[0] and len(entry[1]) + len(fresh) <= max_endpoints]
        if with_room:
            max(with_room, key=lambda entry: len(entry[1]))[1].extend(fresh)
        else:
            kept.append(({}, fresh))
    create, update, delete = [], [], []
    for item, endpoints in kept:
        made = _slice(service, address_type, ports, endpoints)
        if not item:
            create.append(made)
        elif not endpoints:
            delete.append(item)
        elif _differs(item, made):
            update.append(_merged(item, made))
    return SlicePlan(tuple(create), tuple(update), tuple(delete))


def name_prefix(service: str) -> str:
    """For generateName: the hyphen is left out where there is no room for it."""
    return f"{service}-" if len(service) < 253 else service


def _slice(service: Object, address_type: AddressType, ports: _Ports, endpoints: list[Object]) -> Object:
    labels = {key: value for key, value in labels_of(service).items() if key not in _RESERVED}
    labels |= {SERVICE_NAME: name_of(service), MANAGED_BY: MANAGER}
    if is_headless(service):
        labels[HEADLESS] = ""
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "generateName": name_prefix(name_of(service)),
            "namespace": namespace_of(service),
            "labels": labels,
            "ownerReferences": [controller_reference(service, SERVICES)],
        },
        "addressType": address_type,
        "endpoints": endpoints,
        "ports": [dict(port) for port in ports],
    }


def _differs(present: Object, wanted: Object) -> bool:
    return (
        labels_of(present) != labels_of(wanted)
        or (present.get("endpoints") or []) != wanted["endpoints"]
        or port_key(present.get("ports")) != port_key(wanted["ports"])
    )


def _merged(present: Object, wanted: Object) -> Object:
    metadata = present["metadata"] | {"labels": wanted["metadata"]["labels"]}
    return present | {"metadata": metadata, "endpoints": wanted["endpoints"], "ports": wanted["ports"]}
