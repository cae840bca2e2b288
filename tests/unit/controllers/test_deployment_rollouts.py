"""Deployments with the whole manager around them, in virtual time: what users and kubectl rollout rely on."""

import pytest

from tests.unit.controllers.cluster import Cluster, deployment, node
from timonel.api.errors import Forbidden
from timonel.api.objects import annotations_of, labels_of, name_of
from timonel.api.refs import DEPLOYMENTS, PODS, REPLICA_SETS
from timonel.controllers.deployment.revisions import (
    REVISION,
    REVISION_HISTORY,
    equal_templates,
    new_annotations,
    template_hash,
)


def image_of(obj):
    spec = obj["spec"].get("template", obj)["spec"]
    return spec["containers"][0]["image"]


def revisions(cluster):
    return {image_of(item): annotations_of(item)[REVISION] for item in cluster.replica_sets}


async def test_new_deployment_becomes_complete():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(5)
        status = cluster.deployment["status"]
        assert {k: v for k, v in status.items() if k != "conditions"} == {
            "observedGeneration": 1,
            "replicas": 3,
            "updatedReplicas": 3,
            "readyReplicas": 3,
            "availableReplicas": 3,
            "terminatingReplicas": 0,
        }
        progressing, available = cluster.condition("Progressing"), cluster.condition("Available")
        assert (available["status"], available["reason"]) == ("True", "MinimumReplicasAvailable")
        assert (progressing["status"], progressing["reason"]) == ("True", "NewReplicaSetAvailable")
        [replica_set] = cluster.replica_sets
        suffix = labels_of(replica_set)["pod-template-hash"]
        assert name_of(replica_set) == f"web-{suffix}"
        assert replica_set["spec"]["selector"] == {"matchLabels": {"app": "web", "pod-template-hash": suffix}}
        assert all(labels_of(pod)["pod-template-hash"] == suffix for pod in cluster.pods)
        assert annotations_of(cluster.deployment)[REVISION] == "1"
        name = name_of(replica_set)
        assert ("Deployment", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to 3") in cluster.events()


@pytest.mark.parametrize("bounds", [{"maxSurge": 1, "maxUnavailable": 0}, {"maxSurge": 0, "maxUnavailable": 1}])
async def test_rolling_update_keeps_enough_available_and_not_too_many(bounds):
    strategy = {"type": "RollingUpdate", "rollingUpdate": bounds}
    async with Cluster(deployment(replicas=4, strategy=strategy, minReadySeconds=2), node("node-1")) as cluster:
        await cluster.run(10)

        def observe():
            assert len(cluster.serving()) >= 4 - bounds["maxUnavailable"]
            active = [pod for pod in cluster.pods if not pod["metadata"].get("deletionTimestamp")]
            assert len(active) <= 4 + bounds["maxSurge"]

        cluster.observe = observe
        cluster.set_template("nginx:2")
        await cluster.run(60)
        assert [image_of(pod) for pod in cluster.pods] == ["nginx:2"] * 4
        assert cluster.condition("Progressing")["reason"] == "NewReplicaSetAvailable"


async def test_undo_restores_the_old_replica_set_under_a_new_revision():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(5)
        cluster.set_template("nginx:2")
        await cluster.run(30)
        assert revisions(cluster) == {"nginx:1": "1", "nginx:2": "2"}
        cluster.set_template("nginx:1")
        await cluster.run(30)
        assert revisions(cluster) == {"nginx:1": "3", "nginx:2": "2"}
        first = next(item for item in cluster.replica_sets if image_of(item) == "nginx:1")
        assert annotations_of(first)[REVISION_HISTORY] == "1"
        assert annotations_of(cluster.deployment)[REVISION] == "3"
        assert {image_of(pod) for pod in cluster.pods} == {"nginx:1"}


async def test_recreate_ends_all_old_pods_before_the_first_new_one():
    async with Cluster(deployment(strategy={"type": "Recreate"}), node("node-1")) as cluster:
        await cluster.run(5)
        assert len(cluster.serving()) == 3
        cluster.observe = lambda: pytest.fail("mixed") if len({image_of(pod) for pod in cluster.pods}) > 1 else None
        cluster.set_template("nginx:2")
        await cluster.run(30)
        assert [image_of(pod) for pod in cluster.serving()] == ["nginx:2"] * 3


async def test_paused_deployment_scales_but_does_not_roll():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(5)
        cluster.set_spec(paused=True)
        cluster.set_template("nginx:2")
        await cluster.run(5)
        paused = cluster.condition("Progressing")
        assert (paused["status"], paused["reason"]) == ("Unknown", "DeploymentPaused")
        assert len(cluster.replica_sets) == 1
        cluster.set_spec(replicas=5)
        await cluster.run(5)
        assert [image_of(pod) for pod in cluster.serving()] == ["nginx:1"] * 5
        cluster.set_spec(paused=False)
        await cluster.run(40)
        assert [image_of(pod) for pod in cluster.serving()] == ["nginx:2"] * 5


async def test_broken_version_stops_times_out_and_can_be_undone():
    def kubelet(pod, age):
        return age >= 1 and image_of(pod) != "broken"

    async with Cluster(deployment(progressDeadlineSeconds=30), node("node-1"), kubelet=kubelet) as cluster:
        await cluster.run(5)
        cluster.set_template("broken")
        await cluster.run(20)
        assert len(cluster.serving()) == 3
        assert cluster.condition("Progressing")["status"] == "True"
        await cluster.run(20)
        failed = cluster.condition("Progressing")
        assert (failed["status"], failed["reason"]) == ("False", "ProgressDeadlineExceeded")
        assert "has timed out progressing." in failed["message"]
        cluster.set_template("nginx:1")
        await cluster.run(20)
        assert [image_of(pod) for pod in cluster.pods] == ["nginx:1"] * 3
        assert cluster.condition("Progressing")["reason"] == "NewReplicaSetAvailable"


async def test_history_limit_deletes_the_oldest_empty_replica_sets():
    async with Cluster(deployment(revisionHistoryLimit=2), node("node-1")) as cluster:
        await cluster.run(5)
        for version in range(2, 7):
            cluster.set_template(f"nginx:{version}")
            await cluster.run(30)
        assert sorted(revisions(cluster).values()) == ["4", "5", "6"]


async def test_restart_annotation_rolls_and_scale_does_not():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(5)
        before = {name_of(pod) for pod in cluster.pods}
        cluster.set_spec(replicas=5)
        await cluster.run(5)
        assert before < {name_of(pod) for pod in cluster.pods}
        assert len(cluster.replica_sets) == 1

        def restart(obj):
            obj["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
            obj["metadata"]["generation"] += 1

        cluster.client.change(DEPLOYMENTS, "web", "default", restart)
        await cluster.run(40)
        assert len(cluster.serving()) == 5
        assert not before & {name_of(pod) for pod in cluster.pods}


async def test_deleted_pod_is_replaced_at_once():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(5)
        await cluster.client.delete(PODS, name_of(cluster.pods[0]), "default")
        await cluster.run(1)
        active = [pod for pod in cluster.pods if "deletionTimestamp" not in pod["metadata"]]
        assert len(active) == 3
        [replica_set] = cluster.replica_sets
        assert replica_set["status"]["terminatingReplicas"] == 1
        assert cluster.deployment["status"]["terminatingReplicas"] == 1


async def test_name_taken_by_another_template_is_a_collision():
    subject = deployment()
    suffix = template_hash(subject["spec"]["template"], 0)
    stranger = {
        "kind": "ReplicaSet",
        "apiVersion": "apps/v1",
        "metadata": {"name": f"web-{suffix}", "namespace": "default", "labels": {}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"x": "y"}},
            "template": {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": []}},
        },
    }
    async with Cluster(stranger, subject, node("node-1")) as cluster:
        await cluster.run(5)
        assert cluster.deployment["status"]["collisionCount"] == 1
        assert f"web-{template_hash(subject['spec']['template'], 1)}" in map(name_of, cluster.replica_sets)
        assert len(cluster.serving()) == 3


async def test_matching_orphans_are_adopted_and_relabelled_pods_released():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(5)
        pod = cluster.pods[0]
        cluster.client.change(PODS, name_of(pod), "default", lambda obj: obj["metadata"].update(labels={"debug": "1"}))
        await cluster.run(3)
        assert len(cluster.pods) == 4
        assert "ownerReferences" not in next(p for p in cluster.pods if name_of(p) == name_of(pod))["metadata"]
        labels = labels_of(cluster.replica_sets[0])
        cluster.client.change(PODS, name_of(pod), "default", lambda obj: obj["metadata"].update(labels=dict(labels)))
        await cluster.run(5)
        assert len([p for p in cluster.pods if p["metadata"].get("ownerReferences")]) == 3


async def test_refused_pods_show_as_replica_failure():
    async with Cluster(deployment(replicas=8), node("node-1")) as cluster:
        cluster.client.fail(Forbidden("exceeded quota: few"), verb="create", ref=PODS, times=10**6)
        cluster.client.change(DEPLOYMENTS, "web", "default", lambda obj: obj["spec"].update(replicas=20))
        await cluster.run(5)
        assert cluster.condition("ReplicaFailure")["reason"] == "FailedCreate"
        assert cluster.condition("ReplicaFailure")["message"] == "exceeded quota: few"
        assert ("ReplicaSet", "FailedCreate", "Error creating: exceeded quota: few") in cluster.events()


async def test_settled_cluster_is_left_alone_also_after_a_restart():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(10)
        cluster.set_template("nginx:2")
        await cluster.run(30)
        cluster.client.writes.clear()
        reads = len(cluster.client.reads)
        await cluster.run(20)
        assert cluster.client.writes == []
        assert len(cluster.client.reads) == reads
    async with Cluster(client=cluster.client, clock=cluster.clock, kubelet=cluster.kubelet) as again:
        again._started = cluster._started
        await again.run(20)
        assert again.client.written() == []


async def test_restart_in_the_middle_of_a_rollout_completes_it():
    async with Cluster(deployment(replicas=6), node("node-1")) as cluster:
        await cluster.run(5)
        cluster.set_template("nginx:2")
        await cluster.run(3)
        assert len({image_of(pod) for pod in cluster.pods}) == 2
    async with Cluster(client=cluster.client, clock=cluster.clock) as again:
        again._started = cluster._started
        await again.run(60)
        assert [image_of(pod) for pod in again.pods] == ["nginx:2"] * 6
        assert len(again.replica_sets) == 2


async def test_failed_replica_set_creation_is_reported():
    async with Cluster(node("node-1")) as cluster:
        cluster.client.fail(Forbidden("no"), verb="create", ref=REPLICA_SETS, times=3)
        cluster.client.add(deployment())
        await cluster.run(0.5, step=0.001)
        assert any(reason == "ReplicaSetCreateError" for _, reason, _ in cluster.events())
        await cluster.run(10)
        assert len(cluster.serving()) == 3


def cpu(quantity):
    return [{"name": "main", "resources": {"limits": {"cpu": quantity}}}]


def template(**spec):
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (template(a=1), template(a=1), True),
        (template(a=1), template(a=2), False),
        (template(containers=cpu("1")), template(containers=cpu("1000m")), True),
        (template(containers=cpu("1")), template(containers=cpu("2")), False),
        (template(volumes=[{"name": "a", "emptyDir": {}}]), template(volumes=[{"name": "a"}]), False),
        (template(c=[]), template(), True),
    ],
)
def test_templates_are_compared_by_meaning(one, other, equal):
    other = {**other, "metadata": {"labels": {"app": "web", "pod-template-hash": "x"}, "creationTimestamp": None}}
    assert equal_templates(one, other) is equal


def test_annotations_of_the_deployment_are_copied_but_those_of_tools():
    owner = {
        "metadata": {
            "annotations": {
                "note": "x",
                "kubernetes.io/change-cause": "kubectl set image",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                REVISION: "7",
            }
        }
    }
    assert new_annotations(owner, {}, 3) == {
        "note": "x",
        "kubernetes.io/change-cause": "kubectl set image",
        REVISION: "3",
    }
    assert new_annotations(owner, {REVISION: "5"}, 3)[REVISION] == "5"
