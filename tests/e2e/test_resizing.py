"""Pods that are resized while they run, and pods that are too large for their node."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster, container_status, sleeper, wait_until

READ_LIMITS = """
if [ -e /sys/fs/cgroup/cpu.max ]; then cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory.max
else cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/memory/memory.limit_in_bytes; fi
"""


def sized(name: str, cpu: str, memory: str, **more: object) -> dict[str, object]:
    amounts = {"cpu": cpu, "memory": memory}
    return sleeper(name, container={"resources": {"requests": amounts, "limits": amounts}, **more})


@pytest.fixture
def resized(cluster: Cluster) -> Iterator[Cluster]:
    yield cluster
    cluster.kubectl("delete", "pod", "growing", "restarting", "huge", "--ignore-not-found", "--now")


def resize(cluster: Cluster, name: str, cpu: str, memory: str) -> None:
    amounts = {"cpu": cpu, "memory": memory}
    patch = {"spec": {"containers": [{"name": "main", "resources": {"requests": amounts, "limits": amounts}}]}}
    cluster.kubectl("patch", "pod", name, "--subresource=resize", "--patch", json.dumps(patch))


def wait_resized(cluster: Cluster, name: str, cpu: str) -> dict[str, object]:
    def done() -> dict[str, object] | None:
        pod = cluster.get("pod", name)
        resizing = [each for each in pod["status"]["conditions"] if each["type"].startswith("PodResize")]
        status = container_status(pod, "main")
        return status if not resizing and status["resources"]["limits"]["cpu"] == cpu and status["ready"] else None

    found: dict[str, object] = wait_until(f"{name} has {cpu}", done, timeout=30)
    return found


def test_a_container_gets_more_where_it_is(resized: Cluster) -> None:
    resized.apply(sized("growing", "100m", "32Mi"))
    resized.wait_ready("growing")
    before = container_status(resized.get("pod", "growing"), "main")
    resize(resized, "growing", "200m", "64Mi")
    after = wait_resized(resized, "growing", "200m")
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)
    told = resized.kubectl("exec", "growing", "--", "sh", "-c", READ_LIMITS).stdout.split()
    assert told[0] == "20000"
    assert told[-1] == str(64 << 20)
    reasons = {event["reason"] for event in resized.items("events", "--field-selector=involvedObject.name=growing")}
    assert {"ResizeStarted", "ResizeCompleted"} <= reasons


def test_a_container_is_restarted_when_it_asked_for_that(resized: Cluster) -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    resized.apply(sized("restarting", "100m", "32Mi", resizePolicy=policy))
    resized.wait_ready("restarting")
    resize(resized, "restarting", "200m", "64Mi")
    assert wait_resized(resized, "restarting", "200m")["restartCount"] == 1


def test_a_pod_that_comes_past_the_scheduler_and_is_too_large_is_rejected_by_name(resized: Cluster) -> None:
    resized.apply({**sized("huge", "500", "32Mi"), "spec": {**_spec("500"), "nodeName": resized.node_name(2)}})

    def status() -> tuple[str, str]:
        found = resized.get("pod", "huge")["status"]
        return found["phase"], found.get("reason", "")

    wait_until("it is rejected", lambda: status() == ("Failed", "OutOfcpu"), timeout=20)


def _spec(cpu: str) -> dict[str, object]:
    spec: dict[str, object] = sized("huge", cpu, "32Mi")["spec"]  # type: ignore[assignment]
    return spec
