"""Pods of a group are placed together or not at all, where a profile enables the plugin Coscheduling."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.unit.scheduler.devices.things import claim, device, device_class, request, slice_of
from tests.unit.scheduler.objects import node, pod
from tests.unit.scheduler.test_loop import World
from timonel.api.errors import InternalError
from timonel.api.objects import Object
from timonel.api.refs import NODES, PODS, RESOURCE_CLAIMS
from timonel.scheduler.config import SchedulerConfig
from timonel.scheduler.configuration.reading import parse_configuration
from timonel.scheduler.loop import Scheduler

ENABLED = {
    "apiVersion": "kubescheduler.config.k8s.io/v1",
    "kind": "KubeSchedulerConfiguration",
    "profiles": [{
        "schedulerName": "default-scheduler",
        "plugins": {"multiPoint": {"enabled": [{"name": "Coscheduling"}]}},
        "pluginConfig": [{"name": "Coscheduling", "args": {"permitWaitingTimeSeconds": 30}}],
    }],
}  # fmt: skip


def member(name: str, cpu: str = "1", *, group: str = "g", size: object = 3, **more: object) -> Object:
    labels = {
        "pod-group.scheduling.sigs.k8s.io/name": group,
        "pod-group.scheduling.sigs.k8s.io/min-available": str(size),
    }
    return pod(name, cpu, labels=labels, **more)


@asynccontextmanager
async def running(*objects: Object) -> AsyncIterator[World]:
    world = World(*objects)
    world.scheduler = Scheduler(
        client=world.client,
        informers=world.informers,
        recorder=world.recorder,
        clock=world.clock,
        config=SchedulerConfig(slice_seconds=-1, configuration=parse_configuration(ENABLED)),
        rng=random.Random(1),
    )
    tasks = [asyncio.create_task(part.run()) for part in (world.informers, world.recorder, world.scheduler)]
    await world.settle()
    await world.scheduler.wait_ready()
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def placed(world: World) -> list[str]:
    return sorted(each["metadata"]["name"] for each in world.client.objects(PODS) if each["spec"].get("nodeName"))


async def pass_time(world: World, seconds: int) -> None:
    for _ in range(seconds):
        await world.clock.advance(1)
        await world.settle()


async def test_nobody_is_placed_before_there_are_enough_of_them() -> None:
    async with running(node("n")) as world:
        await world.create(member("a"))
        await world.create(member("b"))
        assert placed(world) == []
        assert "cannot find enough sibling pods, current pods number: 1, minMember of group: 3" in str(world.events())
        await world.create(member("c"))
        await pass_time(world, 3)
        assert placed(world) == ["a", "b", "c"]
        await world.create(member("d"))
        assert placed(world) == ["a", "b", "c", "d"], "one more than the least finds the others there"


async def test_a_group_that_does_not_fit_holds_no_room() -> None:
    async with running(node("n", cpu="2")) as world:
        for name in ("a", "b", "c"):
            world.client.add(member(name))
        await world.settle()
        assert placed(world) == []
        assert "pod group default/g has no place for pod default/" in str(world.events())
        assert not world.scheduler.cluster.nodes.requested.any()
        await world.create(pod("other", "2"))
        assert placed(world) == ["other"]


async def test_it_goes_when_there_is_room_for_all() -> None:
    async with running(node("n", cpu="2")) as world:
        for name in ("a", "b", "c"):
            world.client.add(member(name))
        await world.settle()
        await world.client.create(NODES, node("m", cpu="1"))
        world.client.change(NODES, "m", "", lambda new: new.update(status=node("m", cpu="1")["status"]))
        await pass_time(world, 25)
        assert placed(world) == ["a", "b", "c"]


async def test_two_groups_with_room_for_one_do_not_block_each_other() -> None:
    async with running(node("n", cpu="4")) as world:
        for number in range(3):
            for group in ("g", "h"):
                world.client.add(member(f"{group}{number}", group=group))
        await pass_time(world, 40)
        assert placed(world) in (["g0", "g1", "g2"], ["h0", "h1", "h2"])
        assert int(world.scheduler.cluster.nodes.requested[0].sum()) == 3000


async def test_who_waits_for_too_long_gives_its_place_back() -> None:
    """The third is on its way, but does not get past its gates."""
    async with running(node("n", cpu="3")) as world:
        for name in ("a", "b"):
            world.client.add(member(name))
        world.client.add(member("c", schedulingGates=[{"name": "example.com/a"}]))
        await world.settle()
        assert int(world.scheduler.cluster.nodes.requested[0].sum()) == 2000
        await world.clock.advance(31)
        await world.settle()
        assert "rejected due to timeout after waiting 30s at plugin Coscheduling" in str(world.events())
        assert world.condition("a")["reason"] == "Unschedulable"
        world.client.change(PODS, "c", "default", lambda new: new["spec"].pop("schedulingGates"))
        await pass_time(world, 25)
        assert placed(world) == ["a", "b", "c"]


async def test_a_pod_that_is_deleted_while_it_waits_leaves_its_place() -> None:
    async with running(node("n")) as world:
        for name in ("a", "b"):
            world.client.add(member(name))
        world.client.add(member("c", schedulingGates=[{"name": "example.com/a"}]))
        await world.settle()
        world.client.remove(PODS, "b", "default")
        await world.settle()
        assert int(world.scheduler.cluster.nodes.requested[0].sum()) == 1000
        assert len(world.scheduler.queue) == 2


async def test_devices_are_given_to_all_of_a_group_or_to_none() -> None:
    gpus = slice_of("s", [device("d0"), device("d1")], on="n")
    claims = [claim(f"c{number}", request("r")) for number in range(3)]
    async with running(node("n"), gpus, device_class(), *claims) as world:
        for number in range(3):
            entry = {"name": "e", "resourceClaimName": f"c{number}"}
            world.client.add(member(f"p{number}", resourceClaims=[entry]))
        await world.settle()
        assert placed(world) == []
        assert not any(each.get("status") for each in world.client.objects(RESOURCE_CLAIMS))
        world.client.add(slice_of("t", [device("d2")], on="n", pool="p"))
        await pass_time(world, 25)
        assert placed(world) == ["p0", "p1", "p2"]


async def test_one_whose_binding_fails_is_tried_again() -> None:
    async with running(node("n")) as world:
        world.client.fail(InternalError("no"), verb="create", ref=PODS, name="a")
        for name in ("a", "b", "c"):
            world.client.add(member(name))
        await pass_time(world, 5)
        assert placed(world) == ["a", "b", "c"]


@pytest.mark.parametrize("size", ["", "0", "-1", "many", "1.5", "²"])
async def test_a_size_that_is_none_is_said(size: str) -> None:
    async with running(node("n")) as world:
        await world.create(member("a", size=size))
        assert placed(world) == []
        assert "must be a positive whole number" in world.condition("a")["message"]
