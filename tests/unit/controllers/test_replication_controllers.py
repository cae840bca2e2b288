"""ReplicationControllers keep their number of pods, as ReplicaSets do, by a plain map of labels."""

from tests.unit.controllers.cluster import Cluster, node
from timonel.api.objects import controller_of, name_of, owner_references
from timonel.api.refs import PODS, REPLICATION_CONTROLLERS


def replication_controller(replicas):
    return {
        "kind": "ReplicationController",
        "apiVersion": "v1",
        "metadata": {"name": "old", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"app": "old"},
            "template": {
                "metadata": {"labels": {"app": "old", "more": "yes"}},
                "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
            },
        },
    }


def loner(name, **labels):
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "nginx:1"}]},
        "status": {"phase": "Running"},
    }


async def test_pods_are_made_adopted_and_counted():
    async with Cluster(replication_controller(3), loner("mine", app="old"), loner("other"), node("node-1")) as cluster:
        await cluster.run(5)
        owned = [pod for pod in cluster.client.objects(PODS, "default") if controller_of(pod)]
        assert len(owned) == 3
        assert "mine" in map(name_of, owned)
        owner = controller_of(owned[0])
        assert (owner["apiVersion"], owner["kind"], owner["name"]) == ("v1", "ReplicationController", "old")
        [subject] = cluster.client.objects(REPLICATION_CONTROLLERS, "default")
        assert subject["status"] == {
            "replicas": 3,
            "readyReplicas": 3,
            "availableReplicas": 3,
            "fullyLabeledReplicas": 2,  # the adopted one lacks a label of the template
            "observedGeneration": 1,
        }


async def test_a_pod_whose_label_changes_is_released_and_replaced():
    async with Cluster(replication_controller(2), node("node-1")) as cluster:
        await cluster.run(5)
        first = cluster.client.objects(PODS, "default")[0]
        patch = {"metadata": {"labels": {"app": "debug"}}}
        await cluster.client.patch(PODS, name_of(first), patch, "default", type="merge")
        await cluster.run(5)
        pods = cluster.client.objects(PODS, "default")
        assert len(pods) == 3
        [freed] = [pod for pod in pods if pod["metadata"]["labels"]["app"] == "debug"]
        assert owner_references(freed) == []
