"""What pods use, as `kubectl top` and Prometheus are told it, and replicas that follow real load."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import wait_until
from tests.e2e.kubectl import Kubectl, row_of, rows

# Burns until it is told to rest, held to a fifth of a core so that the machine has time for others.
SCRIPT = "trap exit TERM; while :; do if [ -e /tmp/rest ]; then sleep 1 & wait; fi; done"
LIMITS = {"requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": "32Mi"}}

TARGET = {"type": "Utilization", "averageUtilization": 50}
AUTOSCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "burner"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "burner"},
        "minReplicas": 1,
        "maxReplicas": 2,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
            }
        ],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
    },
}


@pytest.fixture(scope="module")
def burner(kubectl: Kubectl) -> Iterator[str]:
    """A Deployment of one pod that uses twice the CPU it requests."""
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 5}
    container = {
        "name": "main", "image": "busybox:1.36", "command": ["sh", "-c", SCRIPT], "resources": LIMITS,
        "readinessProbe": probe,
    }  # fmt: skip
    labels = {"app": "burner"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    kubectl.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "burner"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        }
    )
    kubectl("rollout", "status", "deployment/burner", "--timeout=60s")
    yield "burner"
    kubectl("delete", "deployment", "burner", "--wait=false")


def pods(kubectl: Kubectl) -> list[str]:
    items = kubectl.get("pods", "-l", "app=burner", "--field-selector=status.phase=Running")["items"]
    return [item["metadata"]["name"] for item in items if not item["metadata"].get("deletionTimestamp")]


def milli(text: str) -> int:
    match = re.fullmatch(r"(\d+)m", text)
    assert match is not None, text
    return int(match[1])


def test_top_of_pods(kubectl: Kubectl, burner: str) -> None:
    def top() -> list[str] | None:
        shown = kubectl.run("top", "pods", "-l", "app=burner", "--no-headers", check=False).stdout.split()
        return shown if len(shown) == 3 and milli(shown[1]) > 100 else None

    name, used, memory = wait_until("the load is seen", top, timeout=90) or []
    assert name == pods(kubectl)[0]
    assert 100 < milli(used) < 300
    assert re.fullmatch(r"\d+Mi", memory)
    shown = kubectl("top", "pod", name, "--containers")
    assert rows(shown)[0][:4] == ["POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]
    assert row_of(shown, "main", 1)[0] == name
    assert "not found" in kubectl.fails("top", "pod", "nobody")


def test_top_of_nodes(kubectl: Kubectl, burner: str) -> None:
    shown = rows(kubectl("top", "nodes"))
    assert shown[0][0] == "NAME"
    assert [row[0] for row in shown[1:]] == [kubectl.cluster.node_name(number) for number in (1, 2, 3)]
    assert all(milli(row[1]) > 0 and re.fullmatch(r"\d+Mi", row[3]) for row in shown[1:])
    found = json.loads(kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/nodes/{shown[1][0]}"))
    assert (found["kind"], found["metadata"]["name"]) == ("NodeMetrics", shown[1][0])


def test_pages_of_a_node(kubectl: Kubectl, burner: str) -> None:
    name = pods(kubectl)[0]
    pod = kubectl.get("pod", name)
    path = f"/api/v1/nodes/{pod['spec']['nodeName']}/proxy"
    summary: Any = json.loads(kubectl("get", "--raw", f"{path}/stats/summary"))
    assert summary["node"]["nodeName"] == pod["spec"]["nodeName"]
    assert summary["node"]["fs"]["capacityBytes"] > summary["node"]["fs"]["usedBytes"] > 0
    found = next(each for each in summary["pods"] if each["podRef"]["uid"] == pod["metadata"]["uid"])
    (container,) = found["containers"]
    assert container["cpu"]["usageNanoCores"] > 0
    assert 0 < container["memory"]["workingSetBytes"] < 32 << 20
    assert found["network"]["name"] == "eth0"
    labels = f'container="main",namespace="{kubectl.namespace}",pod="{name}"'
    resources = kubectl("get", "--raw", f"{path}/metrics/resource")
    assert f"container_cpu_usage_seconds_total{{{labels}}}" in resources
    assert "\nresource_scrape_error 0\n" in resources
    all_figures = kubectl("get", "--raw", f"{path}/metrics/cadvisor")
    for family in ("container_memory_rss", "container_spec_memory_limit_bytes", "container_cpu_cfs_periods_total"):
        line = rf'^{family}\{{container="main",id="[^"]+",image="busybox:1.36",.*pod="{name}".*\}} [1-9]'
        assert re.search(line, all_figures, re.MULTILINE), family
    assert re.search(rf'container_network_receive_bytes_total\{{.*pod="{name}",interface="eth0"', all_figures)
    probes = kubectl("get", "--raw", f"{path}/metrics/probes")
    assert re.search(rf'prober_probe_total\{{container="main",.*pod="{name}".*result="successful"\}} [1-9]', probes)
    own = kubectl("get", "--raw", f"{path}/metrics")
    assert re.search(r"^kubelet_running_pods [1-9]", own, re.MULTILINE)
    assert 'kubelet_runtime_operations_total{operation_type="run_podsandbox"}' in own


def test_replicas_follow_the_load(kubectl: Kubectl, burner: str) -> None:
    made = kubectl.run("apply", "-f", "-", stdin=json.dumps(AUTOSCALER))
    assert "not built" not in made.stderr
    wait_until("there are two", lambda: len(pods(kubectl)) == 2, timeout=120)
    status = kubectl.get("hpa", "burner", "-o", "json")
    assert status["kind"] == "HorizontalPodAutoscaler"
    described = kubectl("describe", "hpa", "burner")
    assert "SuccessfulRescale" in described
    assert "above target" in described
    row = row_of(kubectl("get", "hpa", "burner"), "burner")
    assert row[1] == "Deployment/burner"
    assert re.search(r"\d+%/50%", row[2])
    wait_until("both are ready", lambda: kubectl.run(
        "wait", "--for=condition=Ready", "pod", "-l", "app=burner", "--timeout=20s", check=False, timeout=30
    ).returncode == 0)  # fmt: skip
    for name in pods(kubectl):
        kubectl("exec", name, "--", "touch", "/tmp/rest")
    wait_until("one is left", lambda: len(pods(kubectl)) == 1, timeout=120)
    assert "All metrics below target" in kubectl("describe", "hpa", "burner")
    kubectl("delete", "hpa", "burner")
