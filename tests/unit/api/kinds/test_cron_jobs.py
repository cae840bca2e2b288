"""CronJobs: defaults, schedules and their zones, the template of Jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from timonel.api import refs
from timonel.api.objects import Object

from .samples import changed, created, findings, strategy, update_findings
from .test_jobs import job

IN_SCHEDULE = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"


def cron_job(name: str = "backup", *, template: Object | None = None, **spec: Any) -> Object:
    return {
        "kind": "CronJob", "apiVersion": "batch/v1", "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": (template or job())["spec"]}, **spec},
    }  # fmt: skip


def test_defaults() -> None:
    obj = created(refs.CRON_JOBS, cron_job())
    fields = ("concurrencyPolicy", "suspend", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    assert {field: obj["spec"][field] for field in fields} == {
        "concurrencyPolicy": "Allow", "suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
    }  # fmt: skip
    # The pod's defaults are filled in, the Job's when there is a Job.
    template = obj["spec"]["jobTemplate"]["spec"]
    assert template["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    assert "backoffLimit" not in template
    assert obj["status"] == {}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        ({"schedule": "@hourly", "timeZone": "Europe/Madrid"}, []),
        ({"schedule": ""}, ["spec.schedule: Required value"]),
        (
            {"schedule": "0 24 * * *"},
            ['spec.schedule: Invalid value: "0 24 * * *": end of range (24) above maximum (23): 24'],
        ),
        ({"schedule": "TZ=UTC @daily"}, [f'spec.schedule: Invalid value: "TZ=UTC @daily": {IN_SCHEDULE}']),
        ({"schedule": "CRON_TZ=UTC @daily"}, [f'spec.schedule: Invalid value: "CRON_TZ=UTC @daily": {IN_SCHEDULE}']),
        ({"timeZone": ""}, ['spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string']),
        ({"timeZone": "Mars/Moon"}, ['spec.timeZone: Invalid value: "Mars/Moon": unknown time zone Mars/Moon']),
        ({"timeZone": "../UTC"}, ['spec.timeZone: Invalid value: "../UTC": unknown time zone ../UTC']),
        (
            {"timeZone": "Local"},
            ['spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as defined in '
             "https://www.iana.org/time-zones"],
        ),
        (
            {"concurrencyPolicy": "Queue"},
            ['spec.concurrencyPolicy: Unsupported value: "Queue": supported values: "Allow", "Forbid", "Replace"'],
        ),
        (
            {"startingDeadlineSeconds": -1, "successfulJobsHistoryLimit": -1, "failedJobsHistoryLimit": -1},
            [f"spec.{field}: Invalid value: -1: must be greater than or equal to 0"
             for field in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")],
        ),
        (
            {"template": job(selector={"matchLabels": {"a": "b"}}, manualSelector=True)},
            ['spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be '
             "auto-generated",
             'spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"'],
        ),
        (
            {"template": job(parallelism=-1)},
            ["spec.jobTemplate.spec.parallelism: Invalid value: -1: must be greater than or equal to 0"],
        ),
    ],
)  # fmt: skip
def test_rules(spec: Object, expected: list[str]) -> None:
    assert findings(refs.CRON_JOBS, cron_job(**spec)) == expected


def test_names_leave_room_for_those_of_jobs() -> None:
    assert findings(refs.CRON_JOBS, cron_job("c" * 52)) == []
    long = "c" * 53
    assert findings(refs.CRON_JOBS, cron_job(long)) == [
        f'metadata.name: Invalid value: "{long}": must be no more than 52 characters'
    ]
    # Ones from before that rule can be changed, and so ended.
    assert update_findings(refs.CRON_JOBS, cron_job(long), changed("spec", "suspend", to=True)) == []


@pytest.mark.parametrize(
    ("old", "change", "expected"),
    [
        ({}, changed("spec", "schedule", to="@daily"), []),
        ({}, changed("spec", "schedule", to="TZ=UTC @daily"),
         [f'spec.schedule: Invalid value: "TZ=UTC @daily": {IN_SCHEDULE}']),
        # What was accepted once may stay, but not beside the field that replaced it.
        ({"schedule": "TZ=UTC @daily"}, changed("spec", "suspend", to=True), []),
        ({"schedule": "TZ=UTC @daily"}, changed("spec", "timeZone", to="UTC"),
         ['spec.schedule: Invalid value: "TZ=UTC @daily": cannot use both timeZone field and TZ or CRON_TZ in '
          "schedule"]),
        ({"timeZone": "Mars/Olympus"}, changed("spec", "suspend", to=True), []),
        ({"timeZone": "UTC"}, changed("spec", "timeZone", to="Mars/Olympus"),
         ['spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus']),
    ],
)  # fmt: skip
def test_updates(old: Object, change: Callable[[Object], Any], expected: list[str]) -> None:
    assert update_findings(refs.CRON_JOBS, cron_job(**old), change) == expected


def test_warnings() -> None:
    obj = cron_job("a.b")
    assert strategy(refs.CRON_JOBS).warnings(obj, None) == [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label "
        "is recommended: [must not contain dots]"
    ]
    obj["spec"]["schedule"] = "TZ=UTC @daily"
    assert strategy(refs.CRON_JOBS).warnings(obj, obj) == [
        "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
        "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
    ]
