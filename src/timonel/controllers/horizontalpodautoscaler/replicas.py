"""How many replicas a metric asks for. Pure.

    desired = ceil(current × value ÷ target), unless the ratio is near enough to 1

Pods that are being deleted or have failed do not count. Pods without figures, and young ones that are not ready, are
reckoned so that they dampen: as idle when that would mean more replicas, as using what they are meant to when it would
mean fewer; and never so that the direction changes. All amounts are thousandths, as integers.
Source: kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale, "Algorithm details"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from timonel.api.clock import parse_time
from timonel.api.objects import Object, get_path, is_deleting, name_of
from timonel.api.quantity import milli_value
from timonel.controllers.horizontalpodautoscaler.config import AutoscalerConfig
from timonel.controllers.pods import condition_of, is_ready, phase_of

MOST_REPLICAS = 2**31 - 1


class NoProposal(Exception):
    """A metric does not say how many replicas there should be; the message says why, in upstream's words."""


@dataclass(frozen=True, slots=True)
class PodMetric:
    value: int
    time: datetime
    window_seconds: float


@dataclass(frozen=True, slots=True)
class Tolerances:
    down: float
    up: float

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Proposal:
    replicas: int
    value: int
    """What the metric is at: on average over pods, or as a whole."""
    utilization: int | None = None
    """Percent of what was requested."""


@dataclass(frozen=True, slots=True)
class PodGroups:
    """Names; pods that count as they are, only by number."""

    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def group_pods(
    pods: Iterable[Object], metrics: Mapping[str, PodMetric], resource: str, now: datetime, config: AutoscalerConfig
) -> PodGroups:
    """`resource` is "" for metrics that are no resource's."""
    ready, unready, missing, ignored = 0, set(), set(), set()
    for pod in pods:
        name = name_of(pod)
        if is_deleting(pod) or phase_of(pod) == "Failed":
            ignored.add(name)
        elif phase_of(pod) == "Pending":
            unready.add(name)
        elif name not in metrics:
            missing.add(name)
        elif resource == "cpu" and _is_unready(pod, metrics[name], now, config):
            unready.add(name)
        else:
            ready += 1
    return PodGroups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _is_unready(pod: Object, metric: PodMetric, now: datetime, config: AutoscalerConfig) -> bool:
    """Whether its CPU says nothing of the load: programs are busy while they start."""
    condition, started_text = condition_of(pod, "Ready"), get_path(pod, "status", "startTime")
    if condition is None or not started_text:
        return True
    started = parse_time(started_text)
    turned_text = condition.get("lastTransitionTime")
    turned = parse_time(turned_text) if turned_text else started
    is_false = condition.get("status") == "False"
    if started + timedelta(seconds=config.cpu_initialization_period_seconds) > now:
        return is_false or metric.time < turned + timedelta(seconds=metric.window_seconds)
    return is_false and started + timedelta(seconds=config.initial_readiness_delay_seconds) > turned


