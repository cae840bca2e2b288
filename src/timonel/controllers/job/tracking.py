"""Counts the pods of a Job, each exactly once, whatever dies between two writes. Pure.

A pod keeps a finalizer until it is counted. Its uid is first written into `uncountedTerminatedPods`; then the finalizer
goes; then the uid turns into a count. Read back at any point, the status and the finalizers say what is left to do:
a uid whose pod has no finalizer any more is counted, one whose pod still has it is not counted yet.
Of an Indexed Job, a success needs no uid: an index is in `completedIndexes` or is not.
Source: KEP-2307 "Job tracking without lingering pods".
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime

from timonel.api.clock import format_time
from timonel.api.objects import Object, copy_object, is_deleting, uid_of
from timonel.controllers.job.indexes import IndexSet
from timonel.controllers.job.planner import Verdict
from timonel.controllers.job.pods import is_failed, is_indexed, is_suspended, valid_index
from timonel.controllers.job.policies import judge_failure
from timonel.controllers.job.view import View
from timonel.controllers.pods import condition_of, phase_of

MAX_UNCOUNTED = 500
"""Uids in the status at once, which keeps them below 20 kB."""
Event = tuple[str, str, str]
"""(type, reason, message)"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far the plan got: pods left or made, and whether the Job ends."""

    verdict: Verdict | None
    active: int
    ready: int
    terminating: int
    managed: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    status: Object
    """To be written before a finalizer is removed; the same as it was when there is nothing to say."""
    release: tuple[Object, ...] = ()
    """Pods whose finalizers may go once it is written."""
    all_listed: bool = True
    """Whether every pod that has ended is in it; False: there were too many for one write."""
    events: tuple[Event, ...] = ()


def plan_tally(view: View, outcome: Outcome) -> Tally:
    job, now = view.job, view.now
    status = copy_object(job.get("status") or {})
    if not status.get("startTime") and not is_suspended(job):
        status["startTime"] = format_time(now)
    uncounted = _uncounted_of(status)
    count_settled(status, {uid_of(pod) for pod in view.tracked})
    release: list[Object] = []
    completed: set[int] = set()
    all_listed = True
    ending = outcome.verdict is not None and not outcome.verdict.success
    for pod in _in_order(view):
        if not _may_release(view, pod, outcome.verdict):
            continue
        release.append(pod)
        _list_pod(view, pod, uncounted, completed, ending=ending)
        if len(completed) + len(uncounted["succeeded"]) + len(uncounted["failed"]) >= MAX_UNCOUNTED:
            all_listed = False
            break
    if is_indexed(job):
        done = view.counted_indexes | IndexSet.of(completed)
        _set(status, "succeeded", len(done))
        _set(status, "completedIndexes", str(done))
        if view.failed_indexes is not None:
            status["failedIndexes"] = str(view.failed_indexes)
        else:
            status.pop("failedIndexes", None)
    _set(status, "active", outcome.active)
    status["ready"], status["terminating"] = outcome.ready, outcome.terminating
    events = _suspend(job, status, now) if outcome.managed and outcome.verdict is None else ()
    if outcome.verdict is not None:
        kind = "SuccessCriteriaMet" if outcome.verdict.success else "FailureTarget"
        if condition_of({"status": status}, kind) is None:
            _ensure(status, _condition(kind, "True", outcome.verdict.reason, outcome.verdict.message, now))
    return Tally(_tidy(status), tuple(release), all_listed, tuple(events))


def plan_settlement(status: Object, tracked: Set[str], tally: Tally, outcome: Outcome, now: datetime) -> Object:
    """The status after finalizers were removed, `tracked` being the uids of pods that still have them.

    It says Complete or Failed once every pod is counted and none is left running.
    """
    status = copy_object(status)
    uncounted = _uncounted_of(status)
    count_settled(status, tracked)
    verdict = outcome.verdict
    waiting = uncounted["succeeded"] or uncounted["failed"] or outcome.terminating or outcome.active
    if verdict is not None and tally.all_listed and not waiting:
        kind = "Complete" if verdict.success else "Failed"
        _ensure(status, _condition(kind, "True", verdict.reason, verdict.message, now))
        if verdict.success:
            status["completionTime"] = format_time(now)
    return _tidy(status)


def events_of_end(job: Object) -> list[Event]:
    """Of a Job that has just become Complete or Failed."""
    failed = condition_of(job, "Failed")
    if failed is not None and failed.get("status") == "True":
        return [("Warning", failed["reason"], failed["message"])]
    found: list[Event] = []
    completions = job["spec"].get("completions")
    if completions is not None and (job["status"].get("succeeded") or 0) > completions:
        why = "Too many succeeded pods running after completion count reached"
        found.append(("Warning", "TooManySucceededPods", why))
    return [*found, ("Normal", "Completed", "Job completed")]


