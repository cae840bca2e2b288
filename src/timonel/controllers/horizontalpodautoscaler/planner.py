"""What an autoscaler decides, from what its metrics propose. Pure.

    where does it stand (begin) → what do the metrics say (judge) → how far may it go (plan_rescale) → what to report

Reasons and messages are upstream's. Source: kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from timonel.api.clock import format_time
from timonel.api.objects import Object, find_by, get_path
from timonel.api.quantity import parse_quantity
from timonel.controllers.horizontalpodautoscaler.config import AutoscalerConfig
from timonel.controllers.horizontalpodautoscaler.limits import History, Limited, limit_by_behavior, limit_plainly
from timonel.controllers.horizontalpodautoscaler.replicas import Tolerances

ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"
_TARGET_SCALE = "the HPA controller was unable to get the target's current scale"


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition as it shall be, whatever it was."""

    type: str
    status: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Begin:
    """`desired` is None when metrics have to say."""

    desired: int | None
    reason: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricResult:
    """What one metric says: either `replicas`, or `failure` with a reason for the condition and its event."""

    replicas: int = 0
    name: str = ""
    """In sentences: "cpu resource utilization (percentage of request)"."""
    status: Object | None = None
    failure: str = ""
    """What went wrong, with where it did."""
    failure_reason: str = ""
    failure_message: str = ""
    """For the condition and the event, without where."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of all metrics. `replicas` None: they do not suffice to decide, and `error` says why; an `error` may stand beside
    a number, when some metrics failed that would not have changed it."""

    replicas: int | None
    metric: str
    error: str
    finding: Finding
    statuses: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class Rescale:
    desired: int
    reason: str
    findings: tuple[Finding, ...]
    history: History


def fewest_replicas(hpa: Object) -> int:
    minimum = get_path(hpa, "spec", "minReplicas")
    return 1 if minimum is None else int(minimum)


def scale_failed(error: object) -> Finding:
    return Finding(ABLE, False, "FailedGetScale", f"{_TARGET_SCALE}: {error}")


SCALE_FOUND = Finding(ABLE, True, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
_DISABLED = Finding(
    ACTIVE, False, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero"
)


def begin(hpa: Object, current: int) -> Begin:
    """A target without replicas is left alone: somebody has switched it off. One out of bounds is brought back."""
    if current == 0:
        return Begin(0, findings=(_DISABLED,))
    most, fewest = hpa["spec"]["maxReplicas"], fewest_replicas(hpa)
    if current > most:
        return Begin(most, "Current number of replicas above Spec.MaxReplicas")
    if current < fewest:
        return Begin(fewest, "Current number of replicas below Spec.MinReplicas")
    return Begin(None)


def judge(results: Sequence[MetricResult], current: int) -> Verdict:
    """The highest of what the metrics propose. With some that failed, only upwards."""
    statuses = tuple(result.status or {"type": ""} for result in results)
    failed = [result for result in results if result.failure]
    replicas, name = 0, ""
    for result in results:
        if not result.failure and (replicas == 0 or result.replicas > replicas):
            replicas, name = result.replicas, result.name
    error = ""
    if failed:
        total = f"{len(failed)} invalid out of {len(results)}"
        error = f"invalid metrics ({total}), first error is: {failed[0].failure}"
    if len(failed) >= len(results) or (failed and replicas < current):
        message = f"the HPA was unable to compute the replica count: {failed[0].failure_message}" if failed else ""
        finding = Finding(ACTIVE, False, failed[0].failure_reason if failed else "", message)
        return Verdict(None, "", error, finding, statuses)
    found = f"the HPA was able to successfully calculate a replica count from {name}"
    return Verdict(replicas, name, error, Finding(ACTIVE, True, "ValidMetricFound", found), statuses)


def plan_rescale(
    hpa: Object, current: int, verdict: Verdict, history: History, now: datetime, config: AutoscalerConfig
) -> Rescale:
    """`verdict` has a number."""
    assert verdict.replicas is not None
    wanted, reason = verdict.replicas, ""
    if wanted > current:
        reason = f"{verdict.metric} above target"
    elif wanted < current:
        reason = "All metrics below target"
    spec, window = hpa["spec"], config.downscale_stabilization_seconds
    fewest, most, behavior = fewest_replicas(hpa), spec["maxReplicas"], spec.get("behavior")
    if behavior is None:
        limited = limit_plainly(
            wanted, current=current, fewest=fewest, most=most, history=history, window_seconds=window, now=now
        )
    else:
        limited = limit_by_behavior(
            wanted,
            current=current,
            fewest=fewest,
            most=most,
            behavior=behavior,
            history=history,
            down_window_seconds=window,
            now=now,
        )
    return Rescale(limited.replicas, reason, _findings(limited), limited.history)


def _findings(limited: Limited) -> tuple[Finding, ...]:
    return (
        Finding(ABLE, True, *limited.stabilized),
        Finding(LIMITED, limited.is_limited, *limited.limit),
    )


def tolerances_of(hpa: Object, config: AutoscalerConfig) -> Tolerances:
    """An autoscaler's own, by direction, where it has them."""

    def of(direction: str) -> float:
        given = get_path(hpa, "spec", "behavior", direction, "tolerance")
        return config.tolerance if given is None else float(parse_quantity(str(given)))

    return Tolerances(down=of("scaleDown"), up=of("scaleUp"))


def render_status(
    hpa: Object,
    *,
    current: int,
    desired: int,
    metrics: Sequence[Object] | None,
    findings: Sequence[Finding],
    rescaled: bool,
    now: datetime,
) -> Object:
    """`metrics` None: nothing was asked."""
    before = hpa.get("status") or {}
    status: Object = {"currentReplicas": current, "desiredReplicas": desired}
    last = format_time(now) if rescaled else before.get("lastScaleTime")
    if last:
        status["lastScaleTime"] = last
    status["currentMetrics"] = list(metrics) if metrics is not None else None
    return status | {"conditions": with_findings(before.get("conditions") or (), findings, now)}


def with_findings(conditions: Sequence[Object], findings: Sequence[Finding], now: datetime) -> list[Object]:
    """In their order; a condition's time moves when its status does."""
    made = [dict(each) for each in conditions]
    for finding in findings:
        status = "True" if finding.status else "False"
        known = find_by(made, "type", finding.type)
        if known is None:
            known = {"type": finding.type}
            made.append(known)
        if known.get("status") != status:
            known["lastTransitionTime"] = format_time(now)
        known |= {"status": status, "reason": finding.reason, "message": finding.message}
    return made
