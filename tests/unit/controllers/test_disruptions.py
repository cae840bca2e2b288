"""The disruption controller among the others: what it counts, tells and takes back, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controllers.cluster import Cluster, deployment, namespace, node
from timonel.api.clock import format_time
from timonel.api.errors import ServiceUnavailable, conflict
from timonel.api.objects import Object
from timonel.api.refs import DAEMON_SETS, DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS, ResourceRef
from timonel.testing.clock import VirtualClock
from timonel.testing.fake_client import FakeClient
from timonel.testing.fake_store import SERVED

OTHERS = ("root-ca-cert-publisher", "serviceaccount", "namespace", "garbage-collector", "pod-garbage-collector")
WIDGETS = ResourceRef("example.com", "v1", "widgets", "Widget")


def budget(name: str = "web", app: str = "web", **spec: Any) -> Object:
    return {
        "kind": "PodDisruptionBudget", "apiVersion": "policy/v1",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}, **spec},
    }  # fmt: skip


def pod(name: str, app: str = "web", owner: Object | None = None, **status: Any) -> Object:
    metadata: Object = {"name": name, "namespace": "default", "labels": {"app": app}}
    if owner is not None:
        metadata["ownerReferences"] = [{**owner, "controller": True}]
    ready = {"type": "Ready", "status": "True"}
    return {
        "kind": "Pod", "apiVersion": "v1", "metadata": metadata,
        "spec": {"containers": [{"name": "c"}], "nodeName": "silent"},
        "status": {"phase": "Running", "conditions": [ready], **status},
    }  # fmt: skip


def status_of(cluster: Cluster, name: str = "web") -> Object:
    found = cluster.client.objects(POD_DISRUPTION_BUDGETS)
    status: Object = next(item for item in found if item["metadata"]["name"] == name)["status"]
    return status


def counts_of(cluster: Cluster, name: str = "web") -> tuple[int, ...]:
    status = status_of(cluster, name)
    return tuple(status[key] for key in ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"))


def condition_of(cluster: Cluster, name: str = "web") -> tuple[str, str, str]:
    [condition] = status_of(cluster, name)["conditions"]
    return condition["status"], condition["reason"], condition["message"]


def told(cluster: Cluster, reason: str) -> list[str]:
    return [message for _, found, message in cluster.events() if found == reason]


def grant(cluster: Cluster, pod_name: str) -> None:
    """As the server does before it deletes an evicted pod."""

    def change(obj: Object) -> None:
        obj["status"]["disruptionsAllowed"] -= 1
        obj["status"]["disruptedPods"] = {pod_name: format_time(cluster.clock.now())}

    cluster.client.change(POD_DISRUPTION_BUDGETS, "web", "default", change)


async def test_a_deployment_is_followed_through_start_scaling_and_loss() -> None:
    made = (deployment(replicas=4), node("node-1"), budget(maxUnavailable="25%"))
    async with Cluster(*made, without=OTHERS) as cluster:
        assert told(cluster, "NoPods") == ["No matching pods found"]
        await cluster.run(4)
        assert counts_of(cluster) == (4, 3, 4, 1)
        assert condition_of(cluster) == ("True", "SufficientPods", "")
        writes = cluster.client.written()
        assert {(write.verb, write.subresource) for write in writes if write.ref == POD_DISRUPTION_BUDGETS} == {
            ("update", "status")
        }
        await cluster.run(200)
        assert cluster.client.written() == writes  # quiet when idle

        cluster.kubelet = lambda pod, age: not pod["metadata"]["name"].endswith(cluster.pods[0]["metadata"]["name"])
        await cluster.run(1)
        assert counts_of(cluster) == (4, 3, 3, 0)
        assert condition_of(cluster) == ("False", "InsufficientPods", "")
        cluster.kubelet = lambda pod, age: True
        cluster.set_spec(replicas=8)
        await cluster.run(4)
        assert counts_of(cluster) == (8, 6, 8, 2)


async def test_wanted_pods_count_even_when_they_cannot_be_made() -> None:
    without = (*OTHERS, "deployment", "replicaset")
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u"}
    made = deployment(replicas=2)
    made["metadata"]["uid"] = "u"
    budgets = budget(maxUnavailable=1)
    async with Cluster(made, pod("a", owner=owner), pod("b", owner=owner), budgets, without=without) as cluster:
        cluster.dead.add("silent")
        assert counts_of(cluster) == (2, 1, 2, 1)
        cluster.client.change(DEPLOYMENTS, "web", "default", lambda obj: obj["spec"].update(replicas=3))
        await cluster.run(1)
        assert counts_of(cluster) == (3, 2, 2, 0)


async def test_a_granted_eviction_that_comes_to_nothing_is_taken_back_after_two_minutes() -> None:
    async with Cluster(pod("a"), pod("b"), budget(minAvailable=1), without=OTHERS) as cluster:
        cluster.dead.add("silent")
        assert counts_of(cluster) == (2, 1, 2, 1)
        grant(cluster, "a")
        await cluster.run(119)
        assert counts_of(cluster) == (2, 1, 1, 0)
        await cluster.run(2)
        assert counts_of(cluster) == (2, 1, 2, 1)
        assert "disruptedPods" not in status_of(cluster)
        assert told(cluster, "NotDeleted") == ["Pod was expected by PDB default/web to be deleted but it wasn't"]


async def test_an_eviction_that_is_granted_meanwhile_is_not_overlooked() -> None:
    async with Cluster(pod("a"), pod("b"), budget(minAvailable=1), without=OTHERS) as cluster:
        cluster.dead.add("silent")
        refusal = conflict(POD_DISRUPTION_BUDGETS, "web")
        cluster.client.fail(refusal, verb="update", ref=POD_DISRUPTION_BUDGETS)
        cluster.client.add(pod("c"))
        await cluster.run(1)
        assert counts_of(cluster) == (3, 1, 3, 2)
        assert condition_of(cluster)[1] == "SufficientPods"


@pytest.mark.parametrize(
    ("owner", "why"),
    [
        ({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "u"},
         "daemonsets.apps does not implement the scale subresource"),
        ({"apiVersion": "none.io/v1", "kind": "Thing", "name": "d", "uid": "u"},
         'no matches for kind "Thing" in version "none.io/v1"'),
        ({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "gone", "uid": "u"},
         'found no controllers for pod "a"'),
    ],
)  # fmt: skip
async def test_what_cannot_be_computed_allows_nothing_and_says_why(owner: Object, why: str) -> None:
    daemon_set = {"kind": "DaemonSet", "apiVersion": DAEMON_SETS.api_version,
                  "metadata": {"name": "d", "namespace": "default", "uid": "u"}, "spec": {}}  # fmt: skip
    made = (daemon_set, pod("a", owner=owner), budget(maxUnavailable=1))
    async with Cluster(*made, without=OTHERS) as cluster:
        cluster.dead.add("silent")
        assert condition_of(cluster) == ("False", "SyncFailed", why)
        assert status_of(cluster)["disruptionsAllowed"] == 0
        failed = f"Failed to calculate the number of expected pods: {why}"
        assert told(cluster, "CalculateExpectedPodCountFailed") == [failed]
        # An integer for minAvailable needs no scale, and the budget recovers.
        cluster.client.change(POD_DISRUPTION_BUDGETS, "web", "default", lambda obj: obj.update(budget(minAvailable=0),
                              metadata=obj["metadata"] | {"generation": 2}))  # fmt: skip
        await cluster.run(1)
        assert counts_of(cluster) == (1, 0, 1, 1)
        assert status_of(cluster)["observedGeneration"] == 2


async def test_any_kind_with_a_scale_counts_and_is_asked_again_when_the_server_was_away() -> None:
    clock = VirtualClock()
    widget = {"kind": "Widget", "apiVersion": "example.com/v1", "spec": {"replicas": 5},
              "metadata": {"name": "w", "namespace": "default", "uid": "u"}}  # fmt: skip
    owner = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "u"}
    objects = (namespace("default"), widget, pod("a", owner=owner), pod("b", owner=owner), budget(minAvailable="20%"))
    client = FakeClient(*objects, clock=clock, served=(*SERVED, WIDGETS), with_scale=(WIDGETS,))
    client.fail(ServiceUnavailable("away"), verb="get", ref=WIDGETS, times=3)
    async with Cluster(clock=clock, client=client, without=OTHERS) as cluster:
        cluster.dead.add("silent")
        assert condition_of(cluster) == ("False", "SyncFailed", "away")
        await cluster.run(1)
        assert counts_of(cluster) == (5, 1, 2, 1)
        assert condition_of(cluster) == ("True", "SufficientPods", "")


async def test_pods_that_nobody_controls_are_told_of() -> None:
    async with Cluster(pod("a"), budget(maxUnavailable=1), without=OTHERS) as cluster:
        cluster.dead.add("silent")
        assert counts_of(cluster) == (0, 0, 1, 0)
        assert told(cluster, "UnmanagedPods")[0].startswith(
            "Pods selected by this PodDisruptionBudget (selector: app=web) were found to be unmanaged."
        )


async def test_every_budget_of_a_pod_counts_it_and_its_owner_hears_of_that() -> None:
    async with Cluster(budget(minAvailable=0), budget("two", minAvailable=0), without=OTHERS) as cluster:
        cluster.dead.add("silent")
        cluster.client.add(pod("a"))
        await cluster.run(1)
        assert counts_of(cluster) == counts_of(cluster, "two") == (1, 0, 1, 1)
        assert told(cluster, "MultiplePodDisruptionBudgets") == [
            'Pod "default"/"a" matches multiple PodDisruptionBudgets. It cannot be evicted.'
        ]


async def test_a_budget_may_choose_other_pods() -> None:
    other = pod("b", app="other")
    async with Cluster(pod("a"), other, pod("c", app="other"), budget(minAvailable=0), without=OTHERS) as cluster:
        cluster.dead.add("silent")
        assert counts_of(cluster)[0] == 1

        def choose(obj: Object) -> None:
            obj["spec"]["selector"] = {"matchLabels": {"app": "other"}}

        cluster.client.change(POD_DISRUPTION_BUDGETS, "web", "default", choose)
        await cluster.run(1)
        assert counts_of(cluster)[0] == 2
        cluster.client.add(pod("d", app="other"))
        await cluster.run(1)
        assert counts_of(cluster)[0] == 3


async def test_a_target_that_was_not_disrupted_is_none_any_more_after_two_minutes() -> None:
    clock = VirtualClock()
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
              "message": "Eviction API: evicting", "lastTransitionTime": format_time(clock.now())}  # fmt: skip
    async with Cluster(pod("a", conditions=[target]), clock=clock, without=OTHERS) as cluster:
        cluster.dead.add("silent")
        await cluster.run(119)
        assert cluster.condition("DisruptionTarget", cluster.pods[0]) == target
        await cluster.run(2)
        assert cluster.condition("DisruptionTarget", cluster.pods[0]) == {
            "type": "DisruptionTarget", "status": "False", "lastTransitionTime": "2026-01-01T00:02:00Z",
        }  # fmt: skip
        assert [write.subresource for write in cluster.client.written() if write.ref == PODS] == ["status"]
