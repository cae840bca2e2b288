"""The kubelet's conditions of a pod. Pure.

Source: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle, "Pod conditions".
"""

from __future__ import annotations

from collections.abc import Iterable

from timonel.api.objects import Object, find_by, get_path
from timonel.kubelet.pods.phase import FAILED, SUCCEEDED
from timonel.kubelet.pods.spec import is_sidecar

OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
RESIZE_PENDING, RESIZE_IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
PASSING_CONDITIONS = (RESIZE_PENDING, RESIZE_IN_PROGRESS)
"""The kubelet's as well, there only while they are true."""

_TERMINAL_REASONS = {SUCCEEDED: "PodCompleted", FAILED: "PodFailed"}


def condition(kind: str, status: bool, reason: str = "", message: str = "") -> Object:
    made: Object = {"type": kind, "status": "True" if status else "False"}
    if reason:
        made["reason"] = reason
    if message:
        made["message"] = message
    return made


def _listed(names: list[str]) -> str:
    return f"[{' '.join(names)}]"


def containers_ready(pod: Object, statuses: list[Object], phase: str) -> Object:
    """`statuses`: of init and main containers."""
    spec = pod["spec"]
    counted = [c for c in spec.get("initContainers") or () if is_sidecar(c)] + (spec.get("containers") or [])
    unknown, unready = [], []
    for container in counted:
        status = find_by(statuses, "name", container["name"])
        if status is None:
            unknown.append(container["name"])
        elif not status.get("ready"):
            unready.append(container["name"])
    if phase == FAILED or (phase == SUCCEEDED and not unknown):
        return condition("ContainersReady", False, _TERMINAL_REASONS[phase])
    messages = []
    if unknown:
        messages.append(f"containers with unknown status: {_listed(unknown)}")
    if unready:
        messages.append(f"containers with unready status: {_listed(unready)}")
    if messages:
        return condition("ContainersReady", False, "ContainersNotReady", ", ".join(messages))
    return condition("ContainersReady", True)


def pod_ready(pod: Object, ready: Object, present: Iterable[Object]) -> Object:
    """From the ContainersReady condition and the readiness gates among the `present` conditions."""
    if ready["status"] != "True":
        return {**ready, "type": "Ready"}
    messages = []
    present = list(present)
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        found = find_by(present, "type", kind)
        if found is None:
            messages.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found.get("status") != "True":
            messages.append(f'the status of pod readiness gate "{kind}" is not "True", but {found.get("status")}')
    if messages:
        return condition("Ready", False, "ReadinessGatesNotReady", ", ".join(messages))
    return condition("Ready", True)


def initialized(pod: Object, statuses: list[Object], phase: str, *, main_started: bool) -> Object:
    unknown, incomplete = [], []
    for container in pod["spec"].get("initContainers") or ():
        status = find_by(statuses, "name", container["name"])
        if status is None:
            unknown.append(container["name"])
        elif not status.get("started" if is_sidecar(container) else "ready"):
            incomplete.append(container["name"])
    if phase == SUCCEEDED and not unknown:
        return condition("Initialized", True, "PodCompleted")
    if main_started:
        return condition("Initialized", True)
    messages = []
    if unknown:
        messages.append(f"containers with unknown status: {_listed(unknown)}")
    if incomplete:
        messages.append(f"containers with incomplete status: {_listed(incomplete)}")
    if messages:
        return condition("Initialized", False, "ContainersNotInitialized", ", ".join(messages))
    return condition("Initialized", True)


def merge_conditions(previous: Iterable[Object], fresh: list[Object], now: str, generation: int | None) -> list[Object]:
    """`fresh` with the times of what did not change, followed by conditions that others own, as they were.

    A fresh one may say itself which `generation` it was made for.
    """
    previous = [old for old in previous if old["type"] not in PASSING_CONDITIONS or find_by(fresh, "type", old["type"])]
    merged = []
    for new in fresh:
        old = find_by(previous, "type", new["type"])
        same = old is not None and old.get("status") == new["status"]
        changed_at = get_path(old, "lastTransitionTime") if same else None
        made = {"type": new["type"], "status": new["status"]}
        if generation is not None:
            made["observedGeneration"] = new.get("observedGeneration", generation)
        made |= {"lastProbeTime": None, "lastTransitionTime": changed_at or now}
        made |= {key: new[key] for key in ("reason", "message") if new.get(key)}
        merged.append(made)
    names = {new["type"] for new in fresh}
    return merged + [old for old in previous if old["type"] not in names]
