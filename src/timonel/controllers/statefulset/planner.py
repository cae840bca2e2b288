"""What a StatefulSet should do next, as values: steps in order, grouped in phases, and its status. Pure.

OrderedReady takes one pod at a time and waits until it is available; Parallel takes all at once. Scaling comes before
updating, which goes from the highest ordinal down, in both.
Source: kubernetes.io/docs/concepts/workloads/controllers/statefulset (deployment and scaling guarantees, update
strategies), KEP-961 (maxUnavailable), KEP-3335 (start ordinal)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from timonel.api.objects import Object, get_path, is_deleting, name_of
from timonel.controllers.pods import is_available, is_ready, is_terminal, phase_of, seconds_until_available
from timonel.controllers.shares import share_of
from timonel.controllers.statefulset.claims import ClaimPlan, Find, is_stale, plan_pod_claims
from timonel.controllers.statefulset.identity import (
    is_member,
    new_pod,
    ordinal_of,
    ordinals_of,
    repair_of,
    revision_of,
)


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do to one pod. `claims` come before the pod."""

    verb: Literal["create", "update", "delete", "claim"]
    pod: Object
    claims: ClaimPlan = field(default_factory=ClaimPlan)
    patch: Object | None = None
    """Of "update": what brings its identity back."""


@dataclass(frozen=True, slots=True)
class StatefulPlan:
    phases: tuple[tuple[Step, ...], ...] = ()
    """A phase begins when all before it succeeded."""
    one_by_one: bool = True
    """Whether the steps of a phase must follow each other."""
    status: Object | None = None
    """None: leave it as it is."""
    failed: tuple[str, ...] = ()
    """Names of failed pods that go: the next ones have to wait longer."""
    requeue_after: float | None = None
    """Seconds until a pod that is ready will be available, or one that failed may be made anew."""


