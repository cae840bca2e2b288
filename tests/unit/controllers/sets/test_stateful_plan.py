"""One look at a StatefulSet: which pods, in which order, and when it has to wait. By the documented guarantees."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timonel.api.refs import STATEFUL_SETS
from timonel.controllers.history.revisions import HASH, new_revision
from timonel.controllers.statefulset.identity import parse_pod_name, repair_of
from timonel.controllers.statefulset.planner import plan_stateful_set

NOW = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


def stateful_set(replicas=3, image="a:1", status=None, **spec):
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    return {
        "kind": "StatefulSet",
        "apiVersion": "apps/v1",
        "metadata": {"name": "web", "namespace": "default", "uid": "set", "generation": 1},
        "spec": {
            "replicas": replicas,
            "serviceName": "svc",
            "selector": {"matchLabels": {"app": "web"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": template,
            **spec,
        },
        "status": status or {},
    }


OLD = new_revision(stateful_set(image="a:1"), STATEFUL_SETS, 1, 0, HASH)
NEW = new_revision(stateful_set(image="a:2"), STATEFUL_SETS, 2, 0, HASH)


def pod(ordinal, state="ok", revision=OLD):
    """States: ok, unready, fresh (ready for 5 s), pending, failed, succeeded; with a `-` it is being deleted."""
    phases = {"pending": "Pending", "failed": "Failed", "succeeded": "Succeeded"}
    kind = state.rstrip("-")
    made = {
        "metadata": {
            "name": f"web-{ordinal}",
            "namespace": "default",
            "uid": f"p{ordinal}",
            "labels": {
                "app": "web",
                "statefulset.kubernetes.io/pod-name": f"web-{ordinal}",
                "controller-revision-hash": revision["metadata"]["name"],
            },
        },
        "spec": {},
        "status": {"phase": phases.get(kind, "Running")},
    }
    if kind in ("ok", "fresh"):
        since = "2026-01-01T00:00:55Z" if kind == "fresh" else "2026-01-01T00:00:00Z"
        made["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
    if state.endswith("-"):
        made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:59Z"
    return made


def plan(the_set, pods, current=OLD, update=OLD, waits=None):
    return plan_stateful_set(the_set, current, update, 0, pods, {}.get, NOW, waits or {})


def steps(made):
    return [(step.verb, parse_pod_name(step.pod["metadata"]["name"])[1]) for phase in made.phases for step in phase]


PARALLEL = {"podManagementPolicy": "Parallel"}


@pytest.mark.parametrize(
    ("spec", "states", "expected"),
    [
        ({}, {}, [("create", 0)]),
        ({}, {0: "ok"}, [("create", 1)]),
        ({}, {0: "pending"}, []),
        ({}, {0: "unready"}, []),
        ({}, {0: "ok", 1: "ok-"}, []),
        ({}, {1: "ok"}, [("create", 0)]),
        ({}, {0: "failed"}, [("delete", 0)]),
        ({}, {0: "succeeded", 1: "ok"}, [("delete", 0)]),
        ({}, {0: "failed-"}, []),
        ({"minReadySeconds": 10}, {0: "fresh"}, []),
        ({"minReadySeconds": 4}, {0: "fresh"}, [("create", 1)]),
        ({"ordinals": {"start": 5}}, {5: "ok"}, [("create", 6)]),
        ({"ordinals": {"start": 1}, "replicas": 1}, {0: "ok", 1: "ok"}, [("delete", 0)]),
        # Scaling down: one at a time, the highest first, each only while the others are well.
        ({"replicas": 1}, {0: "ok", 1: "ok", 2: "ok"}, [("delete", 2)]),
        ({"replicas": 1}, {0: "ok", 1: "ok", 2: "ok-"}, []),
        ({"replicas": 1}, {0: "unready", 1: "ok", 2: "ok"}, []),
        ({"replicas": 1}, {0: "ok", 1: "ok", 2: "unready"}, [("delete", 2)]),
        ({"replicas": 1}, {0: "ok", 1: "unready", 2: "ok"}, [("delete", 2)]),
        ({"replicas": 1}, {0: "ok", 1: "unready", 2: "unready"}, []),
        ({"replicas": 0}, {0: "unready"}, [("delete", 0)]),
        # Parallel waits for nothing.
        (PARALLEL, {}, [("create", 0), ("create", 1), ("create", 2)]),
        (PARALLEL, {0: "unready", 1: "failed"}, [("delete", 1), ("create", 2)]),
        (PARALLEL | {"replicas": 1}, {0: "unready", 1: "ok", 2: "ok-", 3: "ok"}, [("delete", 3), ("delete", 1)]),
    ],
)
def test_scaling(spec, states, expected):
    assert steps(plan(stateful_set(**spec), [pod(*item) for item in states.items()])) == expected


def rolling(**fields):
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, **fields}}}


@pytest.mark.parametrize(
    ("spec", "states", "expected"),
    [
        # "o": of the old revision, "n": of the new one
        ({}, {0: "o ok", 1: "o ok", 2: "o ok"}, [("delete", 2)]),
        ({}, {0: "o ok", 1: "o ok", 2: "n ok"}, [("delete", 1)]),
        ({}, {0: "o ok", 1: "o ok", 2: "n unready"}, []),
        ({}, {0: "o ok", 1: "o ok", 2: "o ok-"}, []),
        ({}, {0: "o ok", 1: "o ok"}, [("create", 2)]),
        ({}, {0: "n ok", 1: "n ok", 2: "n ok"}, []),
        # A pod that never becomes ready keeps an ordered update where it is, whatever the update is, until somebody
        # deletes it: documented as "forced rollback".
        ({}, {0: "o ok", 1: "o ok", 2: "o unready"}, []),
        (PARALLEL, {0: "o ok", 1: "o ok", 2: "o unready"}, [("delete", 2)]),
        (PARALLEL, {0: "o unready", 1: "n unready", 2: "n ok"}, []),
        (rolling(partition=2), {0: "o ok", 1: "o ok", 2: "o ok"}, [("delete", 2)]),
        (rolling(partition=2), {0: "o ok", 1: "o ok", 2: "n ok"}, []),
        (rolling(partition=9), {0: "o ok", 1: "o ok", 2: "o ok"}, []),
        (rolling(maxUnavailable=2), {0: "o ok", 1: "o ok", 2: "o ok"}, [("delete", 2), ("delete", 1)]),
        (PARALLEL | rolling(maxUnavailable=2), {0: "o ok", 1: "o ok", 2: "n unready"}, [("delete", 1)]),
        (PARALLEL | rolling(maxUnavailable="10%"), {0: "o ok", 1: "o ok", 2: "o ok"}, [("delete", 2)]),
        ({"updateStrategy": {"type": "OnDelete"}}, {0: "o ok", 1: "o ok", 2: "o ok"}, []),
        # Scaling comes first.
        ({"replicas": 2}, {0: "o ok", 1: "o ok", 2: "o ok"}, [("delete", 2)]),
    ],
)
def test_updating(spec, states, expected):
    pods = [pod(ordinal, state.split()[1], NEW if state[0] == "n" else OLD) for ordinal, state in states.items()]
    assert steps(plan(stateful_set(**spec), pods, OLD, NEW)) == expected


@pytest.mark.parametrize(
    ("strategy", "ordinal", "made_from"),
    [
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, 0, NEW),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, 0, OLD),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, 1, NEW),
        ({"type": "RollingUpdate"}, 1, OLD),
        ({"type": "OnDelete"}, 0, NEW),
    ],
)
def test_which_revision_a_lost_pod_comes_back_from(strategy, ordinal, made_from):
    the_set = stateful_set(updateStrategy=strategy, status={"currentReplicas": 2}, image="a:2", **PARALLEL)
    made = plan(the_set, [pod(n) for n in range(3) if n != ordinal], OLD, NEW)
    [created] = [step.pod for phase in made.phases for step in phase if step.verb == "create"]
    assert created["metadata"]["labels"]["controller-revision-hash"] == made_from["metadata"]["name"]
    template = made_from["data"]["spec"]["template"]
    assert created["spec"]["containers"] == template["spec"]["containers"]


def test_a_pods_identity():
    made = plan(stateful_set(ordinals={"start": 7}), [])
    [[step]] = made.phases
    assert step.pod["metadata"]["name"] == "web-7"
    assert "generateName" not in step.pod["metadata"]
    assert step.pod["metadata"]["labels"] == {
        "app": "web",
        "statefulset.kubernetes.io/pod-name": "web-7",
        "apps.kubernetes.io/pod-index": "7",
        "controller-revision-hash": OLD["metadata"]["name"],
    }
    assert (step.pod["spec"]["hostname"], step.pod["spec"]["subdomain"]) == ("web-7", "svc")
    [owner] = step.pod["metadata"]["ownerReferences"]
    assert owner["uid"] == "set"


def test_a_pod_that_lost_its_label_gets_it_back():
    bare = pod(0)
    del bare["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"]
    made = plan(stateful_set(replicas=1), [bare])
    [[step]] = made.phases
    assert step.verb == "update"
    assert step.patch == {
        "metadata": {"labels": {"statefulset.kubernetes.io/pod-name": "web-0", "apps.kubernetes.io/pod-index": "0"}}
    }
    assert repair_of(stateful_set(), pod(0)) is None


def test_names_that_are_no_members_names():
    assert parse_pod_name("web-10") == ("web", 10)
    assert parse_pod_name("a-b-0") == ("a-b", 0)
    assert parse_pod_name("web") == ("", -1)
    assert parse_pod_name("web-99999999999") == ("web", -1)


def test_failed_pods_wait_before_they_are_tried_again():
    failed = [pod(0, "failed")]
    assert plan(stateful_set(), failed).failed == ("web-0",)
    waiting = plan(stateful_set(), failed, waits={"web-0": 4.0})
    assert (steps(waiting), waiting.failed, waiting.requeue_after) == ([], (), 4.0)
    assert steps(plan(stateful_set(), [pod(0, "succeeded")], waits={"web-0": 4.0})) == [("delete", 0)]


def test_a_set_that_is_being_deleted_only_tells():
    the_set = stateful_set()
    the_set["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    made = plan(the_set, [pod(0)])
    assert made.phases == ()
    assert made.status["replicas"] == 1


def test_the_status_in_the_middle_of_an_update():
    pods = [pod(0), pod(1, "unready"), pod(2, revision=NEW)]
    made = plan(stateful_set(**PARALLEL), pods, OLD, NEW)
    assert steps(made) == [("delete", 1)]
    assert made.status == {
        "observedGeneration": 1,
        "replicas": 3,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "currentReplicas": 1,
        "updatedReplicas": 1,
        "currentRevision": OLD["metadata"]["name"],
        "updateRevision": NEW["metadata"]["name"],
        "collisionCount": 0,
    }


def test_a_finished_update_makes_the_new_revision_the_current_one():
    made = plan(stateful_set(), [pod(n, revision=NEW) for n in range(3)], OLD, NEW)
    assert made.status["currentRevision"] == made.status["updateRevision"] == NEW["metadata"]["name"]
    assert made.status["currentReplicas"] == 3
    settled = plan(stateful_set(status=made.status), [pod(n, revision=NEW) for n in range(3)], NEW, NEW)
    assert (settled.status, settled.phases) == (None, ())


def test_min_ready_seconds_are_waited_for():
    made = plan(stateful_set(minReadySeconds=10), [pod(0, "fresh")])
    assert made.requeue_after == 5
    assert (made.status["readyReplicas"], made.status["availableReplicas"]) == (1, 0)


# Order, whatever the state

STATES = st.sampled_from(["ok", "ok", "unready", "fresh", "pending", "failed", "succeeded", "ok-", "failed-"])
PODS = st.dictionaries(st.integers(0, 7), st.tuples(STATES, st.booleans()), max_size=8)


@settings(max_examples=300, deadline=None)
@given(PODS, st.integers(0, 6), st.integers(0, 2), st.integers(0, 4), st.booleans(), st.sampled_from([0, 10]))
def test_order_is_kept_whatever_the_state(states, replicas, start, partition, parallel, min_ready):
    pods = {n: pod(n, state, NEW if new else OLD) for n, (state, new) in states.items()}
    the_set = stateful_set(
        replicas,
        ordinals={"start": start},
        minReadySeconds=min_ready,
        podManagementPolicy="Parallel" if parallel else "OrderedReady",
        **rolling(partition=partition),
    )
    made = plan(the_set, list(pods.values()), OLD, NEW)
    done = steps(made)
    wanted = range(start, start + replicas)
    created = [n for verb, n in done if verb == "create"]
    deleted = [n for verb, n in done if verb == "delete"]
    well = {n for n, (state, _) in states.items() if state == "ok" or (state == "fresh" and not min_ready)}
    # Never two pods of one ordinal, never one outside the range, never twice the same.
    assert not set(created) & set(pods)
    assert set(created) <= set(wanted)
    assert len(set(done)) == len(done)
    assert set(deleted) <= set(pods)
    assert not any(states[n][0].endswith("-") for n in deleted)
    if not parallel:
        assert len(created) + len(deleted) <= 1
        for n in created:
            assert set(range(start, n)) <= well  # all before it are there and well
        for n in deleted:
            if n not in wanted:
                assert n == max(m for m in pods if m not in wanted)
                assert set(wanted) <= well
    for n in deleted:  # of those that should be there, only what ended or is outdated within the partition's reach
        if n in wanted:
            state, new = states[n]
            assert state in ("failed", "succeeded") or (not new and n >= start + partition)
