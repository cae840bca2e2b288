"""Hollow pods and what their own writes come back as: decided once, and never forgotten, whichever comes first."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from timonel.api.objects import Object
from timonel.api.refs import NODES, PODS, ResourceRef
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.simulation import pods
from timonel.simulation.config import HollowConfig
from timonel.simulation.nodes import new_hollow_node
from timonel.simulation.pods import HollowPods
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient

CONFIG = HollowConfig(count=1, address="192.0.2.1")


class LateClient(FakeClient):
    """Its watches tell of everything `late_seconds` later; a write's answer takes `answer_seconds`."""

    def __init__(self, *objects: Object, clock: VirtualClock, late_seconds: float, answer_seconds: float) -> None:
        super().__init__(*objects, clock=clock)
        self.time = clock
        self.late_seconds = late_seconds
        self.answer_seconds = answer_seconds

    async def watch(self, ref: ResourceRef, *args: Any, **options: Any) -> AsyncIterator[Any]:
        async for event in super().watch(ref, *args, **options):
            if self.late_seconds:
                await self.time.sleep(self.late_seconds)
            yield event

    async def patch(self, *args: Any, **options: Any) -> Object:
        answer = await super().patch(*args, **options)
        if self.answer_seconds:
            await self.time.sleep(self.answer_seconds)
        return answer


def pod(**annotations: str) -> Object:
    told = {f"hollow.timonel/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "p", "namespace": "default", "uid": "u", "annotations": told},
        "spec": {
            "nodeName": "hollow-0000",
            "restartPolicy": "Never",
            "containers": [{"name": "c", "image": "i"}],
            "terminationGracePeriodSeconds": 1,
        },
        "status": {"phase": "Pending"},
    }


@contextlib.asynccontextmanager
async def hollow(late: float, answer: float, *objects: Object) -> AsyncIterator[tuple[FakeClient, VirtualClock]]:
    clock = VirtualClock()
    node = new_hollow_node(CONFIG, 0, clock.now())
    node["spec"] = {"podCIDR": "10.244.0.0/24"}
    client = LateClient(node, *objects, clock=clock, late_seconds=late, answer_seconds=answer)
    informers = Informers(client, clock=clock)
    recorder = EventRecorder(client, component="hollow-kubelet", clock=clock)
    parts = (
        informers,
        HollowPods(config=CONFIG, client=client, informers=informers, recorder=recorder, clock=clock),
    )
    tasks = [asyncio.create_task(part.run()) for part in parts]
    await settle(300)
    yield client, clock
    for task in tasks:
        assert not task.done()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def phase(client: FakeClient) -> str:
    [found] = client.objects(PODS)
    return str(found["status"].get("phase"))


ORDERS = [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (3.0, 0.0), (0.0, 3.0)]


@pytest.mark.parametrize(("late", "answer"), ORDERS)
async def test_a_pod_that_stays_as_it_is_is_decided_upon_once(
    late: float, answer: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions = 0
    plan = pods.plan_hollow_pod

    def counting(*args: Any, **options: Any) -> Any:
        nonlocal decisions
        decisions += 1
        return plan(*args, **options)

    monkeypatch.setattr(pods, "plan_hollow_pod", counting)
    # For ever: what `sleep infinity` says.
    made = pod()
    made["spec"]["containers"][0]["command"] = ["sleep", "infinity"]
    async with hollow(late, answer, made) as (client, clock):
        await clock.advance(30)
        assert phase(client) == "Running"
        assert decisions == 1


@pytest.mark.parametrize(("late", "answer"), ORDERS)
@pytest.mark.parametrize("seconds", ["0", "0.2", "2"])
async def test_a_pod_goes_on_by_itself_after_an_own_write(late: float, answer: float, seconds: str) -> None:
    made = pod(start_seconds=seconds, ready_seconds=seconds, run_seconds=seconds)
    async with hollow(late, answer, made) as (client, clock):
        await clock.advance(40)
        assert phase(client) == "Succeeded"


@pytest.mark.parametrize(("late", "answer"), ORDERS)
async def test_a_deletion_is_met_whatever_comes_first(late: float, answer: float) -> None:
    async with hollow(late, answer, pod(run_seconds="1000")) as (client, clock):
        await client.delete(PODS, "p", "default")
        await clock.advance(40)
        assert client.objects(PODS) == []
        assert len(client.objects(NODES)) == 1
