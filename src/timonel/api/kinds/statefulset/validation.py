"""What a StatefulSet's spec must be, when it is created and when it changes."""

from __future__ import annotations

from timonel.api.field_errors import go_struct, invalid, not_supported, required
from timonel.api.kinds.pod.annotations import check_pod_annotations
from timonel.api.kinds.pod.persistent_claim import check_claim_spec
from timonel.api.kinds.pod.validation import check_template
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
from timonel.api.kinds.workload import SPEC, check_endless_pods, label_mismatch
from timonel.api.labels import InvalidSelector, selector_from_object
from timonel.api.objects import Object, get_path

CLAIMS = SPEC / "volumeClaimTemplates"
_UPDATE, _TEMPLATE = SPEC / "updateStrategy", SPEC / "template"


def check_stateful_set_spec(
    errors: Errors, spec: Object, *, updating: bool = False, trust_template: bool = False
) -> None:
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
            check_claim_spec(errors, CLAIMS[index] / "spec", claim.get("spec") or {})
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
            errors.append(invalid(path, _shown_rolling(rolling), "only allowed for updateStrategy 'RollingUpdate'"))
    elif kind != "RollingUpdate":
        errors.append(invalid(_UPDATE, _shown(strategy), "must be 'RollingUpdate' or 'OnDelete'"))
    elif rolling is not None:
        check_not_negative(errors, path / "partition", rolling.get("partition"))
        unavailable = rolling.get("maxUnavailable")
        if unavailable is not None:
            check_count_or_percent(errors, path / "maxUnavailable", unavailable)
            if not int_or_percent(unavailable):
                errors.append(invalid(path / "maxUnavailable", unavailable, "cannot be 0"))
            check_at_most_all(errors, path / "maxUnavailable", unavailable)


def _shown(strategy: Object) -> Object:
    rolling = strategy.get("rollingUpdate")
    return {
        "Type": strategy.get("type") or "", "RollingUpdate": None if rolling is None else _shown_rolling(rolling),
    }  # fmt: skip


def _shown_rolling(rolling: Object) -> Object:
    return go_struct(rolling, {"partition": 0, "maxUnavailable": None})


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
        errors.append(label_mismatch(where, metadata.get("labels")))
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
