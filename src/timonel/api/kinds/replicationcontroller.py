"""ReplicationController: what there was before ReplicaSets; its selector is a plain map of labels."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import required
from timonel.api.kinds.columns import REPLICA_COLUMNS, TEMPLATE_COLUMNS, format_labels, plain
from timonel.api.kinds.fields import number_at
from timonel.api.kinds.pod.defaults import default_pod_template
from timonel.api.kinds.pod.validation import check_template
from timonel.api.kinds.rules import Errors, check_not_negative
from timonel.api.kinds.subresources import SCALE, STATUS
from timonel.api.kinds.workload import (
    SPEC,
    check_endless_pods,
    check_replica_counts,
    label_mismatch,
    name_warnings,
    template_warnings,
)
from timonel.api.labels import selector_from_map
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

_COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
_BOUNDED = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")


class ReplicationControllerStrategy(Strategy):
    orphans_dependents = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        if spec.get("template") is not None:
            default_pod_template(spec["template"])
        labels = get_path(spec, "template", "metadata", "labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)
        obj.setdefault("status", {}).setdefault("replicas", 0)

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"replicas": 0}

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        check_not_negative(errors, SPEC / "minReadySeconds", spec.get("minReadySeconds"))
        selector, template = spec.get("selector") or {}, spec.get("template")
        if not selector:
            errors.append(required(SPEC / "selector"))
        check_not_negative(errors, SPEC / "replicas", spec.get("replicas"))
        if template is None:
            errors.append(required(SPEC / "template"))
            return errors
        labels = get_path(template, "metadata", "labels")
        if not selector_from_map(selector).matches(labels):
            where = SPEC / "template" / "metadata" / "labels"
            errors.append(label_mismatch(where, labels))
        check_template(errors, SPEC / "template", template)
        check_endless_pods(errors, template, called="ReplicationController")
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_replica_counts(errors, new.get("status") or {}, _COUNTS, _BOUNDED)
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if old is not None and obj.get("spec") == old.get("spec"):
            return []
        found = name_warnings(obj) if old is None else []
        return found + template_warnings(obj, "spec", "template")


REPLICATION_CONTROLLERS = Resource(
    ref=refs.REPLICATION_CONTROLLERS,
    definition="io.k8s.api.core.v1.ReplicationController",
    singular="replicationcontroller",
    short_names=("rc",),
    categories=("all",),
    subresources=(SCALE, STATUS),
    strategy=ReplicationControllerStrategy(),
    columns=(
        *REPLICA_COLUMNS,
        *TEMPLATE_COLUMNS,
        Column(
            "Selector",
            plain(lambda obj: format_labels(get_path(obj, "spec", "selector"))),
            priority=1,
            description="Labels its pods are known by.",
        ),
    ),
    selectable_fields={"status.replicas": number_at("status", "replicas")},
    storage_prefix="/registry/controllers/",
    has_status=True,
)
