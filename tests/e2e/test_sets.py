"""StatefulSets and DaemonSets as people meet them: real pods, their names, order and nodes, rolled out and back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.e2e.cluster import sleeper, wait_until
from tests.e2e.kubectl import Kubectl, row_of


def workload(kind: str, name: str, spec: dict[str, Any], **pod: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {**sleeper(name)["spec"], **pod}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def headless(name: str) -> dict[str, Any]:
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def pods_of(kubectl: Kubectl, name: str) -> list[Any]:
    found = kubectl.get("pods", "-l", f"app={name}")["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def names_of(kubectl: Kubectl, name: str) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in pods_of(kubectl, name))


def versions_of(kubectl: Kubectl, name: str) -> list[str]:
    """The variable VERSION of each pod, in order of names."""
    pods = sorted(pods_of(kubectl, name), key=lambda pod: str(pod["metadata"]["name"]))
    return ["".join(v["value"] for v in pod["spec"]["containers"][0].get("env", [])) for pod in pods]


def ready_since(pod: Any) -> str:
    return next(str(c["lastTransitionTime"]) for c in pod["status"]["conditions"] if c["type"] == "Ready")


def history_of(kubectl: Kubectl, what: str) -> list[str]:
    """Numbers of revisions, as printed."""
    lines = kubectl("rollout", "history", what).splitlines()
    return [line.split()[0] for line in lines if line[:1].isdigit()]


@pytest.fixture
def uncordoned(kubectl: Kubectl) -> Iterator[None]:
    yield
    kubectl("uncordon", *(kubectl.cluster.node_name(number) for number in (1, 2, 3)))


def test_a_stateful_set_through_its_life(kubectl: Kubectl) -> None:
    db = workload("StatefulSet", "db", {"replicas": 3, "serviceName": "db"})
    made = kubectl.run("apply", "-f", kubectl.path("db", headless("db"), db))
    assert "statefulset.apps/db created" in made.stdout
    assert "not built" not in made.stderr
    kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    assert row_of(kubectl("get", "statefulset"), "db")[1] == "3/3"

    pods = sorted(pods_of(kubectl, "db"), key=lambda pod: str(pod["metadata"]["name"]))
    assert [pod["metadata"]["name"] for pod in pods] == ["db-0", "db-1", "db-2"]
    for before, after in pairwise(pods):
        assert ready_since(before) <= after["metadata"]["creationTimestamp"]
    assert kubectl("exec", "db-1", "--", "hostname").strip() == "db-1"
    for pod in pods:
        name = f"{pod['metadata']['name']}.db.{kubectl.namespace}.svc.cluster.local"
        found = wait_until("the name resolves", lambda n=name: kubectl("exec", "db-0", "--", "nslookup", n), 20)
        assert pod["status"]["podIP"] in found

    kubectl("scale", "statefulset/db", "--replicas=4")
    wait_until("there are four", lambda: names_of(kubectl, "db")[3:] == ["db-3"])
    kubectl("scale", "statefulset/db", "--replicas=3")
    wait_until("there are three", lambda: len(names_of(kubectl, "db")) == 3)

    kubectl("set", "env", "statefulset/db", "VERSION=2")
    kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    assert versions_of(kubectl, "db") == ["2", "2", "2"]
    assert history_of(kubectl, "statefulset/db") == ["1", "2"]
    assert "VERSION" in kubectl("rollout", "history", "statefulset/db", "--revision=2")
    assert kubectl("rollout", "undo", "statefulset/db") == "statefulset.apps/db rolled back\n"
    kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    assert versions_of(kubectl, "db") == ["", "", ""]
    assert history_of(kubectl, "statefulset/db") == ["2", "3"]
    events = kubectl("get", "events", "--field-selector=involvedObject.kind=StatefulSet")
    assert "Create Pod db-0 in StatefulSet db successful" in events
    kubectl("delete", "statefulset/db", "service/db")
    wait_until("its pods are gone", lambda: not kubectl.get("pods", "-l", "app=db")["items"])


def test_a_stateful_sets_claims_go_with_it_when_it_says_so(kubectl: Kubectl) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    policy = {"whenDeleted": "Delete", "whenScaled": "Retain"}
    spec = {
        "serviceName": "", "volumeClaimTemplates": [claim], "persistentVolumeClaimRetentionPolicy": policy,
        "podManagementPolicy": "Parallel", "replicas": 2,
    }  # fmt: skip
    kubectl.apply(workload("StatefulSet", "keeper", spec))

    def claims() -> list[str]:
        return sorted(item["metadata"]["name"] for item in kubectl.get("pvc", "-l", "app=keeper")["items"])

    wait_until("the claims are there", lambda: claims() == ["data-keeper-0", "data-keeper-1"], 20)
    kubectl("delete", "statefulset/keeper")
    wait_until("the claims are gone", lambda: not claims(), 30)


def test_a_stateful_pod_that_its_node_rejects_comes_back_until_it_may_stay(kubectl: Kubectl) -> None:
    """sig-apps: "Should recreate evicted statefulset"."""
    node = kubectl.cluster.node_name(1)
    port = [{"containerPort": 21017, "hostPort": 21017}]
    kubectl.apply(sleeper("blocker", nodeName=node, container={"ports": port}))
    kubectl("wait", "--for=condition=Ready", "pod/blocker", "--timeout=60s")
    rejected = workload("StatefulSet", "rejected", {"serviceName": "", "replicas": 1}, nodeName=node)
    rejected["spec"]["template"]["spec"]["containers"][0]["ports"] = port
    kubectl.apply(rejected)
    uids: set[str] = set()

    def came_back() -> bool:
        uids.update(pod["metadata"]["uid"] for pod in pods_of(kubectl, "rejected"))
        return len(uids) >= 2

    wait_until("it comes back", came_back, 30)
    events = kubectl("get", "events", "--field-selector=involvedObject.name=rejected-0,reason=NodePorts")
    assert "Predicate NodePorts failed" in events
    kubectl("delete", "pod", "blocker")
    kubectl("rollout", "status", "statefulset/rejected", "--timeout=90s", timeout=100)
    kubectl("delete", "statefulset/rejected")


def test_a_daemon_set_on_every_node(kubectl: Kubectl, uncordoned: None) -> None:
    nodes = [kubectl.cluster.node_name(number) for number in (1, 2, 3)]

    def where() -> list[str]:
        return sorted(pod["spec"].get("nodeName", "") for pod in pods_of(kubectl, "agent"))

    made = kubectl.run("apply", "-f", kubectl.path("agent", workload("DaemonSet", "agent", {})))
    assert "not built" not in made.stderr
    rolled = kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
    assert 'daemon set "agent" successfully rolled out' in rolled
    assert where() == sorted(nodes)
    assert row_of(kubectl("get", "daemonset"), "agent")[1:6] == ["3"] * 5

    kubectl("cordon", nodes[2])
    lost = next(pod for pod in pods_of(kubectl, "agent") if pod["spec"]["nodeName"] == nodes[2])
    kubectl("delete", "pod", lost["metadata"]["name"])
    wait_until("it is there again, cordoned or not", lambda: where() == sorted(nodes))
    kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")

    kubectl("set", "env", "daemonset/agent", "VERSION=2")
    kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
    assert versions_of(kubectl, "agent") == ["2", "2", "2"]
    assert history_of(kubectl, "daemonset/agent") == ["1", "2"]
    assert "rolled back" in kubectl("rollout", "undo", "daemonset/agent", "--to-revision=1")
    kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
    assert versions_of(kubectl, "agent") == ["", "", ""]
    assert history_of(kubectl, "daemonset/agent") == ["2", "3"]

    drained = kubectl("drain", nodes[2], "--pod-selector=app=agent", "--ignore-daemonsets", "--timeout=30s")
    assert "evicting" not in drained
    assert where() == sorted(nodes)
    kubectl("delete", "daemonset/agent")
    wait_until("its pods are gone", lambda: not kubectl.get("pods", "-l", "app=agent")["items"])
