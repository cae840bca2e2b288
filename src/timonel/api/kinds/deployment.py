"""Deployment: a number of equal pods, replaced a few at a time when their template changes."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import forbidden, go_struct, invalid, not_supported, required
from timonel.api.kinds.columns import AGE, NAME, TEMPLATE_COLUMNS, cell_at, plain
from timonel.api.kinds.pod.defaults import default_pod_template
from timonel.api.kinds.rules import (
    Errors,
    check_at_most_all,
    check_count_or_percent,
    check_immutable,
    check_not_negative,
    int_or_percent,
)
from timonel.api.kinds.subresources import SCALE, STATUS
from timonel.api.kinds.workload import (
    SELECTOR_COLUMN,
    SPEC,
    check_collision_count,
    check_replica_counts,
    check_selector_and_template,
    template_warnings,
    workload_warnings,
)
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

_COUNTS = (
    "observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas",
    "terminatingReplicas", "collisionCount",
)  # fmt: skip
_BOUNDED = ("updatedReplicas", "readyReplicas", "availableReplicas")
_STRATEGY = SPEC / "strategy"


class DeploymentStrategy(Strategy):
    # Annotations are copied to replica sets, so the controller has to look at them.
    generation_follows = ("annotations",)
    status_carries = ("annotations", "finalizers")

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for field, value in (("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)):
            if spec.get(field) is None:
                spec[field] = value
        strategy = spec.setdefault("strategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        default_pod_template(spec.setdefault("template", {}))
        self.default_status(obj)

    def default_status(self, obj: Object) -> None:
        obj.setdefault("status", {})

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {}

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        check_not_negative(errors, SPEC / "replicas", spec.get("replicas"))
        check_selector_and_template(errors, spec)
        _check_strategy(errors, spec.get("strategy") or {})
        for field in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
            check_not_negative(errors, SPEC / field, spec.get(field))
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
            errors.append(invalid(SPEC / "progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        check_immutable(errors, SPEC / "selector", get_path(new, "spec", "selector"), get_path(old, "spec", "selector"))
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        check_replica_counts(errors, status, _COUNTS, _BOUNDED)
        check_collision_count(errors, status, old.get("status") or {})
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        # Whatever makes a new generation is told again what is doubtful.
        if old is not None and obj["metadata"].get("annotations") != old["metadata"].get("annotations"):
            return template_warnings(obj, "spec", "template")
        return workload_warnings(obj, old)


def _check_strategy(errors: Errors, strategy: Object) -> None:
    kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            why = "may not be specified when strategy `type` is 'Recreate'"
            errors.append(forbidden(_STRATEGY / "rollingUpdate", why))
    elif kind != "RollingUpdate":
        errors.append(not_supported(_STRATEGY, _shown(strategy), ("Recreate", "RollingUpdate")))
    elif rolling is None:
        errors.append(required(_STRATEGY / "rollingUpdate", "this should be defaulted and never be nil"))
    else:
        path = _STRATEGY / "rollingUpdate"
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        check_count_or_percent(errors, path / "maxUnavailable", unavailable)
        check_count_or_percent(errors, path / "maxSurge", surge)
        if not int_or_percent(unavailable) and not int_or_percent(surge):
            errors.append(invalid(path / "maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
        check_at_most_all(errors, path / "maxUnavailable", unavailable)


def _ready(deployment: Object) -> str:
    ready = get_path(deployment, "status", "readyReplicas", default=0)
    return f"{ready}/{get_path(deployment, 'spec', 'replicas', default=0)}"


def _shown(strategy: Object) -> Object:
    """As messages show it."""
    rolling = strategy.get("rollingUpdate")
    if rolling is not None:
        rolling = go_struct(rolling, {"maxUnavailable": 0, "maxSurge": 0})
    return {"Type": strategy.get("type") or "", "RollingUpdate": rolling}


DEPLOYMENTS = Resource(
    ref=refs.DEPLOYMENTS,
    definition="io.k8s.api.apps.v1.Deployment",
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    subresources=(SCALE, STATUS),
    strategy=DeploymentStrategy(),
    columns=(
        NAME,
        Column("Ready", plain(_ready), description="Ready pods, of those wanted."),
        Column(
            "Up-to-date", cell_at("status", "updatedReplicas", default=0), description="Pods of the current template."
        ),
        Column(
            "Available", cell_at("status", "availableReplicas", default=0), description="Pods ready for long enough."
        ),
        AGE,
        *TEMPLATE_COLUMNS,
        SELECTOR_COLUMN,
    ),
    storage_prefix="/registry/deployments/",
    has_status=True,
)
