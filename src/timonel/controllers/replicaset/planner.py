"""What a ReplicaSet should do next, as values: how many pods to make, which to delete, and its status.

Source: kubernetes.io/docs/concepts/workloads/controllers/replicaset
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from timonel.api.clock import parse_time
from timonel.api.objects import Object, annotations_of, copy_object, labels_of, name_of, uid_of
from timonel.api.refs import ResourceRef
from timonel.controllers.conditions import condition, remove_condition
from timonel.controllers.ownership import controller_reference
from timonel.controllers.pods import (
    is_active,
    is_available,
    is_ready,
    node_name_of,
    phase_of,
    ready_since,
    restarts_of,
    seconds_until_available,
)

BURST = 500
"""No more pods than this are made or deleted in one go."""
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    create: int = 0
    delete: tuple[Object, ...] = ()


def plan_replicas(
    replica_set: Object, active: Sequence[Object], related: Iterable[Object], now: datetime
) -> ReplicaPlan:
    """`active` are its own pods; `related` those of all with the same owner, who count for crowded nodes."""
    missing = replica_set["spec"].get("replicas", 1) - len(active)
    if missing > 0:
        return ReplicaPlan(create=min(missing, BURST))
    surplus = min(-missing, BURST)
    if not surplus:
        return ReplicaPlan()
    if surplus == len(active):
        return ReplicaPlan(delete=tuple(active))
    per_node = Counter(node_name_of(pod) for pod in related if is_active(pod))
    ranked = sorted(active, key=lambda pod: deletion_rank(pod, per_node[node_name_of(pod)], now))
    return ReplicaPlan(delete=tuple(ranked[:surplus]))


def deletion_rank(pod: Object, neighbours: int, now: datetime) -> tuple[Any, ...]:
    """Sorts first what is missed least: unassigned, pending, not ready, cheap, crowded, young, often restarted.

    Ages count by order of magnitude, so that of pods of about the same age a random one goes, not always the newest.
    """
    ready = is_ready(pod)
    return (
        bool(node_name_of(pod)),
        _PHASES.get(phase_of(pod), 0),
        ready,
        _deletion_cost(pod),
        -neighbours,
        _magnitude(ready_since(pod), now) if ready else 0,
        -restarts_of(pod),
        _magnitude(_created(pod), now),
        uid_of(pod),
    )


def _deletion_cost(pod: Object) -> int:
    try:
        return int(annotations_of(pod).get(DELETION_COST) or 0)
    except ValueError:
        return 0


def _created(pod: Object) -> datetime | None:
    text = pod["metadata"].get("creationTimestamp")
    return parse_time(text) if text else None


def _magnitude(since: datetime | None, now: datetime) -> int:
    nanoseconds = (now - since).total_seconds() * 1e9 if since else 0
    return int(math.log2(nanoseconds)) if nanoseconds > 0 else -1


def pod_from_template(owner: Object, ref: ResourceRef) -> Object:
    """A pod as the template says. Shares the template's parts: for sending, not for changing."""
    template = owner["spec"]["template"]
    given = template.get("metadata") or {}
    metadata: Object = {"generateName": f"{name_of(owner)}-"}
    for field in ("labels", "annotations", "finalizers"):
        if given.get(field):
            metadata[field] = given[field]
    metadata["ownerReferences"] = [controller_reference(owner, ref)]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": template.get("spec") or {}}


def plan_status(
    replica_set: Object,
    active: Sequence[Object],
    terminating: Sequence[Object] | None,
    failure: str | None,
    now: datetime,
) -> Object | None:
    """The status to write, or None when it is as it should be. `failure` is why the last changes did not succeed.

    `terminating` is None for ReplicationControllers, which do not tell.
    """
    spec, old = replica_set["spec"], replica_set.get("status") or {}
    template_labels = labels_of({"metadata": spec["template"].get("metadata") or {}})
    min_ready = spec.get("minReadySeconds") or 0
    conditions = old.get("conditions") or []
    if failure is None:
        conditions = remove_condition(conditions, "ReplicaFailure")
    elif not any(item["type"] == "ReplicaFailure" for item in conditions):
        reason = "FailedCreate" if len(active) < spec.get("replicas", 1) else "FailedDelete"
        conditions = [*conditions, condition("ReplicaFailure", "True", reason, failure, now)]
    counts = {
        "fullyLabeledReplicas": sum(template_labels.items() <= labels_of(pod).items() for pod in active),
        "readyReplicas": sum(map(is_ready, active)),
        "availableReplicas": sum(is_available(pod, min_ready, now) for pod in active),
    }
    new: Object = {"replicas": len(active)}
    new |= {field: count for field, count in counts.items() if count}
    if terminating is not None:
        new["terminatingReplicas"] = len(terminating)
    if replica_set["metadata"].get("generation"):
        new["observedGeneration"] = replica_set["metadata"]["generation"]
    if conditions:
        new["conditions"] = list(conditions)
    return None if new == _without_zeros(old) else copy_object(new)


def _without_zeros(status: Object) -> Object:
    kept = ("replicas", "terminatingReplicas")
    return {"replicas": 0} | {field: value for field, value in status.items() if value or field in kept}


def next_availability_check(replica_set: Object, active: Sequence[Object], now: datetime) -> float | None:
    """Seconds until the next ready pod becomes available by minReadySeconds; None when no pod is waiting for that."""
    min_ready = replica_set["spec"].get("minReadySeconds") or 0
    waits = [seconds_until_available(pod, min_ready, now) for pod in active]
    return min((wait for wait in waits if wait is not None and wait > 0), default=None)
