"""Short ways to write ResourceSlices, DeviceClasses and ResourceClaims, and to ask the allocator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.unit.scheduler.objects import node
from timonel.api.objects import Object
from timonel.scheduler.core.devices.allocator import Allocation, Refused, allocate
from timonel.scheduler.core.devices.catalogue import Catalogue, View
from timonel.scheduler.core.devices.ledger import Ledger
from timonel.scheduler.core.devices.wishes import Selectors, Steps, parse_claim
from timonel.scheduler.core.nodes import NodeTable

DRIVER = "gpu.example.com"


def device(name: str, /, **attributes: Any) -> Object:
    """Attributes by value, but for `capacity`, `taints`, `counters` {set: {counter: amount}} and `more` (fields)."""
    made: Object = {"name": name}
    made |= attributes.pop("more", {})
    if capacity := attributes.pop("capacity", None):
        made["capacity"] = {
            key: value if isinstance(value, dict) else {"value": value} for key, value in capacity.items()
        }
    if taints := attributes.pop("taints", None):
        made["taints"] = taints
    if counters := attributes.pop("counters", None):
        made["consumesCounters"] = [
            {"counterSet": name, "counters": {key: {"value": value} for key, value in each.items()}}
            for name, each in counters.items()
        ]
    kinds = {bool: "bool", int: "int", str: "string"}
    made["attributes"] = {key: {kinds[type(value)]: value} for key, value in attributes.items()}
    return made


def slice_of(
    name: str, devices: Iterable[Object] = (), *, on: str = "", pool: str = "", generation: int = 1, count: int = 1,
    driver: str = DRIVER, **spec: Any,
) -> Object:  # fmt: skip
    """`on`: the node; without it say yourself who reaches it (allNodes, nodeSelector, perDeviceNodeSelection)."""
    reach = {"nodeName": on} if on else {}
    pools = {"name": pool or on or "shared", "generation": generation, "resourceSliceCount": count}
    return {
        "kind": "ResourceSlice",
        "apiVersion": "resource.k8s.io/v1",
        "metadata": {"name": name},
        "spec": {"driver": driver, "pool": pools, "devices": list(devices), **reach, **spec},
    }


def device_class(name: str = "gpu", *expressions: str, **spec: Any) -> Object:
    selectors = [{"cel": {"expression": text}} for text in expressions]
    return {
        "kind": "DeviceClass",
        "apiVersion": "resource.k8s.io/v1",
        "metadata": {"name": name, "creationTimestamp": spec.pop("created", "2026-01-01T00:00:00Z")},
        "spec": {"selectors": selectors, **spec},
    }


def exactly(*expressions: str, count: int = 1, of: str = "gpu", **more: Any) -> Object:
    made: Object = {"deviceClassName": of, "allocationMode": "ExactCount", "count": count, **more}
    if made["allocationMode"] == "All":
        del made["count"]
    if expressions:
        made["selectors"] = [{"cel": {"expression": text}} for text in expressions]
    return made


def request(name: str, *expressions: str, **more: Any) -> Object:
    return {"name": name, "exactly": exactly(*expressions, **more)}


def either(name: str, *alternatives: Object) -> Object:
    """Alternatives are called a, b, c …"""
    named = [{"name": chr(ord("a") + place)} | each for place, each in enumerate(alternatives)]
    return {"name": name, "firstAvailable": named}


def claim(name: str, *requests: Object, constraints: Sequence[Object] = (), **more: Any) -> Object:
    """`status`, `config`, `uid`; what else is given goes into the metadata."""
    devices: Object = {"requests": list(requests)}
    if constraints:
        devices["constraints"] = list(constraints)
    if config := more.pop("config", None):
        devices["config"] = config
    status = more.pop("status", {})
    return {
        "kind": "ResourceClaim",
        "apiVersion": "resource.k8s.io/v1",
        "metadata": {"name": name, "namespace": "default", "uid": more.pop("uid", f"uid-of-{name}"), **more},
        "spec": {"devices": devices},
        "status": status,
    }


def allocated(*results: Object | str, selector: Object | None = None) -> Object:
    """A status. Results are fields, or "pool/device" of the usual driver."""
    found = []
    for each in results:
        if isinstance(each, str):
            pool, _, name = each.partition("/")
            each = {"request": "r", "driver": DRIVER, "pool": pool, "device": name}
        found.append(each)
    allocation: Object = {"devices": {"results": found}}
    if selector:
        allocation["nodeSelector"] = selector
    return {"allocation": allocation}


def view_of(slices: Iterable[Object], on: str = "n", nodes: Sequence[Object] = ()) -> View:
    table = NodeTable()
    for each in nodes or [node(on)]:
        table.put(each)
    catalogue = Catalogue(table)
    for each in slices:
        catalogue.put(each)
    return catalogue.view(on)


def try_allocate(
    slices: Iterable[Object], *claims: Object, others: Iterable[Object] = (), on: str = "n",
    nodes: Sequence[Object] = (), classes: Mapping[str, Sequence[str]] | None = None, steps: int = 100_000,
) -> tuple[Allocation, ...] | Refused:  # fmt: skip
    ledger = Ledger()
    for other in others:
        ledger.put_claim(other)
    return allocate(
        view_of(slices, on, nodes),
        [parse_claim(each) for each in claims],
        classes if classes is not None else {"gpu": ()},
        ledger,
        Selectors(),
        Steps(steps),
    )


def picked(*args: Any, **options: Any) -> list[list[str]] | str:
    """For each claim, "request=pool/device" of what it gets; or why there is nothing."""
    found = try_allocate(*args, **options)
    if isinstance(found, Refused):
        return found.reason
    return [[f"{each.wish.name}={each.device.id.pool}/{each.device.id.name}" for each in one.picks] for one in found]
