"""Which starts of a schedule are due, and what a CronJob does about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timonel.api.clock import format_time
from timonel.api.cron import parse_schedule
from timonel.api.objects import Object, name_of
from timonel.controllers.cronjob.planner import job_for_start, job_name, missed_message, plan_cron_job, status_with
from timonel.controllers.cronjob.starts import Starts, find_starts

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
NOON = NOW.replace(second=0)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cron_job(
    schedule: str = "* * * * *", last: datetime | None = None, active: tuple[str, ...] = (), **spec: Any
) -> Object:
    status: Object = {}
    if last is not None:
        status["lastScheduleTime"] = format_time(last)
    if active:
        status["active"] = [{"kind": "Job", "name": name, "namespace": "default", "uid": name} for name in active]
    return {
        "kind": "CronJob", "apiVersion": "batch/v1",
        "metadata": {"name": "tick", "namespace": "default", "uid": "cron", "creationTimestamp": format_time(NOON)},
        "spec": {
            "schedule": schedule, "concurrencyPolicy": "Allow", "suspend": False,
            "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"template": {}}},
            **spec,
        },
        "status": status,
    }  # fmt: skip


def job(name: str, kind: str = "", *, ended: float = 60.0, **metadata: Any) -> Object:
    """Running, or with the condition of that kind."""
    status: Object = {"startTime": format_time(NOW - timedelta(seconds=ended + 10))}
    if kind:
        moment = format_time(NOW - timedelta(seconds=ended))
        status["conditions"] = [{"type": kind, "status": "True", "lastTransitionTime": moment}]
        if kind == "Complete":
            status["completionTime"] = moment
    return {"metadata": {"name": name, "namespace": "default", "uid": name, **metadata}, "status": status}


@pytest.mark.parametrize(
    ("schedule", "since", "now", "expected"),
    [
        ("* * * * *", "2026-01-01T12:00", "2026-01-01T12:00:59", (None, False, "2026-01-01T12:01")),
        ("* * * * *", "2026-01-01T12:00", "2026-01-01T12:01", ("2026-01-01T12:01", False, "2026-01-01T12:02")),
        ("* * * * *", "2026-01-01T12:00", "2026-01-01T13:40", ("2026-01-01T13:40", False, "2026-01-01T13:41")),
        ("* * * * *", "2026-01-01T12:00", "2026-01-01T13:41", ("2026-01-01T13:41", True, "2026-01-01T13:42")),
        ("* * * * *", "2016-01-01T12:00", "2026-01-01T13:41", ("2026-01-01T13:41", True, "2026-01-01T13:42")),
        ("0 9 1 * *", "1996-01-15T00:00", "2026-01-31T13:41", ("2026-01-01T09:00", True, "2026-02-01T09:00")),
        ("30 6-16/4 * * 1-5", "2026-01-01T00:00", "2026-01-04T09:00",
         ("2026-01-02T14:30", False, "2026-01-05T06:30")),
        ("@every 1h30m", "2026-01-01T00:10", "2026-01-01T01:39", (None, False, "2026-01-01T01:40")),
        ("@every 1h30m", "2026-01-01T00:10", "2026-01-01T05:00",
         ("2026-01-01T04:40", False, "2026-01-01T06:10")),
        ("@every 1m", "2026-01-01T00:00:30", "2026-01-01T05:00",
         ("2026-01-01T04:59:30", True, "2026-01-01T05:00:30")),
        ("0 0 30 2 *", "2026-01-01T00:00", "2026-01-01T05:00", (None, False, None)),
        ("* * * * *", "2026-01-01T12:00", "2025-06-01T12:00", (None, False, "2026-01-01T12:01")),
    ],
)  # fmt: skip
def test_due_starts(schedule: str, since: str, now: str, expected: tuple[str | None, bool, str | None]) -> None:
    latest, many, following = expected
    wanted = Starts(at(latest) if latest else None, many, at(following) if following else None)
    assert find_starts(parse_schedule(schedule), at(since), at(now)) == wanted


@given(
    st.sampled_from(["*/7 * * * *", "0 3 * * *", "15 */5 * * 2", "0 0 1 */4 *", "@every 47m"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2026, 1, 1)),
    st.timedeltas(timedelta(0), timedelta(days=9)),
)
@settings(max_examples=60, deadline=None)
def test_the_latest_start_is_the_one_that_going_through_all_finds(
    text: str, begin: datetime, passed: timedelta
) -> None:
    schedule, since = parse_schedule(text), begin.replace(microsecond=0, tzinfo=UTC)
    now, latest, count = since + passed, None, 0
    following = schedule.next_after(since)
    while following is not None and following <= now:
        latest, count = following, count + 1
        following = schedule.next_after(following)
    assert find_starts(schedule, since, now) == Starts(latest, count > 100, following)


@dataclass
class Case:
    cron_job: Object
    jobs: list[Object] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    start: datetime | None = None
    replace: list[str] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    active: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    missed: datetime | None = None
    wait: float | None = 30.1


MINUTE = timedelta(minutes=1)
RUNNING = f"tick-{int((NOON - MINUTE).timestamp()) // 60}"
CASES = {
    "just made: nothing is due": Case(cron_job()),
    "due since its last start": Case(cron_job(last=NOON - MINUTE), start=NOON),
    "only the last of those missed": Case(cron_job(last=NOON - 5 * MINUTE), start=NOON),
    "more than a hundred missed": Case(cron_job(last=NOON - 200 * MINUTE), start=NOON, events=["TooManyMissedTimes"]),
    "a deadline limits how far back it looks": Case(
        cron_job(last=NOON - 200 * MINUTE, startingDeadlineSeconds=90), start=NOON
    ),
    "too late": Case(cron_job(last=NOON - MINUTE, startingDeadlineSeconds=20), missed=NOON),
    "suspended": Case(cron_job(last=NOON - MINUTE, suspend=True), wait=None),
    "a zone that does not exist": Case(cron_job(timeZone="Mars/Olympus"), events=["UnknownTimeZone"], wait=None),
    "a schedule that cannot be read": Case(cron_job("61 * * * *"), events=["UnparseableSchedule"], wait=None),
    "a zone in the schedule": Case(
        cron_job("TZ=Asia/Seoul 0 21 * * *", last=NOON - MINUTE), start=NOON, events=["UnsupportedSchedule"],
        wait=86400 - 30 + 0.1,
    ),
    "in its zone": Case(
        cron_job("0 13 * * *", last=NOON - MINUTE, timeZone="Europe/Madrid"), start=NOON, wait=86400 - 30 + 0.1
    ),
    "allow: beside one that runs": Case(
        cron_job(last=NOON - MINUTE, active=(RUNNING,)), [job(RUNNING)], start=NOON, active=[RUNNING]
    ),
    "forbid: not while one runs": Case(
        cron_job(last=NOON - MINUTE, active=(RUNNING,), concurrencyPolicy="Forbid"), [job(RUNNING)],
        active=[RUNNING], events=["JobAlreadyActive"],
    ),
    "forbid: at once when it has ended": Case(
        cron_job(last=NOON - MINUTE, active=(RUNNING,), concurrencyPolicy="Forbid"), [job(RUNNING, "Complete")],
        start=NOON, events=["SawCompletedJob"],
    ),
    "replace": Case(
        cron_job(last=NOON - MINUTE, active=(RUNNING,), concurrencyPolicy="Replace"), [job(RUNNING)],
        start=NOON, replace=[RUNNING], active=[RUNNING],
    ),
    "one of its own that it forgot": Case(cron_job(last=NOON), [job("by-hand")], events=["UnexpectedJob"]),
    "one that is gone": Case(cron_job(last=NOON, active=("x",)), gone={"x"}, events=["MissingJob"]),
    "one that the cache does not show yet": Case(cron_job(last=NOON, active=("x",)), active=["x"]),
    "the oldest beyond the limits go": Case(
        cron_job(last=NOON),
        [
            *(job(f"done-{n}", "Complete", ended=n) for n in range(5)),
            *(job(f"bad-{n}", "Failed", ended=n) for n in (1, 2)),
        ],
        delete=["done-4", "done-3", "bad-2"],
    ),
    "those that go already do not count": Case(
        cron_job(last=NOON, failedJobsHistoryLimit=0),
        [job("bad", "Failed", deletionTimestamp=format_time(NOW)), job("worse", "Failed")], delete=["worse"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_a_cron_job_does(case: Case) -> None:
    plan = plan_cron_job(case.cron_job, case.jobs, case.gone, NOW)
    assert plan.start == case.start
    assert [reference["name"] for reference in plan.replace] == case.replace
    assert [name_of(item) for item in plan.delete] == case.delete
    assert [reference["uid"] for reference in plan.status.get("active") or ()] == case.active
    assert [reason for _, reason, _ in plan.events] == case.events
    assert plan.missed == case.missed
    assert plan.requeue_after == (None if case.wait is None else pytest.approx(case.wait))


def test_the_last_success_is_kept() -> None:
    jobs = [job("a", "Complete", ended=50), job("b", "Complete", ended=20), job("c", "Failed", ended=1)]
    plan = plan_cron_job(cron_job(last=NOON), jobs, set(), NOW)
    assert plan.status["lastSuccessfulTime"] == "2026-01-01T12:00:10Z"


def test_one_that_is_being_deleted_starts_nothing() -> None:
    deleted = cron_job(last=NOON - MINUTE)
    deleted["metadata"]["deletionTimestamp"] = format_time(NOW)
    plan = plan_cron_job(deleted, [], set(), NOW)
    assert (plan.start, plan.requeue_after) == (None, None)


def test_jobs_are_named_after_their_minute() -> None:
    made = job_for_start(cron_job(timeZone="Asia/Seoul"), at("1970-01-02T00:03"))
    assert name_of(made) == "tick-1443"
    assert made["metadata"]["labels"] == {"a": "b"}
    assert made["metadata"]["annotations"] == {
        "c": "d", "batch.kubernetes.io/cronjob-scheduled-timestamp": "1970-01-02T09:03:00+09:00",
    }  # fmt: skip
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("CronJob", "cron", True)
    in_utc = job_for_start(cron_job(), NOON)["metadata"]["annotations"]
    assert in_utc["batch.kubernetes.io/cronjob-scheduled-timestamp"] == "2026-01-01T12:00:00Z"


def test_a_job_is_referred_to() -> None:
    made = {"metadata": {"name": "j", "namespace": "default", "uid": "u", "resourceVersion": "7"}}
    assert status_with({}, made, NOON) == {
        "active": [
            {"kind": "Job", "namespace": "default", "name": "j", "uid": "u", "apiVersion": "batch/v1",
             "resourceVersion": "7"}
        ],
        "lastScheduleTime": "2026-01-01T12:00:00Z",
    }  # fmt: skip
    assert job_name(cron_job(), NOON) == f"tick-{29454480}"
    assert missed_message(NOON) == "Missed scheduled time to start a job: Thu, 01 Jan 2026 12:00:00 +0000"
