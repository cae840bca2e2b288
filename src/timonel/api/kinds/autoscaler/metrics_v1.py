"""Metrics of autoscalers as the annotations of autoscaling/v1 have them, and back.

Quantities that v1 always has read as "0" where v2 has none.
"""

from __future__ import annotations

from typing import Any

from timonel.api.kinds.resource_lists import quantity_of
from timonel.api.objects import Object, get_path

_ZERO = "0"


def metric_to_v1(metric: Object) -> Object:
    shaped: Object = {"type": metric.get("type") or ""}
    if (source := metric.get("object")) is not None:
        target = source.get("target") or {}
        shaped["object"] = _filled(
            target=_reference(source.get("describedObject")),
            metricName=_name(source),
            targetValue=target.get("value") or _ZERO,
            selector=_selector(source),
            averageValue=target.get("averageValue"),
        )
    if (source := metric.get("pods")) is not None:
        shaped["pods"] = _filled(
            metricName=_name(source),
            targetAverageValue=get_path(source, "target", "averageValue", default=_ZERO),
            selector=_selector(source),
        )
    for kind in ("resource", "containerResource"):
        if (source := metric.get(kind)) is not None:
            shaped[kind] = _filled(
                name=source.get("name") or "",
                targetAverageUtilization=get_path(source, "target", "averageUtilization"),
                targetAverageValue=get_path(source, "target", "averageValue"),
                container=(source.get("container") or "") if kind == "containerResource" else None,
            )
    if (source := metric.get("external")) is not None:
        shaped["external"] = _filled(
            metricName=_name(source),
            metricSelector=_selector(source),
            targetValue=get_path(source, "target", "value"),
            targetAverageValue=get_path(source, "target", "averageValue"),
        )
    return shaped


def metric_to_v2(metric: Object) -> Object:
    shaped: Object = {"type": metric.get("type") or ""}
    if (source := metric.get("object")) is not None:
        value, average = source.get("targetValue") or _ZERO, source.get("averageValue")
        if average is None:
            target = {"type": "Value", "value": value}
        else:
            target = _filled(type="AverageValue", value=value if quantity_of(value) else None, averageValue=average)
        shaped["object"] = {
            "describedObject": _reference(source.get("target")), "target": target, "metric": _metric(source, "selector")
        }  # fmt: skip
    if (source := metric.get("pods")) is not None:
        target = {"type": "AverageValue", "averageValue": source.get("targetAverageValue") or _ZERO}
        shaped["pods"] = {"metric": _metric(source, "selector"), "target": target}
    for kind in ("resource", "containerResource"):
        if (source := metric.get(kind)) is not None:
            percent = source.get("targetAverageUtilization")
            shaped[kind] = _filled(
                name=source.get("name") or "",
                target=_filled(
                    type="AverageValue" if percent is None else "Utilization",
                    averageValue=source.get("targetAverageValue"),
                    averageUtilization=percent,
                ),
                container=(source.get("container") or "") if kind == "containerResource" else None,
            )
    if (source := metric.get("external")) is not None:
        value = source.get("targetValue")
        target = _filled(
            type="AverageValue" if value is None else "Value",
            value=value,
            averageValue=source.get("targetAverageValue"),
        )
        shaped["external"] = {"metric": _metric(source, "metricSelector"), "target": target}
    return shaped


def current_to_v1(metric: Object) -> Object:
    shaped: Object = {"type": metric.get("type") or ""}
    for kind in ("object", "pods", "resource", "containerResource", "external"):
        source = metric.get(kind)
        if source is None:
            continue
        current = source.get("current") or {}
        value, average = current.get("value"), current.get("averageValue")
        if kind == "object":
            shaped[kind] = _filled(
                target=_reference(source.get("describedObject")),
                metricName=_name(source),
                currentValue=value or _ZERO,
                selector=_selector(source),
                averageValue=average,
            )
        elif kind == "pods":
            shaped[kind] = _filled(
                metricName=_name(source), currentAverageValue=average or _ZERO, selector=_selector(source)
            )
        elif kind == "external":
            shaped[kind] = _filled(
                metricName=_name(source),
                metricSelector=_selector(source),
                currentValue=value or _ZERO,
                currentAverageValue=average,
            )
        else:
            shaped[kind] = _filled(
                name=source.get("name") or "",
                currentAverageUtilization=current.get("averageUtilization"),
                currentAverageValue=average or _ZERO,
                container=(source.get("container") or "") if kind == "containerResource" else None,
            )
    return shaped


def current_to_v2(metric: Object) -> Object:
    shaped: Object = {"type": metric.get("type") or ""}
    for kind in ("object", "pods", "resource", "containerResource", "external"):
        source = metric.get(kind)
        if source is None:
            continue
        value, average = source.get("currentValue") or _ZERO, source.get("currentAverageValue")
        if kind == "object":
            shaped[kind] = {
                "metric": _metric(source, "selector"),
                "current": _filled(value=value, averageValue=source.get("averageValue")),
                "describedObject": _reference(source.get("target")),
            }
        elif kind == "pods":
            shaped[kind] = {"metric": _metric(source, "selector"), "current": {"averageValue": average or _ZERO}}
        elif kind == "external":
            shaped[kind] = {
                "metric": _metric(source, "metricSelector"),
                "current": _filled(value=value, averageValue=average),
            }
        else:
            shaped[kind] = _filled(
                name=source.get("name") or "",
                current=_filled(
                    averageValue=average or _ZERO, averageUtilization=source.get("currentAverageUtilization")
                ),
                container=(source.get("container") or "") if kind == "containerResource" else None,
            )
    return shaped


def _filled(**fields: Any) -> Object:
    return {field: value for field, value in fields.items() if value is not None}


def _name(source: Object) -> str:
    name: str = get_path(source, "metric", "name", default="")
    return name


def _selector(source: Object) -> Any:
    return get_path(source, "metric", "selector")


def _metric(source: Object, selector: str) -> Object:
    return _filled(name=source.get("metricName") or "", selector=source.get(selector))


def _reference(reference: Object | None) -> Object:
    reference = reference or {}
    shaped = {"kind": reference.get("kind") or "", "name": reference.get("name") or ""}
    if reference.get("apiVersion"):
        shaped["apiVersion"] = reference["apiVersion"]
    return shaped
