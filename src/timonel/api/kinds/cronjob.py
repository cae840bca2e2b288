"""CronJob: a Job made again and again by a schedule."""

from __future__ import annotations

import re
from datetime import datetime

from timonel.api import refs
from timonel.api.cron import InvalidSchedule, UnknownTimeZone, load_time_zone, parse_schedule
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid, not_supported, required
from timonel.api.kinds.columns import (
    AGE,
    NAME,
    NONE,
    UNSET,
    cell_at,
    container_columns,
    format_label_selector,
    plain,
    since,
)
from timonel.api.kinds.job import job_spec_warnings
from timonel.api.kinds.job.policies import default_failure_policy
from timonel.api.kinds.job.validation import check_job_spec
from timonel.api.kinds.pod.defaults import default_pod_template
from timonel.api.kinds.rules import Errors, check_choice, check_not_negative
from timonel.api.kinds.subresources import STATUS
from timonel.api.kinds.workload import name_warnings
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

NAME_LIMIT = 52
"""Jobs are named after their CronJob and the minute they are for, in at most 63 characters."""
_SPEC = Path("spec")
_POLICIES = ("Allow", "Forbid", "Replace")
_JOB = _SPEC / "jobTemplate" / "spec"
_zone_part_match = re.compile(r"[A-Za-z.\-_0-9+]{1,14}").fullmatch
_NO_ZONE_IN_SCHEDULE = (
    "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
)


class CronJobStrategy(Strategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("concurrencyPolicy"):
            spec["concurrencyPolicy"] = "Allow"
        spec.setdefault("suspend", False)
        spec.setdefault("successfulJobsHistoryLimit", 3)
        spec.setdefault("failedJobsHistoryLimit", 1)
        template = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
        default_failure_policy(template.get("podFailurePolicy"))
        default_pod_template(template.setdefault("template", {}))
        obj.setdefault("status", {})

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {}

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        _check_spec(errors, obj.get("spec") or {}, None)
        name = obj["metadata"].get("name") or ""
        if len(name) > NAME_LIMIT:
            why = f"must be no more than {NAME_LIMIT} characters"
            errors.append(invalid(Path("metadata") / "name", name, why))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        _check_spec(errors, new.get("spec") or {}, old.get("spec") or {})
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if old is None:
            return name_warnings(obj) + job_spec_warnings(obj, "spec", "jobTemplate", "spec")
        found = []
        if obj.get("spec") != old.get("spec"):
            found = job_spec_warnings(obj, "spec", "jobTemplate", "spec")
        if "TZ" in get_path(obj, "spec", "schedule", default=""):
            found.append(_NO_ZONE_IN_SCHEDULE)
        return found


def _check_spec(errors: Errors, spec: Object, before: Object | None) -> None:
    schedule, zone = spec.get("schedule") or "", spec.get("timeZone")
    if not schedule:
        errors.append(required(_SPEC / "schedule"))
    else:
        had_zone = before is not None and "TZ" in (before.get("schedule") or "")
        _check_schedule(errors, schedule, zone, zone_allowed=had_zone)
    check_not_negative(errors, _SPEC / "startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    if zone is not None and (before is None or zone != before.get("timeZone")):
        _check_time_zone(errors, _SPEC / "timeZone", zone)
    check_choice(errors, _SPEC / "concurrencyPolicy", spec.get("concurrencyPolicy"), _POLICIES)
    job = get_path(spec, "jobTemplate", "spec", default={})
    check_job_spec(errors, _JOB, job)
    if job.get("selector") is not None:
        errors.append(invalid(_JOB / "selector", job["selector"], "`selector` will be auto-generated"))
    if job.get("manualSelector"):
        errors.append(not_supported(_JOB / "manualSelector", True, ("nil", "false")))
    for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        check_not_negative(errors, _SPEC / field, spec.get(field))


def _check_schedule(errors: Errors, schedule: str, zone: str | None, *, zone_allowed: bool) -> None:
    path = _SPEC / "schedule"
    try:
        parse_schedule(schedule)
    except InvalidSchedule as exc:
        errors.append(invalid(path, schedule, str(exc)))
    if "TZ" not in schedule:
        return
    if not zone_allowed:
        why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        errors.append(invalid(path, schedule, why))
    elif zone is not None:
        errors.append(invalid(path, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))


def _check_time_zone(errors: Errors, path: Path, zone: str) -> None:
    """Source of the shape of names: data.iana.org/time-zones/theory.html#naming, digits and "+" for old ones."""
    if not zone:
        errors.append(invalid(path, zone, "timeZone must be nil or non-empty string"))
        return
    for part in zone.split("/"):
        if part in (".", "..") or part.startswith("-") or not _zone_part_match(part):
            errors.append(invalid(path, zone, f"unknown time zone {zone}"))
            return
    if zone.lower() == "local":
        why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        errors.append(invalid(path, zone, why))
    if zone != "Local":
        try:
            load_time_zone(zone)
        except UnknownTimeZone as exc:
            errors.append(invalid(path, zone, str(exc)))


def _suspend(obj: Object) -> str:
    suspend = get_path(obj, "spec", "suspend")
    return UNSET if suspend is None else str(bool(suspend))


def _last_schedule(obj: Object, now: datetime) -> str:
    last = get_path(obj, "status", "lastScheduleTime")
    return since(last, now) if last else NONE


CRON_JOBS = Resource(
    ref=refs.CRON_JOBS,
    definition="io.k8s.api.batch.v1.CronJob",
    singular="cronjob",
    short_names=("cj",),
    categories=("all",),
    subresources=(STATUS,),
    strategy=CronJobStrategy(),
    columns=(
        NAME,
        Column("Schedule", cell_at("spec", "schedule"), description="When Jobs are made, as cron writes it."),
        Column("Timezone", cell_at("spec", "timeZone", default=NONE), description="The zone the schedule is in."),
        Column("Suspend", plain(_suspend), type="boolean", description="Whether no Jobs are made for now."),
        Column(
            "Active",
            plain(lambda obj: len(get_path(obj, "status", "active", default=()))),
            type="integer",
            description="Jobs that run.",
        ),
        Column("Last Schedule", _last_schedule, description="Time since the last Job was made."),
        AGE,
        *container_columns("spec", "jobTemplate", "spec", "template"),
        Column(
            "Selector",
            plain(lambda obj: format_label_selector(get_path(obj, "spec", "jobTemplate", "spec", "selector"))),
            priority=1,
            description="Labels its pods are known by.",
        ),
    ),
    storage_prefix="/registry/cronjobs/",
    has_status=True,
)
