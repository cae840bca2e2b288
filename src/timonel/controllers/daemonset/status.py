"""The status of a DaemonSet, from its nodes and pods. Pure."""

from __future__ import annotations

from timonel.api.objects import Object
from timonel.controllers.daemonset.placement import Fit
from timonel.controllers.daemonset.planner import Daemons
from timonel.controllers.pods import is_ready, seconds_until_available


def plan_status(daemons: Daemons, collisions: int) -> Object | None:
    """None: it is as it should be."""
    desired = current = misplaced = ready = updated = available = 0
    for node_name, fit in daemons.fits.items():
        pods = daemons.pods.get(node_name)
        if fit is not Fit.RUNS:
            misplaced += bool(pods)
            continue
        desired += 1
        if not pods:
            continue
        current += 1
        ready += is_ready(pods[0])
        available += daemons.is_available(pods[0])
        updated += daemons.is_updated(pods[0])
    old = daemons.daemon_set.get("status") or {}
    counts = {
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": desired - available,
        "collisionCount": collisions,
        "observedGeneration": daemons.daemon_set["metadata"].get("generation") or 0,
    }
    status: Object = {
        "currentNumberScheduled": current,
        "numberMisscheduled": misplaced,
        "desiredNumberScheduled": desired,
        "numberReady": ready,
        **{name: count for name, count in counts.items() if count},
    }
    if old.get("conditions"):
        status["conditions"] = old["conditions"]
    # Whether a zero is shown or left out makes no difference.
    same = {name: value for name, value in old.items() if value} == {
        name: value for name, value in status.items() if value
    }
    return None if same else status


def next_availability_check(daemons: Daemons) -> float | None:
    """Seconds until the next ready pod becomes available by minReadySeconds; None when none is waiting for that."""
    waits = (
        seconds_until_available(pod, daemons.min_ready_seconds, daemons.now)
        for pods in daemons.pods.values()
        for pod in pods
    )
    return min((wait for wait in waits if wait is not None and wait > 0), default=None)
