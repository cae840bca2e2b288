"""DaemonSets among the other controllers, in virtual time: nodes that come, change and go, updates, failing pods."""

import pytest

from tests.unit.controllers.cluster import Cluster, node
from timonel.api.errors import forbidden
from timonel.api.objects import is_deleting, labels_of, name_of
from timonel.api.placement import pinned_node
from timonel.api.refs import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from timonel.controllers.pods import is_ready, phase_of

OTHERS = (
    "local-volume-provisioner",
    "root-ca-cert-publisher", "serviceaccount", "namespace", "garbage-collector", "node-ipam", "node-lifecycle",
    "taint-eviction-controller",
)  # fmt: skip


def daemon_set(image="a:1", surge=0, unavailable=1, spec=None, **fields):
    return {
        "kind": "DaemonSet",
        "apiVersion": "apps/v1",
        "metadata": {"name": "d", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "revisionHistoryLimit": 10,
            "updateStrategy": {
                "type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
            },
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "main", "image": image}], **(spec or {})},
            },
            **fields,
        },
    }  # fmt: skip


def nodes(count):
    return [node(f"n{number}") for number in range(1, count + 1)]


def set_image(cluster, image):
    def apply(obj):
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image
        obj["metadata"]["generation"] = obj["metadata"].get("generation", 0) + 1

    cluster.client.change(DAEMON_SETS, "d", "default", apply)


def status_of(cluster):
    return cluster.client.objects(DAEMON_SETS)[0]["status"]


def where(cluster):
    return sorted(pinned_node(pod["spec"]) for pod in cluster.pods if not is_deleting(pod))


def images(cluster):
    return {pod["spec"]["containers"][0]["image"] for pod in cluster.pods}


def told(cluster, reason):
    return [message for kind, found, message in cluster.events() if (kind, found) == ("DaemonSet", reason)]


def serving(cluster):
    """Names of nodes with a pod that is ready and stays."""
    return {pinned_node(pod["spec"]) for pod in cluster.serving()}


async def test_a_pod_on_each_node_as_nodes_come_change_and_go():
    spec = {"nodeSelector": {"disk": "ssd"}}
    made = [node("n1", labels={"disk": "ssd"}), node("n2", labels={"disk": "ssd"}), node("n3")]
    async with Cluster(*made, daemon_set(spec=spec), without=OTHERS) as cluster:
        await cluster.run(3)
        assert where(cluster) == ["n1", "n2"]
        counts = status_of(cluster)
        assert [counts[f"{name}NumberScheduled"] for name in ("desired", "current", "updated")] == [2, 2, 2]
        assert (counts["numberReady"], counts["numberAvailable"], counts["numberMisscheduled"]) == (2, 2, 0)
        assert told(cluster, "SuccessfulCreate")[0].startswith("Created pod: d-")
        writes = cluster.client.written()
        await cluster.run(120)
        assert cluster.client.written() == writes  # quiet when idle

        cluster.client.change(NODES, "n3", "", lambda obj: obj["metadata"].setdefault("labels", {}).update(disk="ssd"))
        cluster.client.add(node("n4", labels={"disk": "ssd"}))
        cluster.client.change(NODES, "n1", "", lambda obj: obj["metadata"].update(labels={}))
        await cluster.run(5)
        assert where(cluster) == ["n2", "n3", "n4"]
        cluster.client.remove(NODES, "n4")
        cluster.dead.add("n4")
        await cluster.run(120)
        assert where(cluster) == ["n2", "n3"]
        assert status_of(cluster)["desiredNumberScheduled"] == 2


async def test_a_cordoned_node_keeps_its_pod_and_gets_a_new_one():
    def cordon(obj):
        obj["spec"].update(unschedulable=True, taints=[{"key": "node.kubernetes.io/unschedulable",
                                                        "effect": "NoSchedule"}])  # fmt: skip

    async with Cluster(*nodes(2), daemon_set(), without=OTHERS) as cluster:
        cluster.client.change(NODES, "n2", "", cordon)
        await cluster.run(3)
        cluster.client.remove(PODS, name_of(cluster.pods[0]), "default")
        await cluster.run(3)
        assert where(cluster) == ["n1", "n2"]
        taint = {"key": "special", "effect": "NoSchedule"}
        cluster.client.change(NODES, "n2", "", lambda obj: obj["spec"].update(taints=[taint]))
        await cluster.run(3)
        assert where(cluster) == ["n1", "n2"]
        assert (status_of(cluster)["desiredNumberScheduled"], status_of(cluster)["numberMisscheduled"]) == (1, 1)
        taint["effect"] = "NoExecute"
        cluster.client.change(NODES, "n2", "", lambda obj: obj["spec"].update(taints=[taint]))
        await cluster.run(3)
        assert where(cluster) == ["n1"]


@pytest.mark.parametrize(("unavailable", "fewest"), [(1, 4), (3, 2), ("40%", 3)])
async def test_an_update_in_place_leaves_enough(unavailable, fewest):
    async with Cluster(*nodes(5), daemon_set(unavailable=unavailable), without=OTHERS) as cluster:
        await cluster.run(3)
        least = []
        cluster.observe = lambda: least.append(len(serving(cluster)))
        set_image(cluster, "a:2")
        await cluster.run(40)
        assert images(cluster) == {"a:2"}
        assert min(least) == fewest
        assert status_of(cluster)["updatedNumberScheduled"] == 5
        revisions = cluster.client.objects(CONTROLLER_REVISIONS)
        assert sorted(item["revision"] for item in revisions) == [1, 2]
        set_image(cluster, "a:1")  # as `kubectl rollout undo` does
        await cluster.run(40)
        assert images(cluster) == {"a:1"}
        assert sorted(item["revision"] for item in cluster.client.objects(CONTROLLER_REVISIONS)) == [2, 3]


