"""What a delete does, decided on plain values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from timonel.api.errors import Conflict, Invalid
from timonel.api.kinds import BUILTIN
from timonel.api.refs import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS
from timonel.apiserver.registry.deletion import (
    check_options,
    check_preconditions,
    finalizers_for,
    is_released,
    plan_deletion,
)

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def obj(kind="ConfigMap", **metadata):
    return {"kind": kind, "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", **metadata}}


def plan(ref, thing, **options):
    return plan_deletion(thing, BUILTIN.row(ref), options, NOW)


def test_nothing_holds_it_back():
    assert plan(CONFIGMAPS, obj()).remove


def test_a_finalizer_marks_it_with_no_grace():
    result = plan(CONFIGMAPS, obj(finalizers=["x/y"]))
    assert not result.remove
    assert result.marked["metadata"]["deletionTimestamp"] == "2026-01-01T12:00:00Z"
    assert result.marked["metadata"]["deletionGracePeriodSeconds"] == 0


def test_a_second_delete_changes_nothing():
    marked = obj(finalizers=["x/y"], deletionTimestamp="2026-01-01T11:00:00Z", deletionGracePeriodSeconds=0)
    result = plan(CONFIGMAPS, marked)
    assert (result.remove, result.marked) == (False, None)


def test_marking_counts_as_a_new_generation():
    marked = plan(DEPLOYMENTS, obj("Deployment", generation=3), propagationPolicy="Foreground").marked
    assert marked["metadata"]["generation"] == 4


@pytest.mark.parametrize(
    ("present", "options", "after"),
    [
        (["x/y"], {}, ["x/y"]),
        ([], {"propagationPolicy": "Foreground"}, ["foregroundDeletion"]),
        ([], {"propagationPolicy": "Orphan"}, ["orphan"]),
        (["orphan", "x/y"], {"propagationPolicy": "Background"}, ["x/y"]),
        (["orphan"], {"propagationPolicy": "Foreground"}, ["foregroundDeletion"]),
        (["foregroundDeletion"], {"orphanDependents": False}, []),
        ([], {"orphanDependents": True}, ["orphan"]),
        (["foregroundDeletion", "x/y"], {"propagationPolicy": "Foreground"}, ["foregroundDeletion", "x/y"]),
    ],
)
def test_policies_and_finalizers(present, options, after):
    assert finalizers_for({"finalizers": present}, options) == after


@pytest.mark.parametrize(
    ("present", "options", "after"),
    [
        ([], {}, ["orphan"]),
        (["x/y"], {}, ["x/y", "orphan"]),
        (["foregroundDeletion"], {}, ["foregroundDeletion"]),
        ([], {"propagationPolicy": "Background"}, []),
        ([], {"orphanDependents": False}, []),
    ],
)
def test_kinds_that_leave_dependents_alone(present, options, after):
    assert finalizers_for({"finalizers": present}, options, orphans=True) == after


def running_pod(**metadata):
    pod = obj("Pod", **metadata)
    return {**pod, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}, "status": {"phase": "Running"}}


def test_a_running_pod_waits_its_grace_period():
    marked = plan(PODS, running_pod()).marked
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T12:00:30Z"


def test_a_grace_period_can_only_become_shorter():
    dying = {"deletionTimestamp": "2026-01-01T12:00:30Z", "deletionGracePeriodSeconds": 30}
    assert plan(PODS, running_pod(**dying), gracePeriodSeconds=40).marked is None
    shorter = plan(PODS, running_pod(**dying), gracePeriodSeconds=10).marked
    assert shorter["metadata"]["deletionTimestamp"] == "2026-01-01T12:00:10Z"
    assert plan(PODS, running_pod(**dying), gracePeriodSeconds=0).remove


def test_a_namespace_waits_for_its_own_finalizers():
    namespace = {**obj("Namespace"), "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    result = plan(NAMESPACES, namespace)
    assert not result.remove
    assert result.marked["status"]["phase"] == "Terminating"
    assert not is_released(result.marked)
    result.marked["spec"]["finalizers"] = []
    assert is_released(result.marked)


def test_preconditions_name_the_kind():
    with pytest.raises(Conflict, match='Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition'):
        check_preconditions(obj(), CONFIGMAPS, {"preconditions": {"uid": "other"}})
    with pytest.raises(Conflict, match=r"the ResourceVersion in the precondition \(6\) does not match"):
        check_preconditions(obj(), CONFIGMAPS, {"preconditions": {"resourceVersion": "6"}})
    check_preconditions(obj(), CONFIGMAPS, {"preconditions": {"uid": "u", "resourceVersion": "7"}})


@pytest.mark.parametrize(
    "options",
    [
        {"propagationPolicy": "Orphan", "orphanDependents": False},
        {"propagationPolicy": "orphan"},
        {"dryRun": ["Some"]},
    ],
)
def test_bad_options(options):
    with pytest.raises(Invalid):
        check_options(options)


def test_a_negative_period_shortens_a_running_one_to_the_shortest_there_is():
    marked = obj("Pod", deletionTimestamp="2026-01-01T12:00:30Z", deletionGracePeriodSeconds=30)
    result = plan(PODS, marked, gracePeriodSeconds=-1).marked
    assert result["metadata"]["deletionGracePeriodSeconds"] == 1
    assert result["metadata"]["deletionTimestamp"] == "2026-01-01T12:00:01Z"


@pytest.mark.parametrize("seconds", [10**12, 2**63 - 1])
def test_periods_beyond_all_calendars_are_as_long_as_upstream_counts(seconds):
    pod = {**obj("Pod"), "spec": {"nodeName": "n", "terminationGracePeriodSeconds": seconds}}
    for options in ({}, {"gracePeriodSeconds": seconds}):
        marked = plan(PODS, {**pod, "metadata": dict(pod["metadata"])}, **options).marked
        assert marked["metadata"]["deletionGracePeriodSeconds"] == 9_223_372_036
        assert marked["metadata"]["deletionTimestamp"].startswith("2318-")
