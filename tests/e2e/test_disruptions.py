"""Disruption budgets as people meet them: `kubectl drain` waits until the budget of what it evicts allows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import wait_until
from tests.e2e.kubectl import Kubectl, row_of, sections
from tests.e2e.test_kubectl_workloads import deployment

VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


def budget(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, **spec},
    }


def wait_allowed(kubectl: Kubectl, name: str, allowed: int) -> None:
    wait_until(
        f"{allowed} disruptions are allowed",
        lambda: kubectl.get("poddisruptionbudget", name)["status"]["disruptionsAllowed"] == allowed,
        timeout=30,
    )


def living(kubectl: Kubectl, name: str) -> list[Any]:
    pods = kubectl.get("pods", "-l", f"app={name}")["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def evicted(output: str, name: str) -> int:
    return len(re.findall(rf"^pod/{name}-\S+ evicted$", output, re.MULTILINE))


@pytest.fixture
def uncordoned(kubectl: Kubectl) -> Iterator[None]:
    yield
    kubectl("uncordon", *(kubectl.cluster.node_name(number) for number in (1, 2, 3)))


def test_drain_waits_for_the_budget(kubectl: Kubectl, uncordoned: None) -> None:
    node = kubectl.cluster.node_name(3)
    here = {"kubernetes.io/hostname": node}
    made = kubectl.apply(deployment("guarded", nodeSelector=here), budget("guarded", minAvailable=1))
    assert "poddisruptionbudget.policy/guarded created\n" in made
    kubectl("rollout", "status", "deployment/guarded", "--timeout=60s")
    wait_allowed(kubectl, "guarded", 1)
    assert row_of(kubectl("get", "pdb"), "guarded")[1:4] == ["1", "N/A", "1"]
    with kubectl.start("drain", node, "--pod-selector=app=guarded", "--timeout=90s") as drain:
        # The replacement of the first must not run here, so that the second has to stay.
        drain.expect(VIOLATES, timeout=30)
        wait_allowed(kubectl, "guarded", 0)
        if kubectl.minor > 20:  # which describes policy/v1beta1, and that is gone upstream, too
            told = {"Allowed disruptions: 0", "Current: 1", "Desired: 1", "Total: 2"}
            wait_until(
                "the evicted pod is gone",
                lambda: told <= set(sections(kubectl("describe", "pdb", "guarded"))["Status"].split("\n")),
            )
        drain.expect(VIOLATES, timeout=30)  # and again
        assert sum(pod["status"]["phase"] == "Running" for pod in living(kubectl, "guarded")) == 1
        kubectl("patch", "pdb", "guarded", "--type=merge", "-p", '{"spec": {"minAvailable": 0}}')
        assert drain.wait(60) == 0
        assert evicted(drain.output, "guarded") == 2
    assert not [pod for pod in living(kubectl, "guarded") if pod["status"]["phase"] == "Running"]
    kubectl("delete", "deployment/guarded", "pdb/guarded")


def test_drain_leaves_enough_at_every_moment(kubectl: Kubectl, uncordoned: None) -> None:
    nodes = [kubectl.cluster.node_name(number) for number in (1, 2, 3)]
    kubectl("cordon", *nodes[:2])
    kubectl.apply(deployment("moving", 3), budget("moving", maxUnavailable="30%"))
    kubectl("rollout", "status", "deployment/moving", "--timeout=60s")
    wait_allowed(kubectl, "moving", 1)
    kubectl("uncordon", *nodes[:2])
    watched = ("pdb", "moving", "-w", '-o=jsonpath={.status.currentHealthy}{"\\n"}')
    with kubectl.start("get", *watched) as watch:
        watch.expect("^3$")
        drained = kubectl("drain", nodes[2], "--pod-selector=app=moving", "--timeout=90s", timeout=100)
        assert evicted(drained, "moving") == 3
        kubectl("rollout", "status", "deployment/moving", "--timeout=60s")
        wait_allowed(kubectl, "moving", 1)
        watch.expect("^3$")
        healthy = {int(line) for line in watch.output.split()}
    assert healthy == {2, 3}
    assert nodes[2] not in {pod["spec"]["nodeName"] for pod in living(kubectl, "moving")}
    kubectl("delete", "deployment/moving", "pdb/moving")


def test_a_budget_that_cannot_be_kept_says_why(kubectl: Kubectl, talker: str) -> None:
    kubectl.apply(budget(talker, maxUnavailable=1))
    about = f"involvedObject.kind=PodDisruptionBudget,involvedObject.name={talker},reason=UnmanagedPods"
    told = wait_until("it is told", lambda: kubectl.get("events", f"--field-selector={about}")["items"])
    assert f"(selector: app={talker}) were found to be unmanaged" in told[0]["message"]
    assert told[0]["source"] == {"component": "controllermanager"}
    status = kubectl.get("pdb", talker)["status"]
    assert (status["expectedPods"], status["disruptionsAllowed"]) == (0, 0)
    [condition] = status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "DisruptionAllowed", "False", "InsufficientPods",
    )  # fmt: skip
    kubectl("delete", "pdb", talker)


def test_cluster_roles_are_aggregated_while_the_cluster_runs(kubectl: Kubectl) -> None:
    name = f"{kubectl.namespace}-views"
    rule = {"apiGroups": ["example.com"], "resources": [name], "verbs": ["get"]}
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    metadata = {"name": name, "labels": labels}
    kubectl.apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata,
                   "rules": [rule]})  # fmt: skip

    def holders() -> list[str]:
        return [role for role in ("view", "edit", "admin") if rule in kubectl.get("clusterrole", role)["rules"]]

    wait_until("all three have it", lambda: holders() == ["view", "edit", "admin"], timeout=20)
    kubectl("delete", "clusterrole", name)
    wait_until("none has it", lambda: holders() == [], timeout=20)
