"""Autoscalers, pods and their figures, as small as they can be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from timonel.api.clock import format_time
from timonel.api.objects import Object
from timonel.controllers.horizontalpodautoscaler.replicas import PodMetric

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> str:
    return format_time(NOW - timedelta(seconds=seconds))


def metric(value: int, *, seconds_ago: float = 0, window: float = 15) -> PodMetric:
    return PodMetric(value, NOW - timedelta(seconds=seconds_ago), window)


def pod(
    name: str,
    *,
    phase: str = "Running",
    ready: bool | None = True,
    started: float = 3600,
    turned: float = 3500,
    request: str | None = "1",
    labels: Object | None = None,
    **spec: Any,
) -> Object:
    """One that started an hour ago and has been ready since soon after; times are seconds ago."""
    requests = {"requests": {"cpu": request, "memory": "100Mi"}} if request is not None else {}
    conditions = []
    if ready is not None:
        status = "True" if ready else "False"
        conditions.append({"type": "Ready", "status": status, "lastTransitionTime": ago(turned)})
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {"app": "web"}},
        "spec": {"containers": [{"name": "main", "resources": requests}], **spec},
        "status": {"phase": phase, "startTime": ago(started), "conditions": conditions},
    }


def pods(count: int, **fields: Any) -> list[Object]:
    return [pod(f"p{number}", **fields) for number in range(count)]


def metrics(*values: int) -> dict[str, PodMetric]:
    return {f"p{number}": metric(value) for number, value in enumerate(values)}


def cpu(percent: int) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def autoscaler(*metric_specs: Object, fewest: int = 1, most: int = 10, name: str = "web", **spec: Any) -> Object:
    return {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v2",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": fewest,
            "maxReplicas": most,
            "metrics": list(metric_specs) or [cpu(50)],
            **spec,
        },
    }


def rules(*policies: tuple[str, int, int], select: str = "Max", window: int | None = None, **more: Any) -> Object:
    """`policies` are (type, value, period in seconds)."""
    made: Object = {
        "selectPolicy": select,
        "policies": [{"type": kind, "value": value, "periodSeconds": period} for kind, value, period in policies],
        **more,
    }
    return made if window is None else {**made, "stabilizationWindowSeconds": window}


UP = rules(("Pods", 4, 15), ("Percent", 100, 15), window=0)
DOWN = rules(("Percent", 100, 15))
