"""LimitRange: bounds and defaults of what containers, pods and claims of a namespace may ask for.

Source: kubernetes.io/docs/concepts/policy/limit-range
"""

from __future__ import annotations

from decimal import Decimal

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, duplicate, forbidden, invalid, required
from timonel.api.kinds.columns import DEFAULT_COLUMNS
from timonel.api.kinds.pod.resources import container_name_findings, is_overcommitted, name_findings
from timonel.api.kinds.resource_lists import canonical_resource_list, quantity_of
from timonel.api.kinds.rules import Errors
from timonel.api.names import validate_qualified_name
from timonel.api.objects import Object, uid_of
from timonel.api.quantity import MAX_INT64, int_value, milli_value
from timonel.api.resource import Resource, Strategy

_LIMITS = Path("spec") / "limits"
_KINDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
_RATIO = ("maxLimitRequestRatio", "min", "max")
_MAX_MILLI = MAX_INT64 // 1000


class LimitRangeStrategy(Strategy):
    create_on_update = True
    tracks_generation = False

    def default(self, obj: Object) -> None:
        for limit in obj.setdefault("spec", {}).get("limits") or ():
            for kind in _KINDS:
                if limit.get(kind):
                    canonical_resource_list(limit[kind])
            if limit.get("type") == "Container":
                _default_container_limits(limit)

    def prepare_create(self, obj: Object) -> None:
        metadata = obj["metadata"]
        if not metadata.get("name"):
            metadata["name"] = uid_of(obj)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        seen: set[str] = set()
        for index, limit in enumerate((obj.get("spec") or {}).get("limits") or ()):
            path, kind = _LIMITS[index], limit.get("type") or ""
            _check_type(errors, path / "type", kind)
            if kind in seen:
                errors.append(duplicate(path / "type", kind))
            seen.add(kind)
            _check_limit(errors, path, limit)
        return errors


def _default_container_limits(limit: Object) -> None:
    """The largest amount is the default, the default is requested, else the smallest amount is."""
    default = {**(limit.get("max") or {}), **(limit.get("default") or {})}
    request = {**(limit.get("min") or {}), **default, **(limit.get("defaultRequest") or {})}
    for kind, amounts in (("default", default), ("defaultRequest", request)):
        if amounts:
            limit[kind] = amounts


def _check_type(errors: Errors, path: Path, kind: str) -> None:
    found = validate_qualified_name(kind)
    if not found and "/" not in kind and kind not in _TYPES:
        found = ["must be a standard limit type or fully qualified"]
    for why in found:
        errors.append(invalid(path, kind, why))


def _check_limit(errors: Errors, path: Path, limit: Object) -> None:
    kind = limit.get("type") or ""
    rule = container_name_findings if kind in ("Pod", "Container") else name_findings
    amounts: dict[str, dict[str, Decimal]] = {}
    for field in _KINDS:
        given = limit.get(field) or {}
        if kind == "Pod" and field in ("default", "defaultRequest"):
            if given:
                errors.append(forbidden(path / field, "may not be specified when `type` is 'Pod'"))
            given = {}
        for name in given:
            for why in rule(name):
                errors.append(invalid((path / field)[name], name, why))
        amounts[field] = {name: value for name, text in given.items() if (value := quantity_of(text)) is not None}
        if field == "defaultRequest" and kind == "PersistentVolumeClaim" and not _bounds_storage(limit):
            why = "either minimum or maximum storage value is required, but neither was provided"
            errors.append(required(path / "limits", why))
    for name in sorted(set().union(*amounts.values())):
        _check_amounts(errors, path, name, limit, {field: amounts[field].get(name) for field in _KINDS})


def _bounds_storage(limit: Object) -> bool:
    return any("storage" in (limit.get(field) or {}) for field in ("min", "max"))


def _check_amounts(
    errors: Errors, path: Path, name: str, limit: Object, amounts: dict[str, Decimal | None]
) -> None:  # fmt: skip
    """Least ≤ default request ≤ default ≤ most, for one resource."""
    text = {field: str((limit.get(field) or {}).get(name)) for field in _KINDS}

    def check_order(low: str, high: str, blamed: str, shown: str, why: str) -> None:
        less, more = amounts[low], amounts[high]
        if less is not None and more is not None and less > more:
            errors.append(invalid((path / blamed)[name], text[shown], why))

    least, most, default, request = text["min"], text["max"], text["default"], text["defaultRequest"]
    check_order("min", "max", "min", "min", f"min value {least} is greater than max value {most}")
    why = f"min value {least} is greater than default request value {request}"
    check_order("min", "defaultRequest", "defaultRequest", "defaultRequest", why)
    why = f"default request value {request} is greater than max value {most}"
    check_order("defaultRequest", "max", "defaultRequest", "defaultRequest", why)
    why = f"default request value {request} is greater than default limit value {default}"
    check_order("defaultRequest", "default", "defaultRequest", "defaultRequest", why)
    check_order("min", "default", "default", "min", f"min value {least} is greater than default value {default}")
    check_order("default", "max", "default", "max", f"default value {default} is greater than max value {most}")
    _check_ratio(errors, (path / "maxLimitRequestRatio")[name], text, amounts)
    given, asked = amounts["default"], amounts["defaultRequest"]
    if not is_overcommitted(name) and given is not None and asked is not None and given != asked:
        why = f"default value {default} must equal to defaultRequest value {request} in {name}"
        errors.append(invalid((path / "defaultRequest")[name], request, why))


def _check_ratio(errors: Errors, path: Path, texts: dict[str, str], amounts: dict[str, Decimal | None]) -> None:
    given = [amounts[field] for field in _RATIO]
    if given[0] is None:
        return
    text = texts["maxLimitRequestRatio"]
    if given[0] < 1:
        errors.append(invalid(path, text, f"ratio {text} is less than 1"))
    if None in given:
        return
    # Compared in thousandths, or in whole units where the amounts are too large for that.
    ratio, least, most = (int_value(texts[field]) for field in _RATIO)
    scale = 1
    if max(ratio, least, most) < _MAX_MILLI:
        ratio, least, most = (milli_value(texts[field]) for field in _RATIO)
        scale = 1000
    # No ratio is larger than that of all to nothing.
    if least and ratio / scale > most / least:
        errors.append(invalid(path, text, f"ratio {text} is greater than max/min = {most / least:.6f}"))


LIMIT_RANGES = Resource(
    ref=refs.LIMIT_RANGES,
    definition="io.k8s.api.core.v1.LimitRange",
    singular="limitrange",
    short_names=("limits",),
    strategy=LimitRangeStrategy(),
    columns=DEFAULT_COLUMNS,
    storage_prefix="/registry/limitranges/",
)
