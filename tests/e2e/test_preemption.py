"""A pod of higher priority takes the place of a lesser one, on a real node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, sleeper, wait_until


@pytest.fixture
def crowd(cluster: Cluster) -> Iterator[Cluster]:
    yield cluster
    cluster.kubectl("delete", "pod", "lesser", "important", "--ignore-not-found", "--now")
    cluster.kubectl("delete", "priorityclass", "e2e-important", "--ignore-not-found")


def large(cluster: Cluster, name: str, **spec: Any) -> dict[str, Any]:
    """It wants more than half of the third node."""
    node = cluster.get("node", cluster.node_name(3))
    cpu = str(node["status"]["allocatable"]["cpu"])
    milli = int(cpu[:-1]) if cpu.endswith("m") else int(cpu) * 1000
    return sleeper(
        name,
        container={"resources": {"requests": {"cpu": f"{milli * 6 // 10}m"}}},
        nodeSelector={"kubernetes.io/hostname": cluster.node_name(3)},
        **spec,
    )


def test_the_lesser_pod_goes_with_a_reason_and_the_important_one_runs(crowd: Cluster) -> None:
    crowd.apply(large(crowd, "lesser"))
    crowd.wait_ready("lesser")
    crowd.apply(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "e2e-important"},
            "value": 1000,
        },
        large(crowd, "important", priorityClassName="e2e-important"),
    )
    crowd.wait_ready("important", timeout=60)
    assert crowd.kubectl("get", "pod", "lesser", check=False).returncode != 0
    events = crowd.items("events", "--field-selector=involvedObject.name=lesser,reason=Preempted")
    uid = crowd.get("pod", "important")["metadata"]["uid"]
    assert [event["message"] for event in events] == [f"Preempted by pod {uid} on node {crowd.node_name(3)}"]


def test_equals_wait_for_each_other(crowd: Cluster) -> None:
    crowd.apply(large(crowd, "lesser"))
    crowd.wait_ready("lesser")
    crowd.apply(large(crowd, "important"))

    def told() -> str:
        conditions = crowd.get("pod", "important")["status"].get("conditions", [])
        return next((each["message"] for each in conditions if each["type"] == "PodScheduled"), "")

    message = wait_until("it is told why it waits", told, timeout=20)
    assert "1 Insufficient cpu" in message
    assert "No preemption victims found for incoming pod" in message
    crowd.kubectl("delete", "pod", "lesser", "--now")
    crowd.wait_ready("important", timeout=30)
