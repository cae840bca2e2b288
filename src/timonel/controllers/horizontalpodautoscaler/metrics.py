"""One metric of an autoscaler, from its spec to what it proposes: which figures are asked for, and reckoned how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from timonel.api.labels import InvalidSelector, Selector, selector_from_object
from timonel.api.objects import Object
from timonel.api.quantity import format_quantity, milli_value
from timonel.controllers.horizontalpodautoscaler.config import AutoscalerConfig
from timonel.controllers.horizontalpodautoscaler.planner import MetricResult
from timonel.controllers.horizontalpodautoscaler.replicas import (
    NoProposal,
    PodMetric,
    Proposal,
    Tolerances,
    group_pods,
    pod_request,
    propose_by_average,
    propose_by_share,
    propose_by_utilization,
    propose_by_value,
)
from timonel.controllers.horizontalpodautoscaler.sources import MetricSources

_SOURCES = {
    "Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods", "Object": "object",
    "External": "external",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """What all metrics of one autoscaler are reckoned with."""

    namespace: str
    selector: str
    pods: Sequence[Object]
    replicas: int
    """Wanted now."""
    present: int
    tolerances: Tolerances
    now: datetime
    config: AutoscalerConfig


class _Failed(Exception):
    """`where`: the same, as the first words of the event about all metrics."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


async def measure(spec: Object, scene: Scene, sources: MetricSources) -> MetricResult:
    """Never raises for metrics that cannot be had: that is a result."""
    kind = spec["type"]
    source = spec.get(_SOURCES.get(kind, "")) or {}
    reason = f"FailedGet{kind}Metric"
    try:
        match kind:
            case "Resource":
                where = f"failed to get {source['name']} resource metric value"
                return await _resource(source, "", scene, sources, kind)
            case "ContainerResource":
                where = f"failed to get {source['container']} container metric value"
                return await _resource(source, source["container"], scene, sources, kind)
            case "Pods":
                where = "failed to get pods metric value"
                return await _pods(source, scene, sources)
            case "Object":
                where = "failed to get object metric value"
                return await _object(source, scene, sources)
            case "External":
                where = f"failed to get {source['metric']['name']} external metric value"
                return await _external(source, scene, sources)
            case _:
                text = f'unknown metric source type "{kind}"'
                return MetricResult(failure=text, failure_reason="InvalidMetricSourceType", failure_message=text)
    except _Failed as exc:
        message, inner = str(exc), exc.where
    except (NoProposal, InvalidSelector) as exc:
        message, inner = str(exc), ""
    return MetricResult(failure=f"{where}: {inner or message}", failure_reason=reason, failure_message=message)


async def _resource(source: Object, container: str, scene: Scene, sources: MetricSources, kind: str) -> MetricResult:
    name, target = source["name"], source["target"]
    what = "usage" if target.get("averageValue") is not None else "utilization"
    if what == "utilization" and target.get("averageUtilization") is None:
        raise NoProposal(
            "invalid resource metric source: neither an average utilization target nor an average value (usage) target "
            "was set"
        )
    try:
        try:
            metrics = await sources.of_resource(scene.namespace, scene.selector, name, container)
        except NoProposal as exc:
            raise NoProposal(f"unable to get metrics for resource {name}: {exc}") from exc
        groups = group_pods(scene.pods, metrics, name, scene.now, scene.config)
        if what == "usage":
            target_value = milli_value(str(target["averageValue"]))
            proposal = propose_by_average(
                scene.pods, metrics, groups,
                current=scene.replicas, target=target_value, tolerances=scene.tolerances,
            )  # fmt: skip
            current: Object = {"averageValue": _amount(name, proposal.value)}
            title = f"{name} resource"
        else:
            proposal = _by_utilization(metrics, container, name, target["averageUtilization"], scene)
            current = {"averageUtilization": proposal.utilization, "averageValue": _amount(name, proposal.value)}
            of = "container resource" if container else "resource"
            title = f"{name} {of} utilization (percentage of request)"
    except NoProposal as exc:
        raise _Failed(f"failed to get {name} {what}: {exc}") from exc
    shown: Object = {"name": name, "current": current}
    if container:
        shown = {"name": name, "container": container, "current": current}
    return MetricResult(proposal.replicas, title, {"type": kind, _SOURCES[kind]: shown})


