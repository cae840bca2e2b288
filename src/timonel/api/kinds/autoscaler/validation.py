"""What an autoscaler must say: whom it scales, between which bounds, by which metrics and how fast.

Source: kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v2
"""

from __future__ import annotations

from timonel.api.field_errors import Path, forbidden, invalid, not_supported, required
from timonel.api.kinds.pod.resources import container_name_findings
from timonel.api.kinds.resource_lists import quantity_of
from timonel.api.kinds.rules import NOT_NEGATIVE, POSITIVE, Errors, check_label
from timonel.api.names import validate_path_segment
from timonel.api.objects import Object, get_path

MAX_PERIOD_SECONDS = 1800
MAX_STABILIZATION_SECONDS = 3600
_SPEC = Path("spec")
_SOURCES = {
    "Object": "object", "External": "external", "Pods": "pods", "Resource": "resource",
    "ContainerResource": "containerResource",
}  # fmt: skip
_SOURCE_TYPES = sorted(_SOURCES)
_TARGET_TYPES = ("Utilization", "Value", "AverageValue")
_SELECTIONS = ("Disabled", "Max", "Min")
_POLICIES = ("Percent", "Pods")


def check_autoscaler_spec(errors: Errors, spec: Object, before: Object | None) -> None:
    """`before` is the spec of the present object on update: what was accepted once may stay."""
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    bound = 0 if before is not None and before.get("minReplicas") == 0 else 1
    if least is not None and least < bound:
        why = f"must be greater than or equal to {bound}"
        errors.append(invalid(_SPEC / "minReplicas", least, why))
    if most == 0:
        errors.append(required(_SPEC / "maxReplicas", "must be set and greater than 0"))
    elif most < 0:
        errors.append(invalid(_SPEC / "maxReplicas", most, "must be greater than or equal to 1"))
    if least is not None and most < least:
        errors.append(invalid(_SPEC / "maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    _check_scale_target(errors, spec.get("scaleTargetRef") or {}, (before or {}).get("scaleTargetRef"))
    _check_metrics(errors, spec, before)
    behavior = spec.get("behavior") or {}
    for direction in ("scaleUp", "scaleDown"):
        if behavior.get(direction) is not None:
            _check_scaling_rules(errors, _SPEC / "behavior" / direction, behavior[direction])


def _check_scale_target(errors: Errors, target: Object, before: Object | None) -> None:
    same = before is not None and all(
        (target.get(field) or "") == (before.get(field) or "") for field in ("apiVersion", "kind")
    )
    core_kind = target.get("kind") == "ReplicationController"
    _check_reference(errors, _SPEC / "scaleTargetRef", target, any_version=same, core=core_kind)


def _check_reference(errors: Errors, path: Path, ref: Object, *, any_version: bool, core: bool) -> None:
    """`core` lets the group be empty, `any_version` even be wrong."""
    for field in ("kind", "name"):
        text = ref.get(field) or ""
        if not text:
            errors.append(required(path / field))
        for why in validate_path_segment(text) if text else ():
            errors.append(invalid(path / field, text, why))
    why = "" if any_version else _api_version_problem(ref.get("apiVersion") or "", core=core)
    if why:
        errors.append(invalid(path / "apiVersion", ref.get("apiVersion") or "", why))


def _api_version_problem(text: str, *, core: bool) -> str:
    if text.count("/") > 1:
        return f"unexpected GroupVersion string: {text}"
    if not core and not text.rpartition("/")[0]:
        return "apiVersion must specify API group"
    return ""


def _check_metrics(errors: Errors, spec: Object, before: Object | None) -> None:
    metrics, path = spec.get("metrics") or [], _SPEC / "metrics"
    # References that were accepted before versions were checked may stay.
    any_version = any(
        _api_version_problem(get_path(metric, "object", "describedObject", "apiVersion", default=""), core=True)
        for metric in (before or {}).get("metrics") or ()
        if metric.get("type") == "Object"
    )
    for index, metric in enumerate(metrics):
        _check_metric(errors, path[index], metric, any_version=any_version)
    if spec.get("minReplicas") == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        why = "must specify at least one Object or External metric to support scaling to zero replicas"
        errors.append(forbidden(path, why))


def _check_metric(errors: Errors, path: Path, metric: Object, *, any_version: bool) -> None:
    kind = metric.get("type") or ""
    if not kind:
        errors.append(required(path / "type", "must specify a metric source type"))
    if kind not in _SOURCES:
        errors.append(not_supported(path / "type", kind, _SOURCE_TYPES))
    given = [source for source in _SOURCES.values() if metric.get(source) is not None]
    if given:
        _check_source(errors, path / given[0], given[0], metric[given[0]], any_version=any_version)
    expected = _SOURCES.get(kind, "")
    if not expected:
        errors.append(not_supported(path / "type", kind, _SOURCE_TYPES))
    elif expected not in given:
        errors.append(required(path / expected, "must populate information for the given metric source"))
    if len(given) != 1:
        for source in sorted(set(given) - {expected}):
            errors.append(forbidden(path / source, "must populate the given metric source only"))


def _check_source(errors: Errors, path: Path, kind: str, source: Object, *, any_version: bool) -> None:
    target, here = source.get("target") or {}, path / "target"
    value, average = target.get("value"), target.get("averageValue")
    percent = target.get("averageUtilization")
    if kind == "object":
        described = source.get("describedObject") or {}
        _check_reference(errors, path / "describedObject", described, any_version=any_version, core=True)
    if kind in ("object", "external", "pods"):
        _check_identifier(errors, path / "metric" / "name", get_path(source, "metric", "name", default=""))
    else:
        _check_resource(errors, path, kind, source)
    _check_target(errors, here, target)
    if kind == "object" and value is None and average is None:
        errors.append(required(here / "averageValue", "must set either a target value or averageValue"))
    elif kind == "external" and value is None and average is None:
        why = "must set either a target value for metric or a per-pod target"
        errors.append(required(here / "averageValue", why))
    elif kind == "external" and value is not None and average is not None:
        why = "may not set both a target value for metric and a per-pod target"
        errors.append(forbidden(here / "value", why))
    elif kind == "pods" and average is None:
        errors.append(required(here / "averageValue", "must specify a positive target averageValue"))
    elif kind in ("resource", "containerResource"):
        if percent is None and average is None:
            why = "must set either a target raw value or a target utilization"
            errors.append(required(here / "averageUtilization", why))
        if percent is not None and average is not None:
            why = "may not set both a target raw value and a target utilization"
            errors.append(forbidden(here / "averageValue", why))


def _check_identifier(errors: Errors, path: Path, name: str) -> None:
    if not name:
        errors.append(required(path, "must specify a metric name"))
    for why in validate_path_segment(name):
        errors.append(invalid(path, name, why))


def _check_resource(errors: Errors, path: Path, kind: str, source: Object) -> None:
    name, container = source.get("name") or "", source.get("container") or ""
    if not name:
        errors.append(required(path / "name", "must specify a resource name"))
    if kind == "resource":
        return
    for why in container_name_findings(name) if name else ():
        errors.append(invalid(path / "name", name, why))
    if not container:
        errors.append(required(path / "container", "must specify a container"))
    else:
        check_label(errors, path / "container", container)


def _check_target(errors: Errors, path: Path, target: Object) -> None:
    kind = target.get("type") or ""
    if not kind:
        errors.append(required(path / "type", "must specify a metric target type"))
    if kind not in _TARGET_TYPES:
        errors.append(invalid(path / "type", kind, "must be either Utilization, Value, or AverageValue"))
    for field in ("value", "averageValue"):
        amount = target.get(field)
        value = quantity_of(amount) if amount is not None else None
        if amount is not None and (value is None or value <= 0):
            errors.append(invalid(path / field, str(amount), "must be positive"))
    percent = target.get("averageUtilization")
    if percent is not None and percent < 1:
        errors.append(invalid(path / "averageUtilization", percent, "must be greater than 0"))


def _check_scaling_rules(errors: Errors, path: Path, rules: Object) -> None:
    window, selection, tolerance = (
        rules.get(field) for field in ("stabilizationWindowSeconds", "selectPolicy", "tolerance")
    )
    if window is not None and window < 0:
        errors.append(invalid(path / "stabilizationWindowSeconds", window, "must be greater than or equal to zero"))
    if window is not None and window > MAX_STABILIZATION_SECONDS:
        why = f"must be less than or equal to {MAX_STABILIZATION_SECONDS}"
        errors.append(invalid(path / "stabilizationWindowSeconds", window, why))
    if selection is not None and selection not in _SELECTIONS:
        errors.append(not_supported(path / "selectPolicy", selection, _SELECTIONS))
    policies = rules.get("policies") or []
    if not policies:
        errors.append(required(path / "policies", "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        _check_policy(errors, (path / "policies")[index], policy)
    value = quantity_of(tolerance) if tolerance is not None else None
    if tolerance is not None and (value is None or value < 0):
        errors.append(invalid(path / "tolerance", str(tolerance), NOT_NEGATIVE))


def _check_policy(errors: Errors, path: Path, policy: Object) -> None:
    kind, period = policy.get("type") or "", policy.get("periodSeconds") or 0
    if kind not in _POLICIES:
        errors.append(not_supported(path / "type", kind, _POLICIES))
    if (policy.get("value") or 0) <= 0:
        errors.append(invalid(path / "value", policy.get("value") or 0, POSITIVE))
    if period <= 0:
        errors.append(invalid(path / "periodSeconds", period, POSITIVE))
    if period > MAX_PERIOD_SECONDS:
        why = f"must be less than or equal to {MAX_PERIOD_SECONDS}"
        errors.append(invalid(path / "periodSeconds", period, why))
