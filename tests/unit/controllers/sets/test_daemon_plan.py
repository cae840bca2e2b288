"""One look at a DaemonSet: which nodes, which pods, and how an update goes on. By the documented rules."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timonel.api.objects import ObjectKey
from timonel.api.placement import pinned_node
from timonel.controllers.daemonset.placement import Fit, by_node, fit_of, new_pod, tolerations_of
from timonel.controllers.daemonset.planner import Daemons, plan_pods, plan_update
from timonel.controllers.daemonset.status import next_availability_check, plan_status
from timonel.controllers.failed_pods import FailedPodBackoff

NOW = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


def daemon_set(surge=0, unavailable=1, spec=None, **fields):
    return {
        "kind": "DaemonSet",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": "d", "namespace": "default", "uid": "set", "generation": 1,
            "annotations": {"deprecated.daemonset.template.generation": "7"},
        },
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": spec or {}},
            "updateStrategy": {
                "type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
            },
            **fields,
        },
    }  # fmt: skip


def node(name, *taints, **labels):
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [{"key": key, "effect": effect} for key, effect in taints]},
    }


def pod(node_name, state="ok", new=True, name="", bound=True):
    phases = {"failed": "Failed", "succeeded": "Succeeded", "pending": "Pending"}
    made = new_pod(daemon_set(), node_name, "new" if new else "old")
    made["metadata"]["name"] = name or f"d-{node_name}-{'n' if new else 'o'}"
    made["metadata"]["namespace"] = "default"
    if not new:
        made["metadata"]["labels"]["pod-template-generation"] = "6"
    if bound:
        made["spec"]["nodeName"] = node_name
    kind = state.rstrip("-")
    made["status"] = {"phase": phases.get(kind, "Running")}
    if kind in ("ok", "fresh"):
        since = "2026-01-01T00:00:55Z" if kind == "fresh" else "2026-01-01T00:00:00Z"
        made["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
    if state.endswith("-"):
        made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:59Z"
    return made


def daemons(the_set, fits, *pods):
    return Daemons(the_set, "new", fits, by_node(pods), NOW)


def on(*names):
    return dict.fromkeys(names, Fit.RUNS)


def names(plan):
    return list(plan.create), sorted(item["metadata"]["name"] for item in plan.delete)


DISK = {"nodeSelector": {"disk": "ssd"}}
EVERYWHERE = {"tolerations": [{"operator": "Exists"}]}


@pytest.mark.parametrize(
    ("spec", "where", "fit"),
    [
        ({}, node("a"), Fit.RUNS),
        (DISK, node("a"), Fit.NONE),
        (DISK, node("a", disk="ssd"), Fit.RUNS),
        ({"nodeName": "b"}, node("a"), Fit.NONE),
        ({"nodeName": "a"}, node("a"), Fit.RUNS),
        ({}, node("a", ("special", "NoSchedule")), Fit.STAYS),
        ({}, node("a", ("special", "PreferNoSchedule")), Fit.RUNS),
        ({}, node("a", ("special", "NoExecute")), Fit.NONE),
        (EVERYWHERE, node("a", ("special", "NoExecute")), Fit.RUNS),
        # Cordoned, silent and short of something: daemons stay and come.
        ({}, node("a", ("node.kubernetes.io/unschedulable", "NoSchedule")), Fit.RUNS),
        ({}, node("a", ("node.kubernetes.io/unreachable", "NoExecute")), Fit.RUNS),
        ({}, node("a", ("node.kubernetes.io/not-ready", "NoExecute")), Fit.RUNS),
        ({}, node("a", ("node.kubernetes.io/not-ready", "NoSchedule")), Fit.STAYS),
        ({}, node("a", ("node.kubernetes.io/disk-pressure", "NoSchedule")), Fit.RUNS),
        ({}, node("a", ("node.kubernetes.io/network-unavailable", "NoSchedule")), Fit.STAYS),
        ({"hostNetwork": True}, node("a", ("node.kubernetes.io/network-unavailable", "NoSchedule")), Fit.RUNS),
    ],
)
def test_which_nodes(spec, where, fit):
    assert fit_of(daemon_set(spec=spec), where) is fit


def test_a_pod_is_pinned_to_its_node_and_tolerates_what_befalls_it():
    preferred = [{"weight": 1, "preference": {}}]
    given = {
        "affinity": {
            "podAffinity": {"x": 1},
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred},
        },
        "tolerations": [
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
        ],
    }
    made = new_pod(daemon_set(spec=given), "a", "hash")
    assert made["metadata"]["generateName"] == "d-"
    assert made["metadata"]["labels"] == {
        "app": "d", "controller-revision-hash": "hash", "pod-template-generation": "7",
    }  # fmt: skip
    assert pinned_node(made["spec"]) == "a"
    assert made["spec"]["affinity"]["podAffinity"] == {"x": 1}
    node_affinity = made["spec"]["affinity"]["nodeAffinity"]
    assert node_affinity["preferredDuringSchedulingIgnoredDuringExecution"] == preferred
    first = made["spec"]["tolerations"][0]
    assert first == {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
    assert [item["key"].partition("/")[2] for item in made["spec"]["tolerations"]] == [
        "not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable",
    ]  # fmt: skip
    assert tolerations_of(made["spec"]) == made["spec"]["tolerations"]


@pytest.mark.parametrize(
    ("fits", "pods", "create", "delete"),
    [
        (on("a", "b"), [], ["a", "b"], []),
        (on("a", "b"), [pod("a", "pending")], ["b"], []),
        ({"a": Fit.STAYS}, [], [], []),
        ({"a": Fit.STAYS}, [pod("a")], [], []),
        ({"a": Fit.NONE}, [pod("a"), pod("a", "ok-", name="x")], [], ["d-a-n"]),
        (on("a"), [pod("a", "ok-")], [], []),  # the next one comes when this one is gone
        (on("a"), [pod("a", "failed-")], ["a"], []),  # that one only waits for its finalizers
        (on("a"), [pod("a", "failed")], [], ["d-a-n"]),
        (on("a"), [pod("a", "succeeded")], [], ["d-a-n"]),
        (on("a"), [pod("a", "pending", name="x", bound=False), pod("a", name="y")], [], ["x"]),
        (on("a"), [pod("gone", "pending", bound=False), pod("lost")], ["a"], ["d-gone-n"]),
    ],
)
def test_one_pod_on_each_node_that_fits(fits, pods, create, delete):
    assert names(plan_pods(daemons(daemon_set(), fits, *pods), {})) == (create, delete)


def test_failed_pods_wait_longer_each_time():
    failing = daemons(daemon_set(), on("a"), pod("a", "failed"))
    plan = plan_pods(failing, {})
    assert plan.failed_nodes == ("a",)
    [(kind, reason, message)] = plan.events
    assert (kind, reason) == ("Warning", "FailedDaemonPod")
    assert message == "Found failed daemon pod default/d-a-n on node a, will try to kill it"
    waiting = plan_pods(failing, {"a": 4.0})
    assert (waiting.delete, waiting.requeue_after, waiting.failed_nodes) == ((), 4.0, ())

    backoff, key, now = FailedPodBackoff(), ObjectKey("default", "d"), 0.0
    delays = []
    for _ in range(12):
        backoff.failed(key, 1, "a", now)
        delays.append(backoff.waits(key, 1, now)["a"])
        now += delays[-1]
    assert delays[:4] == [1, 2, 4, 8]
    assert delays[-1] == 15 * 60
    assert backoff.waits(key, 1, now) == {}
    backoff.failed(key, 1, "a", now)
    assert backoff.waits(key, 2, now) == {}  # a new template deserves a new try


OLD_A, OLD_B, OLD_C = (pod(name, new=False) for name in "abc")


@pytest.mark.parametrize(
    ("unavailable", "pods", "delete"),
    [
        (1, [OLD_A, OLD_B, OLD_C], ["d-a-o"]),
        (2, [OLD_A, OLD_B, OLD_C], ["d-a-o", "d-b-o"]),
        ("50%", [OLD_A, OLD_B, OLD_C], ["d-a-o", "d-b-o"]),
        (1, [pod("a"), OLD_B, OLD_C], ["d-b-o"]),
        (1, [pod("a", "unready"), OLD_B, OLD_C], []),
        (1, [OLD_B, OLD_C], []),
        (1, [pod("a", "ok-", new=False), OLD_B, OLD_C], []),
        # What serves nobody is replaced at once, and counts.
        (1, [pod("a", "unready", new=False), pod("b", "unready", new=False), OLD_C], ["d-a-o", "d-b-o"]),
        (0, [OLD_A, OLD_B, OLD_C], ["d-a-o"]),
        (1, [pod("a"), pod("b"), pod("c")], []),
    ],
)
def test_updates_in_place(unavailable, pods, delete):
    plan = plan_update(daemons(daemon_set(unavailable=unavailable), on("a", "b", "c"), *pods))
    assert names(plan) == ([], delete)


@pytest.mark.parametrize(
    ("pods", "create", "delete"),
    [
        ([OLD_A, OLD_B, OLD_C], ["a"], []),
        ([OLD_A, pod("a", "unready"), OLD_B, OLD_C], [], []),
        ([OLD_A, pod("a"), OLD_B, OLD_C], ["b"], ["d-a-o"]),
        ([pod("a", "unready", new=False), OLD_B, OLD_C], ["a", "b"], []),
        ([pod("a"), pod("b"), pod("c")], [], []),
    ],
)
def test_updates_by_surge(pods, create, delete):
    plan = plan_update(daemons(daemon_set(surge=1, unavailable=0), on("a", "b", "c"), *pods))
    assert names(plan) == (create, delete)


def test_with_surge_a_pod_where_none_may_be_any_more_stays_until_there_are_enough():
    the_set = daemon_set(surge=1, unavailable=0)
    fits = {"a": Fit.STAYS, "b": Fit.RUNS}
    assert names(plan_update(daemons(the_set, fits, OLD_A, pod("b", "unready")))) == ([], [])
    assert names(plan_update(daemons(the_set, fits, OLD_A, pod("b")))) == ([], ["d-a-o"])


def test_with_surge_two_pods_may_be_on_a_node_for_a_while():
    the_set = daemon_set(surge=1, unavailable=0)
    for new_state, old_state, delete in (
        ("unready", "ok", []), ("ok", "ok", ["d-a-o"]), ("unready", "unready", ["d-a-o"]),
    ):  # fmt: skip
        both = daemons(the_set, on("a"), pod("a", new_state), pod("a", old_state, new=False))
        assert names(plan_pods(both, {})) == ([], delete)
    assert names(plan_pods(daemons(the_set, on("a"), pod("a", "ok-", new=False)), {})) == (["a"], [])


def test_on_delete_updates_nothing():
    the_set = daemon_set(updateStrategy={"type": "OnDelete"})
    assert plan_update(daemons(the_set, on("a"), OLD_A)).is_idle


def test_the_status():
    fits = {**on("a", "b", "c", "d"), "e": Fit.STAYS, "f": Fit.NONE}
    pods = [pod("a"), pod("b", new=False), pod("c", "fresh"), pod("e")]
    seen = daemons(daemon_set(minReadySeconds=10), fits, *pods)
    assert plan_status(seen, 0) == {
        "desiredNumberScheduled": 4, "currentNumberScheduled": 3, "numberMisscheduled": 1, "numberReady": 3,
        "updatedNumberScheduled": 2, "numberAvailable": 2, "numberUnavailable": 2, "observedGeneration": 1,
    }  # fmt: skip
    assert next_availability_check(seen) == 5
    told = daemon_set(minReadySeconds=10) | {"status": {**plan_status(seen, 0), "collisionCount": 0}}
    assert plan_status(daemons(told, fits, *pods), 0) is None


STATES = st.sampled_from(["ok", "ok", "unready", "pending", "failed", "ok-"])
PODS = st.lists(st.tuples(st.sampled_from("abcdef"), STATES, st.booleans()), max_size=10)


@settings(max_examples=300, deadline=None)
@given(PODS, st.lists(st.sampled_from(list(Fit)), min_size=6, max_size=6), st.integers(1, 4), st.booleans())
def test_no_update_takes_more_than_it_may(found, fits, limit, surge):
    pods = [pod(name, state, new, name=f"p{number}") for number, (name, state, new) in enumerate(found)]
    the_set = daemon_set(surge=limit if surge else 0, unavailable=0 if surge else limit)
    seen = daemons(the_set, dict(zip("abcdef", fits, strict=True)), *pods)
    first, update = plan_pods(seen, {}), plan_update(seen)
    for plan in (first, update):
        assert len(set(plan.create)) == len(plan.create)
        assert all(seen.fits[name] is Fit.RUNS for name in plan.create)
        assert not any("deletionTimestamp" in item["metadata"] for item in plan.delete)
    for name in first.create:
        staying = [item for item in seen.pods.get(name, ()) if "deletionTimestamp" not in item["metadata"]]
        assert all(item in first.delete for item in staying)
    if first.is_idle:
        serving = {name for name, items in seen.pods.items() for item in items
                   if seen.is_available(item) and "deletionTimestamp" not in item["metadata"]}  # fmt: skip
        lost = {pinned_node(item["spec"]) for item in update.delete if seen.is_available(item)}
        runs = {name for name, fit in seen.fits.items() if fit is Fit.RUNS}
        if not surge:
            assert not lost or len(runs - serving) + len(lost & runs) <= limit
            assert not update.create
