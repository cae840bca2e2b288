"""What the manager's copies of nodes, leases, workloads and pods keep, and what they share."""

from __future__ import annotations

from typing import Any

from timonel.api.refs import DEPLOYMENTS, LEASES, NODES, PODS, REPLICA_SETS
from timonel.controllers.slim_objects import transforms

TOKEN = {
    "name": "kube-api-access-x7f2q",
    "projected": {
        "sources": [{"serviceAccountToken": {}}, {"configMap": {"name": "kube-root-ca.crt"}}, {"downwardAPI": {}}]
    },
}
CLAIM = {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}


def node(name: str) -> dict[str, Any]:
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"kubernetes.io/hostname": name, "zone": "a"},
            "annotations": {"a": "b"},
            "managedFields": [{}],
        },
        "spec": {"podCIDR": f"10.{name}", "taints": [{"key": "k", "effect": "NoSchedule"}]},
        "status": {
            "allocatable": {"cpu": "4"},
            "capacity": {"cpu": "4"},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}],
            "images": [{"names": ["i"], "sizeBytes": 1}],
            "addresses": [{"type": "Hostname", "address": name}],
            "nodeInfo": {"machineID": name},
            "volumesInUse": ["v"],
        },
    }


def test_nodes_keep_what_controllers_and_scheduler_read() -> None:
    slim = transforms()[NODES]
    one, two = slim(node("one")), slim(node("two"))
    expected = node("one")
    del expected["metadata"]["managedFields"]
    del expected["status"]["nodeInfo"], expected["status"]["capacity"]
    assert one == expected
    for field in ("conditions", "images"):
        assert one["status"][field][0] is two["status"][field][0]
    assert one["status"]["allocatable"] is two["status"]["allocatable"]
    assert one["spec"]["taints"][0] is two["spec"]["taints"][0]


def test_capacity_stays_where_nothing_is_allocatable() -> None:
    told = node("one")
    del told["status"]["allocatable"]
    assert transforms()[NODES](told)["status"]["capacity"] == {"cpu": "4"}


def test_leases_keep_holder_owner_and_times() -> None:
    lease = {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": {"name": "one", "uid": "u", "ownerReferences": [{"kind": "Node", "name": "one"}]},
        "spec": {"holderIdentity": "one", "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z"},
    }
    given = {**lease, "metadata": lease["metadata"] | {"managedFields": [{}]}}  # type: ignore[operator]
    assert transforms()[LEASES](given) == lease


def test_a_deployment_and_its_replica_set_share_their_template() -> None:
    def workload(kind: str, **labels: str) -> dict[str, Any]:
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        return {
            "kind": kind,
            "metadata": {"name": kind, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {"replicas": 3, "template": template, "selector": {"matchLabels": labels}},
            "status": {"replicas": 3},
        }

    slim = transforms()
    deployment = slim[DEPLOYMENTS](workload("Deployment", app="web"))
    replica_set = slim[REPLICA_SETS](workload("ReplicaSet", app="web", hash="1"))
    assert deployment == workload("Deployment", app="web")
    assert replica_set == workload("ReplicaSet", app="web", hash="1")
    assert deployment["spec"]["template"]["spec"] is replica_set["spec"]["template"]["spec"]


def test_the_volume_of_the_token_goes_and_others_stay() -> None:
    slim = transforms()[PODS]

    def volumes(*given: dict[str, Any], owner: str = "ReplicaSet") -> Any:
        metadata = {"name": "p", "ownerReferences": [{"kind": owner, "name": "o"}]}
        return slim({"metadata": metadata, "spec": {"volumes": list(given)}})["spec"].get("volumes")

    assert volumes(TOKEN, CLAIM) == [CLAIM]
    assert volumes(TOKEN) is None
    secret = {"name": "s", "projected": {"sources": [{"serviceAccountToken": {}}, {"secret": {"name": "s"}}]}}
    assert volumes(secret) == [secret]
    # Its controller compares all volumes of its pods with the template's.
    assert volumes(TOKEN, CLAIM, owner="StatefulSet") == [TOKEN, CLAIM]
