"""What is written about a pod comes in the order in which it was decided, and old news not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.unit.scheduler.objects import pod
from timonel.api.objects import Object, find_by, uid_of
from timonel.api.refs import PODS
from timonel.client.informer import Informers
from timonel.scheduler.writing import Writer
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient


class World:
    def __init__(self, *objects: Object) -> None:
        self.clock = VirtualClock()
        self.client = FakeClient(*objects, clock=self.clock)
        self.informers = Informers(self.client, clock=self.clock)
        self.pods = self.informers.of(PODS)
        self.writer = Writer(client=self.client, clock=self.clock, pods=self.pods.lister, workers=4, backlog=8)

    def status(self, name: str) -> Object:
        (found,) = [each for each in self.client.objects(PODS) if each["metadata"]["name"] == name]
        status: Object = found["status"]
        return status

    def message(self, name: str) -> str:
        condition = find_by(self.status(name).get("conditions"), "type", "PodScheduled") or {}
        return str(condition.get("message", ""))


@asynccontextmanager
async def writing(*objects: Object) -> AsyncIterator[World]:
    world = World(*objects)
    tasks = [asyncio.create_task(part.run()) for part in (world.informers, world.writer)]
    await settle()
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def held(monkeypatch: pytest.MonkeyPatch, world: World) -> Callable[[], None]:
    """Patches wait from now on until the returned function is called."""
    free, whole = asyncio.Event(), world.client.patch

    async def slowly(*args: Any, **options: Any) -> Object:
        await free.wait()
        return await whole(*args, **options)

    monkeypatch.setattr(world.client, "patch", slowly)
    return free.set


def binding(world: World, obj: Object) -> Callable[[], Awaitable[None]]:
    async def bind() -> None:
        await world.writer.bind(obj, "n")
        world.client.change(PODS, "x", "default", lambda new: new["spec"].update(nodeName="n"))

    return bind


async def test_the_newest_news_is_the_last_written(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pod("x")
    async with writing(x) as world:
        release = held(monkeypatch, world)
        await world.writer.tell(x, "Unschedulable", "first", "n")
        await settle()
        for message in ("second", "third"):
            await world.writer.tell(x, "Unschedulable", message)
        release()
        await settle()
        assert world.message("x") == "third"
        assert len(world.client.writes) == 2, "the second was old news before it could be written"
        assert world.status("x")["nominatedNodeName"] == "n"


async def test_a_nomination_in_news_that_is_overtaken_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pod("x")
    async with writing(x) as world:
        release = held(monkeypatch, world)
        await world.writer.tell(x, "Unschedulable", "first")
        await settle()
        await world.writer.tell(x, "Unschedulable", "second", "n")
        await world.writer.tell(x, "SchedulerError", "third")
        release()
        await settle()
        assert (world.message("x"), world.status("x")["nominatedNodeName"]) == ("third", "n")


async def test_a_nomination_that_is_taken_back_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pod("x")
    async with writing(x) as world:
        release = held(monkeypatch, world)
        await world.writer.tell(x, "Unschedulable", "first", "n")
        await settle()
        world.writer.take_back_nomination(("default", "x"), uid_of(x))
        release()
        await settle()
        assert world.message("x") == "first"
        assert not world.status("x").get("nominatedNodeName")


async def test_a_pod_that_is_bound_is_not_told_any_more_that_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pod("x")
    async with writing(x) as world:
        release = held(monkeypatch, world)
        await world.writer.tell(x, "Unschedulable", "first")
        await settle()
        await world.writer.tell(x, "Unschedulable", "second")
        await world.writer.submit(uid_of(x), binding(world, x))
        world.writer.tell_nowait(x, "Unschedulable", "third")
        release()
        await settle()
        await settle()
        kinds = [write.subresource for write in world.client.writes if write.subresource]
        assert kinds == ["status", "binding"]
        await world.writer.tell(x, "Unschedulable", "fourth")
        await settle()
        assert world.message("x") != "fourth", "it has a node"


async def test_pods_do_not_wait_for_each_other_and_a_full_backlog_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [pod(f"p{number}") for number in range(9)]
    async with writing(*pods) as world:
        release = held(monkeypatch, world)
        for each in pods[:8]:
            await world.writer.tell(each, "Unschedulable", "waits")
        last = asyncio.create_task(world.writer.tell(pods[8], "Unschedulable", "waits"))
        await settle()
        assert not last.done()
        release()
        await settle()
        await last
        await settle()
        assert [world.message(f"p{number}") for number in range(9)] == ["waits"] * 9
