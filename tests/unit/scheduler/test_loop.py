"""The scheduler against an API server in memory: bindings, events, conditions, retries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.unit.scheduler.objects import node, pod
from timonel.api.errors import Conflict, InternalError, not_found
from timonel.api.objects import Object, copy_object, find_by
from timonel.api.refs import EVENTS, NODES, PODS, REPLICA_SETS, SERVICES
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.scheduler.config import SchedulerConfig
from timonel.scheduler.core.pods import Pod
from timonel.scheduler.extenders import Transport
from timonel.scheduler.loop import Scheduler
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient


class World:
    def __init__(
        self, *objects: Object, config: SchedulerConfig | None = None, transport: Transport | None = None
    ) -> None:
        self.clock = VirtualClock()
        self.client = FakeClient(*objects, clock=self.clock)
        self.informers = Informers(self.client, clock=self.clock, rng=random.Random(1))
        self.recorder = EventRecorder(self.client, component="default-scheduler", clock=self.clock)
        self.scheduler = Scheduler(
            client=self.client,
            informers=self.informers,
            recorder=self.recorder,
            clock=self.clock,
            config=config or SchedulerConfig(slice_seconds=-1),
            rng=random.Random(1),
            transport=transport,
        )

    async def settle(self) -> None:
        for _ in range(8):
            await settle()

    async def create(self, obj: Object) -> None:
        await self.client.create(PODS, obj)
        await self.settle()

    async def end(self, name: str) -> None:
        """As the kubelet does, once nothing of a deleted pod runs any more."""
        await self.client.delete(PODS, name, "default", grace_period_seconds=0)
        await self.settle()
        await self.clock.advance(3)
        await self.settle()

    def node_of(self, name: str) -> str:
        found = [each for each in self.client.objects(PODS) if each["metadata"]["name"] == name]
        return found[0]["spec"].get("nodeName", "")

    def condition(self, name: str) -> Object:
        found = [each for each in self.client.objects(PODS) if each["metadata"]["name"] == name]
        return find_by(found[0]["status"].get("conditions"), "type", "PodScheduled") or {}

    def events(self) -> list[tuple[str, str, str]]:
        return [(each["type"], each["reason"], each["message"]) for each in self.client.objects(EVENTS)]


@asynccontextmanager
async def running(*objects: Object) -> AsyncIterator[World]:
    world = World(*objects)
    tasks = [asyncio.create_task(part.run()) for part in (world.informers, world.recorder, world.scheduler)]
    await world.settle()
    await world.scheduler.wait_ready()
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_pod_is_bound_with_its_uid_and_told_of() -> None:
    async with running(node("node-1")) as world:
        await world.create(pod("x"))
        assert world.node_of("x") == "node-1"
        (write,) = [write for write in world.client.writes if write.subresource == "binding"]
        assert write.body["target"] == {"kind": "Node", "name": "node-1"}
        assert write.body["metadata"]["uid"] == write.object["metadata"]["uid"]
        assert world.events() == [("Normal", "Scheduled", "Successfully assigned default/x to node-1")]
        event = world.client.objects(EVENTS)[0]
        assert (event["action"], event["reportingComponent"]) == ("Binding", "default-scheduler")
        assert len(world.scheduler.queue) == 0


async def test_a_pod_that_fits_nowhere_says_why_and_goes_when_it_can() -> None:
    async with running(node("node-1", cpu="1")) as world:
        await world.create(pod("big", "2"))
        why = (
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: "
            "0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        )
        assert world.events() == [("Warning", "FailedScheduling", why)]
        condition = world.condition("big")
        assert (condition["status"], condition["reason"], condition["message"]) == ("False", "Unschedulable", why)
        writes = len(world.client.writes)
        await world.clock.advance(60)
        assert len(world.client.writes) == writes  # nothing changed, nothing is tried
        await world.client.create(NODES, node("node-2", cpu="4"))
        world.client.change(NODES, "node-2", "", lambda new: new.update(status=node("node-2")["status"]))
        await world.settle()
        assert world.node_of("big") == "node-2"


async def test_a_heartbeat_wakes_nobody_and_more_allocatable_does() -> None:
    async with running(node("node-1", cpu="1")) as world:
        await world.create(pod("big", "2"))
        writes = len(world.client.writes)
        world.client.change(
            NODES, "node-1", "", lambda new: new["status"].update(conditions=[{"type": "Ready", "status": "True"}])
        )
        await world.settle()
        await world.clock.advance(20)
        assert len(world.client.writes) == writes
        world.client.change(NODES, "node-1", "", lambda new: new["status"]["allocatable"].update(cpu="3"))
        await world.settle()
        assert world.node_of("big") == "node-1"


async def test_a_deleted_pod_makes_room() -> None:
    async with running(node("node-1", cpu="1")) as world:
        await world.create(pod("first", "1"))
        await world.create(pod("second", "1"))
        assert (world.node_of("first"), world.node_of("second")) == ("node-1", "")
        world.client.remove(PODS, "first", "default")
        await world.settle()
        assert world.node_of("second") == "node-1"


async def test_a_finished_pod_makes_room_too() -> None:
    async with running(node("node-1", cpu="1")) as world:
        await world.create(pod("first", "1"))
        await world.create(pod("second", "1"))
        world.client.change(PODS, "first", "default", lambda new: new["status"].update(phase="Succeeded"))
        await world.settle()
        assert world.node_of("second") == "node-1"


async def test_more_important_pods_go_first() -> None:
    async with running() as world:
        for name, priority in (("low", 0), ("high", 100), ("middle", 10)):
            await world.create(pod(name, "1", priority=priority))
        assert world.condition("low")["message"] == "no nodes available to schedule pods"
        world.client.add(node("node-1", cpu="2"))
        await world.settle()
        await world.clock.advance(15)
        assert [world.node_of(name) for name in ("low", "middle", "high")] == ["", "node-1", "node-1"]


async def test_gated_pods_wait_until_the_last_gate_is_gone() -> None:
    async with running(node("node-1")) as world:
        await world.create(pod("gated", schedulingGates=[{"name": "example.com/a"}]))
        await world.settle()
        assert world.node_of("gated") == ""
        condition = world.condition("gated")
        assert (condition["status"], condition["reason"]) == ("False", "SchedulingGated")
        assert condition["message"] == "Scheduling is blocked due to non-empty scheduling gates"
        assert world.scheduler.queue.counts()["gated"] == 1
        world.client.change(PODS, "gated", "default", lambda new: new["spec"].pop("schedulingGates"))
        await world.settle()
        assert world.node_of("gated") == "node-1"


async def test_other_schedulers_pods_and_deleting_ones_are_left_alone() -> None:
    async with running(node("node-1")) as world:
        await world.create(pod("theirs", schedulerName="my-scheduler"))
        world.client.add(pod("going", deleting=True))
        await world.settle()
        assert (world.node_of("theirs"), world.node_of("going")) == ("", "")
        assert world.events() == []


@pytest.mark.parametrize("error", [InternalError("etcd is away"), Conflict("try again"), not_found(NODES, "node-1")])
async def test_a_failed_binding_is_undone_and_tried_again(error: Exception) -> None:
    async with running(node("node-1", cpu="1")) as world:
        world.client.fail(error, verb="create", ref=PODS, name="x")  # type: ignore[arg-type]
        world.client.add(pod("x", "1"))
        await world.settle()
        assert world.node_of("x") == ""
        assert ("Warning", "FailedScheduling", f"binding rejected: {error.message}") in world.events()  # type: ignore[attr-defined]
        assert world.condition("x")["reason"] == "SchedulerError"
        assert not world.scheduler.cluster.nodes.requested.any()
        await world.clock.advance(1)
        await world.settle()
        assert world.node_of("x") == "node-1"


async def test_pods_placed_by_others_count(caplog: pytest.LogCaptureFixture) -> None:
    async with running(node("node-1", cpu="2"), pod("static", "2", on="node-1")) as world:
        await world.create(pod("x", "1"))
        assert world.node_of("x") == ""
        await world.client.create(PODS, pod("daemon", "0", on="node-1"))
        await world.settle()
        assert world.node_of("daemon") == "node-1"


async def test_a_pod_deleted_while_it_waits_is_forgotten() -> None:
    async with running() as world:
        await world.create(pod("x"))
        world.client.remove(PODS, "x", "default")
        await world.settle()
        assert len(world.scheduler.queue) == 0
        world.client.add(node("node-1"))
        await world.settle()
        assert [event for event in world.events() if event[1] == "Scheduled"] == []


async def test_pods_of_one_replica_set_or_service_spread_over_nodes() -> None:
    labels = {"app": "web"}
    replica_set = {
        "kind": "ReplicaSet",
        "apiVersion": "apps/v1",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": labels}},
    }
    nodes = [node(f"node-{n}", cpu="8") for n in range(3)]
    async with running(*nodes, replica_set) as world:
        for n in range(6):
            await world.create(pod(f"web-{n}", labels=labels, owner="web"))
        placed = sorted(world.node_of(f"web-{n}") for n in range(6))
        assert placed == ["node-0", "node-0", "node-1", "node-1", "node-2", "node-2"]
    service = {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": labels},
    }
    async with running(*nodes, service) as world:
        for n in range(3):
            await world.create(pod(f"web-{n}", labels=labels))
        assert {world.node_of(f"web-{n}") for n in range(3)} == {"node-0", "node-1", "node-2"}
    assert (SERVICES.kind, REPLICA_SETS.kind) == ("Service", "ReplicaSet")


async def test_what_is_not_built_is_said_by_name_and_nothing_is_placed() -> None:
    async with running(node("node-1")) as world:
        await world.create(pod("x", tolerations=[{"key": "a", "operator": "Gt", "value": "1"}]))
        assert world.node_of("x") == ""
        assert world.condition("x")["message"] == (
            "0/1 nodes are available: not built in this release: tolerations with the operators Gt and Lt."
        )


async def test_one_pod_that_breaks_the_scheduler_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async with running(node("node-1")) as world:
        broken = pod("broken")
        broken["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "no quantity"}
        world.client.add(broken)
        await world.create(pod("fine"))
        assert world.node_of("fine") == "node-1"
        assert world.node_of("broken") == ""


async def test_hundreds_of_pods_never_over_commit_a_node() -> None:
    nodes = [node(f"node-{n}", cpu="4") for n in range(5)]
    async with running(*nodes) as world:
        template = pod("p", "1")
        for n in range(40):
            each = copy_object(template)
            each["metadata"] |= {"name": f"p{n}", "uid": f"u{n}"}
            world.client.add(each)
        await world.settle()
        await world.settle()
        placed = [world.node_of(f"p{n}") for n in range(40)]
        assert {name: placed.count(name) for name in set(placed) if name} == {f"node-{n}": 4 for n in range(5)}


async def test_a_pod_that_cannot_be_read_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(node("n1")) as world:
        whole, reads = world.scheduler.cluster.parse_pod, 0

        def parse(obj: Object) -> Pod:
            nonlocal reads
            if obj["metadata"]["name"] == "odd":
                reads += 1
                if reads > 1:  # changed since it was queued
                    raise LookupError("odd")
            return whole(obj)

        monkeypatch.setattr(world.scheduler.cluster, "parse_pod", parse)
        await world.create(pod("odd"))
        await world.create(pod("plain"))
        assert world.node_of("plain") == "n1"
        assert world.condition("odd")["reason"] == "SchedulerError"


async def test_a_more_important_pod_takes_the_place_of_a_lesser_one() -> None:
    async with running(node("n", cpu="2")) as world:
        await world.create(pod("lesser", "2"))
        await world.create(pod("bystander"))
        await world.create(pod("important", "2", priority=100))
        victim = next(each for each in world.client.writes if each.verb == "delete")
        assert victim.key.name == "lesser"
        told = find_by(victim.object["status"]["conditions"], "type", "DisruptionTarget") or {}
        assert (told["status"], told["reason"]) == ("True", "PreemptionByScheduler")
        assert told["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
        nominated = [
            write.object["status"]["nominatedNodeName"]
            for write in world.client.writes
            if write.key.name == "important" and write.subresource == "status"
        ]
        assert nominated == ["n"]
        await world.clock.advance(3)
        await world.settle()
        assert world.node_of("important") == "", "the other one ends in its own time"
        await world.end("lesser")
        assert world.node_of("important") == "n"
        assert ("Normal", "Preempted") in [event[:2] for event in world.events()]
        assert ("Warning", "FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.") in world.events()


async def test_room_is_kept_over_a_restart() -> None:
    freed = pod("important", "2", priority=100, status={"phase": "Pending", "nominatedNodeName": "n"})
    freed["spec"]["schedulingGates"] = [{"name": "not-yet"}]
    async with running(node("n", cpu="2"), freed) as world:
        await world.create(pod("lesser", "1"))
        assert world.node_of("lesser") == ""


async def test_a_pod_for_which_others_are_ending_waits() -> None:
    """Nobody else is evicted meanwhile."""
    ending = pod("ending", "2", on="n", deleting=True)
    target = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    ending["status"] = {"phase": "Running", "conditions": [target]}
    freed = pod("important", "2", priority=100, status={"phase": "Pending", "nominatedNodeName": "n"})
    async with running(node("n", cpu="2"), ending, freed) as world:
        message = world.condition("important")["message"]
        assert message.endswith("preemption: not eligible due to a terminating pod on the nominated node.")
        assert not [write for write in world.client.writes if write.verb == "delete"]


async def test_what_cannot_be_evicted_is_told_and_tried_again() -> None:
    async with running(node("n", cpu="2")) as world:
        await world.create(pod("lesser", "2"))
        world.client.fail(InternalError("no"), verb="delete", ref=PODS)
        await world.create(pod("important", "2", priority=100))
        assert not [write for write in world.client.writes if write.verb == "delete"]
        await world.clock.advance(3)
        await world.settle()
        assert [write.key.name for write in world.client.writes if write.verb == "delete"] == ["lesser"]
        await world.end("lesser")
        assert world.node_of("important") == "n"


async def test_nobody_else_is_evicted_while_the_chosen_are_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried again before the API server has answered, the pod waits for those that were chosen the first time."""
    nodes = [node(f"n{number}", cpu="2") for number in range(8)]
    lesser = [pod(f"lesser-{number}", "2", on=f"n{number}") for number in range(8)]
    async with running(*nodes, *lesser) as world:
        answer, whole = asyncio.Event(), world.client.delete

        async def slowly(*args: Any, **options: Any) -> Object:
            await answer.wait()
            return await whole(*args, **options)

        monkeypatch.setattr(world.client, "delete", slowly)
        await world.create(pod("important", "2", priority=100))
        for number in range(8):  # what could help, and does not
            world.client.change(NODES, f"n{number}", "", lambda new: new["status"]["allocatable"].update(cpu="1900m"))
            world.client.change(NODES, f"n{number}", "", lambda new: new["status"]["allocatable"].update(cpu="2"))
            await world.settle()
            await world.clock.advance(11)
        answer.set()
        await world.settle()
        assert len([write for write in world.client.writes if write.verb == "delete"]) == 1


