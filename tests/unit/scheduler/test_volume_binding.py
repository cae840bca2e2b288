"""A pod waits until its claims are bound. Source: kubernetes.io/docs/concepts/storage/storage-classes."""

from __future__ import annotations

from tests.unit.controllers.volumes.objects import claim, storage_class, volume
from tests.unit.scheduler.objects import node
from tests.unit.scheduler.test_loop import World, running
from tests.unit.scheduler.test_volume_filters import BY_HAND, WAITING, using
from timonel.api.objects import Object, annotations_of
from timonel.api.refs import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from timonel.api.volumes import BIND_COMPLETED, BOUND_BY_CONTROLLER, SELECTED_NODE


def bind(world: World, name: str = "v1") -> None:
    """What the binder does."""

    def change(obj: Object) -> None:
        obj["spec"]["volumeName"] = name
        obj["metadata"]["annotations"][BIND_COMPLETED] = "yes"
        obj["status"]["phase"] = "Bound"

    world.client.change(PERSISTENT_VOLUME_CLAIMS, "data", "default", change)


def the_claim(world: World) -> Object:
    return world.client.objects(PERSISTENT_VOLUME_CLAIMS)[0]


async def test_a_claim_gets_the_node_and_the_pod_waits_for_its_volume() -> None:
    async with running(node("node-1"), claim(), WAITING) as world:
        await world.create(using("data"))
        assert annotations_of(the_claim(world))[SELECTED_NODE] == "node-1"
        assert world.node_of("x") == ""
        world.client.add(volume())
        bind(world)
        await world.settle()
        assert world.node_of("x") == "node-1"
        assert len(world.scheduler.queue) == 0


async def test_a_free_volume_is_given_to_the_claim() -> None:
    async with running(node("node-1"), claim(), BY_HAND, volume()) as world:
        await world.create(using("data"))
        (taken,) = world.client.objects(PERSISTENT_VOLUMES)
        assert taken["spec"]["claimRef"]["uid"] == "uid-data"
        assert annotations_of(taken)[BOUND_BY_CONTROLLER] == "yes"
        assert SELECTED_NODE not in annotations_of(the_claim(world))
        bind(world)
        await world.settle()
        assert world.node_of("x") == "node-1"


async def test_a_provisioner_that_gives_up_has_the_node_chosen_again() -> None:
    async with running(node("node-1"), claim(), WAITING) as world:
        await world.create(using("data"))
        world.client.change(
            PERSISTENT_VOLUME_CLAIMS, "data", "default", lambda obj: obj["metadata"]["annotations"].clear()
        )
        await world.settle()
        assert world.events()[0][2] == (
            'running PreBind plugin "VolumeBinding": binding volumes: selectedNode annotation reset for PVC "data"'
        )
        await world.clock.advance(3)
        await world.settle()
        assert annotations_of(the_claim(world))[SELECTED_NODE] == "node-1"


async def test_waiting_ends() -> None:
    async with running(node("node-1"), claim(), WAITING) as world:
        await world.create(using("data"))
        await world.clock.advance(601)
        await world.settle()
        assert world.events()[0][2] == (
            'running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded'
        )


async def test_a_pod_that_goes_meanwhile_leaves_nothing_behind() -> None:
    async with running(node("node-1"), claim(), WAITING) as world:
        await world.create(using("data"))
        world.client.remove(PODS, "x", "default")
        await world.settle()
        assert len(world.scheduler.queue) == 0
        assert not world.scheduler.cluster.claim_slots(("default", "data"))  # type: ignore[arg-type]


async def test_a_pod_is_tried_again_when_its_claim_comes() -> None:
    async with running(node("node-1"), storage_class(), volume()) as world:
        await world.create(using("data"))
        assert 'persistentvolumeclaim "data" not found' in world.condition("x")["message"]
        world.client.add(claim())
        bind(world)
        await world.clock.advance(2)
        await world.settle()
        assert world.node_of("x") == "node-1"
