"""Requests and limits of a container or a whole pod: known names, sane amounts, requests within limits.

Source: kubernetes.io/docs/concepts/configuration/manage-resources-containers
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any

from timonel.api.field_errors import Path, duplicate, forbidden, invalid, not_found, not_supported, required
from timonel.api.kinds.pod.pod_level import aggregate_resources, is_pod_level_resource
from timonel.api.kinds.resource_lists import quantity_of
from timonel.api.kinds.rules import NOT_NEGATIVE, Errors, Rule, check_label
from timonel.api.names import validate_qualified_name
from timonel.api.objects import Object
from timonel.api.quantity import format_quantity

HUGE_PAGES = "hugepages-"
_CONTAINER = ("cpu", "memory", "ephemeral-storage")
_COUNTED = (
    "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
    "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
)  # fmt: skip
_STANDARD = frozenset(
    (
        *_CONTAINER, *_COUNTED, "storage", "requests.storage",
        *(f"{kind}.{name}" for kind in ("requests", "limits") for name in _CONTAINER),
    )
)  # fmt: skip


def is_native_resource(name: str) -> bool:
    """Kubernetes' own: without a domain, or with one of kubernetes.io."""
    return "/" not in name or "kubernetes.io/" in name


@lru_cache(maxsize=256)
def is_extended_resource(name: str) -> bool:
    """A device or the like that a node advertises under a domain of its own."""
    if is_native_resource(name) or name.startswith("requests."):
        return False
    return not validate_qualified_name(f"requests.{name}")


def is_overcommitted(name: str) -> bool:
    """Whether limits may exceed requests: not for huge pages and devices."""
    return is_native_resource(name) and not name.startswith(HUGE_PAGES)


def is_counted(name: str) -> bool:
    """Whether only whole numbers make sense."""
    return name in _COUNTED or is_extended_resource(name)


def check_quantity(errors: Errors, path: Path, name: str, amount: Any) -> Decimal | None:
    value = quantity_of(amount)
    if value is None:
        errors.append(invalid(path, str(amount), "must be a valid resource quantity"))
        return None
    if value < 0:
        errors.append(invalid(path, str(amount), NOT_NEGATIVE))
    if is_counted(name) and value != value.to_integral_value():
        errors.append(invalid(path, str(amount), "must be an integer"))
    return value


def check_container_resources(errors: Errors, path: Path, resources: Object | None, claims: frozenset[str]) -> None:
    if resources:
        _check_requirements(errors, path, resources, claims, container_name_findings)


def check_overhead(errors: Errors, path: Path, overhead: Object) -> None:
    _check_requirements(errors, path, {"limits": overhead}, frozenset(), container_name_findings)


def check_pod_resources(errors: Errors, path: Path, spec: Object, claims: frozenset[str]) -> None:
    """`spec.resources`: for the pod as a whole."""
    resources = spec.get("resources")
    if resources is None:
        return
    if (spec.get("os") or {}).get("name") == "windows":
        errors.append(forbidden(path, "may not be set for a windows pod"))
        return
    if resources.get("claims") is not None:
        errors.append(forbidden(path / "claims", "claims may not be set for Resources at pod-level"))
    _check_requirements(errors, path, resources, claims, _pod_name_findings)
    _check_consistency(errors, path, spec, resources)


def _check_requirements(errors: Errors, path: Path, resources: Object, claims: frozenset[str], name_rule: Rule) -> None:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            findings = name_rule(name)
            value = quantity_of(amount)
            if not findings and value is not None and value >= 0 and name in _CONTAINER:
                continue  # the usual case: no path needed
            here = (path / kind)[name]
            for why in findings:
                errors.append(
                    not_supported(here, name, ("cpu", "hugepages-", "memory"))
                    if why is _NOT_POD_LEVEL
                    else invalid(here, name, why)
                )
            check_quantity(errors, here, name, amount)
            if value is not None and name.startswith(HUGE_PAGES) and not _divides(name, value):
                errors.append(invalid(here, str(amount), f"{amount} is not positive integer multiple of {name}"))
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is None:
            if not is_overcommitted(name):
                errors.append(required(path / "limits", "Limit must be set for non overcommitable resources"))
            continue
        if limit == amount:
            continue
        value, bound = quantity_of(amount), quantity_of(limit)
        if value is None or bound is None or value == bound:
            continue
        if not is_overcommitted(name):
            errors.append(invalid(path / "requests", str(amount), f"must be equal to {name} limit of {limit}"))
        elif value > bound:
            why = f"must be less than or equal to {name} limit of {limit}"
            errors.append(invalid(path / "requests", str(amount), why))
    names = limits.keys() | requests.keys()
    if not names & {"cpu", "memory"} and any(name.startswith(HUGE_PAGES) for name in names):
        errors.append(forbidden(path, "HugePages require cpu or memory"))
    if resources.get("claims"):
        _check_claims(errors, path / "claims", resources["claims"], claims)


