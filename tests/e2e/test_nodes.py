"""Three nodes on one machine: spread, reach each other, and the loss of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, pod, sleeper, wait_until

SERVER = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"


def everywhere(name: str, replicas: int, **spec: Any) -> dict[str, Any]:
    template = pod("x", "busybox:1.36", "sh", "-c", SERVER, **spec)["spec"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template},
        },
    }


@pytest.fixture(scope="module")
def spread(cluster: Cluster) -> Iterator[Cluster]:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "spread"},
        "spec": {"type": "NodePort", "selector": {"app": "spread"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    cluster.apply(service, everywhere("spread", 6))
    cluster.kubectl("rollout", "status", "deployment/spread", "--timeout=120s", timeout=130)
    yield cluster
    cluster.kubectl("delete", "deployment/spread", "service/spread", "--wait=true")


def test_three_ready_nodes_with_addresses_of_their_own(cluster: Cluster) -> None:
    lines = cluster.kubectl("get", "nodes", "-o", "wide", "--no-headers").stdout.splitlines()
    assert len(lines) == 3
    assert all(line.split()[1] == "Ready" for line in lines)
    addresses = {line.split()[5] for line in lines}
    nodes = ip_network(cluster.config["network"]["nodes"])
    assert addresses == {str(nodes[number]) for number in (2, 3, 4)}
    pod_cidrs = {node["spec"]["podCIDR"] for node in cluster.items("nodes")}
    assert len(pod_cidrs) == 3


def test_each_node_has_a_host_name_of_its_own(cluster: Cluster) -> None:
    shared = sleeper("name", hostNetwork=True, nodeName=cluster.node_name(2))
    cluster.apply(shared)
    cluster.wait_ready("name")
    assert cluster.kubectl("exec", "name", "--", "hostname").stdout.strip() == cluster.node_name(2)
    cluster.kubectl("delete", "pod", "name", "--wait=true")


def test_pods_spread_over_the_nodes(spread: Cluster) -> None:
    nodes = Counter(item["spec"]["nodeName"] for item in spread.items("pods", "-l", "app=spread"))
    assert sorted(nodes.values()) == [2, 2, 2]


def test_every_pod_reaches_every_other(spread: Cluster) -> None:
    pods = spread.items("pods", "-l", "app=spread")
    one_per_node = {item["spec"]["nodeName"]: item for item in pods}.values()
    for source in one_per_node:
        script = "; ".join(f"wget -qO- http://{target['status']['podIP']}:8080/" for target in pods)
        answers = spread.kubectl("exec", source["metadata"]["name"], "--", "sh", "-c", script).stdout.split()
        assert answers == [target["metadata"]["name"] for target in pods]


def test_every_node_and_pod_reaches_the_service(spread: Cluster) -> None:
    service = spread.get("service", "spread")
    address, node_port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
    names = {item["metadata"]["name"] for item in spread.items("pods", "-l", "app=spread")}
    for index in (1, 2, 3):
        assert spread.fetch(index, f"http://{address}/").strip() in names
        for node in spread.items("nodes"):
            internal = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
            assert spread.fetch(index, f"http://{internal}:{node_port}/").strip() in names
    for item in spread.items("pods", "-l", "app=spread"):
        answer = spread.kubectl("exec", item["metadata"]["name"], "--", "wget", "-qO-", "http://spread/").stdout
        assert answer.strip() in names


def test_a_lost_agent_makes_its_node_not_ready_and_its_pods_are_replaced(spread: Cluster) -> None:
    """The agent is stopped, not killed: the supervisor would bring a killed one back."""
    lost = spread.node_name(3)
    spread.kubectl("wait", "--for=condition=Ready", f"node/{lost}", "--timeout=60s")
    pid = spread.parts()[f"agent@{lost}"]["pid"]
    spread.on_node(1, "kill", "-STOP", str(pid))
    try:
        spread.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{lost}", "--timeout=90s", timeout=100)

        def replaced() -> bool:
            ready = [
                item["spec"]["nodeName"]
                for item in spread.items("pods", "-l", "app=spread")
                if not item["metadata"].get("deletionTimestamp")
                and any(c["type"] == "Ready" and c["status"] == "True" for c in item["status"].get("conditions", []))
            ]
            return len(ready) == 6 and lost not in ready

        wait_until("six ready pods elsewhere", replaced, timeout=90)
        taints = {taint["key"] for taint in spread.get("node", lost)["spec"].get("taints", [])}
        assert "node.kubernetes.io/unreachable" in taints
    finally:
        spread.on_node(1, "kill", "-CONT", str(pid))
    spread.kubectl("wait", "--for=condition=Ready", f"node/{lost}", "--timeout=60s")
    wait_until(
        "its old pods are gone",
        lambda: all(not item["metadata"].get("deletionTimestamp") for item in spread.items("pods", "-l", "app=spread")),
    )
