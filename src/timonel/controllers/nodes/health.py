"""What a node's conditions and silence mean: conditions to write, taints to set. Pure.

Source: kubernetes.io/docs/concepts/architecture/nodes#node-heartbeats and
kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration#taint-based-evictions
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from timonel.api.clock import format_time
from timonel.api.objects import Object, find_by
from timonel.controllers.pods import condition_of

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_CONDITION_TAINTS = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
}
_NO_SCHEDULE_KEYS = {*_CONDITION_TAINTS.values(), UNSCHEDULABLE}
_NO_EXECUTE_KEYS = {NOT_READY, UNREACHABLE}
_KUBELET_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def ready_status(node: Object) -> str:
    """ "True", "False", "Unknown", or "" when nobody ever said."""
    condition = condition_of(node, "Ready")
    return (condition.get("status") or "") if condition else ""


def conditions_of_silence(node: Object, now: datetime) -> list[Object] | None:
    """The node's conditions once its kubelet has been silent for too long; None when they say so already."""
    present: Sequence[Object] = (node.get("status") or {}).get("conditions") or ()
    moment = format_time(now)
    result = [dict(item) for item in present]
    for type in _KUBELET_CONDITIONS:
        item = find_by(result, "type", type)
        if item is None:
            result.append(
                {
                    "type": type,
                    "status": "Unknown",
                    "lastHeartbeatTime": node["metadata"].get("creationTimestamp"),
                    "lastTransitionTime": moment,
                    "reason": "NodeStatusNeverUpdated",
                    "message": "Kubelet never posted node status.",
                }
            )
        elif item.get("status") != "Unknown":
            item |= {
                "status": "Unknown",
                "lastTransitionTime": moment,
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
            }
    return None if result == list(present) else result


def wanted_no_execute(node: Object) -> str:
    """The key of the taint that sends pods away; "" when they may stay."""
    return _CONDITION_TAINTS.get(("Ready", ready_status(node)), "")


def has_no_execute(node: Object) -> bool:
    return any(
        taint.get("effect") == "NoExecute" and taint["key"] in _NO_EXECUTE_KEYS
        for taint in (node.get("spec") or {}).get("taints") or ()
    )


def plan_taints(node: Object, no_execute: str, now: datetime) -> list[Object] | None:
    """All taints the node should have; None when it has them. `no_execute` is the key that is to send pods away, or "".

    Taints of other keys and effects are somebody else's and stay.
    """
    spec = node.get("spec") or {}
    wanted = {
        (key, "NoSchedule")
        for item in (node.get("status") or {}).get("conditions") or ()
        if (key := _CONDITION_TAINTS.get((item["type"], item.get("status", ""))))
    }
    if spec.get("unschedulable"):
        wanted.add((UNSCHEDULABLE, "NoSchedule"))
    if no_execute:
        wanted.add((no_execute, "NoExecute"))
    present: Sequence[Object] = spec.get("taints") or ()
    kept = []
    for taint in present:
        name = (taint["key"], taint.get("effect"))
        ours = taint["key"] in (_NO_SCHEDULE_KEYS if name[1] == "NoSchedule" else _NO_EXECUTE_KEYS)
        if name[1] == "PreferNoSchedule" or not ours or name in wanted:
            kept.append(taint)
            wanted.discard(name)
    if len(kept) == len(present) and not wanted:
        return None
    added = [{"key": key, "effect": effect, "timeAdded": format_time(now)} for key, effect in sorted(wanted)]
    return [*kept, *added]