def propose_by_utilization(
    pods: Sequence[Object],
    metrics: Mapping[str, PodMetric],
    requests: Mapping[str, int],
    groups: PodGroups,
    *,
    current: int,
    target_percent: int,
    tolerances: Tolerances,
) -> Proposal:
    """Of a resource, in percent of what pods request. Raises NoProposal."""
    values = _counted(pods, metrics, groups)
    ratio, percent, average = _utilization(values, requests, target_percent)
    fallback = max(100, target_percent)
    assumed = {name: requests[name] * fallback // 100 for name in groups.missing}
    replicas = _dampened(
        values,
        groups,
        ratio,
        current,
        tolerances,
        assumed,
        lambda all_: _utilization(all_, requests, target_percent)[0],
    )
    return Proposal(replicas, average, percent)


def propose_by_average(
    pods: Sequence[Object],
    metrics: Mapping[str, PodMetric],
    groups: PodGroups,
    *,
    current: int,
    target: int,
    tolerances: Tolerances,
) -> Proposal:
    """Of a value that each pod has. Raises NoProposal."""
    values = _counted(pods, metrics, groups)

    def ratio_of(counted: Mapping[str, int]) -> float:
        return _average(counted) / target

    assumed = dict.fromkeys(groups.missing, target)
    replicas = _dampened(values, groups, ratio_of(values), current, tolerances, assumed, ratio_of)
    return Proposal(replicas, _average(values))


def propose_by_value(
    pods: Sequence[Object], value: int, *, current: int, target: int, tolerances: Tolerances
) -> Proposal:
    """Of one value for all pods together, which more pods bring down. Raises NoProposal."""
    ratio = value / target
    if current == 0:
        return Proposal(_limited(ratio), value)
    if tolerances.covers(ratio):
        return Proposal(current, value)
    if not pods:
        raise NoProposal("unable to calculate ready pods: no pods returned by selector while calculating replica count")
    ready = sum(phase_of(pod) == "Running" and is_ready(pod) for pod in pods)
    return Proposal(_limited(ratio * ready), value)


def propose_by_share(value: int, *, current: int, target: int, tolerances: Tolerances) -> Proposal:
    """Of one value that pods share evenly; `current` are the replicas that are there, by the scale's status."""
    replicas = current
    if current == 0 or not tolerances.covers(value / (target * current)):
        replicas = _limited(value / target)
    return Proposal(replicas, ceil(value / current) if current else 0)


def pod_request(pod: Object, container: str, resource: str) -> int:
    """What a pod, or one container of it, requests. Raises NoProposal when it does not say."""
    spec, name = pod["spec"], name_of(pod)
    whole = get_path(spec, "resources", "requests", default={})
    if whole and not container:
        if resource not in whole:
            raise NoProposal(f"missing pod-level request for {resource} in Pod {name}")
        return milli_value(str(whole[resource]))
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    total, found = 0, False
    for each in (*spec["containers"], *sidecars):
        if container in ("", each["name"]):
            request = get_path(each, "resources", "requests", resource)
            if request is None:
                raise NoProposal(f"missing request for {resource} in container {each['name']} of Pod {name}")
            total, found = total + milli_value(str(request)), True
    if container and not found:
        raise NoProposal(f"container {container} not found in Pod {name}")
    return total


def _counted(pods: Sequence[Object], metrics: Mapping[str, PodMetric], groups: PodGroups) -> dict[str, int]:
    if not pods:
        raise NoProposal("no pods returned by selector while calculating replica count")
    left_out = groups.ignored | groups.unready
    values = {name: metric.value for name, metric in metrics.items() if name not in left_out}
    if not values:
        raise NoProposal("did not receive metrics for targeted pods (pods might be unready)")
    return values


def _dampened(
    values: Mapping[str, int],
    groups: PodGroups,
    ratio: float,
    current: int,
    tolerances: Tolerances,
    assumed: Mapping[str, int],
    ratio_of: Callable[[Mapping[str, int]], float],
) -> int:
    up_with_unready = bool(groups.unready) and ratio > 1.0
    if not up_with_unready and not groups.missing:
        return current if tolerances.covers(ratio) else _limited(ratio * groups.ready)
    reckoned = dict(values)
    if ratio < 1.0:
        reckoned |= assumed
    elif ratio > 1.0:
        reckoned |= dict.fromkeys(groups.missing, 0)
    if up_with_unready:
        reckoned |= dict.fromkeys(groups.unready, 0)
    new_ratio = ratio_of(reckoned)
    if tolerances.covers(new_ratio) or (ratio < 1.0 < new_ratio) or (new_ratio < 1.0 < ratio):
        return current
    replicas = _limited(new_ratio * len(reckoned))
    if (new_ratio < 1.0 and replicas > current) or (new_ratio > 1.0 and replicas < current):
        return current
    return replicas


def _utilization(values: Mapping[str, int], requests: Mapping[str, int], target: int) -> tuple[float, int, int]:
    """(ratio, percent, average) of the pods that there are requests of."""
    counted = {name: value for name, value in values.items() if name in requests}
    requested = sum(requests[name] for name in counted)
    if requested == 0:
        raise NoProposal("no metrics returned matched known pods")
    used = sum(counted.values())
    percent = used * 100 // requested
    return percent / target, percent, used // len(counted)


def _average(values: Mapping[str, int]) -> int:
    return sum(values.values()) // len(values)


def _limited(replicas: float) -> int:
    return min(MOST_REPLICAS, ceil(replicas))
