"""A kubelet under pressure, over fakes: who ends, how, and who is not let in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod
from timonel.api.objects import Object, find_by, uid_of
from timonel.api.refs import EVENTS, NODES, PODS
from timonel.kubelet.eviction.pressure import Observations
from timonel.kubelet.eviction.thresholds import MEMORY, Observation
from timonel.kubelet.eviction.usage import Disk, PodUse

GI = 1 << 30
C = container("c")
CALM = {MEMORY: Observation(8 * GI, 16 * GI)}
SHORT = {MEMORY: Observation(50 << 20, 16 * GI)}


class FakeFigures:
    def __init__(self) -> None:
        self.observations: Observations = CALM
        self.short_while: Callable[[], bool] = bool
        self.by_name: dict[str, PodUse] = {}
        self.asked = 0

    async def observe(self) -> Observations:
        return SHORT if self.short_while() else self.observations

    async def image_disk(self) -> tuple[int, int]:
        return 1, 1

    async def images_apart(self) -> bool:
        return False

    async def uses(self, pods: Iterable[Object], *, disk: bool) -> dict[str, PodUse]:
        self.asked += 1
        return {uid_of(each): self.by_name.get(each["metadata"]["name"], PodUse()) for each in pods}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made.figures = FakeFigures()
    return made


def figures(node: Node) -> FakeFigures:
    assert isinstance(node.figures, FakeFigures)
    return node.figures


def condition(node: Node, kind: str) -> Object:
    status = (node.client.objects(NODES) or [{}])[0].get("status") or {}
    return find_by(status.get("conditions"), "type", kind) or {}


async def test_one_pod_after_the_other_until_it_is_enough(node: Node) -> None:
    figures(node).by_name = {"greedy": PodUse(memory=4 * GI), "modest": PodUse(memory=1)}
    async with node.running():
        for name in ("modest", "greedy"):
            await node.client.create(PODS, pod(C, name=name, terminationGracePeriodSeconds=600))
            await node.until(partial(node.is_ready, name))
        assert figures(node).asked == 0  # nobody measures pods while there is no need
        node.runtime.ignores_sigterm = {"c"}
        figures(node).short_while = lambda: len(node.runtime.running()) > 1
        await node.until(lambda: node.status("greedy").get("phase") == "Failed", seconds=20)
        status = node.status("greedy")
        assert status["reason"] == "Evicted"
        assert status["message"].startswith("The node was low on resource: memory. Threshold quantity: 100Mi, ")
        target = find_by(status["conditions"], "type", "DisruptionTarget") or {}
        assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
        assert "Evicted" in [reason for reason, _ in node.events("greedy")]
        await node.until(lambda: condition(node, "MemoryPressure").get("status") == "True", seconds=5)
        assert condition(node, "MemoryPressure")["reason"] == "KubeletHasInsufficientMemory"
        for _ in range(25):
            await node.clock.advance(10)
        assert condition(node, "MemoryPressure")["status"] == "True"
        assert node.is_ready("modest")
        await node.until(lambda: condition(node, "MemoryPressure").get("status") == "False", seconds=90)
    assert any(event["reason"] == "EvictionThresholdMet" for event in node.client.objects(EVENTS))


async def test_a_critical_pod_stays(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C, priority=2_000_000_000))
        await node.until(lambda: node.is_ready("web"))
        figures(node).observations = SHORT
        await node.clock.advance(60)
        assert node.is_ready("web")


async def test_under_pressure_of_memory_only_who_asked_for_some_comes_in(node: Node) -> None:
    figures(node).observations = SHORT
    asks = container("c", resources={"requests": {"memory": "1Mi"}})
    async with node.running():
        await node.until(lambda: condition(node, "MemoryPressure").get("status") == "True", seconds=5)
        figures(node).observations = CALM
        await node.client.create(PODS, pod(C, name="best-effort"))
        await node.until(lambda: node.status("best-effort").get("phase") == "Failed")
        refused = node.status("best-effort")
        assert refused["reason"] == "Evicted"
        assert refused["message"] == "Pod was rejected: The node had condition: [MemoryPressure]. "
        await node.client.create(PODS, pod(asks, name="burstable"))
        await node.until(lambda: node.is_ready("burstable"))
        tolerant = [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}]
        await node.client.create(PODS, pod(C, name="tolerant", tolerations=tolerant))
        await node.until(lambda: node.is_ready("tolerant"))


async def test_a_pod_beyond_its_own_limit_goes_although_nothing_is_short(node: Node) -> None:
    volume = {"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}
    async with node.running():
        await node.client.create(PODS, pod(C, volumes=[volume]))
        await node.until(lambda: node.is_ready("web"))
        figures(node).by_name = {"web": PodUse(volumes={"v": Disk(2 * GI)})}
        await node.until(lambda: node.status("web").get("phase") == "Failed", seconds=45)
    status = node.status("web")
    assert status["message"] == 'Usage of EmptyDir volume "v" exceeds the limit "1Gi". '
    assert find_by(status["conditions"], "type", "DisruptionTarget") is None


async def test_a_critical_pod_pushes_others_off_a_full_node(node: Node) -> None:
    async with node.running() as kubelet:
        cores = int(kubelet.stats._machine.cores)
        filling = container("c", resources={"requests": {"cpu": str(cores)}})
        await node.client.create(PODS, pod(filling, name="filling"))
        await node.until(lambda: node.is_ready("filling"))
        await node.client.create(PODS, pod(filling, name="vital", priority=2_000_000_000))
        await node.until(lambda: node.is_ready("vital"), seconds=40)
    status = node.status("filling")
    assert (status["phase"], status["reason"]) == ("Failed", "Preempting")
    assert status["message"] == "Preempted in order to admit critical pod"
    target = find_by(status["conditions"], "type", "DisruptionTarget") or {}
    assert target["message"] == "Pod was preempted by Kubelet to accommodate a critical pod."


async def test_a_pod_that_names_another_node_is_refused(node: Node) -> None:
    async with node.running() as kubelet:
        await kubelet.wait_ready()
        await node.client.create(PODS, pod(C, name="elsewhere", nodeSelector={"zone": "b"}))
        await node.until(lambda: node.status("elsewhere").get("phase") == "Failed")
        assert node.status("elsewhere")["reason"] == "NodeAffinity"
        await node.client.create(PODS, pod(C, name="windows", os={"name": "windows"}))
        await node.until(lambda: node.status("windows").get("phase") == "Failed")
        assert node.status("windows")["reason"] == "PodOSNotSupported"
