"""HorizontalPodAutoscaler in two shapes over one storage: autoscaling/v2, which is what is stored, and autoscaling/v1.

v1 has a field for one metric only, the use of CPU. Everything else of v2 stands in annotations there, as JSON, so that
a client of v1 that writes back what it read loses nothing. `to_v2` and `to_v1` leave their argument alone.
Source: kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale "API Object", and what clients of v1 see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from timonel.api.kinds.autoscaler import metrics_v1
from timonel.api.objects import Object, annotations_of, get_path
from timonel.api.schema import schemas

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
ROUND_TRIP = (
    METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance", "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
)  # fmt: skip
DEFAULT_CPU_UTILIZATION = 80  # percent
_V1, _V2 = "autoscaling/v1", "autoscaling/v2"
_SPEC_FIELDS = ("scaleTargetRef", "minReplicas", "maxReplicas")
_STATUS_FIELDS = ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
_DEFINITIONS = "io.k8s.api.autoscaling.v2."
_RULE_FIELDS = ("StabilizationWindowSeconds", "SelectPolicy", "Policies", "Tolerance")
_POLICY_FIELDS = ("Type", "Value", "PeriodSeconds")


def cpu_metric(percent: int) -> Object:
    """The one metric that v1 has a field for."""
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def to_v2(autoscaler: Object) -> Object:
    """The autoscaling/v2 shape of an autoscaling/v1 autoscaler; one already in v2 shape comes back equal."""
    if autoscaler.get("apiVersion") != _V1:
        return dict(autoscaler)
    annotations = annotations_of(autoscaler)
    spec, status = autoscaler.get("spec") or {}, autoscaler.get("status") or {}
    shaped = {
        **autoscaler,
        "apiVersion": _V2,
        "metadata": without_round_trip(autoscaler["metadata"]),
        "spec": {field: spec[field] for field in _SPEC_FIELDS if field in spec},
        "status": {field: status[field] for field in _STATUS_FIELDS if field in status},
    }
    percent = spec.get("targetCPUUtilizationPercentage")
    metrics = _read_list(annotations.get(METRICS), metrics_v1.metric_to_v2, "MetricSpec") or []
    if percent is not None:
        metrics.append(cpu_metric(percent))
    shaped["spec"]["metrics"] = metrics or [cpu_metric(DEFAULT_CPU_UTILIZATION)]
    behavior = _read_behavior(annotations.get(BEHAVIOR))
    if behavior:
        shaped["spec"]["behavior"] = behavior
    current = _read_list(annotations.get(CURRENT_METRICS), metrics_v1.current_to_v2, "MetricStatus")
    percent = status.get("currentCPUUtilizationPercentage")
    if current is None and percent is not None:
        current = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}}]
    if current:
        shaped["status"]["currentMetrics"] = current
    conditions = _read_list(annotations.get(CONDITIONS), _condition, "HorizontalPodAutoscalerCondition")
    if conditions:
        shaped["status"]["conditions"] = conditions
    return shaped


def to_v1(autoscaler: Object) -> Object:
    """The autoscaling/v1 shape of an autoscaling/v2 autoscaler; one already in v1 shape comes back equal."""
    if autoscaler.get("apiVersion") != _V2:
        return dict(autoscaler)
    spec, status = autoscaler.get("spec") or {}, autoscaler.get("status") or {}
    metadata = without_round_trip(autoscaler["metadata"])
    shaped_status = {field: status[field] for field in _STATUS_FIELDS if field in status}
    shaped = {
        **autoscaler,
        "apiVersion": _V1,
        "metadata": metadata,
        "spec": {field: spec[field] for field in _SPEC_FIELDS if field in spec},
        "status": {"currentReplicas": 0, "desiredReplicas": 0, **shaped_status},
    }
    kept: dict[str, str] = {}
    others = []
    for metric in spec.get("metrics") or ():
        percent = _cpu_percent(metric)
        if percent is None:
            others.append(metrics_v1.metric_to_v1(metric))
        else:
            shaped["spec"].setdefault("targetCPUUtilizationPercentage", percent)
    if others:
        kept[METRICS] = _render(others)
    current = status.get("currentMetrics") or []
    for metric in current:
        percent = get_path(metric, "resource", "current", "averageUtilization")
        if metric.get("type") == "Resource" and get_path(metric, "resource", "name") == "cpu" and percent is not None:
            shaped["status"]["currentCPUUtilizationPercentage"] = percent
    if current:
        kept[CURRENT_METRICS] = _render([metrics_v1.current_to_v1(metric) for metric in current])
    if spec.get("behavior") is not None:
        kept[BEHAVIOR] = _render(_behavior_v1(spec["behavior"]))
    if status.get("conditions"):
        kept[CONDITIONS] = _render([_condition(condition) for condition in status["conditions"]])
    if kept:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **kept}
    return shaped


def without_round_trip(metadata: Object) -> Object:
    """Metadata without the annotations that stand for fields of v2."""
    annotations = metadata.get("annotations")
    if not annotations or not any(key in annotations for key in ROUND_TRIP):
        return dict(metadata)
    kept = {key: value for key, value in annotations.items() if key not in ROUND_TRIP}
    stripped = {**metadata, "annotations": kept}
    if not kept:
        del stripped["annotations"]
    return stripped


def _cpu_percent(metric: Object) -> int | None:
    if metric.get("type") != "Resource" or get_path(metric, "resource", "name") != "cpu":
        return None
    percent: int | None = get_path(metric, "resource", "target", "averageUtilization")
    return percent


def _condition(condition: Object) -> Object:
    shaped = {"type": condition.get("type") or "", "status": condition.get("status") or ""}
    shaped["lastTransitionTime"] = condition.get("lastTransitionTime")
    return shaped | {field: condition[field] for field in ("reason", "message") if condition.get(field)}


def _behavior_v1(behavior: Object) -> Object:
    """The spelling of this annotation: every field, with a capital."""

    def rules(rules: Object | None) -> Object | None:
        if rules is None:
            return None
        shaped: Object = {field: rules.get(_uncapitalized(field)) for field in _RULE_FIELDS}
        policies = rules.get("policies")
        if policies is not None:
            shaped["Policies"] = [
                {field: policy.get(_uncapitalized(field)) for field in _POLICY_FIELDS} for policy in policies
            ]
        return shaped

    return {"ScaleUp": rules(behavior.get("scaleUp")), "ScaleDown": rules(behavior.get("scaleDown"))}


def _read_behavior(text: str | None) -> Object | None:
    read = _uncapitalized_fields(_load(text), depth=4)
    if not isinstance(read, dict) or schemas().check(f"{_DEFINITIONS}HorizontalPodAutoscalerBehavior", read).error:
        return None
    return {field: read[field] for field in ("scaleUp", "scaleDown") if read.get(field) is not None} or None


def _uncapitalized(field: str) -> str:
    return field[:1].lower() + field[1:]


def _uncapitalized_fields(value: Any, depth: int) -> Any:
    """A behavior is four levels deep and has no keys of its users' own."""
    if isinstance(value, dict) and depth:
        return {_uncapitalized(key): _uncapitalized_fields(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list) and depth:
        return [_uncapitalized_fields(item, depth - 1) for item in value]
    return value


def _read_list(text: str | None, convert: Callable[[Object], Object], definition: str) -> list[Object] | None:
    """None for what is not there or not well-formed: then the annotation says nothing."""
    read = _load(text)
    if not isinstance(read, list) or not all(isinstance(item, dict) for item in read):
        return None
    try:
        converted = [convert(item) for item in read]
    except (AttributeError, TypeError):
        return None
    if any(schemas().check(_DEFINITIONS + definition, item).error for item in converted):
        return None
    return converted


def _load(text: str | None) -> Any:
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return None


def _render(value: Any) -> str:
    """JSON as Go writes it, with its escapes."""
    text = orjson.dumps(value).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
