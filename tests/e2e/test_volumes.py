"""Claims with real directories behind them: what is written stays, wherever and whenever its pod starts again."""

from __future__ import annotations

from typing import Any

from tests.e2e.cluster import sleeper, wait_until
from tests.e2e.kubectl import Kubectl, row_of
from tests.e2e.test_sets import headless, workload

LOCAL = "timonel-local"


def claim(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }


def user(name: str, claim_name: str, **spec: Any) -> dict[str, Any]:
    """A pod that sleeps, with the claim at /data."""
    made = sleeper(name, **spec)
    made["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}]
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    return made


def node_of(kubectl: Kubectl, pod: str) -> str:
    return str(kubectl.get("pod", pod)["spec"]["nodeName"])


def ready(kubectl: Kubectl, *pods: str) -> None:
    kubectl("wait", "--for=condition=Ready", "--timeout=60s", *(f"pod/{name}" for name in pods))


def gone(kubectl: Kubectl, what: str) -> None:
    """Old kubectl calls it a mistake to wait for the end of what has ended."""
    wait_until(f"{what} is gone", lambda: not kubectl("get", what, "--ignore-not-found"), 60)


def on_disk(kubectl: Kubectl, volume: Any) -> bool:
    return kubectl.cluster.on_node(1, "test", "-e", volume["spec"]["local"]["path"], check=False).returncode == 0


def test_a_class_to_begin_with(kubectl: Kubectl) -> None:
    row = row_of(kubectl("get", "storageclass"), f"{LOCAL} (default)")
    assert row[1:4] == ["timonel.dev/local", "Delete", "WaitForFirstConsumer"]


def test_a_stateful_set_keeps_its_data(kubectl: Kubectl) -> None:
    template = claim("data")
    spec = {"replicas": 2, "serviceName": "vault", "volumeClaimTemplates": [template]}
    vault = workload("StatefulSet", "vault", spec)
    container = vault["spec"]["template"]["spec"]["containers"][0]
    container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    kubectl.apply(headless("vault"), vault)
    kubectl("rollout", "status", "statefulset/vault", "--timeout=90s")
    assert row_of(kubectl("get", "pvc"), "data-vault-0")[1] == "Bound"
    before = {name: node_of(kubectl, name) for name in ("vault-0", "vault-1")}
    for name in before:
        kubectl("exec", name, "--", "sh", "-c", f"echo {name} >> /data/names")

    kubectl("delete", "pod", "vault-0", "vault-1", "--wait")
    kubectl("rollout", "status", "statefulset/vault", "--timeout=90s")
    for name, node in before.items():
        assert node_of(kubectl, name) == node  # where its volume is
        assert kubectl("exec", name, "--", "cat", "/data/names").split() == [name]

    kubectl("scale", "statefulset/vault", "--replicas=1")
    gone(kubectl, "pod/vault-1")
    assert row_of(kubectl("get", "pvc"), "data-vault-1")[1] == "Bound"  # claims outlive pods
    kubectl("delete", "statefulset/vault", "service/vault", "pvc/data-vault-0", "pvc/data-vault-1", "--wait")


def test_delete_removes_the_data_and_retain_keeps_it(kubectl: Kubectl) -> None:
    here = {"nodeSelector": {"kubernetes.io/hostname": kubectl.cluster.node_name(1)}}
    kubectl.apply(claim("short"), user("short", "short", **here), claim("long"), user("long", "long", **here))
    ready(kubectl, "short", "long")
    volumes = {each["spec"]["claimRef"]["name"]: each for each in kubectl.get("pv")["items"]}
    long, short = volumes["long"], volumes["short"]
    kubectl("patch", "pv", long["metadata"]["name"], "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}')
    kubectl("exec", "long", "--", "sh", "-c", "echo kept > /data/file")
    assert on_disk(kubectl, short)

    kubectl("delete", "pvc", "short", "--wait=false")
    assert kubectl.get("pvc", "short")["metadata"]["deletionTimestamp"]  # protected: a pod uses it
    kubectl("delete", "pod", "short", "long", "--wait")
    kubectl("delete", "pvc", "long")
    gone(kubectl, f"pv/{short['metadata']['name']}")
    assert not on_disk(kubectl, short)
    name = long["metadata"]["name"]
    wait_until("released", lambda: kubectl.get("pv", name)["status"]["phase"] == "Released", 20)
    assert on_disk(kubectl, long)

    # An administrator hands the data to a new claim.
    kubectl("patch", "pv", name, "--type=json", "-p", '[{"op":"remove","path":"/spec/claimRef"}]')
    kubectl.apply(claim("again", volumeName=name), user("again", "again"))
    ready(kubectl, "again")
    assert kubectl("exec", "again", "--", "cat", "/data/file").strip() == "kept"
    kubectl("patch", "pv", name, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}')
    kubectl("delete", "pod/again", "pvc/again", "--wait")
    gone(kubectl, f"pv/{name}")
    assert not on_disk(kubectl, long)


def test_a_claim_grows_without_its_pod_noticing(kubectl: Kubectl) -> None:
    kubectl.apply(claim("growing"), user("growing", "growing"))
    ready(kubectl, "growing")
    kubectl("patch", "pvc", "growing", "-p", '{"spec":{"resources":{"requests":{"storage":"3Gi"}}}}')
    wait_until("grown", lambda: row_of(kubectl("get", "pvc"), "growing")[3] == "3Gi", 20)
    kubectl("delete", "pod/growing", "pvc/growing", "--wait")


def test_claims_that_never_bind_say_why(kubectl: Kubectl) -> None:
    kubectl.apply(
        claim("nowhere", storageClassName="absent"), user("nowhere", "nowhere"),
        claim("shared", accessModes=["ReadWriteMany"]), user("shared", "shared"),
    )  # fmt: skip
    wait_until(
        "said of the pod",
        lambda: "pod has unbound immediate PersistentVolumeClaims" in kubectl("describe", "pod", "nowhere"), 20,
    )  # fmt: skip
    assert 'storageclass.storage.k8s.io "absent" not found' in kubectl("describe", "pvc", "nowhere")
    wait_until(
        "said of the claim",
        lambda: "a directory of one node cannot be ReadWriteMany" in kubectl("describe", "pvc", "shared"), 20,
    )  # fmt: skip
    kubectl("delete", "pod/nowhere", "pod/shared", "pvc/nowhere", "pvc/shared", "--wait")


def test_a_volume_for_one_pod_alone(kubectl: Kubectl) -> None:
    scratch = sleeper("scratch", securityContext={"fsGroup": 4321})
    template = {"spec": claim("unused")["spec"]}
    scratch["spec"]["volumes"] = [{"name": "data", "ephemeral": {"volumeClaimTemplate": template}}]
    scratch["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data", "subPath": "below"}]
    kubectl.apply(scratch)
    ready(kubectl, "scratch")
    assert row_of(kubectl("get", "pvc"), "scratch-data")[1] == "Bound"
    kubectl("exec", "scratch", "--", "touch", "/data/file")
    assert kubectl("exec", "scratch", "--", "stat", "-c", "%g", "/data/file").strip() == "4321"
    kubectl("delete", "pod", "scratch", "--wait")
    gone(kubectl, "pvc/scratch-data")
    wait_until("no volume is left", lambda: "scratch-data" not in kubectl("get", "pv"), 30)


def test_an_agent_that_dies_forgets_nothing(kubectl: Kubectl) -> None:
    """It goes on with volumes that it finds mounted, and removes what was deleted while it was away."""
    cluster, node = kubectl.cluster, kubectl.cluster.node_name(2)
    here = {"nodeSelector": {"kubernetes.io/hostname": node}}
    kubectl.apply(claim("stays"), user("stays", "stays", **here), claim("goes"), user("goes", "goes", **here))
    ready(kubectl, "stays", "goes")
    kubectl("exec", "stays", "--", "sh", "-c", "echo kept > /data/file")
    goes = next(each for each in kubectl.get("pv")["items"] if each["spec"]["claimRef"]["name"] == "goes")
    part = f"agent@{node}"
    kubectl("delete", "pod/goes", "pvc/goes", "--wait=false")
    old = cluster.kill(part)
    cluster.wait_part(part, old)
    gone(kubectl, f"pv/{goes['metadata']['name']}")
    assert not on_disk(kubectl, goes)
    # The next container finds the same volume. What is executed may end with the container.
    kubectl.run("exec", "stays", "--", "sh", "-c", "kill 1", check=False)
    wait_until("restarted", lambda: kubectl.get("pod", "stays")["status"]["containerStatuses"][0]["restartCount"], 30)
    ready(kubectl, "stays")
    assert kubectl("exec", "stays", "--", "cat", "/data/file").strip() == "kept"
    kubectl("delete", "pod/stays", "pvc/stays", "--wait")
    wait_until("no volume is left", lambda: "stays" not in kubectl("get", "pv"), 30)
