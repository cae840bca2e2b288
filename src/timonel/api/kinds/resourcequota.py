"""ResourceQuota: how much a namespace may use in all, of everything or of what a scope takes in.

Source: kubernetes.io/docs/concepts/policy/resource-quotas
"""

from __future__ import annotations

from typing import Any

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, go_struct, invalid, required
from timonel.api.kinds.columns import AGE, NAME, plain
from timonel.api.kinds.pod.resources import HUGE_PAGES, check_quantity, is_counted, name_findings
from timonel.api.kinds.resource_lists import canonical_resource_list, quantity_of
from timonel.api.kinds.rules import IMMUTABLE, Errors
from timonel.api.kinds.subresources import STATUS
from timonel.api.kinds.workload import SPEC
from timonel.api.kinds.workload import STATUS as STATUS_PATH
from timonel.api.objects import Object, get_path, resource_version_of
from timonel.api.resource import Column, Resource, Strategy

_COMPUTE = frozenset(
    ("cpu", "memory", *(f"{kind}.{name}" for kind in ("requests", "limits") for name in ("cpu", "memory")))
)
_STANDARD = frozenset(
    (
        *_COMPUTE, "ephemeral-storage", "requests.ephemeral-storage", "limits.ephemeral-storage", "requests.storage",
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "persistentvolumeclaims",
        "configmaps", "services.nodeports", "services.loadbalancers",
    )
)  # fmt: skip
_PODS = frozenset((*_COMPUTE, "pods"))
_SCOPES = {
    "Terminating": _PODS, "NotTerminating": _PODS, "BestEffort": frozenset(("pods",)), "NotBestEffort": _PODS,
    "PriorityClass": _PODS, "CrossNamespacePodAffinity": _PODS,
    "VolumeAttributesClass": frozenset(("persistentvolumeclaims", "requests.storage")),
}  # fmt: skip
"""What each scope takes in; resources without a scope of their own kind cannot be counted by it."""
_EXCLUSIVE = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_ONLY_EXISTS = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")
_MUST_EXIST = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)
_WARNED = ("cpu", "memory", "storage", "ephemeral-storage")


class ResourceQuotaStrategy(Strategy):
    tracks_generation = False

    def default(self, obj: Object) -> None:
        for amounts in (
            obj.setdefault("spec", {}).get("hard"),
            obj.setdefault("status", {}).get("hard"),
            obj["status"].get("used"),
        ):
            if amounts:
                canonical_resource_list(amounts)

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {}

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        _check_amounts(errors, SPEC / "hard", spec.get("hard") or {})
        if spec.get("scopes"):
            _check_scopes(errors, spec)
        if spec.get("scopeSelector") is not None:
            _check_scope_selector(errors, SPEC / "scopeSelector" / "matchExpressions", spec)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        scopes = get_path(new, "spec", "scopes", default=[])
        if set(scopes) != set(get_path(old, "spec", "scopes", default=[])):
            errors.append(invalid(SPEC / "scopes", scopes, IMMUTABLE))
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        # Whoever counts must have seen what was counted before.
        if not resource_version_of(new):
            errors.append(required(Path("resourceVersion")))
        for field in ("hard", "used"):
            _check_amounts(errors, STATUS_PATH / field, get_path(new, "status", field, default={}))
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if old is not None:
            return []
        hard, found = get_path(obj, "spec", "hard", default={}), []
        for name in _WARNED:
            request, limit = f"requests.{name}", f"limits.{name}"
            if request not in hard and name in ("cpu", "memory"):
                request = name
            asked, bound = _amount(hard, request), _amount(hard, limit)
            if asked is not None and bound is not None and asked > bound:
                found.append(
                    f"ResourceQuota {request} ({hard[request]}) should be less than {limit} ({hard[limit]})"
                )  # fmt: skip
        return found


def _amount(hard: Object, name: str) -> Any:
    return quantity_of(hard[name]) if name in hard else None


