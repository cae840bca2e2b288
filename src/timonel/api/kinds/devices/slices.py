"""ResourceSlice: devices of a pool that a driver offers, and from which nodes they can be reached."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.clock import format_time
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid, required, too_many
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.kinds.devices.attributes import check_attributes
from timonel.api.kinds.devices.common import (
    check_binding_conditions,
    check_driver,
    check_list,
    check_pool_name,
    check_set,
    own_name,
)
from timonel.api.kinds.devices.requests import TAINT_EFFECTS
from timonel.api.kinds.fields import text_at
from timonel.api.kinds.pod.scheduling import check_node_selector
from timonel.api.kinds.resource_lists import canonical_quantity_field
from timonel.api.kinds.rules import (
    Errors,
    check_choice,
    check_immutable,
    check_label,
    check_qualified_name,
    check_subdomain,
    check_text,
)
from timonel.api.names import validate_label_value
from timonel.api.objects import Object, find_by, get_path
from timonel.api.resource import Column, Occasion, Resource, Strategy

_SPEC = Path("spec")
_MOST_DEVICES, _MOST_ADVANCED_DEVICES = 128, 64
_MOST_TAINTS = 16
_MOST_COUNTER_SETS, _MOST_COUNTERS, _MOST_CONSUMPTIONS = 8, 32, 2
_LISTS = ("bools", "ints", "strings", "versions")
_ONE_REACH = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_ONE_DEVICE_REACH = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true "
    "in the ResourceSlice spec"
)


class ResourceSliceStrategy(Strategy):
    def default(self, obj: Object) -> None:
        for device in get_path(obj, "spec", "devices", default=[]):
            device.pop("nodeAllocatableResourceMappings", None)  # alpha, off by default
            for capacity in (device.get("capacity") or {}).values():
                canonical_quantity_field(capacity, "value")

    def stamp(self, new: Object, old: Object | None, occasion: Occasion) -> None:
        for device in get_path(new, "spec", "devices", default=[]):
            for taint in device.get("taints") or ():
                taint.setdefault("timeAdded", format_time(occasion.now))

    def validate_create(self, obj: Object) -> list[FieldError]:
        return _validate(obj, None)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return _validate(new, old)


def _validate(obj: Object, old: Object | None) -> Errors:
    errors: Errors = []
    spec, before = obj.get("spec") or {}, (old or {}).get("spec") or {}
    check_driver(errors, _SPEC / "driver", spec.get("driver") or "")
    pool = spec.get("pool") or {}
    check_pool_name(errors, _SPEC / "pool" / "name", own_name(pool))
    if (pool.get("resourceSliceCount") or 0) <= 0:
        count = pool.get("resourceSliceCount") or 0
        errors.append(invalid(_SPEC / "pool" / "resourceSliceCount", count, "must be greater than zero"))
    if (pool.get("generation") or 0) < 0:
        why = "must be greater than or equal to zero"
        errors.append(invalid(_SPEC / "pool" / "generation", pool["generation"], why))
    if old is not None:
        name_before = own_name(before.get("pool") or {})
        check_immutable(errors, _SPEC / "pool" / "name", own_name(pool), name_before)
        for field in ("driver", "nodeName"):
            check_immutable(errors, _SPEC / field, spec.get(field), before.get(field))
    _check_reach(errors, spec)
    if spec.get("sharedCounters") is not None and spec.get("devices") is not None:
        errors.append(invalid(_SPEC, "", "only one of `sharedCounters` or `devices` is allowed"))
    _check_devices(errors, spec, before)
    sets = spec.get("sharedCounters") or []
    check_set(errors, _SPEC / "sharedCounters", sets, _MOST_COUNTER_SETS, _check_counter_set, own_name)
    return errors


def _check_reach(errors: Errors, spec: Object) -> None:
    given = []
    name, selector = spec.get("nodeName"), spec.get("nodeSelector")
    if name:
        given.append("`nodeName`")
        check_subdomain(errors, _SPEC / "nodeName", name)
    elif name is not None:
        errors.append(invalid(_SPEC / "nodeName", name, "must be either unset or set to a non-empty string"))
    if selector is not None:
        given.append("`nodeSelector`")
        check_node_selector(errors, _SPEC / "nodeSelector", selector)
        terms = selector.get("nodeSelectorTerms") or []
        if len(terms) != 1:
            here = _SPEC / "nodeSelector" / "nodeSelectorTerms"
            errors.append(invalid(here, terms, "must have exactly one node selector term"))
    for field in ("allNodes", "perDeviceNodeSelection"):
        if spec.get(field):
            given.append(f"`{field}`")
        elif spec.get(field) is not None:
            errors.append(invalid(_SPEC / field, False, "must be either unset or set to true"))
    if not given:
        errors.append(required(_SPEC, _ONE_REACH))
    elif len(given) > 1:
        why = f"{_ONE_REACH}, but multiple fields are set"
        errors.append(invalid(_SPEC, f"{{{', '.join(given)}}}", why))


def _check_devices(errors: Errors, spec: Object, before: Object) -> None:
    devices, path = spec.get("devices") or [], _SPEC / "devices"
    most = _MOST_ADVANCED_DEVICES if any(map(_is_advanced, devices)) else _MOST_DEVICES
    if len(devices) > most:
        errors.append(too_many(path, len(devices), most))
        return

    def check(errors: Errors, path: Path, device: Object) -> None:
        old = find_by(before.get("devices"), "name", device.get("name"))
        _check_device(errors, path, device, old, bool(spec.get("perDeviceNodeSelection")))

    check_set(errors, path, devices, most, check, own_name)


def _is_advanced(device: Object) -> bool:
    """Uses what makes a device expensive to look at: a slice then holds fewer."""
    attributes = (device.get("attributes") or {}).values()
    lists = any(attribute.get(kind) is not None for attribute in attributes for kind in _LISTS)
    return bool(device.get("taints") or device.get("consumesCounters") or lists)


def _check_device(errors: Errors, path: Path, device: Object, old: Object | None, has_reach: bool) -> None:
    check_label(errors, path / "name", own_name(device))
    check_attributes(errors, path, device)
    taints = device.get("taints") or []
    if old is None or taints != (old.get("taints") or []):
        check_list(errors, path / "taints", taints, _MOST_TAINTS, _check_taint)
    check_set(
        errors, path / "consumesCounters", device.get("consumesCounters") or [], _MOST_CONSUMPTIONS, _check_consumption,
        lambda consumption: consumption.get("counterSet") or "",
    )  # fmt: skip
    _check_device_reach(errors, path, device, has_reach)
    check_binding_conditions(errors, path, device)


def _check_device_reach(errors: Errors, path: Path, device: Object, has_reach: bool) -> None:
    name, selector, everywhere = (device.get(field) for field in ("nodeName", "nodeSelector", "allNodes"))
    if not has_reach:
        if (name, selector, everywhere) != (None, None, None):
            why = (
                "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true "
                "in the ResourceSlice spec"
            )
            errors.append(invalid(path, None, why))
        return
    given = []
    if name:
        given.append("`nodeName`")
        check_subdomain(errors, path / "nodeName", name)
    elif name is not None:
        errors.append(invalid(path / "nodeName", name, "must not be empty"))
    if selector is not None:
        given.append("`nodeSelector`")
        check_node_selector(errors, path / "nodeSelector", selector)
    if everywhere:
        given.append("`allNodes`")
    elif everywhere is not None:
        errors.append(invalid(path / "allNodes", False, "must be either unset or set to true"))
    if not given:
        errors.append(required(path, _ONE_DEVICE_REACH))
    elif len(given) > 1:
        errors.append(invalid(path, f"{{{', '.join(given)}}}", _ONE_DEVICE_REACH))


def _check_taint(errors: Errors, path: Path, taint: Object) -> None:
    check_qualified_name(errors, path / "key", taint.get("key") or "")
    if taint.get("value"):
        check_text(errors, path / "value", taint["value"], validate_label_value)
    check_choice(errors, path / "effect", taint.get("effect"), TAINT_EFFECTS)


def _check_counters(errors: Errors, path: Path, counters: Object) -> None:
    if not counters:
        errors.append(required(path))
    elif len(counters) > _MOST_COUNTERS:
        errors.append(too_many(path, len(counters), _MOST_COUNTERS))
    else:
        for name in counters:
            check_label(errors, path, name)


def _check_counter_set(errors: Errors, path: Path, counters: Object) -> None:
    if own_name(counters):
        check_label(errors, path / "name", own_name(counters))
    else:
        errors.append(required(path / "name"))
    _check_counters(errors, path / "counters", counters.get("counters") or {})


def _check_consumption(errors: Errors, path: Path, consumption: Object) -> None:
    if consumption.get("counterSet"):
        check_label(errors, path / "counterSet", consumption["counterSet"])
    else:
        errors.append(required(path / "counterSet"))
    _check_counters(errors, path / "counters", consumption.get("counters") or {})


RESOURCE_SLICES = Resource(
    ref=refs.RESOURCE_SLICES,
    definition="io.k8s.api.resource.v1.ResourceSlice",
    singular="resourceslice",
    strategy=ResourceSliceStrategy(),
    columns=(
        NAME,
        Column("Node", cell_at("spec", "nodeName"), description="The node that has the devices."),
        Column("Driver", cell_at("spec", "driver"), description="Who offers them."),
        Column("Pool", cell_at("spec", "pool", "name"), description="The pool they belong to."),
        AGE,
    ),
    selectable_fields={"spec.nodeName": text_at("spec", "nodeName"), "spec.driver": text_at("spec", "driver")},
    storage_prefix="/registry/resourceslices/",
)
