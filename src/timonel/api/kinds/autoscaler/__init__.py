"""HorizontalPodAutoscaler: changes the number of pods of a workload with what they have to do.

Two rows over one storage, which has the autoscaling/v2 shape; `conversion` makes autoscaling/v1 of it and back.
"""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.kinds.autoscaler.columns import AUTOSCALER_COLUMNS
from timonel.api.kinds.autoscaler.conversion import to_v1, to_v2, without_round_trip
from timonel.api.kinds.autoscaler.defaults import default_autoscaler
from timonel.api.kinds.autoscaler.validation import check_autoscaler_spec
from timonel.api.kinds.rules import Errors, check_not_negative
from timonel.api.kinds.subresources import STATUS
from timonel.api.kinds.workload import STATUS as STATUS_PATH
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.api.resource import Resource, Strategy


class AutoscalerStrategy(Strategy):
    """Works on the v2 shape."""

    tracks_generation = False

    def default(self, obj: Object) -> None:
        # Annotations that stand for fields mean nothing where there are the fields.
        metadata = obj["metadata"]
        annotations = without_round_trip(metadata).get("annotations")
        if annotations != metadata.get("annotations"):
            metadata.pop("annotations")
            if annotations:
                metadata["annotations"] = annotations
        default_autoscaler(obj)

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"desiredReplicas": 0, "currentMetrics": None}

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        check_autoscaler_spec(errors, obj.get("spec") or {}, None)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_autoscaler_spec(errors, new.get("spec") or {}, old.get("spec") or {})
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        for field in ("currentReplicas", "desiredReplicas"):
            check_not_negative(errors, STATUS_PATH / field, (new.get("status") or {}).get(field))
        return errors


def _row(ref: ResourceRef) -> Resource:
    return Resource(
        ref=ref,
        definition=f"io.k8s.api.autoscaling.{ref.version}.HorizontalPodAutoscaler",
        singular="horizontalpodautoscaler",
        short_names=("hpa",),
        categories=("all",),
        subresources=(STATUS,),
        strategy=AutoscalerStrategy(),
        columns=AUTOSCALER_COLUMNS,
        storage_prefix="/registry/horizontalpodautoscalers/",
        has_status=True,
    )


HORIZONTAL_POD_AUTOSCALERS = _row(refs.HORIZONTAL_POD_AUTOSCALERS)
HORIZONTAL_POD_AUTOSCALERS_V1 = _row(refs.HORIZONTAL_POD_AUTOSCALERS_V1)

__all__ = ["HORIZONTAL_POD_AUTOSCALERS", "HORIZONTAL_POD_AUTOSCALERS_V1", "to_v1", "to_v2"]
