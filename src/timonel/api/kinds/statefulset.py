"""StatefulSet: pods with lasting names, each with storage of its own."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid, not_supported, quote, required
from timonel.api.kinds.columns import AGE, NAME, TEMPLATE_COLUMNS, plain
from timonel.api.kinds.pod.annotations import check_pod_annotations
from timonel.api.kinds.pod.defaults import default_pod_template
from timonel.api.kinds.pod.persistent_claim import check_claim_spec
from timonel.api.kinds.pod.validation import check_template
from timonel.api.kinds.resource_lists import canonical_resource_list, quantity_of
from timonel.api.kinds.rules import (
    Errors,
    check_annotations,
    check_at_most_all,
    check_count_or_percent,
    check_label,
    check_label_selector,
    check_labels,
    check_not_negative,
    int_or_percent,
)
from timonel.api.kinds.subresources import SCALE, STATUS
from timonel.api.kinds.workload import (
    SPEC,
    check_collision_count,
    check_endless_pods,
    check_replica_counts,
    template_warnings,
)
from timonel.api.labels import InvalidSelector, selector_from_object
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
_UPDATE, _TEMPLATE, _CLAIMS = SPEC / "updateStrategy", SPEC / "template", SPEC / "volumeClaimTemplates"
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
        _check_spec(errors, obj.get("spec") or {})
        return errors

    def prepare_update(self, new: Object, old: Object) -> None:
        if get_path(old, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable") is None:
            _drop_max_unavailable(new)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        already_wrong: Errors = []
        _check_spec(already_wrong, before, updating=True)
        errors: Errors = []
        # What was accepted before the rules became stricter must stay changeable elsewhere.
        _check_spec(errors, spec, updating=True, trust_template=bool(already_wrong))
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
            path = _CLAIMS[index] if old is None else _CLAIMS[index] / "Spec"
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


def _check_spec(errors: Errors, spec: Object, *, updating: bool = False, trust_template: bool = False) -> None:
    """`updating`: what cannot change any more is not looked at."""
    policy = spec.get("podManagementPolicy")
    if not policy:
        errors.append(required(SPEC / "podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        errors.append(invalid(SPEC / "podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    _check_update_strategy(errors, spec.get("updateStrategy") or {})
    retention = spec.get("persistentVolumeClaimRetentionPolicy")
    if retention is not None:
        for moment in ("whenDeleted", "whenScaled"):
            if retention.get(moment) not in ("Retain", "Delete"):
                where = SPEC / "persistentVolumeClaimRetentionPolicy" / moment
                errors.append(not_supported(where, retention.get(moment) or "", ("Retain", "Delete")))
    if not updating:
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            check_claim_spec(errors, _CLAIMS[index] / "spec", claim.get("spec") or {})
    check_not_negative(errors, SPEC / "replicas", spec.get("replicas"))
    check_not_negative(errors, SPEC / "minReadySeconds", spec.get("minReadySeconds"))
    check_not_negative(errors, SPEC / "ordinals" / "start", get_path(spec, "ordinals", "start"))
    if spec.get("serviceName") and not updating:
        check_label(errors, SPEC / "serviceName", spec["serviceName"])
    _check_selector_and_template(errors, spec, trust_template=trust_template)
    check_endless_pods(errors, spec.get("template") or {}, called="StatefulSet")


def _check_update_strategy(errors: Errors, strategy: Object) -> None:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    path = _UPDATE / "rollingUpdate"
    if not kind:
        errors.append(required(_UPDATE))
    elif kind == "OnDelete":
        if rolling is not None:
            errors.append(invalid(path, rolling, "only allowed for updateStrategy 'RollingUpdate'"))
    elif kind != "RollingUpdate":
        errors.append(invalid(_UPDATE, strategy, "must be 'RollingUpdate' or 'OnDelete'"))
    elif rolling is not None:
        check_not_negative(errors, path / "partition", rolling.get("partition"))
        unavailable = rolling.get("maxUnavailable")
        if unavailable is not None:
            check_count_or_percent(errors, path / "maxUnavailable", unavailable)
            if not int_or_percent(unavailable):
                errors.append(invalid(path / "maxUnavailable", unavailable, "cannot be 0"))
            check_at_most_all(errors, path / "maxUnavailable", unavailable)


def _check_selector_and_template(errors: Errors, spec: Object, *, trust_template: bool) -> None:
    selector, template = spec.get("selector"), spec.get("template") or {}
    if selector is None:
        errors.append(required(SPEC / "selector"))
    else:
        check_label_selector(errors, SPEC / "selector", selector)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.append(invalid(SPEC / "selector", selector, "empty selector is invalid for statefulset"))
    try:
        parsed = selector_from_object(selector)
    except InvalidSelector:
        errors.append(invalid(SPEC / "selector", selector, ""))
        return
    metadata = template.get("metadata") or {}
    if not parsed.everything and not parsed.matches(metadata.get("labels")):
        where = _TEMPLATE / "metadata" / "labels"
        errors.append(invalid(where, metadata.get("labels"), "`selector` does not match template `labels`"))
    shown = _as_run(spec, template)
    if not trust_template:
        check_template(errors, _TEMPLATE, shown)
    check_labels(errors, _TEMPLATE / "labels", metadata.get("labels"))
    annotations = metadata.get("annotations")
    check_annotations(errors, _TEMPLATE / "annotations", annotations)
    if annotations:
        check_pod_annotations(errors, _TEMPLATE / "annotations", annotations, shown["spec"])


def _as_run(spec: Object, template: Object) -> Object:
    """The template as the controller completes it: host name and subdomain are its own, claims become volumes."""
    pod_spec = {
        field: value for field, value in (template.get("spec") or {}).items() if field not in ("subdomain", "hostname")
    }
    claims = {(claim.get("metadata") or {}).get("name") or "" for claim in spec.get("volumeClaimTemplates") or ()}
    if claims:
        pod_spec["volumes"] = [
            *({"name": name, "persistentVolumeClaim": {"claimName": name}} for name in sorted(claims)),
            *(volume for volume in pod_spec.get("volumes") or () if volume.get("name") not in claims),
        ]
    return {**template, "spec": pod_spec}


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
