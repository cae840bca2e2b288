"""What a DaemonSet should do next, as values: nodes to make pods for, and pods to delete. Pure.

First the right number of pods on every node, then, when nothing is left to do there, the next part of an update.
Source: kubernetes.io/docs/concepts/workloads/controllers/daemonset and .../tasks/manage-daemon/update-daemon-set,
KEP-1591 (maxSurge)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from timonel.api.objects import Object, is_deleting, labels_of, name_of, namespace_of
from timonel.controllers.daemonset.placement import Fit, is_updated, living
from timonel.controllers.history import REVISION_HASH
from timonel.controllers.pods import is_available, is_ready, phase_of
from timonel.controllers.shares import share_of

BURST = 250
"""No more pods than this are made, or deleted, in one go."""


@dataclass(frozen=True, slots=True)
class Daemons:
    """A DaemonSet and all that is to know of it. `pods` by node, also nodes that are gone; see placement.by_node."""

    daemon_set: Object
    revision_hash: str
    fits: Mapping[str, Fit]
    """Of all nodes there are."""
    pods: Mapping[str, Sequence[Object]]
    now: datetime

    @property
    def min_ready_seconds(self) -> int:
        return self.daemon_set["spec"].get("minReadySeconds") or 0

    @property
    def desired(self) -> int:
        return sum(fit is Fit.RUNS for fit in self.fits.values())

    def is_available(self, pod: Object) -> bool:
        return is_available(pod, self.min_ready_seconds, self.now)

    def is_updated(self, pod: Object) -> bool:
        return is_updated(self.daemon_set, pod, self.revision_hash)

    def limits(self, count: int) -> tuple[int, int]:
        """maxSurge and maxUnavailable out of so many nodes; zeros but for rolling updates."""
        strategy = self.daemon_set["spec"].get("updateStrategy") or {}
        rolling = strategy.get("rollingUpdate")
        if strategy.get("type") != "RollingUpdate" or rolling is None:
            return 0, 0
        surge = share_of(rolling.get("maxSurge") or 0, count, round_up=True)
        unavailable = share_of(rolling.get("maxUnavailable", 1), count, round_up=True)
        return surge, unavailable


@dataclass(frozen=True, slots=True)
class DaemonPlan:
    create: tuple[str, ...] = ()
    """Names of nodes."""
    delete: tuple[Object, ...] = ()
    events: tuple[tuple[str, str, str], ...] = ()
    """(type, reason, message)"""
    failed_nodes: tuple[str, ...] = ()
    """Where a failed pod is deleted: the next one has to wait longer."""
    requeue_after: float | None = None
    """Seconds until a failed pod that has to wait may be deleted."""

    @property
    def is_idle(self) -> bool:
        return not self.create and not self.delete


def plan_pods(daemons: Daemons, waits: Mapping[str, float]) -> DaemonPlan:
    """One pod on each node that fits, none elsewhere. `waits`: seconds that failed pods of a node must still stay."""
    create: list[str] = []
    delete: list[Object] = []
    events: list[tuple[str, str, str]] = []
    failed: list[str] = []
    pending: list[float] = []
    surges = daemons.limits(1)[0] > 0
    for node_name, fit in daemons.fits.items():
        pods = daemons.pods.get(node_name, ())
        if fit is Fit.NONE:
            delete += living(pods)
            continue
        if not pods:
            if fit is Fit.RUNS:
                create.append(node_name)
            continue
        running = []
        must_wait = False
        for pod in living(pods):
            phase = phase_of(pod)
            if phase == "Failed" and waits.get(node_name, 0) > 0:
                pending.append(waits[node_name])
                must_wait = True
            elif phase in ("Failed", "Succeeded"):
                delete.append(pod)
                events.append(_ended(pod, node_name, phase))
                if phase == "Failed":
                    failed.append(node_name)
            else:
                running.append(pod)
        if not surges:
            delete += running[1:]
        elif not running and fit is Fit.RUNS and not must_wait:
            create.append(node_name)  # beside the one that ends
        else:
            delete += _prune(daemons, running)
    for node_name, pods in daemons.pods.items():
        if node_name not in daemons.fits:
            # No scheduler will place them, and nobody else removes pods that are on no node.
            delete += [pod for pod in living(pods) if not pod["spec"].get("nodeName")]
    return DaemonPlan(
        create=tuple(create[:BURST]),
        delete=tuple(delete[:BURST]),
        events=tuple(events),
        failed_nodes=tuple(failed),
        requeue_after=min(pending, default=None),
    )


def _ended(pod: Object, node_name: str, phase: str) -> tuple[str, str, str]:
    where = f"{namespace_of(pod)}/{name_of(pod)} on node {node_name}"
    if phase == "Failed":
        return "Warning", "FailedDaemonPod", f"Found failed daemon pod {where}, will try to kill it"
    return "Normal", "SucceededDaemonPod", f"Found succeeded daemon pod {where}, will try to delete it"


def _prune(daemons: Daemons, running: Sequence[Object]) -> list[Object]:
    """With maxSurge: what must go of a node's pods. An old one that is ready stays until the new one is available."""
    if len(running) < 2:
        return []
    new = [pod for pod in running if labels_of(pod).get(REVISION_HASH) == daemons.revision_hash]
    old = [pod for pod in running if labels_of(pod).get(REVISION_HASH) != daemons.revision_hash]
    extra = [*new[1:], *old[1:]]
    if new and old and (not is_ready(old[0]) or daemons.is_available(new[0])):
        extra.append(old[0])
    return extra


