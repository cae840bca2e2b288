"""`kubectl scale`, `rollout`, `wait`, `cordon`, `drain`, `uncordon`, `taint`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import sleeper, wait_until
from tests.e2e.kubectl import Kubectl, row_of, rows


def deployment(name: str, replicas: int = 2, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {**sleeper(name)["spec"], **spec}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def image_of(kubectl: Kubectl, name: str) -> str:
    found: str = kubectl.get("deployment", name)["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


@pytest.fixture
def rolled(kubectl: Kubectl) -> Iterator[str]:
    kubectl.apply(deployment("rolled"))
    kubectl("rollout", "status", "deployment/rolled", "--timeout=60s")
    yield "rolled"
    kubectl("delete", "deployment", "rolled", "--wait=false")


def test_scale(kubectl: Kubectl, rolled: str) -> None:
    assert kubectl("scale", "deployment/rolled", "--replicas=3") == "deployment.apps/rolled scaled\n"
    kubectl("rollout", "status", "deployment/rolled", "--timeout=30s")
    assert row_of(kubectl("get", "deployments"), rolled)[1] == "3/3"
    refused = kubectl.fails("scale", "deployment/rolled", "--current-replicas=9", "--replicas=1")
    assert "Expected replicas to be 9, was 3" in refused
    if kubectl.minor >= 27:
        scale = rows(kubectl("get", f"deployment/{rolled}", "--subresource=scale"))
        assert [row[:3] for row in scale] == [["NAME", "DESIRED", "AVAILABLE"], ["rolled", "3", "3"]]
    kubectl("scale", "deployment", "-l", "app=rolled", "--replicas=0")
    wait_until("no pods", lambda: kubectl("get", "pods", "-l", "app=rolled", "-o", "name") == "")
    assert row_of(kubectl("get", "deployments"), rolled)[1] == "0/0"


def test_rollout_there_and_back(kubectl: Kubectl, rolled: str) -> None:
    def history() -> list[list[str]]:
        lines = kubectl("rollout", "history", f"deployment/{rolled}").splitlines()
        assert lines[:2] == ["deployment.apps/rolled ", "REVISION  CHANGE-CAUSE"]
        return [line.split(maxsplit=1) for line in lines[2:] if line]

    kubectl("annotate", f"deployment/{rolled}", "kubernetes.io/change-cause=the first")
    # The controller writes the cause to the ReplicaSet that is the newest when it looks.
    wait_until("the first cause", lambda: history() == [["1", "the first"]], timeout=10)
    kubectl("set", "image", f"deployment/{rolled}", "main=busybox:1.37")
    kubectl("annotate", f"deployment/{rolled}", "kubernetes.io/change-cause=the second", "--overwrite")
    status = kubectl("rollout", "status", f"deployment/{rolled}", "--timeout=60s")
    assert status.splitlines()[-1] == 'deployment "rolled" successfully rolled out'
    wait_until("the causes", lambda: history() == [["1", "the first"], ["2", "the second"]], timeout=10)
    assert "busybox:1.36" in kubectl("rollout", "history", f"deployment/{rolled}", "--revision=1")
    assert kubectl("rollout", "undo", f"deployment/{rolled}") == "deployment.apps/rolled rolled back\n"
    kubectl("rollout", "status", f"deployment/{rolled}", "--timeout=60s")
    assert image_of(kubectl, rolled) == "busybox:1.36"
    assert [entry[0] for entry in history()] == ["2", "3"]
    kubectl("rollout", "undo", f"deployment/{rolled}", "--to-revision=2")
    assert image_of(kubectl, rolled) == "busybox:1.37"
    assert "unable to find specified revision 99" in kubectl.fails(
        "rollout", "undo", f"deployment/{rolled}", "--to-revision=99"
    )


def test_rollout_restart_replaces_every_pod(kubectl: Kubectl, rolled: str) -> None:
    def pods() -> set[str]:
        found = kubectl.get("pods", "-l", f"app={rolled}")["items"]
        return {item["metadata"]["name"] for item in found if "deletionTimestamp" not in item["metadata"]}

    before = pods()
    assert kubectl("rollout", "restart", f"deployment/{rolled}") == "deployment.apps/rolled restarted\n"
    kubectl("rollout", "status", f"deployment/{rolled}", "--timeout=60s")
    assert len(pods()) == 2
    assert not pods() & before


def test_rollout_pauses(kubectl: Kubectl, rolled: str) -> None:
    assert kubectl("rollout", "pause", f"deployment/{rolled}") == "deployment.apps/rolled paused\n"
    assert "is already paused" in kubectl.fails("rollout", "pause", f"deployment/{rolled}")
    kubectl("set", "image", f"deployment/{rolled}", "main=busybox:1.37")
    generation = kubectl.get("deployment", rolled)["metadata"]["generation"]
    wait_until(
        "the change was seen", lambda: kubectl.get("deployment", rolled)["status"]["observedGeneration"] == generation
    )
    conditions = {item["type"]: item for item in kubectl.get("deployment", rolled)["status"]["conditions"]}
    assert conditions["Progressing"]["reason"] == "DeploymentPaused"
    images = {item["spec"]["containers"][0]["image"] for item in kubectl.get("pods", "-l", f"app={rolled}")["items"]}
    assert images == {"busybox:1.36"}
    assert kubectl("rollout", "resume", f"deployment/{rolled}") == "deployment.apps/rolled resumed\n"
    kubectl("rollout", "status", f"deployment/{rolled}", "--timeout=60s")
    images = {
        item["spec"]["containers"][0]["image"]
        for item in kubectl.get("pods", "-l", f"app={rolled}")["items"]
        if "deletionTimestamp" not in item["metadata"]
    }
    assert images == {"busybox:1.37"}


def test_a_rollout_that_cannot_finish_says_so(kubectl: Kubectl) -> None:
    document = deployment("stuck", 1)
    document["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Never"
    document["spec"]["template"]["spec"]["containers"][0]["image"] = "never:1"
    document["spec"]["progressDeadlineSeconds"] = 1
    kubectl.apply(document)
    failed = kubectl.fails("rollout", "status", "deployment/stuck", "--timeout=30s")
    assert 'error: deployment "stuck" exceeded its progress deadline' in failed
    wait_until("the pod says why", lambda: rows(kubectl("get", "pods", "-l", "app=stuck"))[1][2] == "ErrImageNeverPull")
    kubectl("delete", "deployment", "stuck")


def test_wait(kubectl: Kubectl, talker: str) -> None:
    assert kubectl("wait", "--for=condition=Ready", f"pod/{talker}") == f"pod/{talker} condition met\n"
    assert kubectl("wait", "--for=condition=Ready=true", "pod", "-l", "app=talker") == f"pod/{talker} condition met\n"
    assert kubectl.fails("wait", "--for=condition=Nonsense", f"pod/{talker}", "--timeout=1s") == (
        "error: timed out waiting for the condition on pods/talker\n"
    )
    kubectl.apply(sleeper("awaited"))
    with kubectl.start("wait", "--for=delete", "pod/awaited", "--timeout=30s") as waiting:
        kubectl("wait", "--for=condition=Ready", "pod/awaited", "--timeout=30s")
        kubectl("delete", "pod", "awaited", "--wait=false")
        assert waiting.wait() == 0
    kubectl.needs(23, "`wait --for=jsonpath`")
    assert "condition met" in kubectl("wait", "--for=jsonpath={.status.phase}=Running", f"pod/{talker}")


def test_cordon_drain_uncordon(kubectl: Kubectl) -> None:
    node = kubectl.cluster.node_name(3)
    kubectl.apply(deployment("drained", nodeSelector={"kubernetes.io/hostname": node}))
    kubectl("rollout", "status", "deployment/drained", "--timeout=60s")
    old = {item["metadata"]["name"] for item in kubectl.get("pods", "-l", "app=drained")["items"]}
    assert kubectl("cordon", node) == f"node/{node} cordoned\n"
    try:
        assert row_of(kubectl("get", "nodes"), node)[1] == "Ready,SchedulingDisabled"
        taints = kubectl.get("node", node)["spec"]["taints"]
        assert [(item["key"], item["effect"]) for item in taints] == [
            ("node.kubernetes.io/unschedulable", "NoSchedule")
        ]
        drained = kubectl("drain", node, "--pod-selector=app=drained", "--ignore-daemonsets", "--timeout=60s")
        for name in old:
            assert f"pod/{name} evicted" in drained
        pods = kubectl.get("pods", "-l", "app=drained")["items"]
        assert not old & {item["metadata"]["name"] for item in pods}
        wait_until("the reason", lambda: "FailedScheduling" in kubectl("describe", "pods", "-l", "app=drained"))
        text = kubectl("describe", "pods", "-l", "app=drained")
        assert (
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match Pod's node affinity/selector"
            in text
        )
    finally:
        assert kubectl("uncordon", node) == f"node/{node} uncordoned\n"
    kubectl("rollout", "status", "deployment/drained", "--timeout=60s")
    kubectl("delete", "deployment", "drained")


def test_drain_refuses_pods_that_nobody_replaces(kubectl: Kubectl, talker: str) -> None:
    node = kubectl.cluster.node_name(1)
    try:
        refused = kubectl.fails("drain", node, "--pod-selector=app=talker", "--timeout=30s")
        assert f"{kubectl.namespace}/{talker}" in refused
        assert "use --force to override" in refused
    finally:
        kubectl("uncordon", node)
    assert kubectl.get("pod", talker)["status"]["phase"] == "Running"


def test_taints_keep_away_and_evict(kubectl: Kubectl) -> None:
    node = kubectl.cluster.node_name(2)
    kubectl.apply(sleeper("bound", nodeName=node))
    kubectl("wait", "--for=condition=Ready", "pod/bound", "--timeout=30s")
    assert kubectl("taint", "node", node, "mood=bad:NoSchedule") == f"node/{node} tainted\n"
    try:
        # What runs stays, what is new goes elsewhere.
        assert kubectl.get("pod", "bound")["status"]["phase"] == "Running"
        kubectl.apply(sleeper("kept-out", nodeSelector={"kubernetes.io/hostname": node}))
        wait_until("it is said", lambda: "untolerated taint" in kubectl("describe", "pod", "kept-out"))
        assert row_of(kubectl("get", "pods"), "kept-out")[2] == "Pending"
        assert "already has mood taint" in kubectl.fails("taint", "node", node, "mood=good:NoSchedule")
    finally:
        assert kubectl("taint", "node", node, "mood:NoSchedule-") == f"node/{node} untainted\n"
    kubectl("wait", "--for=condition=Ready", "pod/kept-out", "--timeout=30s")
    kubectl("delete", "pod", "bound", "kept-out", "--wait=false")
