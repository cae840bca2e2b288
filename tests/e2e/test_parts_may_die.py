"""kill -9 of every part: containers keep running, the part comes back, state is intact, rollouts complete."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, container_status, sleeper, wait_until


def deployment(round_: str, replicas: int = 4) -> dict[str, Any]:
    spec = sleeper("x")["spec"]
    spec["containers"][0]["env"] = [{"name": "ROUND", "value": round_}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "steady"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "steady"}},
            "template": {"metadata": {"labels": {"app": "steady"}}, "spec": spec},
        },
    }


@pytest.fixture(scope="module")
def steady(cluster: Cluster) -> Iterator[Cluster]:
    cluster.apply(sleeper("witness"), deployment("0"))
    cluster.wait_ready("witness")
    rolled_out(cluster)
    yield cluster
    cluster.kubectl("delete", "deployment/steady", "pod/witness", "--wait=true")


def rolled_out(cluster: Cluster) -> None:
    cluster.kubectl("rollout", "status", "deployment/steady", "--timeout=120s", timeout=130)


def containers(cluster: Cluster) -> dict[str, tuple[str, int]]:
    """Container id and process id of every running pod: neither may change by the death of a part."""
    found = {}
    for pod in cluster.items("pods"):
        if not pod["metadata"].get("deletionTimestamp"):
            status = container_status(pod, "main")
            container = status["containerID"].removeprefix("containerd://")
            found[pod["metadata"]["name"]] = (container, process_of(container))
    return found


def process_of(container: str) -> int:
    """The container's first process, as the kernel tells it: by the shim that names the container."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                cgroup = (entry / "cgroup").read_text()
            except OSError:
                continue
            if container in cgroup:
                return int(entry.name)
    return 0


PARTS = ("server", "manager", "agent@e2e-1", "containerd@e2e-1")


@pytest.mark.parametrize("part", PARTS)
def test_containers_keep_running_and_the_part_comes_back(steady: Cluster, part: str) -> None:
    part = part.replace("e2e-1", steady.node_name(1))
    before = containers(steady)
    assert all(pid for _, pid in before.values())
    pid = steady.kill(part)
    steady.wait_part(part, pid)
    wait_until("every node is Ready", lambda: all_ready(steady))
    assert containers(steady) == before
    assert steady.kubectl("exec", "witness", "--", "echo", "alive").stdout == "alive\n"
    assert steady.timonel("status").returncode == 0


@pytest.mark.parametrize("part", PARTS)
def test_a_rollout_under_way_completes(steady: Cluster, part: str) -> None:
    part = part.replace("e2e-1", steady.node_name(1))
    steady.apply(deployment(f"after {part}"))
    wait_until("the rollout began", lambda: steady.get("deployment", "steady")["status"].get("updatedReplicas", 0) >= 1)
    pid = steady.kill(part)
    steady.wait_part(part, pid)
    wait_until("the server answers", lambda: steady.kubectl("get", "--raw", "/readyz", check=False).returncode == 0)
    rolled_out(steady)
    wait_until("old pods are gone", lambda: len(steady.items("pods", "-l", "app=steady")) == 4)
    values = {pod["spec"]["containers"][0]["env"][0]["value"] for pod in steady.items("pods", "-l", "app=steady")}
    assert values == {f"after {part}"}


def test_what_the_server_acknowledged_is_there_after_kill_9(steady: Cluster) -> None:
    for index in range(3):
        name = f"kept-{index}"
        steady.kubectl("create", "configmap", name, f"--from-literal=n={index}")
        pid = steady.kill("server")
        steady.wait_part("server", pid)
        assert steady.get("configmap", name)["data"] == {"n": str(index)}
    steady.kubectl("delete", "configmap", "kept-0", "kept-1", "kept-2")


def test_services_answer_while_server_manager_and_agent_are_away(steady: Cluster) -> None:
    """The kernel's rules and the containers need none of them."""
    web: dict[str, Any] = json.loads(json.dumps(WEB_POD))
    steady.apply(web, WEB_SERVICE)
    steady.wait_ready("away")
    address = steady.get("service", "away")["spec"]["clusterIP"]
    wait_until("it answers", lambda: "here" in steady.fetch(1, f"http://{address}/"))
    killed = {part: steady.kill(part) for part in ("server", "manager", f"agent@{steady.node_name(1)}")}
    assert "here" in steady.fetch(1, f"http://{address}/")
    for part, pid in killed.items():
        steady.wait_part(part, pid)
    assert "here" in steady.fetch(1, f"http://{address}/")
    steady.kubectl("delete", "pod/away", "service/away", "--wait=true")


WEB_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "away", "labels": {"app": "away"}},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "main",
                "image": "busybox:1.36",
                "command": ["sh", "-c", "mkdir /www; echo here > /www/index.html; exec httpd -f -p 8080 -h /www"],
            }
        ],
    },
}
WEB_SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "away"},
    "spec": {"selector": {"app": "away"}, "ports": [{"port": 80, "targetPort": 8080}]},
}


def all_ready(cluster: Cluster) -> bool:
    nodes = cluster.items("nodes")
    return bool(nodes) and all(
        any(item["type"] == "Ready" and item["status"] == "True" for item in node["status"]["conditions"])
        for node in nodes
    )


def test_a_second_supervisor_takes_over_after_the_first_is_killed(steady: Cluster) -> None:
    from timonel.cluster.supervision import ask

    before = containers(steady)
    answer = ask(steady.layout, "status")
    assert answer is not None
    subprocess.run(["kill", "-9", str(answer["pid"])], check=True)
    steady.up()
    wait_until("every node is Ready", lambda: all_ready(steady))
    assert containers(steady) == before
