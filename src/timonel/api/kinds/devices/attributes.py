"""Attributes and capacities of a device, by which claims choose it and take parts of it."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

from timonel.api.field_errors import Path, forbidden, invalid, required, too_long
from timonel.api.kinds.devices.common import check_attribute_name, check_set
from timonel.api.kinds.resource_lists import quantity_of
from timonel.api.kinds.rules import Errors
from timonel.api.objects import Object
from timonel.api.quantity import format_quantity

_VALUE_LIMIT = 64
_MOST_ATTRIBUTES, _MOST_VALUES = 32, 48
_MOST_OPTIONS = 10
_LISTS = ("bools", "ints", "strings", "versions")
_SINGLES = ("bool", "int", "string", "version")
_NUMBER = r"(0|[1-9]\d*)"
_PRE_RELEASE = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_semver_match = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE_RELEASE}(\.{_PRE_RELEASE})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
).fullmatch


def check_attributes(errors: Errors, path: Path, device: Object) -> None:
    attributes, capacities = device.get("attributes") or {}, device.get("capacity") or {}
    count = len(attributes) + len(capacities)
    if count > _MOST_ATTRIBUTES:
        why = f"the total number of attributes and capacities must not exceed {_MOST_ATTRIBUTES}"
        errors.append(invalid(path, count, why))
    values = sum(sum(len(attribute.get(kind) or ()) for kind in _LISTS) or 1 for attribute in attributes.values())
    if values > _MOST_VALUES:
        why = f"the total number of attribute values must not exceed {_MOST_VALUES}"
        errors.append(invalid(path, values, why))
    for name, attribute in attributes.items():
        check_attribute_name(errors, path / "attributes", name)
        _check_attribute(errors, (path / "attributes")[name], attribute)
    for name, capacity in capacities.items():
        check_attribute_name(errors, path / "capacity", name)
        policy, here = capacity.get("requestPolicy"), (path / "capacity")[name] / "requestPolicy"
        if policy is not None and not device.get("allowMultipleAllocations"):
            errors.append(forbidden(here, "allowMultipleAllocations must be true"))
        elif policy is not None:
            _check_policy(errors, here, policy, str(capacity.get("value") or "0"))


def _check_attribute(errors: Errors, path: Path, attribute: Object) -> None:
    given = [kind for kind in (*_SINGLES, *_LISTS) if attribute.get(kind) is not None]
    for kind in given:
        values = attribute[kind] if kind in _LISTS else [attribute[kind]]
        if not values:
            errors.append(invalid(path / kind, values, "must not be empty if specified"))
        for index, value in enumerate(values if kind.startswith(("string", "version")) else ()):
            here = (path / kind)[index] if kind in _LISTS else path / kind
            if kind.startswith("version") and not _semver_match(value):
                errors.append(invalid(here, value, "must be a string compatible with semver.org spec 2.0.0"))
            if len(value.encode()) > _VALUE_LIMIT:
                errors.append(too_long(here, _VALUE_LIMIT))
    if len(given) != 1:
        errors.append(invalid(path, attribute if given else "", "exactly one value must be specified"))


def _check_policy(errors: Errors, path: Path, policy: Object, capacity: str) -> None:
    """What share of the capacity one request may take."""
    options, limits, default = policy.get("validValues") or [], policy.get("validRange"), policy.get("default")
    if options and limits is not None:
        why = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        errors.append(forbidden(path, why))
    elif (options or limits is not None) and default is None:
        field = "validValues" if options else "validRange"
        errors.append(required(path / "default", f"required when {field} is defined"))
    elif options:
        _check_options(errors, path / "validValues", [str(o) for o in options], str(default), capacity)
    elif limits is not None:
        _check_range(errors, path / "validRange", limits, str(default), capacity)


def _value(amount: str) -> Decimal:
    return quantity_of(amount) or Decimal(0)


def _whole(amount: str) -> int:
    """Rounded up, as upstream counts steps."""
    return int(_value(amount).to_integral_value(ROUND_CEILING))


def _check_options(errors: Errors, path: Path, options: list[str], default: str, capacity: str) -> None:
    for index in range(1, len(options)):
        if _value(options[index]) < _value(options[index - 1]):
            errors.append(invalid(path[index], options[index], "values must be sorted in ascending order"))

    def check_option(errors: Errors, path: Path, option: str) -> None:
        if _value(option) > _value(capacity):
            errors.append(invalid(path, option, f"option is larger than capacity value: {capacity}"))

    check_set(errors, path, options, _MOST_OPTIONS, check_option, lambda option: str(int(_value(option))))
    if all(_value(option) != _value(default) for option in options):
        errors.append(invalid(path, default, "default value is not valid according to the requestPolicy"))


def _check_range(errors: Errors, path: Path, limits: Object, default: str, capacity: str) -> None:
    least, most, step = (limits.get(field) for field in ("min", "max", "step"))
    if least is None:
        errors.append(required(path / "min", "required when validRange is defined"))
        return
    if _value(least) > _value(capacity):
        errors.append(invalid(path / "min", least, f"min is larger than capacity value: {capacity}"))
    if _value(default) < _value(least):
        errors.append(invalid(path / "min", default, f"default is less than min: {least}"))
    if most is not None:
        if _value(least) > _value(most):
            errors.append(invalid(path / "max", least, f"min is larger than max: {most}"))
        if _value(most) > _value(capacity):
            errors.append(invalid(path / "max", most, f"max is larger than capacity value: {capacity}"))
        if _value(default) > _value(most):
            errors.append(invalid(path / "max", default, f"default is more than max: {most}"))
    if step is not None:
        added = _value(least) + _value(step)
        if added > _value(capacity):
            why = f"one step {format_quantity(added, like=str(least))} is larger than capacity value: {capacity}"
            errors.append(invalid(path / "step", step, why))
        first, width = _whole(least), _whole(step)
        for value in (default, most):
            if value is not None and width and (_whole(value) - first) % width:
                why = f"value is not a multiple of a given step ({step}) from ({least})"
                errors.append(invalid(path / "step", value, why))