async def test_an_update_by_surge_leaves_no_node_without_a_pod():
    async with Cluster(*nodes(4), daemon_set(surge=2, unavailable=0), without=OTHERS) as cluster:
        await cluster.run(3)
        most = []

        def observe():
            assert len(serving(cluster)) == 4
            most.append(len([pod for pod in cluster.pods if not is_deleting(pod)]))

        cluster.observe = observe
        set_image(cluster, "a:2")
        await cluster.run(20)
        assert images(cluster) == {"a:2"}
        assert max(most) == 6


async def test_a_broken_update_stops_and_a_mended_one_goes_on():
    async with Cluster(*nodes(3), daemon_set(), without=OTHERS) as cluster:
        await cluster.run(3)
        cluster.kubelet = lambda pod, age: pod["spec"]["containers"][0]["image"] != "broken" and age >= 1
        set_image(cluster, "broken")
        await cluster.run(60)
        assert len(serving(cluster)) == 2
        set_image(cluster, "a:3")
        await cluster.run(20)
        assert images(cluster) == {"a:3"}
        assert len(serving(cluster)) == 3


async def test_a_rollback_restarts_only_what_had_been_updated():
    async with Cluster(*nodes(4), daemon_set(), without=OTHERS) as cluster:
        await cluster.run(3)
        before = {name_of(pod) for pod in cluster.pods}
        cluster.kubelet = lambda pod, age: pod["spec"]["containers"][0]["image"] != "broken" and age >= 1
        set_image(cluster, "broken")
        await cluster.run(20)
        set_image(cluster, "a:1")
        await cluster.run(20)
        after = {name_of(pod) for pod in cluster.pods}
        assert len(before & after) == 3
        assert images(cluster) == {"a:1"}


async def test_min_ready_seconds_slow_an_update_down():
    async with Cluster(*nodes(2), daemon_set(minReadySeconds=10), without=OTHERS) as cluster:
        await cluster.run(15)
        assert status_of(cluster)["numberAvailable"] == 2
        set_image(cluster, "a:2")
        await cluster.run(12)
        assert images(cluster) == {"a:1", "a:2"}
        await cluster.run(20)
        assert images(cluster) == {"a:2"}


async def test_on_delete_waits_for_somebody_to_delete():
    async with Cluster(*nodes(2), daemon_set(updateStrategy={"type": "OnDelete"}), without=OTHERS) as cluster:
        await cluster.run(3)
        set_image(cluster, "a:2")
        await cluster.run(10)
        assert images(cluster) == {"a:1"}
        await cluster.client.delete(PODS, name_of(cluster.pods[0]), "default")
        await cluster.run(5)
        assert images(cluster) == {"a:1", "a:2"}


async def test_pods_that_a_node_refuses_come_back_ever_more_slowly():
    async with Cluster(node("n1"), daemon_set(), without=OTHERS) as cluster:
        cluster.dead.add("n1")

        def refuse():
            for pod in cluster.pods:
                if is_deleting(pod):
                    cluster.client.remove(PODS, name_of(pod), "default")
                elif phase_of(pod) != "Failed":

                    def fail(obj):
                        obj["spec"]["nodeName"] = "n1"
                        obj["status"] = {"phase": "Failed"}

                    cluster.client.change(PODS, name_of(pod), "default", fail)

        cluster.observe = refuse
        await cluster.run(120)
        made = [write for write in cluster.client.written() if (write.ref, write.verb) == (PODS, "create")]
        # After 1, 2, 4, 8, 16, 32 and 64 seconds.
        assert 5 <= len(made) <= 9
        assert len(told(cluster, "FailedDaemonPod")) >= 4


async def test_pods_without_the_label_are_let_go_and_orphans_taken():
    async with Cluster(*nodes(1), daemon_set(), without=OTHERS) as cluster:
        await cluster.run(3)
        [pod] = cluster.pods
        cluster.client.change(PODS, name_of(pod), "default", lambda obj: obj["metadata"]["labels"].update(app="x"))
        await cluster.run(3)
        assert len(cluster.pods) == 2
        released = next(item for item in cluster.pods if labels_of(item)["app"] == "x")
        assert "ownerReferences" not in released["metadata"]
        cluster.client.change(PODS, name_of(pod), "default", lambda obj: obj["metadata"]["labels"].update(app="d"))
        await cluster.run(5)
        [kept] = cluster.pods  # two on one node: the older stays
        assert name_of(kept) == name_of(pod)
        assert is_ready(kept)
        assert kept["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet"


async def test_refusals_are_told_and_cost_few_requests():
    async with Cluster(*nodes(40), daemon_set(), without=(*OTHERS, "daemonset")) as cluster:
        client, clock = cluster.client, cluster.clock
    before = len(client.written())
    client.fail(forbidden(PODS, "", "exceeded quota: q"), verb="create", ref=PODS, times=10)
    async with Cluster(client=client, clock=clock, without=OTHERS) as cluster:
        assert len(client.written()) - before <= 2  # the revision and the status
        await cluster.run(2)
        assert told(cluster, "FailedCreate")
        await cluster.run(300)
        assert len(where(cluster)) == 40


async def test_a_new_manager_writes_nothing_that_is_already_so():
    async with Cluster(*nodes(3), daemon_set(), without=OTHERS) as cluster:
        await cluster.run(5)
        client, clock = cluster.client, cluster.clock
    writes = client.written()
    async with Cluster(client=client, clock=clock, kubelet=lambda pod, age: True, without=OTHERS) as cluster:
        await cluster.run(5)
        assert client.written() == writes
