"""What a CronJob should do now, as values: Jobs to forget, to delete and to make, its status, and when to look again.

Pure. Source: kubernetes.io/docs/concepts/workloads/controllers/cron-jobs; events as upstream's.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime

from timonel.api.clock import format_time, parse_time
from timonel.api.cron import InvalidSchedule, Schedule, UnknownTimeZone, load_time_zone, parse_schedule
from timonel.api.field_errors import quote
from timonel.api.objects import (
    Object,
    copy_object,
    is_deleting,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from timonel.api.refs import CRON_JOBS, JOBS
from timonel.controllers.cronjob.starts import Starts, find_starts
from timonel.controllers.job.pods import finished_condition
from timonel.controllers.ownership import controller_reference

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
LATE_SECONDS = 0.1
"""A timer goes off so much after the time it is for: clocks of one cluster differ a little."""
Event = tuple[str, str, str]
"""(type, reason, message)"""


@dataclass(frozen=True, slots=True)
class CronPlan:
    status: Object
    """Without the Job to be made; the same as it was when there is nothing to say."""
    delete: tuple[Object, ...] = ()
    """Ended Jobs beyond the history limits, the oldest first."""
    start: datetime | None = None
    """Make the Job of this time."""
    replace: tuple[Object, ...] = ()
    """References to running Jobs to delete before that."""
    events: tuple[Event, ...] = ()
    missed: datetime | None = None
    """The last start that is due and too late; to be told once."""
    requeue_after: float | None = None


def lost_references(cron_job: Object, jobs: Sequence[Object]) -> list[Object]:
    """Of Jobs that it believes active and that are not among its `jobs`."""
    present = {uid_of(job) for job in jobs}
    return [reference for reference in _active_of(cron_job) if reference["uid"] not in present]


def plan_cron_job(
    cron_job: Object, jobs: Sequence[Object], gone: Set[str], now: datetime, rescheduled: datetime | None = None
) -> CronPlan:
    """`jobs` are those it owns; `gone` the uids of lost references whose Jobs do not exist any more.

    Starts before `rescheduled`, when it was given its schedule, are none of that schedule's.
    """
    status, events = _follow(cron_job, jobs, gone)
    delete = () if is_deleting(cron_job) else tuple(_surplus(cron_job, jobs))
    if is_deleting(cron_job):
        return CronPlan(status, events=tuple(events))
    schedule = _schedule_of(cron_job, events)
    if schedule is None or cron_job["spec"].get("suspend"):
        return CronPlan(status, delete, events=tuple(events))
    since = _last_start(cron_job)
    if rescheduled is not None:
        since = max(since, rescheduled)
    starts = find_starts(schedule, since, now)
    start = _in_time(cron_job, schedule, starts, since, now)
    missed = starts.latest if start.latest is None else None
    following = starts.following
    wait = None if following is None else (following - now).total_seconds() + LATE_SECONDS
    active = _active_of({"status": status})
    if start.many:
        why = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        events.append(("Warning", "TooManyMissedTimes", why))
    if start.latest is None or job_name(cron_job, start.latest) in {reference["name"] for reference in active}:
        return CronPlan(status, delete, events=tuple(events), missed=missed, requeue_after=wait)
    policy = cron_job["spec"].get("concurrencyPolicy")
    if active and policy == "Forbid":
        why = "Not starting job because prior execution is running and concurrency policy is Forbid"
        events.append(("Normal", "JobAlreadyActive", why))
        return CronPlan(status, delete, events=tuple(events), requeue_after=wait)
    replace = tuple(active) if policy == "Replace" else ()
    return CronPlan(status, delete, start.latest, replace, tuple(events), requeue_after=wait)


def job_name(cron_job: Object, start: datetime) -> str:
    """The same for the same start, so that one is never made twice."""
    return f"{name_of(cron_job)}-{int(start.timestamp()) // 60}"


def job_for_start(cron_job: Object, start: datetime) -> Object:
    """For sending; shares the template's parts."""
    template = cron_job["spec"]["jobTemplate"]
    given = template.get("metadata") or {}
    zone = load_time_zone(cron_job["spec"].get("timeZone") or "")
    at = start.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")
    metadata: Object = {
        "name": job_name(cron_job, start),
        "annotations": {**(given.get("annotations") or {}), SCHEDULED_AT: at},
        "ownerReferences": [controller_reference(cron_job, CRON_JOBS)],
    }
    if given.get("labels"):
        metadata["labels"] = given["labels"]
    return {"kind": JOBS.kind, "apiVersion": JOBS.api_version, "metadata": metadata, "spec": template["spec"]}


