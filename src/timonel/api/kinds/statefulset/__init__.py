"""StatefulSet: pods with lasting names, each with storage of its own."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, quote
from timonel.api.kinds.columns import AGE, NAME, TEMPLATE_COLUMNS, plain
from timonel.api.kinds.pod.defaults import default_pod_template
from timonel.api.kinds.resource_lists import canonical_resource_list, quantity_of
from timonel.api.kinds.rules import Errors
from timonel.api.kinds.statefulset.validation import CLAIMS, check_stateful_set_spec
from timonel.api.kinds.subresources import SCALE, STATUS
from timonel.api.kinds.workload import SPEC, check_collision_count, check_replica_counts, template_warnings
from timonel.api.names import validate_dns1123_label
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

_COUNTS = (
    "replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas", "observedGeneration",
    "collisionCount",
)  # fmt: skip
_BOUNDED = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
_FIXED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_HISTORY = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"


class StatefulSetStrategy(Strategy):
    def validate_name(self, name: str) -> list[str]:
        return validate_dns1123_label(name)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("serviceName", "")
        spec.setdefault("replicas", 1)
        spec.setdefault("revisionHistoryLimit", 10)
        if not spec.get("podManagementPolicy"):
            spec["podManagementPolicy"] = "OrderedReady"
        update = spec.setdefault("updateStrategy", {})
        if not update.get("type"):
            update["type"] = "RollingUpdate"
            update.setdefault("rollingUpdate", {})
        if update["type"] == "RollingUpdate" and update.get("rollingUpdate") is not None:
            update["rollingUpdate"].setdefault("partition", 0)
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        for moment in ("whenDeleted", "whenScaled"):
            if not retention.get(moment):
                retention[moment] = "Retain"
        for claim in spec.get("volumeClaimTemplates") or ():
            _default_claim(claim)
        default_pod_template(spec.setdefault("template", {}))
        _fill_status(obj.setdefault("status", {}))

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {}
        _fill_status(obj["status"])
        _drop_max_unavailable(obj)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        check_stateful_set_spec(errors, obj.get("spec") or {})
        return errors

    def prepare_update(self, new: Object, old: Object) -> None:
        if get_path(old, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable") is None:
            _drop_max_unavailable(new)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        already_wrong: Errors = []
        check_stateful_set_spec(already_wrong, before, updating=True)
        errors: Errors = []
        # What was accepted before the rules became stricter must stay changeable elsewhere.
        check_stateful_set_spec(errors, spec, updating=True, trust_template=bool(already_wrong))
        fields = (spec.keys() | before.keys()) - set(_MUTABLE)
        if any(spec.get(field) != before.get(field) for field in fields):
            errors.append(forbidden(SPEC, _FIXED))
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        check_replica_counts(errors, status, _COUNTS, _BOUNDED, ready="status.readyReplicas")
        check_collision_count(errors, status, old.get("status") or {})
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec = obj.get("spec") or {}
        found = []
        if old is None or spec != old.get("spec"):
            found = template_warnings(obj, "spec", "template")
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            path = CLAIMS[index] if old is None else CLAIMS[index] / "Spec"
            found += _claim_warnings(path, claim.get("spec") or {})
        if (spec.get("revisionHistoryLimit") or 0) < 0:
            found.append(_HISTORY)
        return found


def _fill_status(status: Object) -> None:
    for field in ("replicas", "availableReplicas"):
        status.setdefault(field, 0)


def _default_claim(claim: Object) -> None:
    claim.update(kind="PersistentVolumeClaim", apiVersion="v1")
    spec = claim.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    for kind in ("limits", "requests"):
        amounts = get_path(spec, "resources", kind)
        if amounts:
            canonical_resource_list(amounts)
    status = claim.setdefault("status", {})
    if not status.get("phase"):
        status["phase"] = "Pending"
    for kind in ("capacity", "allocatedResources"):
        if status.get(kind):
            canonical_resource_list(status[kind])


def _drop_max_unavailable(obj: Object) -> None:
    """Off by default in v1.36; the feature gate is MaxUnavailableStatefulSet."""
    rolling = get_path(obj, "spec", "updateStrategy", "rollingUpdate")
    if rolling is not None:
        rolling.pop("maxUnavailable", None)


def _claim_warnings(path: Path, spec: Object) -> list[str]:
    found = []
    for kind in ("requests", "limits"):
        amount = get_path(spec, "resources", kind, "storage")
        value = quantity_of(amount) if amount is not None else None
        if value is not None and value != value.to_integral_value():
            where = (path / "resources" / kind)["storage"]
            found.append(f"{where}: fractional byte value {quote(str(amount))} is invalid, must be an integer")
    return found


def _ready(obj: Object) -> str:
    ready = get_path(obj, "status", "readyReplicas", default=0)
    return f"{ready}/{get_path(obj, 'spec', 'replicas', default=0)}"


STATEFUL_SETS = Resource(
    ref=refs.STATEFUL_SETS,
    definition="io.k8s.api.apps.v1.StatefulSet",
    singular="statefulset",
    short_names=("sts",),
    categories=("all",),
    subresources=(SCALE, STATUS),
    strategy=StatefulSetStrategy(),
    columns=(NAME, Column("Ready", plain(_ready), description="Ready pods, of those wanted."), AGE, *TEMPLATE_COLUMNS),
    storage_prefix="/registry/statefulsets/",
    has_status=True,
)