async def test_a_failed_eviction_does_not_disturb_a_pod_that_found_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(node("n", cpu="2")) as world:
        await world.create(pod("lesser", "2"))
        refuse, bind, whole = asyncio.Event(), asyncio.Event(), world.client.create
        bound: list[str] = []

        async def refused(*args: Any, **options: Any) -> Object:
            await refuse.wait()
            raise InternalError("no")

        async def slowly(*args: Any, **options: Any) -> Object:
            if options.get("subresource") == "binding":
                bound.append(args[1]["metadata"]["name"])
                await bind.wait()
            return await whole(*args, **options)

        monkeypatch.setattr(world.client, "delete", refused)
        await world.create(pod("important", "2", priority=100))
        monkeypatch.setattr(world.client, "create", slowly)
        await whole(NODES, node("other", cpu="2"))
        world.client.change(NODES, "other", "", lambda new: new.update(status=node("other", cpu="2")["status"]))
        await world.settle()
        refuse.set()
        await world.settle()
        await world.clock.advance(11)
        await world.settle()
        bind.set()
        await world.settle()
        assert world.node_of("important") == "other"
        assert bound == ["important"], "it is not tried again while it is being bound"


async def test_room_that_is_given_up_is_offered_to_others() -> None:
    freed = pod("important", "2", priority=100, status={"phase": "Pending", "nominatedNodeName": "n"})
    freed["spec"]["schedulingGates"] = [{"name": "not-yet"}]
    async with running(node("n", cpu="2"), freed) as world:
        await world.create(pod("lesser", "1"))
        assert world.node_of("lesser") == ""
        world.client.change(PODS, "important", "default", lambda new: new["status"].pop("nominatedNodeName"))
        await world.settle()
        assert world.node_of("lesser") == "n"