def status_with(status: Object, job: Object, start: datetime) -> Object:
    """The status once that Job is made."""
    reference = {
        "kind": JOBS.kind,
        "namespace": namespace_of(job),
        "name": name_of(job),
        "uid": uid_of(job),
        "apiVersion": JOBS.api_version,
        "resourceVersion": resource_version_of(job),
    }
    return status | {"active": [*(status.get("active") or ()), reference], "lastScheduleTime": format_time(start)}


def status_without(status: Object, uid: str) -> Object:
    """The status when a Job is no longer one of its active ones."""
    left = [reference for reference in status.get("active") or () if reference["uid"] != uid]
    kept = {field: value for field, value in status.items() if field != "active"}
    return kept | ({"active": left} if left else {})


def _active_of(cron_job: Object) -> list[Object]:
    return (cron_job.get("status") or {}).get("active") or []


def _follow(cron_job: Object, jobs: Sequence[Object], gone: Set[str]) -> tuple[Object, list[Event]]:
    """The status by what became of its Jobs."""
    status: Object = copy_object(cron_job.get("status") or {})
    events: list[Event] = []
    active = {reference["uid"] for reference in _active_of(cron_job)}
    for job in sorted(jobs, key=name_of):
        condition, uid = finished_condition(job), uid_of(job)
        if condition is None:
            if uid not in active:
                # Made by hand for it, or by this controller, which was stopped before it could write so.
                why = f"Saw a job that the controller did not create or forgot: {name_of(job)}"
                events.append(("Warning", "UnexpectedJob", why))
            continue
        if uid in active:
            status = status_without(status, uid)
            why = f"Saw completed job: {name_of(job)}, condition: {condition['type']}"
            events.append(("Normal", "SawCompletedJob", why))
        ended = (job.get("status") or {}).get("completionTime")
        if condition["type"] == "Complete" and ended:
            last = status.get("lastSuccessfulTime")
            if not last or parse_time(ended) > parse_time(last):
                status["lastSuccessfulTime"] = ended
    for reference in lost_references(cron_job, jobs):
        if reference["uid"] in gone:
            status = status_without(status, reference["uid"])
            events.append(("Normal", "MissingJob", f"Active job went missing: {reference['name']}"))
    return status, events


def _surplus(cron_job: Object, jobs: Sequence[Object]) -> list[Object]:
    found: list[Object] = []
    for kind, field in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
        limit = cron_job["spec"].get(field)
        if limit is None:
            continue
        ended = [job for job in jobs if not is_deleting(job) and (finished_condition(job) or {}).get("type") == kind]
        found += sorted(ended, key=_started)[: max(0, len(ended) - limit)]
    return found


def _started(job: Object) -> tuple[bool, str, str]:
    """Times of one spelling in UTC sort as text; those that never started come last."""
    start = (job.get("status") or {}).get("startTime") or ""
    return not start, start, name_of(job)


def _schedule_of(cron_job: Object, events: list[Event]) -> Schedule | None:
    spec = cron_job["spec"]
    text, zone = spec["schedule"], spec.get("timeZone")
    if zone is not None:
        try:
            load_time_zone(zone)
        except UnknownTimeZone as exc:
            events.append(("Warning", "UnknownTimeZone", f"invalid timeZone: {quote(zone)}: {exc}"))
            return None
    if spec.get("suspend"):
        return None
    if "TZ" in text:
        why = (
            f"CRON_TZ or TZ used in schedule {quote(text)} is not officially supported, see "
            "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        )
        events.append(("Warning", "UnsupportedSchedule", why))
    try:
        return parse_schedule(text, zone or "")
    except InvalidSchedule as exc:
        events.append(("Warning", "UnparseableSchedule", f"unparseable schedule: {quote(text)} : {exc}"))
        return None


def _last_start(cron_job: Object) -> datetime:
    last = (cron_job.get("status") or {}).get("lastScheduleTime")
    return parse_time(last or cron_job["metadata"]["creationTimestamp"])


def _in_time(cron_job: Object, schedule: Schedule, starts: Starts, since: datetime, now: datetime) -> Starts:
    """Of the starts since then, those that are not too late."""
    deadline = cron_job["spec"].get("startingDeadlineSeconds")
    earliest = now - timedelta(seconds=deadline) if deadline is not None else None
    if earliest is None or earliest <= since:
        return starts
    return find_starts(schedule, earliest, now)


def missed_message(start: datetime) -> str:
    return f"Missed scheduled time to start a job: {format_datetime(start)}"
