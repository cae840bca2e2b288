"""What becomes of a hollow pod now: its new status, whether it has ended, when to look again. Pure.

The kubelet's own decisions (which container to start, when to restart it, what the status says) over a runtime that is
not there: containers start, become ready and end by the clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime

from timonel.api.clock import parse_time
from timonel.api.objects import Object, find_by, is_deleting
from timonel.kubelet.pods.backoff import format_delay
from timonel.kubelet.pods.phase import is_terminal
from timonel.kubelet.pods.plan import PodPlan, plan_pod
from timonel.kubelet.pods.spec import Kind, find_container, full_name, grace_seconds
from timonel.kubelet.pods.status import StatusInput, build_status
from timonel.kubelet.pods.statuses import status_patch
from timonel.kubelet.pods.view import ContainerView, PodProbes, PodView, ProbeState, Waiting
from timonel.simulation import runtime
from timonel.simulation.behaviour import IMAGE_PULL, NEVER_READY, Behaviour

_FIRST_RESTART_SECONDS = 10.0
_LONGEST_RESTART_SECONDS = 300.0
_PULL_SECONDS = 10.0
"""After so long a failing pull is called a back-off."""
_STOPPED, _KILLED = 143, 137
_ROUNDS = 20
"""More than any pod needs to come to rest, for as many init containers as end at once."""


@dataclass(frozen=True, slots=True)
class HollowPlan:
    status: Object | None = None
    """To be written; None: the API has it."""
    delete: bool = False
    """The pod was to be deleted and has ended: its object may go, after the status is written."""
    wake_after: float | None = None
    """Seconds; None: nothing happens by itself any more."""


@dataclass(slots=True)
class _State:
    view: PodView
    wakes: list[float] = field(default_factory=list)
    """Seconds since 1970."""
    waiting: dict[str, Waiting] = field(default_factory=dict)
    done: bool = False


def plan_hollow_pod(
    pod: Object, behaviour: Behaviour, now: datetime, *, host_ips: tuple[str, ...], pod_ip: str
) -> HollowPlan:
    """`pod` is bound to the node, with the status that the API has; `pod_ip` is the address it has or is to get."""
    status = pod.get("status") or {}
    seconds = now.timestamp()
    if is_deleting(pod):
        return _plan_end(pod, status, behaviour, now, host_ips, pod_ip)
    if is_terminal(status.get("phase") or ""):
        return HollowPlan()
    began = parse_time(status["startTime"]).timestamp() if status.get("startTime") else seconds
    limit = pod["spec"].get("activeDeadlineSeconds")
    deadline = math.inf if limit is None else began + float(limit)
    state = _State(runtime.view_of(pod, pod_ip, has_sandbox=_has_sandbox(status)))
    reason = message = ""
    if seconds >= deadline:
        state.view, state.done = _end_all(state.view, now, _KILLED), True
        reason, message = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
    elif state.view.sandbox is None and seconds < began + behaviour.start_seconds:
        state.wakes.append(began + behaviour.start_seconds)
    else:
        _advance(pod, behaviour, state, now, began + behaviour.start_seconds, pod_ip)
    if state.done:
        state.view = _without_sandbox(_end_all(state.view, now, _STOPPED))
    elif not math.isinf(deadline):
        state.wakes.append(deadline)
    probes = _probes(pod, behaviour, state, _nanoseconds(now))
    made = build_status(pod, status, StatusInput(
        view=state.view, probes=probes, now=now, host_ips=host_ips, runtime_name=runtime.RUNTIME_NAME,
        waiting=state.waiting, ended=state.done, reason=reason, message=message,
    ))  # fmt: skip
    wake = min(state.wakes, default=math.inf)
    return HollowPlan(
        status=made if status_patch(status, made) else None,
        wake_after=None if state.done or math.isinf(wake) else max(0.0, wake - seconds),
    )


def _plan_end(
    pod: Object, status: Object, behaviour: Behaviour, now: datetime, host_ips: tuple[str, ...], pod_ip: str
) -> HollowPlan:
    """Containers end within the grace period, then the object goes; one that a finalizer keeps says how it ended."""
    if is_terminal(status.get("phase") or ""):
        return HollowPlan(delete=True)
    grace = grace_seconds(pod)
    requested = parse_time(pod["metadata"]["deletionTimestamp"]).timestamp() - grace
    takes = min(behaviour.stop_seconds, grace) if status.get("containerStatuses") else 0.0
    left = requested + takes - now.timestamp()
    if left > 0:
        return HollowPlan(wake_after=left)
    if not pod["metadata"].get("finalizers"):
        return HollowPlan(delete=True)
    view = runtime.view_of(pod, pod_ip, has_sandbox=_has_sandbox(status))
    view = _without_sandbox(_end_all(view, now, _KILLED if behaviour.stop_seconds > grace else _STOPPED))
    made = build_status(pod, status, StatusInput(
        view=view, probes=PodProbes(), now=now, host_ips=host_ips, runtime_name=runtime.RUNTIME_NAME, ended=True
    ))  # fmt: skip
    return HollowPlan(status=made if status_patch(status, made) else None, delete=True)


def _has_sandbox(status: Object) -> bool:
    condition = find_by(status.get("conditions"), "type", "PodReadyToStartContainers")
    return condition is not None and condition.get("status") == "True"


def _without_sandbox(view: PodView) -> PodView:
    return PodView((), view.containers)


def _end_all(view: PodView, now: datetime, exit_code: int) -> PodView:
    nanoseconds = _nanoseconds(now)
    ended = [runtime.end_container(container, exit_code, nanoseconds) for container in view.running]
    return runtime.with_containers(view, ended) if ended else view


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000) * 1000


def _advance(pod: Object, behaviour: Behaviour, state: _State, now: datetime, starts_at: float, pod_ip: str) -> None:
    """Lets everything happen that is due: containers that end, containers that are started."""
    nanoseconds, seconds = _nanoseconds(now), now.timestamp()
    if state.view.sandbox is None:
        state.view = PodView((runtime.new_sandbox(pod, pod_ip, nanoseconds),), state.view.containers)
    for _ in range(_ROUNDS):
        ends = list(runtime.ends_of(pod, state.view, behaviour))
        ended = [runtime.end_container(container, code, at) for container, at, code in ends if at <= nanoseconds]
        if ended:
            state.view = runtime.with_containers(state.view, ended)
        plan = plan_pod(pod, state.view, PodProbes(), now=seconds, back_off_until=_back_off_until)
        if plan.done:
            state.done = True
            return
        started = _started(pod, behaviour, state, plan, starts_at, seconds, nanoseconds)
        killed = [
            runtime.end_container(container, _STOPPED, nanoseconds)
            for kill in plan.kills
            for container in state.view.running
            if container.id == kill.container_id
        ]
        if not started and not killed:
            _hold(pod, state, plan)
            state.wakes += [at / 1e9 for _, at, _ in ends if at > nanoseconds]
            return
        state.view = runtime.with_containers(state.view, [*started, *killed])
    state.wakes.append(seconds + 1.0)


def _started(
    pod: Object, behaviour: Behaviour, state: _State, plan: PodPlan, starts_at: float, seconds: float, nanoseconds: int
) -> list[ContainerView]:
    made = []
    for start in plan.starts:
        found = find_container(pod, start.name)
        if found is None:
            continue
        kind, container = found
        if kind is Kind.MAIN and behaviour.failure == IMAGE_PULL and start.attempt == 0:
            image = container.get("image", "")
            if seconds < starts_at + _PULL_SECONDS:
                why = f'failed to pull image "{image}": the pod is to fail in this way'
                state.waiting[start.name] = Waiting("ErrImagePull", why)
                state.wakes.append(starts_at + _PULL_SECONDS)
            else:
                state.waiting[start.name] = Waiting("ImagePullBackOff", f'Back-off pulling image "{image}"')
            continue
        made.append(runtime.new_container(pod, container, start.attempt, nanoseconds))
    return made


def _hold(pod: Object, state: _State, plan: PodPlan) -> None:
    for held in plan.held:
        latest = state.view.latest(held.name)
        delay = format_delay(_delay(latest.attempt)) if latest else ""
        where = f"container={held.name} pod={full_name(pod)}"
        state.waiting[held.name] = Waiting("CrashLoopBackOff", f"back-off {delay} restarting failed {where}")
        state.wakes.append(held.until)


def _delay(attempt: int) -> float:
    return float(min(_FIRST_RESTART_SECONDS * 2 ** min(attempt - 1, 10), _LONGEST_RESTART_SECONDS))


def _back_off_until(container: Object, ended: ContainerView) -> float | None:
    """At once after the first end, then 10 s, 20 s, … 5 min after the last; anew after ten minutes without an end."""
    if ended.attempt == 0 or ended.finished_at - ended.started_at > 2 * _LONGEST_RESTART_SECONDS * 1e9:
        return None
    return ended.finished_at / 1e9 + _delay(ended.attempt)


def _probes(pod: Object, behaviour: Behaviour, state: _State, nanoseconds: int) -> PodProbes:
    probes = PodProbes()
    for container in state.view.running:
        found = find_container(pod, container.name)
        if found is None or found[0] not in (Kind.MAIN, Kind.SIDECAR):
            continue
        kind, spec = found
        if behaviour.failure == NEVER_READY and kind is Kind.MAIN:
            probes.by_id[container.id] = ProbeState(readiness=False)
            continue
        delay = (spec.get("readinessProbe") or {}).get("initialDelaySeconds") or 0
        if kind is Kind.MAIN:
            delay = max(delay, behaviour.ready_seconds)
        # In whole nanoseconds: as fractions of seconds, what has just been started may seem to lie ahead.
        ready_at = container.started_at + round(delay * 1e9)
        if ready_at > nanoseconds:
            probes.by_id[container.id] = ProbeState(readiness=False)
            state.wakes.append(ready_at / 1e9)
    return probes