@dataclass(slots=True)
class _Draft:
    """A plan in the making. `stopped`: in an ordered set, what follows has to wait."""

    stateful_set: Object
    current: Object
    update: Object
    pods: dict[int, Object]
    find: Find
    now: datetime
    waits: Mapping[str, float]
    stopped: bool = False
    phases: list[tuple[Step, ...]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    pending: list[float] = field(default_factory=list)

    @property
    def ordered(self) -> bool:
        return bool(self.stateful_set["spec"].get("podManagementPolicy") != "Parallel")

    def is_available(self, pod: Object) -> bool:
        return is_available(pod, self.stateful_set["spec"].get("minReadySeconds") or 0, self.now)

    def is_serving(self, pod: Object) -> bool:
        return phase_of(pod) == "Running" and self.is_available(pod)


def plan_stateful_set(
    stateful_set: Object,
    current: Object,
    update: Object,
    collisions: int,
    pods: Iterable[Object],
    find: Find,
    now: datetime,
    waits: Mapping[str, float] = MappingProxyType({}),
) -> StatefulPlan:
    """`current` and `update` are the revisions it comes from and goes to; `find` gives claims by name.

    `waits`: seconds that failed pods must still stay, by name.
    """
    own = {ordinal_of(pod): pod for pod in pods if is_member(stateful_set, pod) and ordinal_of(pod) >= 0}
    draft = _Draft(stateful_set, current, update, own, find, now, waits)
    leaving: Sequence[Step] = ()
    if not is_deleting(stateful_set):
        for part in (_replica_steps, _condemned_claims, _condemned_steps):
            if not draft.stopped:
                draft.phases.append(tuple(part(draft)))
        if not draft.stopped:
            leaving = _update_steps(draft)
            draft.phases.append(tuple(leaving))
    status = _status(draft, collisions, {name_of(step.pod) for step in leaving})
    min_ready = stateful_set["spec"].get("minReadySeconds") or 0
    checks = [*draft.pending, *(seconds_until_available(pod, min_ready, now) for pod in own.values())]
    return StatefulPlan(
        phases=tuple(phase for phase in draft.phases if phase),
        one_by_one=draft.ordered,
        status=status if _said(status) != _said(stateful_set.get("status") or {}) else None,
        failed=tuple(draft.failed),
        requeue_after=min((check for check in checks if check is not None and check > 0), default=None),
    )


def _replica_steps(draft: _Draft) -> list[Step]:
    steps: list[Step] = []
    for ordinal in ordinals_of(draft.stateful_set):
        pod = draft.pods.get(ordinal)
        made, settled = _create(draft, ordinal) if pod is None else _keep(draft, pod)
        steps += made
        if draft.ordered and not settled:
            draft.stopped = True
            break
    return steps


def _create(draft: _Draft, ordinal: int) -> tuple[list[Step], bool]:
    stateful_set = draft.stateful_set
    revision = draft.current if _stays_behind(draft, ordinal) else draft.update
    pod = new_pod(stateful_set, revision, ordinal)
    if is_stale(stateful_set, pod, draft.find):
        return [], False
    return [Step("create", pod, plan_pod_claims(stateful_set, pod, draft.find))], False


def _stays_behind(draft: _Draft, ordinal: int) -> bool:
    """Whether a pod of this ordinal is made anew as it was, because the update does not reach it yet."""
    strategy = draft.stateful_set["spec"].get("updateStrategy") or {}
    first = ordinals_of(draft.stateful_set).start
    rolling = strategy.get("rollingUpdate")
    if rolling is not None:
        return ordinal < first + (rolling.get("partition") or 0)
    made = get_path(draft.stateful_set, "status", "currentReplicas", default=0)
    return bool(strategy.get("type") == "RollingUpdate" and ordinal < first + made)


def _keep(draft: _Draft, pod: Object) -> tuple[list[Step], bool]:
    """What a pod that exists needs, and whether the next one may be looked at."""
    if is_terminal(pod):
        # Evicted pods and those of a node that went down end with whatever their containers said: all start anew.
        return _remove_ended(draft, pod), False
    steps: list[Step] = []
    claims = plan_pod_claims(draft.stateful_set, pod, draft.find)
    if phase_of(pod) == "Pending" and not is_deleting(pod) and (claims.create or claims.update):
        steps.append(Step("claim", pod, claims))
        claims = ClaimPlan()
    if draft.ordered and (is_deleting(pod) or not draft.is_serving(pod)):
        return steps, False
    patch = repair_of(draft.stateful_set, pod)
    if patch is not None:
        steps.append(Step("update", pod, claims, patch))
    elif claims.update:
        steps.append(Step("claim", pod, ClaimPlan(update=claims.update, contested=claims.contested)))
    return steps, True


def _remove_ended(draft: _Draft, pod: Object) -> list[Step]:
    if is_deleting(pod):
        return []
    if phase_of(pod) == "Failed":
        left = draft.waits.get(name_of(pod), 0)
        if left > 0:
            draft.pending.append(left)
            return []
        draft.failed.append(name_of(pod))
    return [Step("delete", pod)]


def _condemned(draft: _Draft) -> list[Object]:
    """Pods outside the range of ordinals, the highest first."""
    wanted = ordinals_of(draft.stateful_set)
    return [pod for ordinal, pod in sorted(draft.pods.items(), reverse=True) if ordinal not in wanted]


def _condemned_claims(draft: _Draft) -> list[Step]:
    steps = []
    for pod in _condemned(draft):
        claims = plan_pod_claims(draft.stateful_set, pod, draft.find)
        if claims.update:
            steps.append(Step("claim", pod, ClaimPlan(update=claims.update, contested=claims.contested)))
    return steps


def _condemned_steps(draft: _Draft) -> list[Step]:
    condemned = _condemned(draft)
    if not draft.ordered:
        return [Step("delete", pod) for pod in condemned if not is_deleting(pod)]
    if not condemned:
        return []
    draft.stopped = True
    ailing = [pod for pod in condemned if is_deleting(pod) or not draft.is_available(pod)]
    highest = condemned[0]
    # The lowest that ails may go, since nothing else will mend it; any other waits for those below it.
    if is_deleting(highest) or (not draft.is_serving(highest) and ailing and highest is not ailing[-1]):
        return []
    return [Step("delete", highest)]


def _update_steps(draft: _Draft) -> list[Step]:
    """Pods to delete so that they are made anew from the revision of the update."""
    spec = draft.stateful_set["spec"]
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    rolling = strategy.get("rollingUpdate") or {}
    ordinals = ordinals_of(draft.stateful_set)
    reached = reversed(ordinals[rolling.get("partition") or 0 :])
    unavailable = {ordinal for ordinal in ordinals if not _serves(draft, ordinal)}
    limit = rolling.get("maxUnavailable")
    if limit is None:
        return _update_next(draft, reached, unavailable)
    room = max(1, share_of(limit, len(ordinals), round_up=False)) - len(unavailable)
    outdated = [draft.pods[ordinal] for ordinal in reached if _is_outdated(draft, ordinal)]
    return [Step("delete", pod) for pod in outdated[: max(0, room)]]


def _update_next(draft: _Draft, reached: Iterable[int], unavailable: set[int]) -> list[Step]:
    """The highest that is outdated, once all above it are available."""
    for ordinal in reached:
        if _is_outdated(draft, ordinal):
            return [Step("delete", draft.pods[ordinal])]
        if ordinal in unavailable:
            break
    return []


def _is_outdated(draft: _Draft, ordinal: int) -> bool:
    pod = draft.pods.get(ordinal)
    if pod is None or is_deleting(pod) or is_terminal(pod):
        return False
    return revision_of(pod) != name_of(draft.update)


def _serves(draft: _Draft, ordinal: int) -> bool:
    pod = draft.pods.get(ordinal)
    return pod is not None and not is_deleting(pod) and draft.is_available(pod)


def _status(draft: _Draft, collisions: int, leaving: set[str]) -> Object:
    """`leaving` are names of pods that the update takes away now: they count no more among the current ones."""
    spec, old = draft.stateful_set["spec"], draft.stateful_set.get("status") or {}
    pods = draft.pods.values()
    ready = [pod for pod in pods if phase_of(pod) == "Running" and is_ready(pod)]
    staying = [pod for pod in pods if not is_deleting(pod)]
    current, updated = name_of(draft.current), name_of(draft.update)
    current_count = sum(revision_of(pod) == current and name_of(pod) not in leaving for pod in staying)
    updated_count = sum(revision_of(pod) == updated for pod in staying)
    wanted = len(ordinals_of(draft.stateful_set))
    is_rolling = (spec.get("updateStrategy") or {}).get("type") == "RollingUpdate"
    if is_rolling and updated_count == len(ready) == len(pods) == wanted:
        current, current_count = updated, updated_count
    counts = {
        "readyReplicas": len(ready),
        "currentReplicas": current_count,
        "updatedReplicas": updated_count,
    }
    status: Object = {
        "replicas": len(pods),
        **{name: count for name, count in counts.items() if count},
        "availableReplicas": sum(map(draft.is_available, ready)),
        "currentRevision": current,
        "updateRevision": updated,
        "collisionCount": collisions,
    }
    if generation := draft.stateful_set["metadata"].get("generation"):
        status["observedGeneration"] = generation
    if old.get("conditions"):
        status["conditions"] = old["conditions"]
    return status


def _said(status: Object) -> Object:
    """Whether a zero is shown or left out makes no difference."""
    return {name: value for name, value in status.items() if value}
