"""ReplicaSet: keeps a number of equal pods alive."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.kinds.columns import REPLICA_COLUMNS, TEMPLATE_COLUMNS
from timonel.api.kinds.pod.defaults import default_pod_template
from timonel.api.kinds.rules import Errors, check_immutable, check_not_negative
from timonel.api.kinds.subresources import SCALE, STATUS
from timonel.api.kinds.workload import (
    SELECTOR_COLUMN,
    SPEC,
    check_replica_counts,
    check_selector_and_template,
    workload_warnings,
)
from timonel.api.objects import Object, get_path
from timonel.api.resource import Resource, Strategy

_COUNTS = (
    "replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration",
    "terminatingReplicas",
)  # fmt: skip
_BOUNDED = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")


class ReplicaSetStrategy(Strategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("replicas") is None:
            spec["replicas"] = 1
        default_pod_template(spec.setdefault("template", {}))
        self.default_status(obj)

    def default_status(self, obj: Object) -> None:
        obj.setdefault("status", {}).setdefault("replicas", 0)

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"replicas": 0}

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        check_not_negative(errors, SPEC / "replicas", spec.get("replicas"))
        check_not_negative(errors, SPEC / "minReadySeconds", spec.get("minReadySeconds"))
        check_selector_and_template(errors, spec)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        check_immutable(errors, SPEC / "selector", get_path(new, "spec", "selector"), get_path(old, "spec", "selector"))
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_replica_counts(errors, new.get("status") or {}, _COUNTS, _BOUNDED)
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        return workload_warnings(obj, old)


REPLICA_SETS = Resource(
    ref=refs.REPLICA_SETS,
    definition="io.k8s.api.apps.v1.ReplicaSet",
    singular="replicaset",
    short_names=("rs",),
    categories=("all",),
    subresources=(SCALE, STATUS),
    strategy=ReplicaSetStrategy(),
    columns=(
        *REPLICA_COLUMNS,
        *TEMPLATE_COLUMNS,
        SELECTOR_COLUMN,
    ),
    storage_prefix="/registry/replicasets/",
    has_status=True,
)