def _is_standard(name: str) -> bool:
    return name in _STANDARD or name.startswith((HUGE_PAGES, f"requests.{HUGE_PAGES}"))


def _check_amounts(errors: Errors, path: Path, amounts: Object) -> None:
    for name, amount in amounts.items():
        for why in name_findings(name):
            errors.append(invalid(path[name], name, why))
        if "/" not in name and not _is_standard(name):
            errors.append(invalid(path[name], name, "must be a standard resource for quota"))
        value = quantity_of(amount)
        if value is None or value < 0 or is_counted(name):
            check_quantity(errors, path[name], name, amount)


def _check_scopes(errors: Errors, spec: Object) -> None:
    scopes, path = spec["scopes"], SPEC / "scopes"
    for scope in scopes:
        if scope not in _SCOPES:
            errors.append(invalid(path, scopes, "unsupported scope"))
        for _ in _out_of_scope(scope, spec):
            errors.append(invalid(path, scopes, "unsupported scope applied to resource"))
    _check_exclusive(errors, scopes, spec)


def _shown(selector: Object) -> Object:
    """As messages show it."""
    fields = {"scopeName": "", "operator": "", "values": None}
    return {"MatchExpressions": [go_struct(item, fields) for item in selector.get("matchExpressions") or ()]}


def _check_scope_selector(errors: Errors, path: Path, spec: Object) -> None:
    selector = spec["scopeSelector"]
    expressions = selector.get("matchExpressions") or []
    for expression in expressions:
        scope, operator = expression.get("scopeName") or "", expression.get("operator") or ""
        values = expression.get("values") or []
        if scope not in _SCOPES:
            errors.append(invalid(path / "scopeName", scope, "unsupported scope"))
        for _ in _out_of_scope(scope, spec):
            errors.append(invalid(path, _shown(selector), "unsupported scope applied to resource"))
        if scope in _ONLY_EXISTS and operator != "Exists":
            errors.append(invalid(path / "operator", operator, _MUST_EXIST))
        if operator in ("In", "NotIn"):
            if not values:
                why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                errors.append(required(path / "values", why))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                errors.append(invalid(path / "values", values, why))
        else:
            errors.append(invalid(path / "operator", operator, "not a valid selector operator"))
    _check_exclusive(errors, [expression.get("scopeName") or "" for expression in expressions], spec)


def _out_of_scope(scope: str, spec: Object) -> list[str]:
    """The standard resources of the quota that the scope cannot count."""
    counted = _SCOPES.get(scope)
    if counted is None:
        return []
    return sorted(name for name in spec.get("hard") or () if _is_standard(name) and name not in counted)


def _check_exclusive(errors: Errors, scopes: list[str], spec: Object) -> None:
    for one, other in _EXCLUSIVE:
        if one in scopes and other in scopes:
            errors.append(invalid(SPEC / "scopes", spec.get("scopes"), "conflicting scopes"))


def _used(*, limits: bool) -> Any:
    """A cell of "name: used/hard" for each resource, limits apart from the rest."""

    def value(obj: Object) -> str:
        hard, used = get_path(obj, "status", "hard", default={}), get_path(obj, "status", "used", default={})
        return ", ".join(
            f"{name}: {used.get(name, '0')}/{hard[name]}"
            for name in sorted(hard)
            if name.startswith("limits.") == limits
        )

    return plain(value)


RESOURCE_QUOTAS = Resource(
    ref=refs.RESOURCE_QUOTAS,
    definition="io.k8s.api.core.v1.ResourceQuota",
    singular="resourcequota",
    short_names=("quota",),
    subresources=(STATUS,),
    strategy=ResourceQuotaStrategy(),
    columns=(
        NAME,
        Column("Request", _used(limits=False), description="What is used of what may be requested."),
        Column("Limit", _used(limits=True), description="What is used of what limits may add up to."),
        AGE,
    ),
    storage_prefix="/registry/resourcequotas/",
    has_status=True,
)
