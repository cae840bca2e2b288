"""What `kubectl get hpa` shows: of each metric the present value and the one aimed at."""

from __future__ import annotations

from timonel.api.kinds.columns import AGE, NAME, NONE, UNKNOWN, UNSET, cell_at, plain
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column

_SHOWN = 2
_PERCENT_SOURCES = {"Resource": "resource", "ContainerResource": "containerResource"}
_VALUE_SOURCES = {"External": "external", "Object": "object", "Pods": "pods"}


def targets_text(obj: Object) -> str:
    metrics = get_path(obj, "spec", "metrics", default=[])
    current = get_path(obj, "status", "currentMetrics", default=[])
    if not metrics:
        return NONE
    texts = [
        _metric(metric, current[index] if index < len(current) else {}) for index, metric in enumerate(metrics[:_SHOWN])
    ]
    text = ", ".join(texts)
    return f"{text} + {len(metrics) - _SHOWN} more..." if len(metrics) > _SHOWN else text


def _metric(metric: Object, status: Object) -> str:
    kind = metric.get("type") or ""
    if kind in _PERCENT_SOURCES:
        source = metric.get(_PERCENT_SOURCES[kind]) or {}
        current = get_path(status, _PERCENT_SOURCES[kind], "current", default={})
        wanted = get_path(source, "target", "averageValue")
        if wanted is not None:
            return f"{source.get('name') or ''}: {current.get('averageValue') or UNKNOWN}/{wanted}"
        percent, target = current.get("averageUtilization"), get_path(source, "target", "averageUtilization")
        shown = UNKNOWN if percent is None else f"{percent}%"
        return f"{source.get('name') or ''}: {shown}/{'<auto>' if target is None else f'{target}%'}"
    if kind not in _VALUE_SOURCES:
        return "<unknown type>"
    source = metric.get(_VALUE_SOURCES[kind]) or {}
    current = get_path(status, _VALUE_SOURCES[kind], "current", default={})
    average = get_path(source, "target", "averageValue")
    if average is None:
        return f"{current.get('value') or UNKNOWN}/{get_path(source, 'target', 'value', default='<nil>')}"
    text = f"{current.get('averageValue') or UNKNOWN}/{average}"
    return text if kind == "Pods" else f"{text} (avg)"


def _reference(obj: Object) -> str:
    target = get_path(obj, "spec", "scaleTargetRef", default={})
    return f"{target.get('kind') or ''}/{target.get('name') or ''}"


def _minimum(obj: Object) -> str:
    return str(get_path(obj, "spec", "minReplicas", default=UNSET))


AUTOSCALER_COLUMNS = (
    NAME,
    Column("Reference", plain(_reference), description="What it scales."),
    Column("Targets", plain(targets_text), description="Present and wanted values of its metrics."),
    Column("MinPods", plain(_minimum), description="The fewest pods."),
    Column("MaxPods", cell_at("spec", "maxReplicas", default=0), description="The most pods."),
    Column(
        "Replicas", cell_at("status", "currentReplicas", default=0), description="Pods there were when it last looked."
    ),
    AGE,
)
