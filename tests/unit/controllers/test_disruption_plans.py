"""What the status of a disruption budget says: kubernetes.io/docs/tasks/run-application/configure-pdb."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from timonel.api.clock import format_time
from timonel.api.objects import Object
from timonel.controllers.disruption.planner import (
    needs_scale,
    plan_budget,
    plan_failure,
    seconds_until_stale,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> str:
    return format_time(NOW - timedelta(seconds=seconds))


def pod(name: str = "p", ready: bool = True, **metadata: Any) -> Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": name, **metadata}, "status": {"phase": "Running", "conditions": conditions}}


def pods(healthy: int, unhealthy: int = 0) -> list[Object]:
    return [pod(f"p{number}", number < healthy) for number in range(healthy + unhealthy)]


def budget(status: Object | None = None, generation: int = 1, **spec: Any) -> Object:
    metadata = {"name": "b", "namespace": "default", "generation": generation}
    return {"metadata": metadata, "spec": spec, "status": status or {}}


def status_of(made: Object, found: list[Object], scale: int = 0) -> Object:
    status = plan_budget(made, found, scale, NOW).status
    assert status is not None
    return status


# "minAvailable" and "maxUnavailable" may be numbers or percentages; "when you specify the value as a percentage … it
# may not map to an exact number of Pods … Kubernetes rounds up to the nearest integer" (both of them).
@pytest.mark.parametrize(
    ("spec", "healthy", "unhealthy", "scale", "expected"),
    # expected: (expectedPods, desiredHealthy, currentHealthy, disruptionsAllowed)
    [
        ({"minAvailable": 2}, 3, 0, 99, (3, 2, 3, 1)),
        ({"minAvailable": 2}, 2, 1, 99, (3, 2, 2, 0)),
        ({"minAvailable": 5}, 3, 0, 99, (3, 5, 3, 0)),
        ({"minAvailable": 0}, 3, 0, 99, (3, 0, 3, 3)),
        ({"minAvailable": 0}, 0, 0, 0, (0, 0, 0, 0)),
        ({"minAvailable": "50%"}, 7, 0, 7, (7, 4, 7, 3)),  # the example of the documentation: 7 pods, 4 must stay
        ({"minAvailable": "50%"}, 7, 0, 10, (10, 5, 7, 2)),
        ({"minAvailable": "0%"}, 2, 0, 2, (2, 0, 2, 2)),
        ({"minAvailable": "100%"}, 7, 0, 7, (7, 7, 7, 0)),
        ({"maxUnavailable": 1}, 3, 0, 3, (3, 2, 3, 1)),
        ({"maxUnavailable": 1}, 2, 1, 3, (3, 2, 2, 0)),
        ({"maxUnavailable": 5}, 3, 0, 3, (3, 0, 3, 3)),
        ({"maxUnavailable": 0}, 3, 0, 3, (3, 3, 3, 0)),
        ({"maxUnavailable": "30%"}, 7, 0, 7, (7, 4, 7, 3)),  # 2.1, rounded up
        ({"maxUnavailable": "33%"}, 100, 0, 100, (100, 67, 100, 33)),  # not 34, as a float would say
        ({"maxUnavailable": "50%"}, 1, 0, 1, (1, 0, 1, 1)),
        ({"maxUnavailable": 1}, 4, 0, 3, (3, 2, 4, 2)),  # while more run than are wanted
        ({"maxUnavailable": 1}, 1, 0, 0, (0, 0, 1, 0)),  # nobody's pod, or a workload scaled to none
        ({}, 3, 0, 3, (0, 0, 3, 0)),
    ],
)
def test_counts(spec: Object, healthy: int, unhealthy: int, scale: int, expected: tuple[int, ...]) -> None:
    status = status_of(budget(**spec), pods(healthy, unhealthy), scale)
    fields = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
    assert tuple(status[field] for field in fields) == expected


@pytest.mark.parametrize(
    ("spec", "needed"),
    [({"minAvailable": 1}, False), ({"minAvailable": "1%"}, True), ({"maxUnavailable": 1}, True), ({}, False)],
)
def test_the_scale_is_asked_for_only_where_it_counts(spec: Object, needed: bool) -> None:
    assert needs_scale(budget(**spec)) is needed


def test_pods_that_are_being_deleted_are_expected_but_not_healthy() -> None:
    status = status_of(budget(minAvailable=1), [pod("a"), pod("b", deletionTimestamp=ago(1))])
    assert (status["expectedPods"], status["currentHealthy"], status["disruptionsAllowed"]) == (2, 1, 0)


def test_status_is_whole_and_written_only_when_it_changes() -> None:
    status = status_of(budget(minAvailable=2, generation=4), pods(3))
    assert status == {
        "observedGeneration": 4,
        "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3,
        "conditions": [
            {"type": "DisruptionAllowed", "status": "True", "observedGeneration": 4, "lastTransitionTime": ago(0),
             "reason": "SufficientPods", "message": ""},
        ],
    }  # fmt: skip
    settled = budget(status, minAvailable=2, generation=4)
    assert plan_budget(settled, pods(3), 0, NOW + timedelta(hours=1)).status is None


def test_condition_keeps_its_time_until_it_turns() -> None:
    status = status_of(budget(minAvailable=2), pods(3))
    later = NOW + timedelta(minutes=1)
    other = {"type": "Other", "status": "True"}
    status["conditions"] = [*status["conditions"], other]
    changed = plan_budget(budget(status, minAvailable=2), pods(4), 0, later).status
    assert changed is not None
    assert changed["conditions"] == status["conditions"]
    turned = plan_budget(budget(status, minAvailable=2), pods(2), 0, later).status
    assert turned is not None
    [condition, kept] = turned["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "InsufficientPods")
    assert condition["lastTransitionTime"] == format_time(later)
    assert kept == other


def test_a_granted_eviction_counts_as_done_until_two_minutes_have_passed() -> None:
    granted = {"p0": ago(30), "p1": ago(119), "p2": ago(120), "gone": ago(1), "leaving": ago(1)}
    found = [*pods(4), pod("leaving", deletionTimestamp=ago(0))]
    plan = plan_budget(budget({"disruptedPods": granted}, minAvailable=1), found, 0, NOW)
    assert plan.status is not None
    assert plan.status["disruptedPods"] == {"p0": ago(30), "p1": ago(119)}
    assert (plan.status["currentHealthy"], plan.status["disruptionsAllowed"]) == (2, 1)
    assert [each["metadata"]["name"] for each in plan.not_deleted] == ["p2"]
    assert plan.requeue_after == 1


def test_settled_evictions_leave_no_trace() -> None:
    plan = plan_budget(budget({"disruptedPods": {"gone": ago(1)}}, minAvailable=1), pods(2), 0, NOW)
    assert plan.status is not None
    assert "disruptedPods" not in plan.status
    assert plan.requeue_after is None


def test_a_failure_allows_nothing_and_keeps_the_rest() -> None:
    status = status_of(budget(minAvailable=2), pods(3))
    failed = plan_failure(budget(status, minAvailable=2, generation=2), "who knows", NOW + timedelta(seconds=5))
    assert failed == {
        **status,
        "disruptionsAllowed": 0,
        "conditions": [
            {"type": "DisruptionAllowed", "status": "False", "observedGeneration": 1, "lastTransitionTime": ago(-5),
             "reason": "SyncFailed", "message": "who knows"},
        ],
    }  # fmt: skip
    assert plan_failure(budget(failed), "who knows", NOW + timedelta(minutes=1)) is None
    mended = status_of(budget(failed, minAvailable=2), pods(3))
    assert mended["conditions"][0]["reason"] == "SufficientPods"


@pytest.mark.parametrize(
    ("condition", "metadata", "phase", "left"),
    [
        ({}, {}, "Running", 90.0),
        ({"lastTransitionTime": ago(120)}, {}, "Running", 0.0),
        ({"lastTransitionTime": ago(500)}, {}, "Pending", 0.0),
        ({"status": "False"}, {}, "Running", None),
        ({"reason": "TerminationByKubelet"}, {}, "Running", None),
        ({}, {"deletionTimestamp": ago(1)}, "Running", None),
        ({}, {}, "Failed", None),
        ({"type": "Ready"}, {}, "Running", None),
    ],
)
def test_when_a_target_is_stale(condition: Object, metadata: Object, phase: str, left: float | None) -> None:
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
              "lastTransitionTime": ago(30), **condition}  # fmt: skip
    made = {"metadata": {"name": "p", **metadata}, "status": {"phase": phase, "conditions": [target]}}
    assert seconds_until_stale(made, NOW) == left
