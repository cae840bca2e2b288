"""The whole way of a claim, with the manager over the fake API. Source: kubernetes.io/docs/concepts/storage."""

from __future__ import annotations

from tests.unit.controllers.cluster import Cluster, node
from tests.unit.controllers.volumes.objects import claim, reference, storage_class, volume
from timonel.api.objects import annotations_of, get_path, name_of
from timonel.api.refs import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES
from timonel.api.volumes import LOCAL_DIRECTORY, LOCAL_FINALIZER, PROVISIONER, SELECTED_NODE

LOCAL = "timonel-local"


def here():
    return node("n1", labels={"kubernetes.io/hostname": "n1"}, annotations={LOCAL_DIRECTORY: "/var/volumes"})


def the(cluster, ref, name):
    found = [each for each in cluster.client.objects(ref) if name_of(each) == name]
    return found[0] if found else None


def phase(cluster, ref, name):
    return get_path(the(cluster, ref, name), "status", "phase")


def reasons(cluster, name):
    return {each["reason"] for each in cluster.client.objects(EVENTS) if each["involvedObject"]["name"] == name}


async def test_a_claim_and_a_volume_find_each_other():
    async with Cluster(storage_class(), volume(phase="Pending"), claim()) as cluster:
        await cluster.run(2)
        assert phase(cluster, PERSISTENT_VOLUME_CLAIMS, "data") == "Bound"
        assert phase(cluster, PERSISTENT_VOLUMES, "v1") == "Bound"
        count = len(cluster.client.written())
        await cluster.run(60)
        assert len(cluster.client.written()) == count  # nothing is written twice

        cluster.client.remove(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        await cluster.run(2)
        assert phase(cluster, PERSISTENT_VOLUMES, "v1") == "Released"


async def test_a_volume_that_comes_later_is_taken():
    async with Cluster(claim(storage_class="")) as cluster:
        await cluster.run(1)
        assert phase(cluster, PERSISTENT_VOLUME_CLAIMS, "data") == "Pending"
        assert "FailedBinding" in reasons(cluster, "data")
        cluster.client.add(volume(storage_class="", phase="Pending"))
        await cluster.run(2)
        assert phase(cluster, PERSISTENT_VOLUME_CLAIMS, "data") == "Bound"


async def test_no_volume_is_promised_twice():
    volumes = [volume(f"v{number}") for number in range(5)]
    claims = [claim(f"c{number}") for number in range(8)]
    async with Cluster(storage_class(provisioner="kubernetes.io/no-provisioner"), *volumes, *claims) as cluster:
        await cluster.run(5)
        bound = [each["spec"].get("volumeName") for each in cluster.client.objects(PERSISTENT_VOLUME_CLAIMS)]
        assert sorted(name for name in bound if name) == ["v0", "v1", "v2", "v3", "v4"]


async def test_a_volume_is_kept_while_the_claim_is_only_missing_in_the_cache():
    """The server is asked before a volume is given up."""
    found = volume(claimRef=reference(uid="u1"), phase="Bound", policy="Delete")
    async with Cluster(claim(uid="u1", volumeName="v1"), found) as cluster:
        await cluster.run(2)
        assert phase(cluster, PERSISTENT_VOLUMES, "v1") == "Bound"


async def test_a_default_class_is_given_afterwards():
    async with Cluster(claim(storage_class=None), without={"local-volume-provisioner"}) as cluster:
        await cluster.run(1)
        cluster.client.add(storage_class("later", default=True))
        await cluster.run(1)
        assert the(cluster, PERSISTENT_VOLUME_CLAIMS, "data")["spec"]["storageClassName"] == "later"
        assert "ExternalProvisioning" in reasons(cluster, "data")


async def test_a_new_cluster_has_a_default_class():
    async with Cluster() as cluster:
        made = the(cluster, STORAGE_CLASSES, LOCAL)
        assert made["volumeBindingMode"] == "WaitForFirstConsumer"
        assert annotations_of(made)["storageclass.kubernetes.io/is-default-class"] == "true"
    async with Cluster(storage_class(default=True)) as cluster:
        assert annotations_of(the(cluster, STORAGE_CLASSES, LOCAL)) == {
            "storageclass.kubernetes.io/is-default-class": "false"
        }


def placed(**more):
    return claim(storage_class=LOCAL, annotations={SELECTED_NODE: "n1"}, **more)


async def test_a_local_volume_from_the_claim_to_its_end():
    async with Cluster(here(), placed(uid="u1")) as cluster:
        await cluster.run(2)
        assert phase(cluster, PERSISTENT_VOLUME_CLAIMS, "data") == "Bound"
        made = the(cluster, PERSISTENT_VOLUMES, "pvc-u1")
        assert made["spec"]["local"] == {"path": "/var/volumes/pvc-u1"}
        assert made["metadata"]["finalizers"] == [LOCAL_FINALIZER, "kubernetes.io/pv-protection"]
        assert annotations_of(the(cluster, PERSISTENT_VOLUME_CLAIMS, "data"))[PROVISIONER] == "timonel.dev/local"

        cluster.client.change(
            PERSISTENT_VOLUME_CLAIMS, "data", "default",
            lambda obj: obj["spec"]["resources"]["requests"].update(storage="3Gi"),
        )  # fmt: skip
        await cluster.run(1)
        assert the(cluster, PERSISTENT_VOLUME_CLAIMS, "data")["status"]["capacity"] == {"storage": "3Gi"}
        assert the(cluster, PERSISTENT_VOLUMES, "pvc-u1")["spec"]["capacity"] == {"storage": "3Gi"}

        cluster.client.remove(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        await cluster.run(2)
        left = the(cluster, PERSISTENT_VOLUMES, "pvc-u1")
        assert left["metadata"]["deletionTimestamp"]
        assert left["metadata"]["finalizers"] == [LOCAL_FINALIZER]  # the node's agent removes the directory first

        cluster.client.remove(cluster.client.ref_of(here()), "n1")
        await cluster.run(2)
        assert the(cluster, PERSISTENT_VOLUMES, "pvc-u1") is None  # gone with its node


async def test_on_a_hollow_node_a_volume_is_only_a_name():
    hollow = node("n1", annotations={LOCAL_DIRECTORY: ""})
    async with Cluster(hollow, placed(uid="u1")) as cluster:
        await cluster.run(2)
        assert the(cluster, PERSISTENT_VOLUMES, "pvc-u1")["spec"]["local"] == {"path": "/nowhere/pvc-u1"}
        cluster.client.remove(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        await cluster.run(2)
        assert the(cluster, PERSISTENT_VOLUMES, "pvc-u1") is None


async def test_a_node_that_cannot_is_not_insisted_on():
    async with Cluster(node("n1"), placed()) as cluster:
        await cluster.run(2)
        assert SELECTED_NODE not in annotations_of(the(cluster, PERSISTENT_VOLUME_CLAIMS, "data"))
        assert "ProvisioningFailed" in reasons(cluster, "data")


async def test_what_a_directory_cannot_be():
    async with Cluster(here(), placed(modes=["ReadWriteMany"])) as cluster:
        await cluster.run(2)
        assert phase(cluster, PERSISTENT_VOLUME_CLAIMS, "data") == "Pending"
        assert cluster.client.objects(PERSISTENT_VOLUMES) == []
        assert "ProvisioningFailed" in reasons(cluster, "data")


def pod_with_scratch():
    template = {"metadata": {"labels": {"kind": "scratch"}}, "spec": {"storageClassName": LOCAL}}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "containers": [{"name": "main"}],
            "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}],
        },
        "status": {"phase": "Pending"},
    }


async def test_an_ephemeral_volume_gets_a_claim_of_its_own():
    async with Cluster(pod_with_scratch()) as cluster:
        await cluster.run(1)
        made = the(cluster, PERSISTENT_VOLUME_CLAIMS, "web-scratch")
        (owner,) = made["metadata"]["ownerReferences"]
        (pod,) = cluster.client.objects(PODS)
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Pod", pod["metadata"]["uid"], True)
        assert made["metadata"]["labels"] == {"kind": "scratch"}
        assert made["spec"]["storageClassName"] == LOCAL


async def test_an_ephemeral_volume_takes_nobody_elses_claim():
    async with Cluster(claim("web-scratch"), pod_with_scratch()) as cluster:
        await cluster.run(1)
        (told,) = [each for each in cluster.events() if each[0] == "Pod"]
        assert told[1:] == (
            "FailedBinding",
            "ephemeral volume scratch: PVC default/web-scratch was not created for pod default/web (pod is not owner)",
        )