async def test_room_is_as_large_as_the_pod_wants_by_now() -> None:
    freed = pod("important", "2", priority=100, status={"phase": "Pending", "nominatedNodeName": "n"})
    freed["spec"]["schedulingGates"] = [{"name": "not-yet"}]
    async with running(node("n", cpu="2"), freed) as world:
        requests = {"cpu": "1"}
        world.client.change(
            PODS,
            "important",
            "default",
            lambda new: new["spec"]["containers"][0]["resources"].update(requests=requests),
        )
        await world.settle()
        await world.create(pod("lesser", "1"))
        assert world.node_of("lesser") == "n"


async def test_room_is_kept_on_a_node_that_is_told_of_later() -> None:
    """After a restart, pods may come before nodes."""
    freed = pod("important", "2", priority=100, status={"phase": "Pending", "nominatedNodeName": "n"})
    freed["spec"]["schedulingGates"] = [{"name": "not-yet"}]
    async with running(freed) as world:
        await world.client.create(NODES, node("n", cpu="2"))
        world.client.change(NODES, "n", "", lambda new: new.update(status=node("n", cpu="2")["status"]))
        await world.create(pod("lesser", "1"))
        assert world.node_of("lesser") == ""


async def test_another_pod_of_the_same_name_is_told_nothing() -> None:
    """A StatefulSet's pod comes back under its name."""
    async with running(node("n", cpu="1")) as world:
        gone = pod("web-0", "2")
        world.client.add(pod("web-0", "1", schedulerName="somebody-else"))
        await world.scheduler._writer.tell(gone, "Unschedulable", "0/1 nodes", "n")
        await world.settle()
        assert world.condition("web-0") == {}


async def test_a_node_that_comes_while_victims_are_sought_is_not_overlooked() -> None:
    async with running(node("full", cpu="100m")) as world:
        preemptor = world.scheduler._preemptor
        decide = preemptor.decide

        async def decide_slowly(*args: Any) -> Any:
            if not world.client.objects(NODES)[1:]:
                await world.client.create(NODES, node("empty"))
                world.client.change(NODES, "empty", "", lambda new: new.update(status=node("empty")["status"]))
                await world.settle()
            return await decide(*args)

        preemptor.decide = decide_slowly  # type: ignore[method-assign]
        await world.create(pod("web", cpu="1"))
        await world.settle()
        assert world.node_of("web") == "empty"
