"""Status of Jobs: what must hold whenever it changes, so that clients can trust it whoever manages the Job.

Most rules are asked only of what changes: a spec may change first, and the status follows.
Source: KEP-4368 "Support managed-by label in Jobs", which lists them.
"""

from __future__ import annotations

from timonel.api.field_errors import OMITTED, Path, duplicate, invalid, required
from timonel.api.kinds.job.indexes import InvalidIndexes, count_indexes, overlap
from timonel.api.kinds.job.validation import INDEXED
from timonel.api.kinds.rules import IMMUTABLE, Errors, check_not_negative
from timonel.api.objects import Object

_STATUS = Path("status")
_CONDITIONS = _STATUS / "conditions"
_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")


class _State:
    """A Job's status, asked in the words of the rules."""

    def __init__(self, job: Object) -> None:
        self.spec: Object = job.get("spec") or {}
        self.status: Object = job.get("status") or {}
        self.complete = self.has("Complete")
        self.failed = self.has("Failed")
        self.failing = self.has("FailureTarget")
        self.succeeding = self.has("SuccessCriteriaMet")
        self.finished = self.complete or self.failed

    def has(self, kind: str, value: str = "True") -> bool:
        conditions = self.status.get("conditions") or ()
        return any(condition.get("type") == kind and condition.get("status") == value for condition in conditions)

    def count(self, field: str) -> int:
        return self.status.get(field) or 0


def validate_job_status(new: Object, old: Object) -> Errors:
    errors: Errors = []
    now, before = _State(new), _State(old)
    changed = _Changes(now, before)
    _check_counts(errors, now)
    _check_conditions(errors, now, changed)
    _check_times(errors, now, changed)
    _check_finished(errors, now, changed)
    _check_indexes(errors, now, changed)
    if changed.any("ready", "active") and now.count("ready") > now.count("active"):
        errors.append(invalid(_STATUS / "ready", now.count("ready"), "cannot set more ready pods than active"))
    _check_success(errors, now)
    _check_transition(errors, now, before, changed)
    return errors


class _Changes:
    def __init__(self, now: _State, before: _State) -> None:
        self._now, self._before = now, before
        self.finished = now.finished != before.finished
        self.complete = now.complete != before.complete
        self.failed = now.failed != before.failed
        self.failing = now.failing != before.failing
        self.succeeding = now.succeeding != before.succeeding
        self.resuming = before.has("Suspended") and now.has("Suspended", "False")

    def any(self, *fields: str) -> bool:
        return any(self._now.status.get(field) != self._before.status.get(field) for field in fields)


def _check_counts(errors: Errors, now: _State) -> None:
    for field in _COUNTS:
        check_not_negative(errors, _STATUS / field, now.status.get(field))
    seen: set[str] = set()
    uncounted = now.status.get("uncountedTerminatedPods") or {}
    for kind in ("succeeded", "failed"):
        for index, uid in enumerate(uncounted.get(kind) or ()):
            here = (_STATUS / "uncountedTerminatedPods" / kind)[index]
            if not uid:
                errors.append(invalid(here, uid, "must not be empty"))
            elif uid in seen:
                errors.append(duplicate(here, uid))
            seen.add(uid)


def _check_conditions(errors: Errors, now: _State, changed: _Changes) -> None:
    if (changed.complete or changed.failed) and now.complete and now.failed:
        _forbid(errors, "cannot set Complete=True and Failed=true conditions")
    if (changed.complete or changed.failing) and now.complete and now.failing:
        _forbid(errors, "cannot set Complete=True and FailureTarget=true conditions")


def _check_times(errors: Errors, now: _State, changed: _Changes) -> None:
    """Times of one spelling in UTC sort as text."""
    start, end = now.status.get("startTime"), now.status.get("completionTime")
    path = _STATUS / "completionTime"
    if changed.complete or changed.any("completionTime"):
        if end is not None and not now.complete:
            errors.append(invalid(path, end, "cannot set completionTime when there is no Complete=True condition"))
        if end is None and now.complete:
            errors.append(required(path, "completionTime is required for Complete jobs"))
    if changed.any("startTime", "completionTime") and start is not None and end is not None and end < start:
        errors.append(invalid(path, end, "must be equal to or after `startTime`"))


