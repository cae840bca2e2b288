"""Transitions of a Job's status that are refused, whoever manages the Job (KEP-4368)."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api import refs
from timonel.api.kinds.job.indexes import InvalidIndexes, count_indexes, overlap
from timonel.api.objects import Object

from .samples import changed, created, status_findings
from .test_jobs import indexed, job

START, END = "2026-03-01T12:00:00Z", "2026-03-01T12:05:00Z"
CONDITIONS = "status.conditions: Invalid value: "


def conditions(*kinds: str) -> list[Object]:
    return [{"type": kind, "status": "True"} for kind in kinds]


COMPLETE: Object = {
    "conditions": conditions("SuccessCriteriaMet", "Complete"), "startTime": START, "completionTime": END,
    "succeeded": 1,
}  # fmt: skip
FAILED: Object = {"conditions": conditions("FailureTarget", "Failed"), "startTime": START, "failed": 1}
RUNNING: Object = {"startTime": START, "active": 1, "ready": 1}


def said(now: Object, before: Object | None = None, obj: Object | None = None) -> list[str]:
    old = created(refs.JOBS, obj or job())
    old["status"] = before or {}
    return status_findings(refs.JOBS, old, changed("status", to=now))


@pytest.mark.parametrize(
    ("before", "now"),
    [({}, RUNNING), (RUNNING, COMPLETE), (RUNNING, FAILED), (COMPLETE, COMPLETE), (FAILED, FAILED), (RUNNING, {})],
)
def test_the_usual_way(before: Object, now: Object) -> None:
    expected = ["status.startTime: Invalid value: null: field is immutable for unsuspended job once set"]
    assert said(now, before) == ([] if now else expected)


def without(status: Object, *fields: str, **more: Any) -> Object:
    return {**{field: value for field, value in status.items() if field not in fields}, **more}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (
            {"active": -1, "succeeded": -1, "failed": -1, "ready": -1, "terminating": -1},
            [f"status.{field}: Invalid value: -1: must be greater than or equal to 0"
             for field in ("active", "succeeded", "failed", "ready", "terminating")]
            + ["status.failed: Invalid value: -1: cannot decrease the failed counter",
               "status.succeeded: Invalid value: -1: cannot decrease the succeeded counter"],
        ),
        (
            {"uncountedTerminatedPods": {"succeeded": ["a", "", "a"], "failed": ["a"]}},
            ['status.uncountedTerminatedPods.succeeded[1]: Invalid value: "": must not be empty',
             'status.uncountedTerminatedPods.succeeded[2]: Duplicate value: "a"',
             'status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"'],
        ),
        (
            without(COMPLETE, conditions=conditions("SuccessCriteriaMet", "Complete", "FailureTarget", "Failed")),
            [f"{CONDITIONS}cannot set Complete=True and Failed=true conditions",
             f"{CONDITIONS}cannot set Complete=True and FailureTarget=true conditions",
             f"{CONDITIONS}cannot set SuccessCriteriaMet=True and Failed=true conditions",
             f"{CONDITIONS}cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"],
        ),
        (
            without(COMPLETE, "conditions"),
            [f'status.completionTime: Invalid value: "{END}": cannot set completionTime when there is no Complete=True '
             "condition"],
        ),
        (
            without(COMPLETE, "completionTime"),
            ["status.completionTime: Required value: completionTime is required for Complete jobs"],
        ),
        (
            without(COMPLETE, startTime="2026-03-01T12:06:00Z"),
            [f'status.completionTime: Invalid value: "{END}": must be equal to or after `startTime`'],
        ),
        (
            without(FAILED, conditions=conditions("Failed")),
            [f"{CONDITIONS}cannot set Failed=True condition without the FailureTarget=true condition"],
        ),
        (
            without(COMPLETE, conditions=conditions("Complete")),
            [f"{CONDITIONS}cannot set Complete=True condition without the SuccessCriteriaMet=true condition"],
        ),
        (without(COMPLETE, active=1), ["status.active: Invalid value: 1: active>0 is invalid for finished job"]),
        (without(FAILED, "startTime"), ["status.startTime: Required value: startTime is required for finished job"]),
        (
            without(FAILED, uncountedTerminatedPods={"failed": ["a"]}),
            ['status.uncountedTerminatedPods: Invalid value: {"failed":["a"]}: must be empty for finished job'],
        ),
        (
            without(FAILED, terminating=1),
            ["status.terminating: Invalid value: 1: terminating>0 is invalid for finished job"],
        ),
        ({"active": 1, "ready": 2}, ["status.ready: Invalid value: 2: cannot set more ready pods than active"]),
        (
            {"completedIndexes": "0"},
            ['status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed '
             "completion mode"],
        ),
        (
            {"failedIndexes": ""},
            ['status.failedIndexes: Invalid value: "": cannot set non-null failedIndexes when backoffLimitPerIndex is '
             "null"],
        ),
    ],
)  # fmt: skip
def test_refused(now: Object, expected: list[str]) -> None:
    assert said(now) == expected


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (
            COMPLETE,
            {"startTime": START, "succeeded": 1},
            [f"{CONDITIONS}cannot disable the terminal Complete=True condition",
             f"{CONDITIONS}cannot disable the SuccessCriteriaMet=True condition"],
        ),
        (
            FAILED,
            {"startTime": START, "failed": 1},
            [f"{CONDITIONS}cannot disable the terminal Failed=True condition",
             f"{CONDITIONS}cannot disable the terminal FailureTarget=True condition"],
        ),
        ({"failed": 2}, {"failed": 1}, ["status.failed: Invalid value: 1: cannot decrease the failed counter"]),
        (
            {"succeeded": 2},
            {"succeeded": 1},
            ["status.succeeded: Invalid value: 1: cannot decrease the succeeded counter"],
        ),
        (
            COMPLETE,
            without(COMPLETE, completionTime="2026-03-01T12:06:00Z"),
            ['status.completionTime: Invalid value: "2026-03-01T12:06:00Z": field is immutable'],
        ),
        (
            RUNNING,
            without(RUNNING, startTime=END),
            [f'status.startTime: Invalid value: "{END}": field is immutable for unsuspended job once set'],
        ),
        # Only what changes is looked at: what is there already may be wrong.
        ({"conditions": conditions("Complete")}, {"conditions": conditions("Complete"), "failed": 1}, []),
    ],
)  # fmt: skip
def test_transitions(before: Object, now: Object, expected: list[str]) -> None:
    assert said(now, before) == expected


def test_a_resumed_job_starts_anew() -> None:
    stopped = without(RUNNING, conditions=[{"type": "Suspended", "status": "True"}], active=0, ready=0)
    resumed = without(RUNNING, startTime=END, conditions=[{"type": "Suspended", "status": "False"}])
    assert said(resumed, stopped) == []


def test_nothing_to_do_is_done_without_having_started() -> None:
    done = without(COMPLETE, "startTime", "succeeded")
    assert said(done, {}, job(suspend=True, completions=0)) == []


def test_success_policy_ends_a_job_only_by_its_criteria() -> None:
    obj = indexed(successPolicy={"rules": [{"succeededCount": 1}]})
    assert said(without(COMPLETE, conditions=conditions("Complete")), {}, obj) == [
        f"{CONDITIONS}cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        f"{CONDITIONS}cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
    ]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({"completedIndexes": "0,2-4", "failedIndexes": "1"}, []),
        (
            {"completedIndexes": "5"},
            ['status.completedIndexes: Invalid value: "5": error parsing completedIndexes: too large index: "5"'],
        ),
        (
            {"failedIndexes": "2,1"},
            ['status.failedIndexes: Invalid value: "2,1": error parsing failedIndexes: non-increasing order, previous: '
             "2, current: 1"],
        ),
        (
            {"completedIndexes": "0-3", "failedIndexes": "2-4"},
            ['status.failedIndexes: Invalid value: "2-4": failedIndexes and completedIndexes overlap at index: 2'],
        ),
    ],
)  # fmt: skip
def test_indexes(now: Object, expected: list[str]) -> None:
    assert said(now, {}, indexed(backoffLimitPerIndex=1)) == expected


def test_elastic_jobs_may_lose_successes() -> None:
    assert said({"succeeded": 1}, {"succeeded": 2}, indexed(parallelism=5)) == []
    assert said({"succeeded": 1}, {"succeeded": 2}, indexed(parallelism=2)) == [
        "status.succeeded: Invalid value: 1: cannot decrease the succeeded counter"
    ]


@pytest.mark.parametrize(
    ("completed", "failed", "common"),
    [("", "", None), ("1,3-5", "0,2,6", None), ("1,3-5", "0,4-9", 4), ("1-9", "x,2", 2), ("0-9", "5-6", 5)],
)
def test_overlap(completed: str, failed: str, common: int | None) -> None:
    assert overlap(completed, failed, 10) == common


def test_counting_indexes() -> None:
    assert count_indexes("", 10) == 0
    assert count_indexes("0,2-4,9", 10) == 5
    with pytest.raises(InvalidIndexes):
        count_indexes("-1", 10)
