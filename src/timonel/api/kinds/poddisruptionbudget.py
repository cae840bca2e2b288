"""PodDisruptionBudget: how many pods of an application may be evicted at once."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import go_struct, invalid
from timonel.api.kinds.columns import AGE, NAME, cell_at, plain
from timonel.api.kinds.conditions import check_conditions
from timonel.api.kinds.rules import (
    Errors,
    check_at_most_all,
    check_count_or_percent,
    check_label_selector,
    check_not_negative,
    check_option,
)
from timonel.api.kinds.subresources import STATUS
from timonel.api.kinds.workload import SPEC
from timonel.api.kinds.workload import STATUS as STATUS_PATH
from timonel.api.names import validate_path_segment
from timonel.api.objects import Object, get_path
from timonel.api.resource import Cell, Column, Resource, Strategy

_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
_SHOWN = {"minAvailable": None, "selector": None, "maxUnavailable": None, "unhealthyPodEvictionPolicy": None}
_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


class PodDisruptionBudgetStrategy(Strategy):
    # Two who both think that one more eviction is fine must not both be right.
    allow_unconditional_update = False

    def validate_name(self, name: str) -> list[str]:
        return validate_path_segment(name)

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})
        _fill_status(obj.setdefault("status", {}))

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {}
        _fill_status(obj["status"])

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
            errors.append(invalid(SPEC, go_struct(spec, _SHOWN), "minAvailable and maxUnavailable cannot be both set"))
        for field in ("minAvailable", "maxUnavailable"):
            if spec.get(field) is not None:
                check_count_or_percent(errors, SPEC / field, spec[field])
                check_at_most_all(errors, SPEC / field, spec[field])
        check_label_selector(errors, SPEC / "selector", spec.get("selector"))
        policy = spec.get("unhealthyPodEvictionPolicy")
        check_option(errors, SPEC / "unhealthyPodEvictionPolicy", policy, _EVICTION_POLICIES)
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        check_conditions(errors, STATUS_PATH / "conditions", status.get("conditions"))
        for field in _COUNTS:
            check_not_negative(errors, STATUS_PATH / field, status.get(field))
        return errors


def _fill_status(status: Object) -> None:
    for field in _COUNTS:
        status.setdefault(field, 0)


def _bound(title: str, field: str, description: str) -> Column:
    def value(obj: Object) -> Cell:
        bound = get_path(obj, "spec", field)
        return "N/A" if bound is None else str(bound)

    return Column(title, plain(value), description=description)


POD_DISRUPTION_BUDGETS = Resource(
    ref=refs.POD_DISRUPTION_BUDGETS,
    definition="io.k8s.api.policy.v1.PodDisruptionBudget",
    singular="poddisruptionbudget",
    short_names=("pdb",),
    subresources=(STATUS,),
    strategy=PodDisruptionBudgetStrategy(),
    columns=(
        NAME,
        _bound("Min Available", "minAvailable", "The fewest pods that must stay."),
        _bound("Max Unavailable", "maxUnavailable", "The most pods that may be missing."),
        Column(
            "Allowed Disruptions",
            cell_at("status", "disruptionsAllowed", default=0),
            type="integer",
            description="Pods that may be evicted now.",
        ),
        AGE,
    ),
    storage_prefix="/registry/poddisruptionbudgets/",
    has_status=True,
)