def _check_finished(errors: Errors, now: _State, changed: _Changes) -> None:
    if (changed.failed or changed.any("failedIndexes")) and now.failed and not now.failing:
        _forbid(errors, "cannot set Failed=True condition without the FailureTarget=true condition")
    if (changed.complete or changed.succeeding) and now.complete and not now.succeeding:
        _forbid(errors, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
    if not now.finished:
        return
    if (changed.finished or changed.any("active")) and now.count("active") > 0:
        errors.append(invalid(_STATUS / "active", now.count("active"), "active>0 is invalid for finished job"))
    # A suspended Job with nothing to do is complete without having started.
    nothing_to_do = now.spec.get("suspend") is True and now.spec.get("completions") == 0
    if (changed.finished or changed.any("startTime")) and not nothing_to_do and now.status.get("startTime") is None:
        errors.append(required(_STATUS / "startTime", "startTime is required for finished job"))
    uncounted = now.status.get("uncountedTerminatedPods") or {}
    if (changed.finished or changed.any("uncountedTerminatedPods")) and any(uncounted.values()):
        where = _STATUS / "uncountedTerminatedPods"
        errors.append(invalid(where, uncounted, "must be empty for finished job"))


def _check_indexes(errors: Errors, now: _State, changed: _Changes) -> None:
    completions, per_index = now.spec.get("completions"), now.spec.get("backoffLimitPerIndex")
    completed, failed = now.status.get("completedIndexes") or "", now.status.get("failedIndexes")
    new_completed, new_failed = changed.any("completedIndexes"), changed.any("failedIndexes")
    if new_completed and completions is not None:
        _check_format(errors, "completedIndexes", completed, completions)
    if new_failed and completions is not None and per_index is not None and failed is not None:
        _check_format(errors, "failedIndexes", failed, completions)
    if new_completed and completed and now.spec.get("completionMode") != INDEXED:
        why = "cannot set non-empty completedIndexes when non-indexed completion mode"
        errors.append(invalid(_STATUS / "completedIndexes", completed, why))
    if new_failed and per_index is None and failed is not None:
        why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        errors.append(invalid(_STATUS / "failedIndexes", failed, why))
    if (new_failed or new_completed) and completions is not None and failed is not None:
        common = overlap(completed, failed, completions)
        if common is not None:
            why = f"failedIndexes and completedIndexes overlap at index: {common}"
            errors.append(invalid(_STATUS / "failedIndexes", failed, why))
    if (changed.finished or changed.any("terminating")) and now.finished and now.count("terminating") > 0:
        why = "terminating>0 is invalid for finished job"
        errors.append(invalid(_STATUS / "terminating", now.count("terminating"), why))


def _check_format(errors: Errors, field: str, text: str, completions: int) -> None:
    try:
        count_indexes(text, completions)
    except InvalidIndexes as exc:
        errors.append(invalid(_STATUS / field, text, f"error parsing {field}: {exc}"))


def _check_success(errors: Errors, now: _State) -> None:
    if now.succeeding and now.failed:
        _forbid(errors, "cannot set SuccessCriteriaMet=True and Failed=true conditions")
    if now.succeeding and now.failing:
        _forbid(errors, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
    if now.spec.get("successPolicy") is not None and not now.succeeding and now.complete:
        _forbid(errors, "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True")


def _check_transition(errors: Errors, now: _State, before: _State, changed: _Changes) -> None:
    for kind in ("Failed", "Complete", "FailureTarget"):
        if before.has(kind) and not now.has(kind):
            _forbid(errors, f"cannot disable the terminal {kind}=True condition")
    if now.count("failed") < before.count("failed"):
        errors.append(invalid(_STATUS / "failed", now.count("failed"), "cannot decrease the failed counter"))
    # An Indexed Job whose size may change may lose indexes that had succeeded.
    spec = now.spec
    elastic = spec.get("completionMode") == INDEXED and spec.get("completions") == spec.get("parallelism")
    if not elastic and now.count("succeeded") < before.count("succeeded"):
        errors.append(invalid(_STATUS / "succeeded", now.count("succeeded"), "cannot decrease the succeeded counter"))
    end, ended = now.status.get("completionTime"), before.status.get("completionTime")
    if end is not None and ended is not None and end != ended:
        errors.append(invalid(_STATUS / "completionTime", end, IMMUTABLE))
    start, started = now.status.get("startTime"), before.status.get("startTime")
    if started is not None and start != started and not spec.get("suspend") and not changed.resuming:
        errors.append(invalid(_STATUS / "startTime", start, "field is immutable for unsuspended job once set"))
    if before.succeeding and not now.succeeding:
        _forbid(errors, "cannot disable the SuccessCriteriaMet=True condition")
    if before.complete and not before.succeeding and now.succeeding:
        _forbid(errors, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions")


def _forbid(errors: Errors, why: str) -> None:
    errors.append(invalid(_CONDITIONS, OMITTED, why))
