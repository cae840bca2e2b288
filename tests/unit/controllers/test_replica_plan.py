"""How many pods a ReplicaSet makes, which it deletes first, and when it looks again."""

import pytest

from timonel.api.clock import parse_time
from timonel.api.errors import Forbidden
from timonel.api.objects import name_of
from timonel.api.refs import REPLICA_SETS
from timonel.controllers.replicaset.controller import start_slowly
from timonel.controllers.replicaset.planner import (
    next_availability_check,
    plan_replicas,
    plan_status,
    pod_from_template,
)

NOW = parse_time("2026-01-02T00:00:00Z")


def replica_set(replicas, **spec):
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "r", "generation": 2},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": "web"}}}, **spec},
        "status": {},
    }


def pod(name, *, node="n1", phase="Running", ready="2026-01-01T00:00:00Z", cost=None, restarts=0, created=None):
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": ready}] if ready else []
    metadata = {"name": name, "uid": name, "creationTimestamp": created or "2026-01-01T00:00:00Z"}
    metadata["labels"] = {"app": "web"}
    if cost is not None:
        metadata["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": str(cost)}
    return {
        "metadata": metadata,
        "spec": {"nodeName": node},
        "status": {
            "phase": phase,
            "conditions": conditions,
            "containerStatuses": [{"name": "c", "restartCount": restarts}],
        },
    }


@pytest.mark.parametrize(("wanted", "present", "create", "delete"), [(3, 1, 2, 0), (1, 3, 0, 2), (2, 2, 0, 0)])
def test_counts(wanted, present, create, delete):
    pods = [pod(str(number)) for number in range(present)]
    plan = plan_replicas(replica_set(wanted), pods, pods, NOW)
    assert (plan.create, len(plan.delete)) == (create, delete)


def test_one_burst_is_bounded():
    assert plan_replicas(replica_set(5000), [], [], NOW).create == 500


# The documented order, each pair differing in one criterion; the first is deleted.
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pod("a", node=""), pod("b")),
        (pod("a", phase="Pending"), pod("b")),
        (pod("a", ready=None), pod("b")),
        (pod("a", cost=-5), pod("b")),
        (pod("a"), pod("b", cost=7)),
        (pod("a", ready="2026-01-01T23:59:00Z"), pod("b")),
        (pod("a", restarts=4), pod("b")),
        (pod("a", created="2026-01-01T23:59:00Z"), pod("b")),
    ],
)
def test_deletion_order(first, second):
    for pods in ([first, second], [second, first]):
        plan = plan_replicas(replica_set(1), pods, pods, NOW)
        assert list(map(name_of, plan.delete)) == ["a"]


def test_pod_on_the_more_crowded_node_goes_first():
    pods = [pod("a", node="n1"), pod("b", node="n2")]
    related = [*pods, pod("old", node="n2")]
    assert list(map(name_of, plan_replicas(replica_set(1), pods, related, NOW).delete)) == ["b"]


def test_pod_is_made_from_the_template():
    made = pod_from_template(replica_set(1), REPLICA_SETS)
    assert made["metadata"]["generateName"] == "web-"
    assert made["metadata"]["labels"] == {"app": "web"}
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["controller"], owner["blockOwnerDeletion"]) == ("ReplicaSet", True, True)


def test_status_counts_and_stays_when_right():
    subject = replica_set(3, minReadySeconds=60)
    pods = [pod("a"), pod("b", ready="2026-01-01T23:59:30Z"), pod("c", ready=None)]
    status = plan_status(subject, pods, [pod("t")], None, NOW)
    assert status == {
        "replicas": 3,
        "fullyLabeledReplicas": 3,
        "readyReplicas": 2,
        "availableReplicas": 1,
        "terminatingReplicas": 1,
        "observedGeneration": 2,
    }
    assert plan_status({**subject, "status": status}, pods, [pod("t")], None, NOW) is None
    assert next_availability_check(subject, pods, NOW) == 30


def test_failure_becomes_a_condition_and_goes_again():
    status = plan_status(replica_set(3), [], [], "quota", NOW)
    [found] = status["conditions"]
    assert (found["type"], found["reason"], found["message"]) == ("ReplicaFailure", "FailedCreate", "quota")
    assert "conditions" not in plan_status({**replica_set(3), "status": status}, [], [], None, NOW)


async def test_slow_start_stops_at_the_first_failing_batch():
    asked = 0

    async def attempt():
        nonlocal asked
        asked += 1
        return Forbidden("quota") if asked > 3 else None

    assert (await start_slowly(100, attempt)).message == "quota"
    assert asked == 7  # 1 + 2 + 4


async def test_slow_start_makes_all_of_them():
    asked = 0

    async def attempt():
        nonlocal asked
        asked += 1

    assert await start_slowly(13, attempt) is None
    assert asked == 13