@lru_cache(maxsize=256)
def name_findings(name: str) -> tuple[str, ...]:
    """What is wrong with the name of a resource, wherever it stands."""
    findings = validate_qualified_name(name)
    if findings:
        return tuple(findings)
    if "/" not in name and name not in _STANDARD and not name.startswith((HUGE_PAGES, f"requests.{HUGE_PAGES}")):
        return ("must be a standard resource type or fully qualified",)
    return ()


def container_name_findings(name: str) -> list[str]:
    """What is wrong with the name of a resource that a container asks for."""
    if name in _CONTAINER:
        return []
    findings = list(name_findings(name))
    if "/" not in name:
        if not name.startswith(HUGE_PAGES):
            findings.append("must be a standard resource for containers")
    elif not is_native_resource(name) and not is_extended_resource(name):
        findings.append("doesn't follow extended resource name standard")
    return findings


_NOT_POD_LEVEL = "is not supported for pods"


def _pod_name_findings(name: str) -> list[str]:
    findings = list(name_findings(name))
    if findings or is_pod_level_resource(name):
        return findings
    return [_NOT_POD_LEVEL]


def _divides(name: str, value: Decimal) -> bool:
    page = quantity_of(name.removeprefix(HUGE_PAGES))
    return page is not None and page > 0 and page == page.to_integral_value() and value % page == 0


def _check_consistency(errors: Errors, path: Path, spec: Object, resources: Object) -> None:
    """What the containers need must fit into what the pod is given."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, needed in aggregate_resources(spec, "requests").items():
        value = quantity_of(requests[name]) if name in requests else None
        if value is not None and needed > value:
            total = format_quantity(needed, like=str(requests[name]))
            why = f"must be greater than or equal to aggregate container requests of {total}"
            errors.append(invalid((path / "requests")[name], str(requests[name]), why))
    for name, needed in aggregate_resources(spec, "limits").items():
        value = quantity_of(limits[name]) if name in limits else None
        if name.startswith(HUGE_PAGES) and value is not None and needed > value:
            total = format_quantity(needed, like=str(limits[name]))
            why = f"must be greater than or equal to aggregate container limits of {total}"
            errors.append(invalid((path / "limits")[name], str(limits[name]), why))
    for index, container in enumerate(spec.get("containers") or ()):
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            value, bound = quantity_of(amount), quantity_of(limits[name]) if name in limits else None
            if value is not None and bound is not None and value > bound:
                why = f"must be less than or equal to pod limits of {limits[name]}"
                errors.append(invalid((path / "containers")[index][name] / "limits", str(amount), why))


def _check_claims(errors: Errors, path: Path, used: list[Object], known: frozenset[str]) -> None:
    """References to `spec.resourceClaims`, whole or one request of them, each once."""
    seen: set[str] = set()
    for index, claim in enumerate(used):
        name, request = claim.get("name") or "", claim.get("request") or ""
        here = path[index]
        if not name:
            errors.append(required(here))
            continue
        if name in seen:
            errors.append(duplicate(here, name))
        else:
            key = f"{name}/{request}" if request else name
            if request:
                check_label(errors, here / "request", request)
            if key in seen:
                errors.append(duplicate(here, key))
            elif not request:
                errors.extend(duplicate(here, name) for other in seen if other.partition("/")[0] == name)
            seen.add(key)
        if name not in known:
            finding = not_found(here, name)
            names = f": {', '.join(sorted(known))}" if known else " which is empty"
            why = f"{finding.message}: must be one of the names in pod.spec.resourceClaims{names}"
            errors.append(type(finding)(finding.reason, finding.field, why))
