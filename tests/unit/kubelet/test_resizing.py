"""In-place resize, after kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod
from timonel.api.objects import Object, copy_object, find_by
from timonel.api.refs import PODS
from timonel.kubelet.cri.runtime import RuntimeFailure
from timonel.kubelet.pods.allocation import Allocations
from timonel.testing.clock import VirtualClock


def resources(cpu: str, memory: str = "64Mi", limit: str = "") -> Object:
    made = {"requests": {"cpu": cpu, "memory": memory}}
    return made | ({"limits": {"cpu": limit, "memory": memory}} if limit else {})


def asking(cpu: str, name: str = "web", **more: Any) -> Object:
    made = pod(container("c", resources=resources(cpu)), **more)
    made["metadata"] |= {"name": name, "uid": f"uid-{name}", "generation": 1}
    return made


def resized(of: Object, cpu: str, generation: int = 2) -> Object:
    made = copy_object(of)
    made["spec"]["containers"][0]["resources"] = resources(cpu)
    made["metadata"]["generation"] = generation
    return made


class Desk(Allocations):
    """A node of two cores, with what was told and who was woken."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.woken: list[str] = []
        super().__init__(
            capacity={"cpu": "2", "memory": "1Gi", "pods": "3"},
            clock=VirtualClock(),
            tell=lambda of, type, reason, message: self.told.append((of["metadata"]["name"], reason)),
            wake=self.woken.append,
        )

    def granted_cpu(self, of: Object) -> str:
        return str(self.effective(of)["spec"]["containers"][0]["resources"]["requests"]["cpu"])


def test_a_pod_that_the_node_has_no_room_for_is_named_with_the_numbers() -> None:
    desk = Desk()
    assert desk.admit(asking("1500m", "a")) is None
    missing = desk.admit(asking("600m", "b"))
    assert missing is not None
    assert missing.reason == "OutOfcpu"
    assert str(missing) == "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000"


def test_the_number_of_pods_is_bound() -> None:
    desk = Desk()
    assert [desk.admit(asking("1m", name)) for name in "abc"] == [None] * 3
    missing = desk.admit(asking("1m", "d"))
    assert missing is not None
    assert missing.reason == "OutOfpods"


def test_what_fits_is_granted_at_once_and_carried_out() -> None:
    desk = Desk()
    one = asking("500m", "a")
    desk.admit(one)
    bigger = resized(one, "1")
    desk.observe(bigger)
    assert desk.granted_cpu(bigger) == "1"
    assert [c["type"] for c in desk.conditions("uid-a")] == ["PodResizeInProgress"]
    assert desk.woken == ["uid-a"]
    desk.finish("uid-a")
    assert desk.conditions("uid-a") == []
    assert desk.told == [("a", "ResizeStarted"), ("a", "ResizeCompleted")]


def test_what_does_not_fit_waits_and_goes_on_with_what_it_has() -> None:
    desk = Desk()
    one, other = asking("1", "a"), asking("1", "b")
    desk.admit(one)
    desk.admit(other)
    bigger = resized(one, "1500m")
    desk.observe(bigger)
    assert desk.granted_cpu(bigger) == "1"
    (pending,) = desk.conditions("uid-a")
    assert (pending["type"], pending["status"], pending["reason"]) == ("PodResizePending", "True", "Deferred")
    assert pending["message"] == "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"
    assert pending["observedGeneration"] == 2
    assert desk.told == [("a", "ResizeDeferred")]
    desk.observe(bigger)
    assert desk.told == [("a", "ResizeDeferred")], "told once"
    desk.release("uid-b")
    assert desk.granted_cpu(bigger) == "1500m"


def test_a_resize_that_is_taken_back_waits_no_longer() -> None:
    desk = Desk()
    one = asking("1", "a")
    desk.admit(one)
    desk.admit(asking("1", "b"))
    desk.observe(resized(one, "1500m"))
    desk.observe(resized(one, "1000m", 3))
    assert desk.conditions("uid-a") == []