def _by_utilization(
    metrics: Mapping[str, PodMetric], container: str, resource: str, percent: int, scene: Scene
) -> Proposal:
    groups = group_pods(scene.pods, metrics, resource, scene.now, scene.config)
    counted = groups.ignored | groups.unready
    requests: dict[str, int] = {}
    if scene.pods and any(name not in counted for name in metrics):
        requests = {pod["metadata"]["name"]: pod_request(pod, container, resource) for pod in scene.pods}
    return propose_by_utilization(
        scene.pods, metrics, requests, groups,
        current=scene.replicas, target_percent=percent, tolerances=scene.tolerances,
    )  # fmt: skip


async def _pods(source: Object, scene: Scene, sources: MetricSources) -> MetricResult:
    metric = source["metric"]
    try:
        found = await sources.of_pods(scene.namespace, scene.selector, metric["name"], _selector(metric))
    except NoProposal as exc:
        raise NoProposal(f"unable to get metric {metric['name']}: {exc}") from exc
    groups = group_pods(scene.pods, found, "", scene.now, scene.config)
    target = milli_value(str(source["target"]["averageValue"]))
    proposal = propose_by_average(
        scene.pods, found, groups, current=scene.replicas, target=target, tolerances=scene.tolerances
    )
    status = {"type": "Pods", "pods": {"metric": metric, "current": {"averageValue": _milli(proposal.value)}}}
    return MetricResult(proposal.replicas, f"pods metric {metric['name']}", status)


async def _object(source: Object, scene: Scene, sources: MetricSources) -> MetricResult:
    metric, described, target = source["metric"], source["describedObject"], source["target"]
    name, kind = metric["name"], described["kind"]
    if target.get("value") is None and target.get("averageValue") is None:
        raise NoProposal("invalid object metric source: neither a value target nor an average value target was set")
    by_value = target["type"] == "Value" and target.get("value") is not None
    try:
        value = await sources.of_object(scene.namespace, described, name, _selector(metric))
    except NoProposal as exc:
        message = f"unable to get metric {name}: {exc} on {kind} {scene.namespace}/{described['name']}"
        raise _Failed(message, "" if by_value else f"failed to get {name} object metric: {message}") from exc
    proposal, current = _of_whole(value, target, by_value, scene)
    title = f"{kind} metric {name}" if by_value else f"external metric {name}({go_selector(metric.get('selector'))})"
    status = {"type": "Object", "object": {"metric": metric, "current": current, "describedObject": described}}
    return MetricResult(proposal.replicas, title, status)


async def _external(source: Object, scene: Scene, sources: MetricSources) -> MetricResult:
    metric, target = source["metric"], source["target"]
    name, shown = metric["name"], go_selector(metric.get("selector"))
    by_value = target.get("averageValue") is None
    if by_value and target.get("value") is None:
        raise NoProposal("invalid external metric source: neither a value target nor an average value target was set")
    try:
        value = sum(await sources.of_outside(scene.namespace, name, _selector(metric)))
    except NoProposal as exc:
        message = f"unable to get external metric {scene.namespace}/{name}/{shown}: {exc}"
        where = f"failed to get external metric {name}" if by_value else f"failed to get {name} external metric"
        raise _Failed(message, f"{where}: {message}") from exc
    proposal, current = _of_whole(value, target, by_value, scene)
    status = {"type": "External", "external": {"metric": metric, "current": current}}
    return MetricResult(proposal.replicas, f"external metric {name}({shown})", status)


def _of_whole(value: int, target: Object, by_value: bool, scene: Scene) -> tuple[Proposal, Object]:
    """Of a value that is no pod's own, and how the status tells it."""
    if by_value:
        wanted = milli_value(str(target["value"]))
        proposal = propose_by_value(
            scene.pods, value, current=scene.replicas, target=wanted, tolerances=scene.tolerances
        )
        return proposal, {"value": _milli(proposal.value)}
    wanted = milli_value(str(target["averageValue"]))
    proposal = propose_by_share(value, current=scene.present, target=wanted, tolerances=scene.tolerances)
    return proposal, {"averageValue": _milli(proposal.value)}


def _selector(metric: Object) -> Selector:
    """No selector chooses all series. Raises InvalidSelector."""
    return selector_from_object(metric.get("selector") or {})


def _milli(value: int) -> str:
    return format_quantity(Decimal(value) / 1000)


def _amount(resource: str, value: int) -> str:
    return format_quantity(Decimal(value) / 1000, like="1Ki" if resource == "memory" else "")


def go_selector(selector: Object | None) -> str:
    """As upstream's messages print a LabelSelector: "nil", "&LabelSelector{MatchLabels:map[string]string{a: b,},…}"."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{each['key']},Operator:{each['operator']},"
        f"Values:[{' '.join(each.get('values') or ())}],}},"
        for each in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