def normal_status(job: Object) -> Object:
    """As `plan_tally` writes it, so that equal ones are equal."""
    status = copy_object(job.get("status") or {})
    _uncounted_of(status)
    return _tidy(status)


def count_settled(status: Object, tracked: Set[str]) -> None:
    """Uids whose pods lost their finalizer, or are gone, become counts."""
    uncounted = _uncounted_of(status)
    for kind in ("succeeded", "failed"):
        left = [uid for uid in uncounted[kind] if uid in tracked]
        # Indexed Jobs list no successes: completedIndexes says them.
        _set(status, kind, (status.get(kind) or 0) + len(uncounted[kind]) - len(left))
        uncounted[kind][:] = left


def _in_order(view: View) -> Iterable[Object]:
    """By completion index, so that those listed first are neighbours."""
    if not is_indexed(view.job):
        return view.tracked
    return sorted(view.tracked, key=lambda pod: -1 if (found := valid_index(pod, view.job)) is None else found)


def _may_release(view: View, pod: Object, verdict: Verdict | None) -> bool:
    if is_deleting(view.job) or verdict is not None or phase_of(pod) == "Succeeded":
        return True
    if not is_failed(pod, view.job):
        return False
    index = valid_index(pod, view.job) if view.limits_per_index else None
    kept = view.kept_failures.get(index) if index is not None else None
    return kept is None or uid_of(kept) != uid_of(pod)


def _list_pod(view: View, pod: Object, uncounted: Object, completed: set[int], *, ending: bool) -> None:
    """`ending`: the Job fails, and with it every pod that has not ended."""
    uid, job = uid_of(pod), view.job
    if uid in uncounted["failed"] or uid in uncounted["succeeded"]:
        return
    index = valid_index(pod, job) if is_indexed(job) else None
    if is_indexed(job) and index is None:
        return
    if phase_of(pod) == "Succeeded":
        if index is None:
            uncounted["succeeded"].append(uid)
        elif index not in view.counted_indexes:
            completed.add(index)
    elif (is_failed(pod, job) or ending) and judge_failure(job, pod).counts:
        uncounted["failed"].append(uid)


def _suspend(job: Object, status: Object, now: datetime) -> list[Event]:
    """Keeps the condition Suspended; what a Job runs before it is suspended does not count for its deadline."""
    if is_suspended(job):
        if _ensure(status, _condition("Suspended", "True", "JobSuspended", "Job suspended", now)):
            status.pop("startTime", None)
            return [("Normal", "Suspended", "Job suspended")]
    elif _ensure(status, _condition("Suspended", "False", "JobResumed", "Job resumed", now)):
        status["startTime"] = format_time(now)
        return [("Normal", "Resumed", "Job resumed")]
    return []


def _condition(kind: str, value: str, reason: str, message: str, now: datetime) -> Object:
    time = format_time(now)
    return {
        "type": kind, "status": value, "lastProbeTime": time, "lastTransitionTime": time,
        "reason": reason, "message": message,
    }  # fmt: skip


def _ensure(status: Object, new: Object) -> bool:
    """Adds or replaces by type, in its place; whether that changed anything. What never was is not said to be False."""
    conditions = status.setdefault("conditions", [])
    for at, old in enumerate(conditions):
        if old.get("type") == new["type"]:
            if all(old.get(part) == new[part] for part in ("status", "reason", "message")):
                return False
            conditions[at] = new
            return True
    if new["status"] == "False":
        return False
    conditions.append(new)
    return True


def _uncounted_of(status: Object) -> Object:
    uncounted: Object = status.setdefault("uncountedTerminatedPods", {})
    uncounted["succeeded"] = uncounted.get("succeeded") or []
    uncounted["failed"] = uncounted.get("failed") or []
    return uncounted


def _tidy(status: Object) -> Object:
    uncounted = status["uncountedTerminatedPods"]
    status["uncountedTerminatedPods"] = {kind: uids for kind, uids in uncounted.items() if uids}
    if not status.get("conditions"):
        status.pop("conditions", None)
    for field in ("active", "succeeded", "failed"):
        if not status.get(field):
            status.pop(field, None)
    return status


def _set(status: Object, field: str, value: object) -> None:
    if value:
        status[field] = value
    else:
        status.pop(field, None)
