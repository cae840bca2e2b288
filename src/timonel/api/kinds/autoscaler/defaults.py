"""Defaults of autoscalers: as many pods as keep the CPU at four fifths, and how fast their number may change."""

from __future__ import annotations

from typing import Any

from timonel.api.kinds.autoscaler.conversion import DEFAULT_CPU_UTILIZATION, cpu_metric
from timonel.api.kinds.resource_lists import canonical_quantity_field
from timonel.api.objects import Object, get_path

_SOURCES = ("object", "pods", "resource", "containerResource", "external")
_PERIOD = 15  # seconds


def default_autoscaler(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        spec["metrics"] = [cpu_metric(DEFAULT_CPU_UTILIZATION)]
    _spell(spec["metrics"], "target")
    behavior = spec.get("behavior")
    if behavior is not None:
        behavior["scaleUp"] = _complete(behavior.get("scaleUp"), _scale_up())
        behavior["scaleDown"] = _complete(behavior.get("scaleDown"), _scale_down())
    status = obj.setdefault("status", {})
    status.setdefault("desiredReplicas", 0)
    status.setdefault("currentMetrics", None)
    _spell(status.get("currentMetrics") or [], "current")


def _scale_up() -> Object:
    policies = [_policy("Pods", 4), _policy("Percent", 100)]
    return {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": policies}


def _scale_down() -> Object:
    """How long to wait before going down is the controller's to say, so it is not filled in."""
    return {"selectPolicy": "Max", "policies": [_policy("Percent", 100)]}


def _policy(kind: str, value: int) -> dict[str, Any]:
    return {"type": kind, "value": value, "periodSeconds": _PERIOD}


def _complete(rules: Object | None, defaults: Object) -> Object:
    completed = {**defaults, **(rules or {})}
    if completed.get("tolerance") is not None:
        canonical_quantity_field(completed, "tolerance")
    return completed


def _spell(metrics: list[Object], part: str) -> None:
    for metric in metrics:
        for source in _SOURCES:
            amounts = get_path(metric, source, part)
            if amounts:
                for field in ("value", "averageValue"):
                    if amounts.get(field) is not None:
                        canonical_quantity_field(amounts, field)
