"""What controllers ask about a pod. Pure reads.

Source: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from timonel.api.clock import format_time, parse_time
from timonel.api.objects import Object, find_by, is_deleting

TERMINAL_PHASES = ("Succeeded", "Failed")
NODE_INDEX = "node"


def node_index(pod: Object) -> Iterable[str]:
    """For Informer.add_index(NODE_INDEX, …): pods by the node they are on."""
    name = node_name_of(pod)
    return (name,) if name else ()


def phase_of(pod: Object) -> str:
    return (pod.get("status") or {}).get("phase") or ""


def node_name_of(pod: Object) -> str:
    return (pod.get("spec") or {}).get("nodeName") or ""


def is_terminal(pod: Object) -> bool:
    """It has run to its end and will not run again."""
    return phase_of(pod) in TERMINAL_PHASES


def is_active(pod: Object) -> bool:
    return not is_terminal(pod) and not is_deleting(pod)


def is_terminating(pod: Object) -> bool:
    """Being deleted, containers perhaps still running."""
    return is_deleting(pod) and not is_terminal(pod)


def condition_of(obj: Object, type: str) -> Object | None:
    return find_by((obj.get("status") or {}).get("conditions"), "type", type)


def is_ready(pod: Object) -> bool:
    condition = condition_of(pod, "Ready")
    return condition is not None and condition.get("status") == "True"


def ready_since(pod: Object) -> datetime | None:
    condition = condition_of(pod, "Ready")
    if condition is None or condition.get("status") != "True" or not condition.get("lastTransitionTime"):
        return None
    return parse_time(condition["lastTransitionTime"])


def seconds_until_available(pod: Object, min_ready_seconds: int, now: datetime) -> float | None:
    """0 or less: it is available, ready for long enough; None: it is not even ready."""
    if not is_ready(pod):
        return None
    if not min_ready_seconds:
        return 0.0
    since = ready_since(pod)
    return None if since is None else min_ready_seconds - (now - since).total_seconds()


def is_available(pod: Object, min_ready_seconds: int, now: datetime) -> bool:
    remaining = seconds_until_available(pod, min_ready_seconds, now)
    return remaining is not None and remaining <= 0


def restarts_of(pod: Object) -> int:
    """The largest restart count of its containers."""
    status = pod.get("status") or {}
    return max(
        (
            container.get("restartCount") or 0
            for field in ("initContainerStatuses", "containerStatuses")
            for container in status.get(field) or ()
        ),
        default=0,
    )


def disruption_condition(pod: Object, reason: str, message: str, now: datetime) -> Object:
    """The condition that tells why a pod was ended from outside."""
    made: Object = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    if generation := pod["metadata"].get("generation"):
        made["observedGeneration"] = generation
    present = condition_of(pod, "DisruptionTarget")
    kept = present is not None and present.get("status") == "True"
    since = present.get("lastTransitionTime") if present and kept else None
    made["lastTransitionTime"] = since or format_time(now)
    return made
