"""Pods that must leave for a taint: at once, in time, or not after all. In virtual time."""

from tests.unit.controllers.cluster import Cluster, node
from timonel.api.objects import is_deleting, name_of
from timonel.api.refs import EVENTS, NODES, PODS

KEY = "example.com/broken"


def pod(name="p", *, node_name="node-1", **toleration):
    tolerations = [{"key": KEY, "operator": "Exists", "effect": "NoExecute", **toleration}] if toleration else []
    spec = {"nodeName": node_name, "containers": [{"name": "c", "image": "i"}], "tolerations": tolerations}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def taint(cluster, effect="NoExecute", **fields):
    """As `kubectl taint` does: without a time."""
    value = [{"key": KEY, "effect": effect, **fields}] if effect else None
    cluster.client.change(NODES, "node-1", "", lambda obj: obj["spec"].update(taints=value or []))


def staying(cluster):
    return {name_of(each) for each in cluster.client.objects(PODS) if not is_deleting(each)}


def told(cluster):
    return [each["message"] for each in cluster.client.objects(EVENTS) if each["reason"] == "TaintManagerEviction"]


def world(*pods):
    return Cluster(node("node-1"), *pods, grace=1)


async def test_pods_go_when_what_they_tolerate_is_over_even_if_the_taint_has_no_time():
    async with world(pod("none"), pod("short", tolerationSeconds=20), pod("long", tolerationSeconds=60)) as cluster:
        await cluster.run(5)
        taint(cluster)
        await cluster.run(2)
        assert staying(cluster) == {"short", "long"}
        await cluster.run(15)
        assert staying(cluster) == {"short", "long"}
        await cluster.run(5)
        assert staying(cluster) == {"long"}
        await cluster.run(40)
        assert staying(cluster) == set()


async def test_taint_that_is_taken_away_in_time_sends_nobody_away_and_says_so():
    async with world(pod(tolerationSeconds=20)) as cluster:
        await cluster.run(5)
        taint(cluster)
        await cluster.run(15)
        taint(cluster, effect="")
        await cluster.run(10)
        assert staying(cluster) == {"p"}
        assert told(cluster) == ["Cancelling deletion of Pod default/p"]
        taint(cluster)  # the time begins anew
        await cluster.run(15)
        assert staying(cluster) == {"p"}
        await cluster.run(7)
        assert staying(cluster) == set()
        assert told(cluster)[-1] == "Marking for deletion Pod default/p"


async def test_pod_that_tolerates_more_meanwhile_stays():
    async with world(pod(tolerationSeconds=20)) as cluster:
        await cluster.run(5)
        taint(cluster)
        await cluster.run(10)
        forever = [{"key": KEY, "operator": "Exists"}]
        cluster.client.change(PODS, "p", "default", lambda obj: obj["spec"].update(tolerations=forever))
        await cluster.run(60)
        assert staying(cluster) == {"p"}


async def test_changes_of_a_pod_do_not_give_it_more_time():
    async with world(pod(tolerationSeconds=20)) as cluster:
        await cluster.run(5)
        taint(cluster)
        for number in range(4):
            await cluster.run(4)
            cluster.client.change(
                PODS, "p", "default",
                lambda obj, number=number: obj["spec"]["tolerations"].append({"key": f"other-{number}"}),
            )  # fmt: skip
        await cluster.run(6)
        assert staying(cluster) == set()


async def test_new_pod_of_the_same_name_has_its_whole_time():
    async with world(pod(tolerationSeconds=20)) as cluster:
        await cluster.run(5)
        taint(cluster)
        await cluster.run(15)
        cluster.client.remove(PODS, "p", "default")
        cluster.client.add(pod(tolerationSeconds=20))
        await cluster.run(15)
        assert staying(cluster) == {"p"}
        await cluster.run(7)
        assert staying(cluster) == set()


async def test_taint_with_a_time_counts_from_it():
    async with world(pod(tolerationSeconds=100)) as cluster:
        await cluster.run(1)
        taint(cluster, timeAdded="2025-01-01T00:00:00Z")
        await cluster.run(2)
        assert staying(cluster) == set()


async def test_taints_of_other_effects_send_nobody_away():
    async with world(pod()) as cluster:
        await cluster.run(1)
        taint(cluster, effect="NoSchedule")
        await cluster.run(10)
        assert staying(cluster) == {"p"}


async def test_what_is_to_go_goes_without_its_kubelet_when_the_node_is_out_of_service():
    async with Cluster(node("node-1", ready="False"), node("node-2"), pod(), grace=10**6) as cluster:
        cluster.dead.add("node-1")
        await cluster.client.delete(PODS, "p", "default", grace_period_seconds=30)
        await cluster.run(20)
        assert [name_of(each) for each in cluster.client.objects(PODS)] == ["p"]
        out = [{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]
        cluster.client.change(NODES, "node-1", "", lambda obj: obj["spec"].setdefault("taints", []).extend(out))
        await cluster.run(3)
        assert cluster.client.objects(PODS) == []
