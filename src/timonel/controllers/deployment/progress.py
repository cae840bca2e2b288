"""A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure.

`kubectl rollout status` waits on them. Source:
kubernetes.io/docs/concepts/workloads/controllers/deployment#deployment-status
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from timonel.api.clock import parse_time
from timonel.api.objects import Object, find_by, name_of
from timonel.controllers.conditions import condition, remove_condition, set_condition
from timonel.controllers.deployment.scaling import Bounds, Sizes, desired_of

COMPLETE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
_NO_DEADLINE = 2**31 - 1


def deadline_of(deployment: Object) -> int | None:
    """Seconds a rollout may go without progress; None when that is not watched."""
    seconds = deployment["spec"].get("progressDeadlineSeconds", 600)
    return None if seconds is None or seconds >= _NO_DEADLINE else int(seconds)


def progressing(status: str, reason: str, message: str, now: datetime) -> Object:
    return condition("Progressing", status, reason, message, now, with_update_time=True)


def paused_conditions(deployment: Object, conditions: Sequence[Object], now: datetime) -> list[Object]:
    """Pausing and resuming restart the measuring of progress, unless the deadline has already passed."""
    current = find_by(conditions, "type", "Progressing")
    reason = current.get("reason") if current else None
    if deadline_of(deployment) is None or reason == TIMED_OUT:
        return list(conditions)
    paused = bool(deployment["spec"].get("paused"))
    if paused and reason != "DeploymentPaused":
        return set_condition(conditions, progressing("Unknown", "DeploymentPaused", "Deployment is paused", now))
    if not paused and reason == "DeploymentPaused":
        return set_condition(conditions, progressing("Unknown", "DeploymentResumed", "Deployment is resumed", now))
    return list(conditions)


def calculate_status(
    deployment: Object, bounds: Bounds, sizes: Sizes, conditions: Sequence[Object], now: datetime
) -> Object:
    """The counts, and whether enough is available. Zeros are left out, as they are on the wire."""
    everything = sizes.all
    available = _sum(everything, "availableReplicas")
    status: Object = {
        "observedGeneration": deployment["metadata"].get("generation") or 0,
        "replicas": _sum(everything, "replicas"),
        "updatedReplicas": _sum([sizes.new] if sizes.new else [], "replicas"),
        "readyReplicas": _sum(everything, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sizes.total - available),
    }
    status = {field: value for field, value in status.items() if value}
    terminating = _terminating(everything)
    if terminating is not None:
        status["terminatingReplicas"] = terminating
    collisions = (deployment.get("status") or {}).get("collisionCount")
    if collisions is not None:
        status["collisionCount"] = collisions
    if available >= bounds.min_available:
        found = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        found = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    status["conditions"] = set_condition(conditions, condition("Available", *found, now, with_update_time=True))
    return status


def _sum(replica_sets: Iterable[Object], field: str) -> int:
    return sum((replica_set.get("status") or {}).get(field) or 0 for replica_set in replica_sets)


def _terminating(replica_sets: Iterable[Object]) -> int | None:
    """None while a ReplicaSet that has been looked at does not say."""
    total = 0
    for replica_set in replica_sets:
        status = replica_set.get("status") or {}
        count = status.get("terminatingReplicas")
        if count is None:
            if status.get("observedGeneration"):
                return None
            continue
        total += count
    return total


def is_complete(deployment: Object, status: Object) -> bool:
    """All replicas are of the new version and available, and no old one is left."""
    desired = desired_of(deployment)
    return bool(
        status.get("updatedReplicas", 0) == desired
        and status.get("replicas", 0) == desired
        and status.get("availableReplicas", 0) == desired
        and status.get("observedGeneration", 0) >= (deployment["metadata"].get("generation") or 0)
    )


def rollout_conditions(deployment: Object, status: Object, sizes: Sizes, now: datetime) -> list[Object]:
    """The conditions of `status` after judging the progress since the Deployment's present status."""
    conditions: list[Object] = status["conditions"]
    deadline = deadline_of(deployment)
    current = find_by(conditions, "type", "Progressing")
    if deadline is None:
        conditions = remove_condition(conditions, "Progressing")
    else:
        settled = status.get("replicas", 0) == status.get("updatedReplicas", 0)
        if not (settled and current is not None and current.get("reason") == COMPLETE):
            conditions = _judge(deployment, status, sizes.new, conditions, deadline, now)
    failure = _replica_failure(sizes)
    if failure is None:
        return remove_condition(conditions, "ReplicaFailure")
    return set_condition(conditions, failure)


def _judge(
    deployment: Object, status: Object, new: Object | None, conditions: list[Object], deadline: int, now: datetime
) -> list[Object]:
    subject = f'ReplicaSet "{name_of(new)}"' if new else f'Deployment "{name_of(deployment)}"'
    current = find_by(conditions, "type", "Progressing")
    if is_complete(deployment, status):
        return set_condition(conditions, progressing("True", COMPLETE, f"{subject} has successfully progressed.", now))
    if _has_progressed(deployment.get("status") or {}, status):
        made = progressing("True", "ReplicaSetUpdated", f"{subject} is progressing.", now)
        if current is not None and current.get("status") == "True":
            made["lastTransitionTime"] = current.get("lastTransitionTime")
        # Replaced even if equal in reason: the time of the last progress must move.
        return [*remove_condition(conditions, "Progressing"), made]
    if current is not None and _has_timed_out(current, deadline, now):
        return set_condition(conditions, progressing("False", TIMED_OUT, f"{subject} has timed out progressing.", now))
    return conditions


def _has_progressed(old: Object, new: Object) -> bool:
    def left(status: Object) -> int:
        count: int = status.get("replicas", 0) - status.get("updatedReplicas", 0)
        return count

    return left(new) < left(old) or any(
        new.get(field, 0) > old.get(field, 0) for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def _has_timed_out(current: Object, deadline: int, now: datetime) -> bool:
    if current.get("reason") == COMPLETE:
        return False
    if current.get("reason") == TIMED_OUT:
        return True
    return seconds_left(current, deadline, now) < 0


def seconds_left(current: Object, deadline: int, now: datetime) -> float:
    since = current.get("lastUpdateTime")
    return deadline - (now - parse_time(since)).total_seconds() if since else float(deadline)


def _replica_failure(sizes: Sizes) -> Object | None:
    for replica_set in [*([sizes.new] if sizes.new else []), *sizes.old]:
        found = find_by((replica_set.get("status") or {}).get("conditions"), "type", "ReplicaFailure")
        if found is not None:
            when = found.get("lastTransitionTime")
            return {
                "type": "ReplicaFailure",
                "status": found["status"],
                "lastUpdateTime": when,
                "lastTransitionTime": when,
                "reason": found.get("reason", ""),
                "message": found.get("message", ""),
            }
    return None


def next_progress_check(deployment: Object, status: Object, now: datetime) -> float | None:
    """Seconds until the deadline would have passed; None when nothing is awaited."""
    deadline = deadline_of(deployment)
    current = find_by(status.get("conditions"), "type", "Progressing")
    if deadline is None or current is None or current.get("reason") == TIMED_OUT or is_complete(deployment, status):
        return None
    # One more second, since the times on the wire are whole seconds.
    return max(0.0, seconds_left(current, deadline, now)) + 1.0
