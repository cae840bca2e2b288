"""What a Job should do next, as values: end, or which pods to make and to delete. Pure.

Source: kubernetes.io/docs/concepts/workloads/controllers/job; KEPs 3329 (failure policy), 3850 (limit per index), 3939
(replacement policy), 3998 (success policy).
"""

from __future__ import annotations

from dataclasses import dataclass

from timonel.api.clock import parse_time
from timonel.api.objects import Object, is_deleting
from timonel.controllers.job.backoff import seconds_left_of_index
from timonel.controllers.job.indexes import IndexSet
from timonel.controllers.job.pods import (
    failures_before,
    ignored_failures_before,
    indexes_of,
    is_failed,
    is_indexed,
    is_suspended,
    replaces_only_failed,
    surplus_pods,
)
from timonel.controllers.job.policies import judge_failure, met_success_rule
from timonel.controllers.job.view import View
from timonel.controllers.pods import condition_of, is_terminating, phase_of

BURST = 500
"""No more pods than this are made or deleted in one go."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The Job is to end; its pods first."""

    success: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NewPod:
    index: int | None = None
    failures: tuple[int, int] | None = None
    """(counted, ignored) of its index, where they are limited per index."""


@dataclass(frozen=True, slots=True)
class JobPlan:
    verdict: Verdict | None = None
    end: tuple[Object, ...] = ()
    """Active pods to delete because the Job ends; they are counted as they end."""
    give_up: tuple[Object, ...] = ()
    """Active pods that are not wanted any more, to be deleted without being counted."""
    create: tuple[NewPod, ...] = ()
    requeue_after: float | None = None
    """Seconds until a replacement is due, or the Job's deadline."""
    managed: bool = False
    """It was looked at which pods it should have: it neither ends nor is being deleted."""


def plan_job(view: View) -> JobPlan:
    verdict = judge(view)
    if verdict is not None:
        return JobPlan(verdict, end=tuple(view.active))
    deadline = _deadline_left(view)
    if is_deleting(view.job):
        return JobPlan()
    if is_suspended(view.job):
        return JobPlan(give_up=tuple(view.active[:BURST]), managed=True)
    wanted = _wanted(view)
    surplus = surplus_pods(view.job, view.active, max(0, len(view.active) - wanted))
    if surplus:
        # Either or: what is made next depends on what is left then.
        return JobPlan(give_up=tuple(surplus[:BURST]), requeue_after=deadline, managed=True)
    waited_for = view.terminating if replaces_only_failed(view.job) else 0
    missing = min(wanted - waited_for - len(view.active), BURST)
    create, wait = _new_pods(view, missing) if missing > 0 else ((), None)
    return JobPlan(create=create, requeue_after=_earlier(wait, deadline), managed=True)


def judge(view: View) -> Verdict | None:
    """Whether the Job is to end. What was decided before stands; then failure goes before success."""
    spec = view.job["spec"]
    for kind in ("SuccessCriteriaMet", "FailureTarget"):
        found = condition_of(view.job, kind)
        if found is not None and found.get("status") == "True":
            return Verdict(kind == "SuccessCriteriaMet", found.get("reason") or "", found.get("message") or "")
    for pod in view.pods:
        failure = judge_failure(view.job, pod) if is_failed(pod, view.job) else None
        if failure is not None and failure.action == "FailJob":
            return Verdict(False, "PodFailurePolicy", failure.message)
    if view.failed > spec["backoffLimit"] or _restarted_too_often(view):
        return Verdict(False, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    deadline = _deadline_left(view)
    if deadline is not None and deadline <= 0:
        return Verdict(False, "DeadlineExceeded", "Job was active longer than specified deadline")
    if view.failed_indexes:
        most = spec.get("maxFailedIndexes")
        if most is not None and len(view.failed_indexes) > most:
            why = "Job has exceeded the specified maximal number of failed indexes"
            return Verdict(False, "MaxFailedIndexesExceeded", why)
        if len(view.failed_indexes) + len(view.succeeded_indexes) >= spec["completions"]:
            return Verdict(False, "FailedIndexes", "Job has failed indexes")
    if is_indexed(view.job) and (rule := met_success_rule(view.job, view.succeeded_indexes)) is not None:
        return Verdict(True, "SuccessPolicy", rule)
    return None


def completed(view: View, active: int) -> Verdict | None:
    """Whether it has reached its end by itself, `active` pods being left after the plan was carried out."""
    completions = view.job["spec"].get("completions")
    # Without a number of completions the first success is enough; those that still run may finish.
    enough = view.succeeded > 0 if completions is None else view.succeeded >= completions
    if not enough or active:
        return None
    return Verdict(True, "CompletionsReached", "Reached expected number of succeeded pods")


def _restarted_too_often(view: View) -> bool:
    """Containers restarted in place count like failed pods."""
    spec = view.job["spec"]
    if (spec["template"].get("spec") or {}).get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(
        status.get("restartCount") or 0
        for pod in view.pods
        if phase_of(pod) in ("Running", "Pending")
        for kind in ("initContainerStatuses", "containerStatuses")
        for status in (pod.get("status") or {}).get(kind) or ()
    )
    return bool(restarts >= max(1, spec["backoffLimit"]))


def _deadline_left(view: View) -> float | None:
    seconds, start = view.job["spec"].get("activeDeadlineSeconds"), (view.job.get("status") or {}).get("startTime")
    if seconds is None or is_suspended(view.job):
        return None
    since = parse_time(start) if start else view.now
    return float(seconds - (view.now - since).total_seconds())


def _wanted(view: View) -> int:
    """How many pods should be active."""
    spec = view.job["spec"]
    parallelism: int = spec["parallelism"]
    completions: int | None = spec.get("completions")
    if completions is None:
        return len(view.active) if view.succeeded else parallelism
    return max(0, min(parallelism, completions - view.succeeded))


def _new_pods(view: View, missing: int) -> tuple[tuple[NewPod, ...], float | None]:
    """Pods to make now, and if there are none, seconds until some are due."""
    if not view.limits_per_index:
        wait = view.new_backoff.seconds_left(view.now)
        if wait > 0:
            return (), wait
    if not is_indexed(view.job):
        return (NewPod(),) * missing, None
    taken = view.succeeded_indexes | IndexSet.of(indexes_of(view.active)) | (view.failed_indexes or IndexSet())
    if replaces_only_failed(view.job):
        taken |= IndexSet.of(indexes_of(pod for pod in view.pods if is_terminating(pod)))
    indexes = taken.missing(missing, view.job["spec"]["completions"])
    if not view.limits_per_index:
        return tuple(NewPod(index) for index in indexes), None
    waits = {index: seconds_left_of_index(view.kept_failures.get(index), view.now) for index in indexes}
    due = [index for index in indexes if waits[index] <= 0]
    made = tuple(NewPod(index, _failures_of_next(view, index)) for index in due)
    return made, min((wait for wait in waits.values() if wait > 0), default=None)


def _failures_of_next(view: View, index: int) -> tuple[int, int]:
    last = view.kept_failures.get(index)
    if last is None:
        return 0, 0
    counted, ignored = failures_before(last), ignored_failures_before(last)
    return (counted + 1, ignored) if judge_failure(view.job, last).counts else (counted, ignored + 1)


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((wait for wait in (one, other) if wait is not None), default=None)
