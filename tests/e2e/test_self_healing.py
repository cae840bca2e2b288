"""What fails is restarted, replaced, or left out of the Service, and events say why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, container_status, pod, sleeper, wait_until


@pytest.fixture
def healer(cluster: Cluster) -> Iterator[Cluster]:
    yield cluster
    cluster.kubectl("delete", "deployment,service,pod", "-l", "test=healing", "--wait=true", "--ignore-not-found")


def labelled(obj: dict[str, Any], **labels: str) -> dict[str, Any]:
    obj["metadata"].setdefault("labels", {}).update({"test": "healing", **labels})
    return obj


def status_of(cluster: Cluster, name: str, container: str = "main") -> dict[str, Any]:
    return container_status(cluster.get("pod", name), container)


def events_of(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    return cluster.items("events", "--field-selector", f"involvedObject.name={name}")


def test_a_killed_container_is_restarted_and_counted(healer: Cluster) -> None:
    healer.apply(labelled(sleeper("victim")))
    healer.wait_ready("victim")
    before = status_of(healer, "victim")
    healer.kubectl("exec", "victim", "--", "sh", "-c", "kill -9 -1; kill -TERM 1", check=False)
    after = wait_until(
        "the container runs again",
        lambda: (found := status_of(healer, "victim"))["restartCount"] == 1 and "running" in found["state"] and found,
    )
    assert after["containerID"] != before["containerID"]
    assert after["lastState"]["terminated"]["containerID"] == before["containerID"]


def test_a_container_that_keeps_failing_waits_longer_each_time(healer: Cluster) -> None:
    healer.apply(labelled(pod("crasher", "busybox:1.36", "sh", "-c", "echo going; exit 3")))
    waiting = wait_until(
        "back-off",
        lambda: (
            (found := status_of(healer, "crasher")["state"].get("waiting", {})).get("reason") == "CrashLoopBackOff"
            and found
        ),
    )
    assert waiting["message"].startswith("back-off ")
    assert status_of(healer, "crasher")["lastState"]["terminated"]["exitCode"] == 3
    wait_until("a second restart", lambda: status_of(healer, "crasher")["restartCount"] >= 2, timeout=40)
    reasons = {event["reason"] for event in events_of(healer, "crasher")}
    assert {"Pulled", "Created", "Started", "BackOff"} <= reasons
    previous = healer.kubectl("logs", "crasher", "--previous").stdout
    assert previous == "going\n"


def test_a_deleted_pod_is_replaced(healer: Cluster) -> None:
    template = {"metadata": {"labels": {"app": "kept", "test": "healing"}}, "spec": sleeper("x")["spec"]}
    healer.apply(
        labelled(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "kept"},
                "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "kept"}}, "template": template},
            }
        )
    )
    healer.kubectl("rollout", "status", "deployment/kept", "--timeout=60s")
    first, second = (item["metadata"]["name"] for item in healer.items("pods", "-l", "app=kept"))
    healer.kubectl("delete", "pod", first, "--wait=true")
    healer.kubectl("rollout", "status", "deployment/kept", "--timeout=60s")
    names = {item["metadata"]["name"] for item in healer.items("pods", "-l", "app=kept")}
    assert len(names) == 2
    assert first not in names
    assert second in names


SERVER = """
mkdir -p /www && hostname > /www/index.html && touch /tmp/ready /tmp/alive
httpd -p 8080 -h /www
trap exit TERM; while :; do sleep 3600 & wait; done
"""


def server(name: str) -> dict[str, Any]:
    made = pod(
        name,
        "busybox:1.36",
        "sh",
        "-c",
        SERVER,
        container={
            "ports": [{"containerPort": 8080}],
            "readinessProbe": {"exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1},
            "livenessProbe": {"exec": {"command": ["test", "-f", "/tmp/alive"]}, "periodSeconds": 1},
        },
    )
    return labelled(made, app="probed")


def test_unready_pods_get_no_request_and_dead_ones_are_restarted(healer: Cluster) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "probed"},
        "spec": {"selector": {"app": "probed"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    healer.apply(labelled(service), server("probed-a"), server("probed-b"))
    healer.wait_ready("probed-a", "probed-b")
    address = healer.get("service", "probed")["spec"]["clusterIP"]

    def answers(count: int = 30) -> set[str]:
        script = f"for i in $(seq {count}); do curl -sS --fail --max-time 5 http://{address}/; done"
        return set(healer.on_node(1, "sh", "-c", script).stdout.split())

    wait_until("both answer", lambda: answers() == {"probed-a", "probed-b"})

    healer.kubectl("exec", "probed-a", "--", "rm", "/tmp/ready")
    wait_until("it leaves the endpoints", lambda: ready_endpoints(healer, "probed") == {"probed-b"})
    wait_until("the rules follow", lambda: answers(10) == {"probed-b"})
    assert answers(60) == {"probed-b"}
    assert status_of(healer, "probed-a")["restartCount"] == 0
    healer.kubectl("exec", "probed-a", "--", "touch", "/tmp/ready")
    wait_until("it comes back", lambda: answers() == {"probed-a", "probed-b"})

    healer.kubectl("exec", "probed-a", "--", "rm", "/tmp/alive")
    wait_until("it is restarted", lambda: status_of(healer, "probed-a")["restartCount"] == 1, timeout=90)
    messages = [event["message"] for event in events_of(healer, "probed-a")]
    assert any(message.startswith("Liveness probe failed") for message in messages)
    assert any("failed liveness probe, will be restarted" in message for message in messages)


def ready_endpoints(cluster: Cluster, service: str) -> set[str]:
    slices = cluster.items("endpointslices", "-l", f"kubernetes.io/service-name={service}")
    return {
        endpoint["targetRef"]["name"]
        for item in slices
        for endpoint in item.get("endpoints") or []
        if endpoint["conditions"]["ready"]
    }
