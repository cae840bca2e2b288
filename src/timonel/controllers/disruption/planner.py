"""What the status of a PodDisruptionBudget should say, from its pods and how many there should be. Pure.

Source: kubernetes.io/docs/tasks/run-application/configure-pdb and .../concepts/workloads/pods/disruptions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from timonel.api.clock import format_time, parse_time
from timonel.api.objects import Object, find_by, is_deleting, name_of
from timonel.controllers.pods import condition_of, is_ready, is_terminal
from timonel.controllers.shares import share_of

DELETION_SECONDS = 120.0
"""Within it, a pod whose eviction was granted must be seen being deleted; else it is counted again."""
STALE_SECONDS = 120.0
"""After it, a pod that is still there is no longer said to be a target of disruption."""
_ALLOWED = "DisruptionAllowed"


@dataclass(frozen=True, slots=True)
class BudgetPlan:
    status: Object | None = None
    """None: leave it as it is."""
    not_deleted: tuple[Object, ...] = ()
    """Pods whose granted evictions came to nothing."""
    requeue_after: float | None = None
    """Seconds until the next granted eviction is given up."""


def needs_scale(budget: Object) -> bool:
    """Whether it is measured against how many pods there should be, not only those that there are."""
    spec = budget.get("spec") or {}
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def plan_budget(budget: Object, pods: Sequence[Object], scale: int, now: datetime) -> BudgetPlan:
    """`pods` are those it selects; `scale` is how many their controllers want, used only if `needs_scale`."""
    expected, desired = _demand(budget.get("spec") or {}, len(pods), scale)
    waiting, not_deleted, next_check = _granted(budget, pods, now)
    healthy = sum(is_ready(pod) and not is_deleting(pod) and name_of(pod) not in waiting for pod in pods)
    # A budget without pods allows nothing: its first pods must not be evicted before they have been counted.
    allowed = max(0, healthy - desired) if expected > 0 else 0
    generation = budget["metadata"].get("generation") or 0
    reason = "SufficientPods" if allowed else "InsufficientPods"
    status: Object = {
        **({"observedGeneration": generation} if generation else {}),
        **({"disruptedPods": waiting} if waiting else {}),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "conditions": _conditions(budget, bool(allowed), reason, "", generation, now),
    }
    changed = status != (budget.get("status") or {})
    return BudgetPlan(status if changed else None, tuple(not_deleted), next_check)


def plan_failure(budget: Object, message: str, now: datetime) -> Object | None:
    """The status of a budget that cannot be computed: nothing may be evicted. None: it says so already."""
    present = budget.get("status") or {}
    observed = present.get("observedGeneration") or 0
    status = {
        **present,
        "disruptionsAllowed": 0,
        "conditions": _conditions(budget, False, "SyncFailed", message, observed, now),
    }
    return status if status != present else None


def seconds_until_stale(pod: Object, now: datetime) -> float | None:
    """Until its condition DisruptionTarget has come to nothing, 0 at the least; None: it has none that could.

    What the kubelet says of pods that it ends itself holds for as long as that takes.
    """
    condition = condition_of(pod, "DisruptionTarget") or {}
    if condition.get("status") != "True" or condition.get("reason") == "TerminationByKubelet":
        return None
    if is_deleting(pod) or is_terminal(pod):
        return None
    since = condition.get("lastTransitionTime")
    return max(0.0, STALE_SECONDS - (now - parse_time(since)).total_seconds()) if since else 0.0


def _demand(spec: Object, present: int, scale: int) -> tuple[int, int]:
    """How many pods are expected, and how many of them must be healthy."""
    most_missing, fewest = spec.get("maxUnavailable"), spec.get("minAvailable")
    if most_missing is not None:
        return scale, max(0, scale - share_of(most_missing, scale, round_up=True))
    if isinstance(fewest, str):
        return scale, share_of(fewest, scale, round_up=True)
    return (present, fewest) if fewest is not None else (0, 0)


def _granted(
    budget: Object, pods: Sequence[Object], now: datetime
) -> tuple[dict[str, str], list[Object], float | None]:
    """Evictions granted and not begun yet, pods of those given up, and seconds until the next one is.

    Those of pods that are being deleted, gone, or not selected any more are settled.
    """
    granted = (budget.get("status") or {}).get("disruptedPods") or {}
    waiting: dict[str, str] = {}
    not_deleted: list[Object] = []
    next_check: float | None = None
    for pod in pods:
        since = granted.get(name_of(pod))
        if since is None or is_deleting(pod):
            continue
        left = (parse_time(since) + timedelta(seconds=DELETION_SECONDS) - now).total_seconds()
        if left <= 0:
            not_deleted.append(pod)
            continue
        waiting[name_of(pod)] = since
        next_check = left if next_check is None else min(next_check, left)
    return waiting, not_deleted, next_check


def _conditions(
    budget: Object, allowed: bool, reason: str, message: str, generation: int, now: datetime
) -> list[Object]:
    present: list[Object] = (budget.get("status") or {}).get("conditions") or []
    old = find_by(present, "type", _ALLOWED)
    status = "True" if allowed else "False"
    same = old is not None and old.get("status") == status
    new: Object = {
        "type": _ALLOWED,
        "status": status,
        **({"observedGeneration": generation} if generation else {}),
        "lastTransitionTime": old["lastTransitionTime"] if old is not None and same else format_time(now),
        "reason": reason,
        "message": message,
    }
    return [new if item is old else item for item in present] if old is not None else [*present, new]