def test_room_goes_to_the_most_important_first() -> None:
    desk = Desk()
    low, high, big = asking("500m", "low"), asking("500m", "high", priority=10), asking("1", "big")
    for one in (low, high, big):
        desk.admit(one)
    low, high = resized(low, "1"), resized(high, "1")
    desk.observe(low)
    desk.observe(high)
    assert (desk.granted_cpu(low), desk.granted_cpu(high)) == ("500m", "500m")
    desk.observe(resized(big, "500m"))
    assert (desk.granted_cpu(low), desk.granted_cpu(high)) == ("500m", "1")


def test_after_a_restart_the_status_tells_what_was_granted() -> None:
    desk = Desk()
    desk.admit(asking("1500m", "b"))
    kept = resized(asking("500m", "a"), "1")
    ran = {"name": "c", "containerID": "containerd://x", "resources": resources("500m")}
    kept["status"] = {"containerStatuses": [ran]}
    desk.keep(kept)
    assert desk.admit(kept) is None
    assert desk.granted_cpu(kept) == "500m"
    assert [c["type"] for c in desk.conditions("uid-a")] == ["PodResizePending"]


def test_after_a_restart_nobody_is_granted_what_others_have() -> None:
    """Whoever is told of first."""
    desk = Desk()
    first, second = resized(asking("1", "a"), "1500m"), asking("1", "b")
    for each in (first, second):
        ran = {"name": "c", "containerID": "containerd://x", "resources": resources("1")}
        each["status"] = {"containerStatuses": [ran | {"allocatedResources": resources("1")["requests"]}]}
        desk.keep(each)
    assert [desk.admit(each) for each in (first, second)] == [None, None]
    assert desk.granted_cpu(first) == "1"
    assert [c["type"] for c in desk.conditions("uid-a")] == ["PodResizePending"]
    desk.release("uid-b")
    assert desk.granted_cpu(first) == "1500m"


def test_after_a_restart_a_resize_that_was_granted_goes_on() -> None:
    desk = Desk()
    kept = resized(asking("500m", "a"), "1")
    allocated = resources("1")["requests"]
    ran = {
        "name": "c",
        "containerID": "containerd://x",
        "resources": resources("500m"),
        "allocatedResources": allocated,
    }
    kept["status"] = {"containerStatuses": [ran]}
    desk.keep(kept)
    assert desk.admit(asking("1500m", "b")) is not None, "its room is not given to others"
    assert desk.admit(kept) is None
    assert desk.granted_cpu(kept) == "1"
    assert [c["type"] for c in desk.conditions("uid-a")] == ["PodResizeInProgress"]


def test_a_pod_as_a_whole_is_resized_within_what_the_node_has() -> None:
    """Source: KEP-5419, on by default since v1.36."""

    def whole(of: Object, cpu: str) -> Object:
        made = copy_object(of)
        made["spec"]["resources"] = {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}
        return made

    desk = Desk()
    first, second = whole(asking("100m", "a"), "500m"), asking("1", "b")
    assert [desk.admit(first), desk.admit(second)] == [None, None]
    more, most = whole(first, "1"), whole(first, "1500m")
    desk.observe(more)
    assert desk.effective(more)["spec"]["resources"]["requests"] == {"cpu": "1"}
    assert [c["type"] for c in desk.conditions("uid-a")] == ["PodResizeInProgress"]
    desk.finish("uid-a")
    desk.observe(most)
    assert desk.effective(most)["spec"]["resources"]["requests"] == {"cpu": "1"}
    assert [c["type"] for c in desk.conditions("uid-a")] == ["PodResizePending"]
    missing = desk.admit(asking("100m", "c"))
    assert missing is not None
    assert missing.used == 2000, "what was granted counts"
    after = Desk()
    most["status"] = {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}
    for each in (most, second):
        after.keep(each)
    assert after.admit(most) is None
    assert after.effective(most)["spec"]["resources"]["requests"] == {"cpu": "1"}, "the next agent knows"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def resize(node: Node, cpu: str, memory: str = "64Mi") -> None:
    changed = copy_object(node.get("web") or {})
    changed["spec"]["containers"][0]["resources"] = resources(cpu, memory, cpu)
    changed["metadata"]["generation"] = (changed["metadata"].get("generation") or 1) + 1
    await node.client.update(PODS, changed)


