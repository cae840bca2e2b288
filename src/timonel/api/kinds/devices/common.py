"""Checks that the kinds of devices share: bounded lists and sets, names of pools and attributes, raw parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from timonel.api.field_errors import Path, duplicate, invalid, required, too_long, too_many
from timonel.api.kinds.pod.volumes import check_csi_driver
from timonel.api.kinds.rules import Errors, check_qualified_name, check_subdomain, check_text
from timonel.api.names import SUBDOMAIN_MAX, validate_c_identifier
from timonel.api.objects import Object

CheckItem = Callable[[Errors, Path, Any], None]

_ID_LIMIT = 32
_RAW_LIMIT = 10 * 1024  # bytes of JSON
_MOST_BINDING_CONDITIONS = 4
_OMITTED = "<value omitted>"

check_driver = check_csi_driver
"""Drivers of devices are named as CSI drivers are."""


def check_list(errors: Errors, path: Path, items: Sequence[Any], most: int, check: CheckItem) -> bool:
    """Every item, unless there are too many to look at them; False then. A negative bound is none."""
    if 0 <= most < len(items):
        errors.append(too_many(path, len(items), most))
        return False
    for index, item in enumerate(items):
        check(errors, path[index], item)
    return True


def check_set(
    errors: Errors, path: Path, items: Sequence[Any], most: int, check: CheckItem, key: Callable[[Any], Any]
) -> None:
    """As `check_list`; no two items have the same key."""
    if not check_list(errors, path, items, most, check):
        return
    seen: list[Any] = []
    for index, item in enumerate(items):
        if key(item) in seen:
            errors.append(duplicate(path[index], key(item)))
        else:
            seen.append(key(item))


def own_name(item: Object) -> str:
    name: str = item.get("name") or ""
    return name


def check_pool_name(errors: Errors, path: Path, name: str) -> None:
    """DNS subdomains separated by slashes."""
    if not name:
        errors.append(required(path))
        return
    if len(name.encode()) > SUBDOMAIN_MAX:
        errors.append(too_long(path, SUBDOMAIN_MAX))
    for part in name.split("/"):
        check_subdomain(errors, path, part)


def check_attribute_name(errors: Errors, path: Path, name: str) -> None:
    """An identifier, with a domain before it or without."""
    domain, slash, rest = name.partition("/")
    if not slash:
        _check_identifier(errors, path, name)
        return
    if "/" in rest:
        return  # let pass by upstream too
    if domain:
        check_driver(errors, path, domain)
    else:
        errors.append(invalid(path, "", "the domain must not be empty"))
    if rest:
        _check_identifier(errors, path, rest)
    else:
        errors.append(invalid(path, "", "the name must not be empty"))


def check_full_attribute_name(errors: Errors, path: Path, name: str) -> None:
    check_attribute_name(errors, path, name)
    if "/" not in name:
        why = "a fully qualified name must be a domain and a name separated by a slash"
        errors.append(invalid(path, name, why))


def _check_identifier(errors: Errors, path: Path, text: str) -> None:
    if len(text.encode()) > _ID_LIMIT:
        errors.append(too_long(path, _ID_LIMIT))
    check_text(errors, path, text, validate_c_identifier)


def check_raw(errors: Errors, path: Path, value: Any) -> None:
    """Parameters that only a driver understands: a JSON object of limited size."""
    if value is None:
        errors.append(required(path))
    elif len(orjson.dumps(value)) > _RAW_LIMIT:
        errors.append(too_long(path, _RAW_LIMIT))
    elif not isinstance(value, dict):
        errors.append(invalid(path, _OMITTED, "must be a valid JSON object"))


def check_configuration(errors: Errors, path: Path, configuration: Object) -> None:
    opaque = configuration.get("opaque")
    if opaque is None:
        errors.append(required(path / "opaque"))
        return
    check_driver(errors, path / "opaque" / "driver", opaque.get("driver") or "")
    check_raw(errors, path / "opaque" / "parameters", opaque.get("parameters"))


def check_binding_conditions(errors: Errors, path: Path, device: Object) -> None:
    """Conditions that must hold before a pod is bound, and those that say that they never will."""
    awaited, failing = device.get("bindingConditions") or [], device.get("bindingFailureConditions") or []
    for field, conditions in (("bindingConditions", awaited), ("bindingFailureConditions", failing)):
        check_list(errors, path / field, conditions, _MOST_BINDING_CONDITIONS, check_qualified_name)
    for field, conditions in (("bindingConditions", awaited), ("bindingFailureConditions", failing)):
        for index, condition in enumerate(conditions):
            here = (path / field)[index]
            if condition in conditions[:index]:
                errors.append(duplicate(here, condition))
            if conditions is failing and condition in awaited:
                why = "bindingFailureConditions must not overlap with bindingConditions"
                errors.append(invalid(here, condition, why))
    if failing and not awaited:
        why = "bindingConditions are required to use bindingFailureConditions"
        errors.append(invalid(path / "bindingConditions", device.get("bindingConditions"), why))
    if awaited and not failing:
        why = "bindingFailureConditions are required to use bindingConditions"
        errors.append(invalid(path / "bindingFailureConditions", device.get("bindingFailureConditions"), why))
