"""The phase of a pod from its container statuses. Pure.

Source: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle, "Pod phase".
"""

from __future__ import annotations

from dataclasses import dataclass

from timonel.api.objects import Object, find_by
from timonel.kubelet.pods.spec import Kind, is_sidecar, restarts_after

PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"


def is_terminal(phase: str) -> bool:
    return phase in (SUCCEEDED, FAILED)


@dataclass(slots=True)
class _Count:
    running: int = 0
    waiting: int = 0
    """Never started."""
    unknown: int = 0
    ended: int = 0
    succeeded: int = 0
    settled: int = 0
    """Ended and will not start again."""


def _last_end(status: Object) -> Object | None:
    """How it ended most recently, when it does not run."""
    state = status.get("state") or {}
    if "terminated" in state:
        ended: Object = state["terminated"]
        return ended
    if "waiting" in state:
        return (status.get("lastState") or {}).get("terminated")
    return None


def pod_phase(pod: Object, init: list[Object], main: list[Object], *, initialized: bool, ended: bool) -> str:
    """`init` and `main` are container statuses; `initialized`: main containers have run before; `ended`: the pod is
    over whatever its restart policy, so every container that has stopped stays so.
    """
    pending_init = False
    pending_sidecar = False
    count = _Count()
    for container in pod["spec"].get("initContainers") or ():
        status = find_by(init, "name", container["name"])
        state = (status or {}).get("state") or {}
        if is_sidecar(container):
            if "running" in state:
                count.running += 1
                pending_sidecar |= not (status or {}).get("started")
            elif status is None or not (_last_end(status) or "terminated" in state):
                pending_sidecar = True
                count.waiting += 1
            continue
        last = _last_end(status) if status else None
        if last is None:
            pending_init = True
        elif last.get("exitCode") and not restarts_after(pod, Kind.INIT, container, last["exitCode"]):
            return FAILED
        elif last.get("exitCode") and "running" not in state and not ended:
            pending_init = True
    for container in pod["spec"].get("containers") or ():
        status = find_by(main, "name", container["name"])
        last = _last_end(status) if status else None
        if status is None or not status.get("state"):
            count.unknown += 1
        elif "running" in status["state"]:
            count.running += 1
        elif last is None:
            count.waiting += 1
        else:
            count.ended += 1
            count.settled += not restarts_after(pod, Kind.MAIN, container, last.get("exitCode", 0))
            count.succeeded += last.get("exitCode") == 0 and "terminated" in status["state"]
    if pending_init or (pending_sidecar and not initialized) or count.waiting or count.unknown:
        return PENDING
    if count.running:
        return RUNNING
    if not ended and count.settled < count.ended:
        return RUNNING
    return SUCCEEDED if count.succeeded == count.ended else FAILED