def plan_update(daemons: Daemons) -> DaemonPlan:
    """The next part of a rolling update; for a set whose pods are as many as they should be."""
    strategy = daemons.daemon_set["spec"].get("updateStrategy") or {}
    if strategy.get("type") != "RollingUpdate":
        return DaemonPlan()
    nodes = dict.fromkeys([*sorted(daemons.pods), *(name for name, fit in daemons.fits.items() if fit is Fit.RUNS)])
    surge, unavailable = daemons.limits(daemons.desired)
    if not surge and not unavailable:
        unavailable = 1  # else it would never end; validation does not let it come so far
    if surge:
        return _update_by_surge(daemons, list(nodes), surge)
    return _update_in_place(daemons, list(nodes), unavailable)


def _pair(daemons: Daemons, node_name: str) -> tuple[list[Object], list[Object]]:
    """New and old pods on a node."""
    pods = [pod for pod in daemons.pods.get(node_name, ()) if not is_deleting(pod)]
    return [pod for pod in pods if daemons.is_updated(pod)], [pod for pod in pods if not daemons.is_updated(pod)]


def _update_in_place(daemons: Daemons, nodes: Sequence[str], limit: int) -> DaemonPlan:
    """Old pods go, at most `limit` nodes being without an available pod; the next sync makes the new ones."""
    missing = 0
    broken: list[Object] = []
    candidates: list[Object] = []
    for node_name in nodes:
        new, old = _pair(daemons, node_name)
        if len(new) + len(old) != 1:
            missing += 1  # none, or too many: plan_pods will see to it
        elif new:
            missing += not daemons.is_available(new[0])
        elif daemons.is_available(old[0]):
            candidates.append(old[0])
        else:
            # Nothing is lost with it, so the limit does not hold it.
            broken.append(old[0])
            missing += 1
    room = max(0, limit - missing)
    return DaemonPlan(delete=tuple([*broken, *candidates[:room]][:BURST]))


def _update_by_surge(daemons: Daemons, nodes: Sequence[str], limit: int) -> DaemonPlan:
    """New pods come beside old ones, on at most `limit` nodes at a time; old ones go when these are available."""
    surging = available = 0
    delete: list[Object] = []
    leaving: list[Object] = []
    replace: list[str] = []
    candidates: list[str] = []
    for node_name in nodes:
        new, old = _pair(daemons, node_name)
        if len(new) > 1 or len(old) > 1:
            surging += 1
            continue
        serving = old or new
        available += bool(serving) and daemons.is_available(serving[0])
        if not old:
            continue
        if new:
            if daemons.is_available(new[0]):
                delete.append(old[0])
            else:
                surging += 1
            continue
        runs = daemons.fits.get(node_name) is Fit.RUNS
        if daemons.is_available(old[0]):
            (candidates if runs else leaving).append(node_name if runs else old[0])  # type: ignore[arg-type]
        elif runs:
            replace.append(node_name)
        else:
            delete.append(old[0])
    # Where pods may not be any more, they stay until there are enough elsewhere.
    delete += leaving[: max(0, available - daemons.desired)]
    create = [*replace, *candidates[: max(0, limit - surging)]]
    return DaemonPlan(create=tuple(create[:BURST]), delete=tuple(delete[:BURST]))
