"""The status of a claim: what was allocated, for whom it is reserved, and what drivers say of the devices."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from timonel.api.field_errors import Path, forbidden, invalid, required, too_long, too_many
from timonel.api.kinds.conditions import check_conditions
from timonel.api.kinds.devices.common import (
    check_binding_conditions,
    check_configuration,
    check_driver,
    check_list,
    check_pool_name,
    check_raw,
    check_set,
)
from timonel.api.kinds.devices.requests import (
    MOST_CONFIGURATIONS,
    MOST_REQUESTS,
    RequestNames,
    check_request_name,
    check_request_names,
    request_names,
)
from timonel.api.kinds.networking.addresses import parse_cidr
from timonel.api.kinds.pod.scheduling import check_node_selector
from timonel.api.kinds.rules import Errors, check_choice, check_immutable, check_label, parse_ip
from timonel.api.objects import Object, get_path, is_deleting

_STATUS = Path("status")
_MOST_CONSUMERS = 256
_MOST_CONDITIONS = 8
_MOST_ADDRESSES = 16
_INTERFACE_LIMIT, _HARDWARE_LIMIT = 256, 128


def device_id(device: Object) -> str:
    """Driver, pool and device, and the share of one that several claims may have."""
    parts = [device.get(part) or "" for part in ("driver", "pool", "device")]
    return "/".join([*parts, device["shareID"]] if device.get("shareID") else parts)


def allocated_devices(claim: Object) -> list[str]:
    return [device_id(result) for result in get_path(claim, "status", "allocation", "devices", "results", default=[])]


def check_claim_status(errors: Errors, new: Object, old: Object) -> None:
    status, before = new.get("status") or {}, old.get("status") or {}
    names = request_names(get_path(new, "spec", "devices", default={}))
    consumers, path = status.get("reservedFor") or [], _STATUS / "reservedFor"
    check_set(errors, path, consumers, _MOST_CONSUMERS, _check_consumer, lambda consumer: consumer.get("uid") or "")
    allocated = allocated_devices(new)

    def check_device(errors: Errors, path: Path, device: Object) -> None:
        _check_device_status(errors, path, device, allocated)

    check_set(errors, _STATUS / "devices", status.get("devices") or [], -1, check_device, device_id)
    allocation, allocation_before = status.get("allocation"), before.get("allocation")
    if consumers and allocation is None:
        errors.append(forbidden(path, "may not be specified when `allocated` is not set"))
    elif is_deleting(new) and any(consumer not in (before.get("reservedFor") or ()) for consumer in consumers):
        why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        errors.append(forbidden(path, why))
    if allocation is not None and allocation_before is not None:
        check_immutable(errors, _STATUS / "allocation", allocation, allocation_before)
    elif allocation is not None:
        _check_allocation(errors, _STATUS / "allocation", allocation, names)


def drop_deallocated(new: Object, old: Object) -> None:
    """What drivers said of devices that the claim no longer has goes with them."""
    gone = set(allocated_devices(old)) - set(allocated_devices(new))
    devices = get_path(new, "status", "devices")
    if gone and devices:
        new["status"]["devices"] = [device for device in devices if device_id(device) not in gone]
        if not new["status"]["devices"]:
            del new["status"]["devices"]


def _check_consumer(errors: Errors, path: Path, consumer: Object) -> None:
    for field in ("resource", "name", "uid"):
        if not consumer.get(field):
            errors.append(required(path / field))


def _check_allocation(errors: Errors, path: Path, allocation: Object, names: RequestNames) -> None:
    def check_result(errors: Errors, path: Path, result: Object) -> None:
        check_request_name(errors, path / "request", result.get("request") or "", names)
        check_driver(errors, path / "driver", result.get("driver") or "")
        check_pool_name(errors, path / "pool", result.get("pool") or "")
        check_label(errors, path / "device", result.get("device") or "")
        check_binding_conditions(errors, path, result)
        _check_share(errors, path / "shareID", result.get("shareID"))

    def check_one_configuration(errors: Errors, path: Path, configuration: Object) -> None:
        check_choice(errors, path / "source", configuration.get("source"), ("FromClaim", "FromClass"))
        check_request_names(errors, path / "requests", configuration.get("requests") or [], names)
        check_configuration(errors, path, configuration)

    devices = allocation.get("devices") or {}
    check_list(errors, path / "devices" / "results", devices.get("results") or [], MOST_REQUESTS, check_result)
    # From the class and from the claim.
    most, configurations = 2 * MOST_CONFIGURATIONS, devices.get("config") or []
    check_list(errors, path / "devices" / "config", configurations, most, check_one_configuration)
    if allocation.get("nodeSelector") is not None:
        check_node_selector(errors, path / "nodeSelector", allocation["nodeSelector"])


def _check_share(errors: Errors, path: Path, uid: str | None) -> None:
    if uid is None:
        return
    try:
        normal = str(UUID(uid))
    except ValueError as exc:
        errors.append(invalid(path, uid, f"error validating uid: {exc}"))
        return
    if uid != normal:
        why = (
            "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase "
            "hexadecimal characters"
        )
        errors.append(invalid(path, uid, why))


def _check_device_status(errors: Errors, path: Path, device: Object, allocated: list[str]) -> None:
    check_driver(errors, path / "driver", device.get("driver") or "")
    check_pool_name(errors, path / "pool", device.get("pool") or "")
    check_label(errors, path / "device", device.get("device") or "")
    _check_share(errors, path / "shareID", device.get("shareID"))
    if device_id(device) not in allocated:
        errors.append(invalid(path, device_id(device), "must be an allocated device in the claim"))
    conditions = device.get("conditions") or []
    if len(conditions) > _MOST_CONDITIONS:
        errors.append(too_many(path / "conditions", len(conditions), _MOST_CONDITIONS))
    check_conditions(errors, path / "conditions", conditions)
    if device.get("data") is not None:
        check_raw(errors, path / "data", device["data"])
    network: dict[str, Any] = device.get("networkData") or {}
    for field, limit in (("interfaceName", _INTERFACE_LIMIT), ("hardwareAddress", _HARDWARE_LIMIT)):
        if len((network.get(field) or "").encode()) > limit:
            errors.append(too_long(path / "networkData" / field, limit))
    addresses = network.get("ips") or []
    check_set(errors, path / "networkData" / "ips", addresses, _MOST_ADDRESSES, _check_interface_address, str)


def _check_interface_address(errors: Errors, path: Path, text: str) -> None:
    """An address with the length of its network, "192.0.2.5/24", canonical."""
    network, written = parse_cidr(text), text.partition("/")[0]
    address = parse_ip(written)
    if network is None or address is None:
        why = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"
        errors.append(invalid(path, text, why))
    elif text != (canonical := f"{address}/{network.prefixlen}"):
        errors.append(invalid(path, text, f'must be in canonical form ("{canonical}")'))
