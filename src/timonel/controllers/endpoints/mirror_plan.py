"""From an Endpoints object that somebody keeps by hand to EndpointSlices that say the same. Pure.

One slice for each set of ports and each address family, of at most a thousand addresses.
Source: kubernetes.io/docs/concepts/services-networking/service/#endpointslice-mirroring
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from timonel.api.objects import Object, annotations_of, is_deleting, labels_of, name_of, namespace_of
from timonel.api.refs import ENDPOINTS
from timonel.controllers.endpoints.addresses import AddressType
from timonel.controllers.endpoints.slice_plan import MANAGED_BY, SERVICE_NAME, SlicePlan, name_prefix, port_key
from timonel.controllers.endpoints.subsets import repack
from timonel.controllers.endpoints.trigger_times import TRIGGER_TIME
from timonel.controllers.ownership import controller_reference

MIRROR = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
"""Annotation of Endpoints that elect a leader and name no addresses worth mirroring."""
MAX_ADDRESSES = 1000
_NOT_MIRRORED = (TRIGGER_TIME, "kubectl.kubernetes.io/last-applied-configuration")

_Ports = tuple[tuple[tuple[str, Any], ...], ...]


@dataclass(frozen=True, slots=True)
class MirrorPlan:
    slices: SlicePlan
    invalid: int
    """Addresses that are none."""
    skipped: int
    """Addresses left out, invalid ones among them."""


def is_mirrored(endpoints: Object, service: Object | None) -> bool:
    return (
        service is not None
        and not service["spec"].get("selector")
        and labels_of(endpoints).get(SKIP) != "true"
        and LEADER not in annotations_of(endpoints)
    )


def plan_mirror(endpoints: Object, existing: Sequence[Object], max_addresses: int = MAX_ADDRESSES) -> MirrorPlan:
    """`existing` are the slices mirrored from these Endpoints before."""
    wanted: dict[tuple[AddressType, _Ports], list[Object]] = {}
    ports_of: dict[_Ports, list[Object]] = {}
    invalid = skipped = 0
    for subset in repack(endpoints.get("subsets") or ()):
        ports = [_slice_port(port) for port in subset.get("ports") or ()]
        key = port_key(ports)
        ports_of[key] = ports
        # Ready ones first: they are what is kept when there are too many.
        addresses = [(address, True) for address in subset.get("addresses") or ()]
        addresses += [(address, False) for address in subset.get("notReadyAddresses") or ()]
        added = 0
        for address, ready in addresses:
            if added >= max_addresses:
                break
            mirrored = _endpoint(address, ready)
            if mirrored is None:
                invalid += 1
                continue
            family, endpoint = mirrored
            wanted.setdefault((family, key), []).append(endpoint)
            added += 1
        skipped += len(addresses) - added
    create: list[Object] = []
    update: list[Object] = []
    spare = {name_of(item): item for item in sorted(existing, key=name_of)}
    for (family, key), found in wanted.items():
        made = _render(endpoints, family, ports_of[key], found)
        present = next((item for item in spare.values() if _identity(item) == (family, key)), None)
        if present is None:
            create.append(made)
            continue
        del spare[name_of(present)]
        if _differs(present, made):
            update.append(_over(present, made))
    # One that has to go is used for one that has to come.
    for made in list(create):
        reused = next((item for item in spare.values() if item.get("addressType") == made["addressType"]), None)
        if reused is not None:
            create.remove(made)
            del spare[name_of(reused)]
            update.append(_over(reused, made))
    if is_deleting(endpoints):
        create = []
    delete = tuple(item for item in spare.values() if not is_deleting(item))
    return MirrorPlan(SlicePlan(tuple(create), tuple(update), delete), invalid, skipped)


def _slice_port(port: Object) -> Object:
    made: Object = {"name": port.get("name") or "", "protocol": port.get("protocol") or "TCP", "port": port["port"]}
    if port.get("appProtocol"):
        made["appProtocol"] = port["appProtocol"]
    return made


def _endpoint(address: Object, ready: bool) -> tuple[AddressType, Object] | None:
    try:
        ip = ipaddress.ip_address(address.get("ip") or "")
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    made: Object = {"addresses": [str(mapped or ip)], "conditions": {"ready": ready}}
    for name in ("targetRef", "nodeName", "hostname"):
        if address.get(name):
            made[name] = address[name]
    return ("IPv6" if ip.version == 6 and mapped is None else "IPv4"), made


def _identity(item: Object) -> tuple[Any, _Ports]:
    return item.get("addressType"), port_key(item.get("ports"))


def _render(endpoints: Object, family: AddressType, ports: list[Object], found: list[Object]) -> Object:
    name = name_of(endpoints)
    metadata: Object = {
        "generateName": name_prefix(name),
        "namespace": namespace_of(endpoints),
        "labels": {**labels_of(endpoints), SERVICE_NAME: name, MANAGED_BY: MIRROR},
        "ownerReferences": [controller_reference(endpoints, ENDPOINTS)],
    }
    if annotations := {key: text for key, text in annotations_of(endpoints).items() if key not in _NOT_MIRRORED}:
        metadata["annotations"] = annotations
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": metadata,
        "addressType": family,
        "endpoints": found,
        "ports": ports,
    }


def _differs(present: Object, wanted: Object) -> bool:
    def essence(item: Object) -> list[Object]:
        # The order of a slice means nothing; fields that others add, such as hints, are theirs.
        fields = ("addresses", "conditions", "targetRef", "nodeName", "hostname")
        endpoints = [{name: each.get(name) for name in fields} for each in item.get("endpoints") or ()]
        return sorted(endpoints, key=lambda each: str((each["addresses"], each["targetRef"])))

    return (
        labels_of(present) != labels_of(wanted)
        or annotations_of(present) != annotations_of(wanted)
        or essence(present) != essence(wanted)
    )


def _over(present: Object, wanted: Object) -> Object:
    """The slice there is, with what is wanted."""
    metadata = {**present["metadata"], "labels": wanted["metadata"]["labels"]}
    metadata["ownerReferences"] = wanted["metadata"]["ownerReferences"]
    metadata.pop("annotations", None)
    if "annotations" in wanted["metadata"]:
        metadata["annotations"] = wanted["metadata"]["annotations"]
    return present | {"metadata": metadata, "endpoints": wanted["endpoints"], "ports": wanted["ports"]}