def resize_conditions(node: Node) -> list[str]:
    return [c["type"] for c in node.status("web").get("conditions") or () if c["type"].startswith("PodResize")]


async def test_a_running_container_is_changed_where_it_is(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(container("c", resources=resources("100m", limit="100m"))))
        await node.until(lambda: node.is_ready("web"))
        started = node.container("web")["containerID"]
        uid = node.get("web")["metadata"]["uid"]  # type: ignore[index]
        limit = node.folder / f"cgroup/memory/t/node/kubepods/pod{uid}/memory.limit_in_bytes"
        limit.write_text(str(64 << 20))
        await resize(node, "200m", "128Mi")
        await node.until(lambda: node.container("web")["resources"] == resources("200m", "128Mi", "200m"))
        await node.until(lambda: not resize_conditions(node))
        assert node.container("web")["containerID"] == started
        assert node.container("web")["allocatedResources"] == {"cpu": "200m", "memory": "128Mi"}
        (config,) = node.runtime.container_configs.values()
        told = config.linux.resources
        assert (told.cpu_shares, told.cpu_quota, told.memory_limit_in_bytes) == (204, 20_000, 128 << 20)
        assert limit.read_text() == str(128 << 20)
    reasons = [reason for reason, _ in node.events("web") if reason.startswith("Resize")]
    assert reasons == ["ResizeStarted", "ResizeCompleted"]


async def test_a_container_whose_policy_says_so_is_restarted(node: Node) -> None:
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    one = container("c", resources=resources("100m", limit="100m"), resizePolicy=policy)
    async with node.running():
        await node.client.create(PODS, pod(one, restartPolicy="OnFailure"))
        await node.until(lambda: node.is_ready("web"))
        await resize(node, "200m")
        await node.until(lambda: node.container("web")["restartCount"] == 1 and node.is_ready("web"))
        await node.until(lambda: not resize_conditions(node))
        assert node.container("web")["resources"] == resources("200m", limit="200m")
    assert ("Killing", "Container c resize requires restart") in node.events("web")


async def test_a_resize_that_the_runtime_refuses_is_told_and_tried_again(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(container("c", resources=resources("100m", limit="100m"))))
        await node.until(lambda: node.is_ready("web"))
        node.runtime.failures["update_container_resources"] = RuntimeFailure("Unknown", "no such luck")
        await resize(node, "200m")
        await node.until(lambda: resize_conditions(node) == ["PodResizeInProgress"] and _reason(node) == "Error")
        assert node.container("web")["resources"] == resources("100m", limit="100m")
        del node.runtime.failures["update_container_resources"]
        await node.until(lambda: not resize_conditions(node), seconds=12)
        assert node.container("web")["resources"] == resources("200m", limit="200m")


def _reason(node: Node) -> str:
    found = find_by(node.status("web")["conditions"], "type", "PodResizeInProgress") or {}
    return str(found.get("reason"))


async def test_memory_in_use_is_not_taken_away(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(container("c", resources=resources("100m", "128Mi", "100m"))))
        await node.until(lambda: node.is_ready("web"))
        uid = node.get("web")["metadata"]["uid"]  # type: ignore[index]
        (container_id,) = node.runtime.containers
        cgroup = node.folder / f"cgroup/memory/t/node/kubepods/pod{uid}/{container_id}"
        cgroup.mkdir()
        (cgroup / "memory.usage_in_bytes").write_text(str(100 << 20))
        await resize(node, "100m", "64Mi")
        await node.until(lambda: resize_conditions(node) == ["PodResizeInProgress"] and _reason(node) == "Error")
        assert (
            "below current usage"
            in find_by(  # type: ignore[index]
                node.status("web")["conditions"], "type", "PodResizeInProgress"
            )["message"]
        )
        (cgroup / "memory.usage_in_bytes").write_text(str(10 << 20))
        await node.until(lambda: not resize_conditions(node), seconds=12)
