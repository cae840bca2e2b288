"""What `kubectl get pods` shows, worked out of the status as upstream does it.

STATUS is the most telling reason: why initialisation stands still, else what a container waits for or ended with,
else the phase; a pod that is being deleted says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from timonel.api.kinds.columns import AGE, NAME, NONE, plain, since
from timonel.api.objects import Object, find_by, get_path
from timonel.api.resource import Column

NODE_LOST = "NodeLost"


@dataclass(slots=True)
class _Summary:
    ready: int = 0
    total: int = 0
    reason: str = ""
    restarts: int = 0
    last_restart: str = ""  # wire timestamps in UTC sort as text


def summarize(pod: Object) -> _Summary:
    status = pod.get("status") or {}
    spec = pod.get("spec") or {}
    init_containers = spec.get("initContainers") or []
    sidecars = {c.get("name") for c in init_containers if c.get("restartPolicy") == "Always"}
    out = _Summary(total=len(spec.get("containers") or ()) + len(sidecars))
    out.reason = status.get("reason") or status.get("phase") or ""
    conditions = status.get("conditions") or []
    for condition in conditions:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            out.reason = "SchedulingGated"

    side = _Summary()
    stuck = _summarize_init(out, side, status.get("initContainerStatuses") or [], sidecars, len(init_containers))
    if not stuck or _is_true(conditions, "Initialized"):
        out.restarts, out.last_restart = side.restarts, side.last_restart
        _summarize_containers(out, status.get("containerStatuses") or [], conditions)

    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == NODE_LOST:
            out.reason = "Unknown"
        elif status.get("phase") not in ("Failed", "Succeeded"):
            out.reason = "Terminating"
    return out


def _summarize_init(out: _Summary, side: _Summary, statuses: list[Object], sidecars: set[str], count: int) -> bool:
    """Counts restarts (`side`: of sidecars alone) and returns whether an init container holds the pod back."""
    for index, status in enumerate(statuses):
        is_sidecar = status.get("name") in sidecars
        _count_restarts(out, status)
        if is_sidecar:
            _count_restarts(side, status)
        state = status.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if is_sidecar and status.get("started"):
            out.ready += bool(status.get("ready"))
            continue
        if terminated is not None:
            out.reason = "Init:" + _ended_reason(terminated)
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            out.reason = "Init:" + waiting["reason"]
        else:
            out.reason = f"Init:{index}/{count}"
        return True
    return False


def _summarize_containers(out: _Summary, statuses: list[Object], conditions: list[Object]) -> None:
    running, failure = False, ""
    for status in reversed(statuses):
        _count_restarts(out, status)
        state = status.get("state") or {}
        terminated = state.get("terminated")
        if (state.get("waiting") or {}).get("reason"):
            out.reason = state["waiting"]["reason"]
        elif terminated is not None:
            out.reason = _ended_reason(terminated)
            if terminated.get("exitCode"):
                failure = out.reason
        elif status.get("ready") and state.get("running") is not None:
            running = True
            out.ready += 1
    if out.reason == "Completed":
        if running and _is_true(conditions, "Ready"):
            out.reason = "Running"
        elif failure:
            out.reason = failure
        elif running:
            out.reason = "NotReady"


def _count_restarts(out: _Summary, status: Object) -> None:
    out.restarts += status.get("restartCount") or 0
    finished = get_path(status, "lastState", "terminated", "finishedAt", default="")
    out.last_restart = max(out.last_restart, finished)


def _ended_reason(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode') or 0}"


def _is_true(conditions: list[Object], kind: str) -> bool:
    return any(c.get("type") == kind and c.get("status") == "True" for c in conditions)


def _ready(pod: Object) -> str:
    summary = summarize(pod)
    return f"{summary.ready}/{summary.total}"


def _restarts(pod: Object, now: datetime) -> str:
    summary = summarize(pod)
    if summary.restarts and summary.last_restart:
        return f"{summary.restarts} ({since(summary.last_restart, now)} ago)"
    return str(summary.restarts)


def _readiness_gates(pod: Object) -> str:
    gates = get_path(pod, "spec", "readinessGates", default=[])
    if not gates:
        return NONE
    conditions = get_path(pod, "status", "conditions", default=[])
    true = 0
    for gate in gates:
        condition = find_by(conditions, "type", gate.get("conditionType"))
        true += condition is not None and condition.get("status") == "True"
    return f"{true}/{len(gates)}"


POD_COLUMNS = (
    NAME,
    Column("Ready", plain(_ready), description="Containers that are ready, of all."),
    Column("Status", plain(lambda pod: summarize(pod).reason), description="The most telling state of its containers."),
    Column("Restarts", _restarts, description="How often its containers were restarted, and when last."),
    AGE,
    Column(
        "IP",
        plain(lambda pod: get_path(pod, "status", "podIPs", 0, "ip", default="") or NONE),
        description="Address of the pod.",
        priority=1,
    ),
    Column(
        "Node",
        plain(lambda pod: get_path(pod, "spec", "nodeName", default="") or NONE),
        description="Node that runs it.",
        priority=1,
    ),
    Column(
        "Nominated Node",
        plain(lambda pod: get_path(pod, "status", "nominatedNodeName", default="") or NONE),
        description="Node where room is being made for it.",
        priority=1,
    ),
    Column("Readiness Gates", plain(_readiness_gates), description="Extra conditions met, of all.", priority=1),
)
