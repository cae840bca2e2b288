"""Pods with claims against an API server in memory: what is written, in which order, and what becomes of failures."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.scheduler.devices.things import DRIVER, allocated, claim, device, device_class, request, slice_of
from tests.unit.scheduler.objects import container, node, pod
from tests.unit.scheduler.test_loop import World, running
from timonel.api.clock import format_time
from timonel.api.errors import Conflict, InternalError
from timonel.api.objects import Object, find_by
from timonel.api.refs import DEVICE_CLASSES, NODES, PODS, RESOURCE_CLAIMS, RESOURCE_SLICES

UNHELPFUL = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
FINALIZER = "resource.kubernetes.io/delete-protection"


def wanting(name: str, *claims: str, **more: Any) -> Object:
    entries = [{"name": f"e{number}", "resourceClaimName": each} for number, each in enumerate(claims)]
    return pod(name, resourceClaims=entries, **more)


def gpus(*names: str, on: str = "n") -> Object:
    return slice_of(f"slice-{on}", [device(each) for each in names], on=on)


def claim_of(world: World, name: str) -> Object:
    (found,) = [each for each in world.client.objects(RESOURCE_CLAIMS) if each["metadata"]["name"] == name]
    return found


def devices_of(world: World, name: str) -> list[str]:
    status = claim_of(world, name).get("status") or {}
    return [
        f"{each['pool']}/{each['device']}"
        for each in status.get("allocation", {"devices": {"results": []}})["devices"]["results"]
    ]


def users_of(world: World, name: str) -> list[str]:
    return [each["name"] for each in (claim_of(world, name).get("status") or {}).get("reservedFor") or ()]


async def test_a_claim_gets_devices_and_is_reserved_before_the_pod_is_bound() -> None:
    config = [{"opaque": {"driver": DRIVER, "parameters": {"a": 1}}}]
    wanted = claim("c", request("r"), config=config)
    async with running(node("n"), gpus("d0", "d1"), device_class(config=config), wanted) as world:
        await world.create(wanting("x", "c"))
        assert world.node_of("x") == "n"
        written = claim_of(world, "c")
        assert written["metadata"]["finalizers"] == [FINALIZER]
        assert written["status"] == {
            "allocation": {
                "allocationTimestamp": format_time(world.clock.now()),
                "devices": {
                    "config": [
                        {"source": "FromClass", "requests": ["r"], "opaque": config[0]["opaque"]},
                        {"source": "FromClaim", "opaque": config[0]["opaque"]},
                    ],
                    "results": [{"request": "r", "driver": DRIVER, "pool": "n", "device": "d0"}],
                },
                "nodeSelector": {
                    "nodeSelectorTerms": [
                        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
                    ]
                },
            },
            "reservedFor": [{"resource": "pods", "name": "x", "uid": written["status"]["reservedFor"][0]["uid"]}],
        }
        order = [(write.subresource, write.key.name) for write in world.client.writes if write.verb != "delete"]
        assert order.index(("status", "c")) < order.index(("binding", "x"))


async def test_two_pods_never_get_the_same_device_and_the_third_waits() -> None:
    claims = [claim(f"c{number}", request("r")) for number in range(3)]
    async with running(node("n"), gpus("d0", "d1"), device_class(), *claims) as world:
        for number in range(3):
            world.client.add(wanting(f"x{number}", f"c{number}"))
        await world.settle()
        await world.settle()
        assert sorted(devices_of(world, "c0") + devices_of(world, "c1")) == ["n/d0", "n/d1"]
        assert world.node_of("x2") == ""
        assert world.condition("x2")["message"] == (
            f"0/1 nodes are available: 1 cannot allocate all claims. still not schedulable, {UNHELPFUL}"
        )
        world.client.change(RESOURCE_CLAIMS, "c0", "default", lambda new: new.pop("status"))
        await world.settle()
        await world.clock.advance(11)
        await world.settle()
        assert devices_of(world, "c2") == ["n/d0"]
        assert world.node_of("x2") == "n"


async def test_pods_that_share_a_claim_go_where_its_devices_are() -> None:
    nodes = [node(f"n{number}") for number in range(4)]
    slices = [gpus("d", on=f"n{number}") for number in range(4)]
    async with running(*nodes, *slices, device_class(), claim("c", request("r"))) as world:
        for number in range(3):
            world.client.add(wanting(f"x{number}", "c"))
        for _ in range(4):
            await world.settle()
            await world.clock.advance(11)
        assert {world.node_of(f"x{number}") for number in range(3)} == {devices_of(world, "c")[0].partition("/")[0]}
        assert sorted(users_of(world, "c")) == ["x0", "x1", "x2"]


async def test_a_pod_whose_claim_is_still_to_be_made_waits_without_a_word() -> None:
    async with running(node("n"), gpus("d0"), device_class()) as world:
        x = pod("x", resourceClaims=[{"name": "e", "resourceClaimTemplateName": "t"}])
        await world.create(x)
        assert (world.events(), world.condition("x")) == ([], {})
        owner = {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": x["metadata"]["uid"], "controller": True}
        world.client.change(
            PODS, "x", "default",
            lambda new: new["status"].update(resourceClaimStatuses=[{"name": "e", "resourceClaimName": "made"}]),
        )  # fmt: skip
        await world.settle()
        assert world.node_of("x") == ""
        world.client.add(claim("made", request("r"), ownerReferences=[owner]))
        await world.settle()
        assert world.node_of("x") == "n"


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ([], 'resourceclaim.resource.k8s.io "c" not found'),
        ([claim("c", request("r"), deletionTimestamp="2026-01-01T00:00:00Z")], 'resourceclaim "c" is being deleted'),
        ([claim("c", request("r", of="none"))], "request r: device class none does not exist"),
        (
            [claim("c", request("r"), status=allocated("n/d0") | {"reservedFor": [
                {"resource": "pods", "name": f"p{n}", "uid": f"u{n}"} for n in range(256)
            ]})],
            "resourceclaim in use",
        ),
    ],
)  # fmt: skip
async def test_what_keeps_a_pod_from_any_node_is_said(objects: list[Object], why: str) -> None:
    async with running(node("n"), gpus("d0"), device_class(), *objects) as world:
        await world.create(wanting("x", "c"))
        assert world.condition("x")["message"] == f"0/1 nodes are available: {why}. still not schedulable, {UNHELPFUL}"


async def test_what_is_missing_lets_the_pod_go_when_it_comes() -> None:
    """Claim, class, slice, node: in the order in which people tend to forget them."""
    async with running() as world:
        await world.create(wanting("x", "c"))
        for obj in (claim("c", request("r")), device_class(), gpus("d0")):
            world.client.add(obj)
            await world.settle()
            await world.clock.advance(11)
            assert world.node_of("x") == ""
        await world.client.create(NODES, node("n"))
        world.client.change(NODES, "n", "", lambda new: new.update(status=node("n")["status"]))
        await world.settle()
        await world.clock.advance(11)
        await world.settle()
        assert world.node_of("x") == "n"
        assert {RESOURCE_SLICES.kind, DEVICE_CLASSES.kind} == {"ResourceSlice", "DeviceClass"}


async def test_a_selector_that_cannot_be_evaluated_is_an_error_that_is_tried_again() -> None:
    text = f'device.attributes["{DRIVER}"].missing'
    async with running(node("n"), gpus("d0"), device_class(), claim("c", request("r", text))) as world:
        await world.create(wanting("x", "c"))
        condition = world.condition("x")
        assert condition["reason"] == "SchedulerError"
        assert condition["message"].startswith(
            'running "DynamicResources" filter plugin: claim default/c: selector #0: CEL runtime error'
        )
        await world.create(pod("other"))
        assert world.node_of("other") == "n", "others go on"


async def test_devices_that_nobody_can_use_are_given_back() -> None:
    """Its node is full, and nobody else uses the claim: it gets a device on another node."""
    elsewhere = {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["full"]}]}]
    }
    held = claim("c", request("r"), status=allocated("full/d", selector=elsewhere))
    nodes = [node("full", cpu="1"), node("free", cpu="4")]
    async with running(*nodes, gpus("d", on="full"), gpus("d", on="free"), device_class(), held) as world:
        await world.create(wanting("x", "c", containers=[container("2")]))
        assert "deallocation of ResourceClaim completed, preemption: " in str(world.events())
        await world.settle()
        await world.clock.advance(11)
        await world.settle()
        assert (world.node_of("x"), devices_of(world, "c")) == ("free", ["free/d"])


async def test_devices_that_another_pod_uses_stay_where_they_are() -> None:
    elsewhere = {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}]}
    status = allocated("m/d", selector=elsewhere) | {"reservedFor": [{"resource": "pods", "name": "y", "uid": "u"}]}
    async with running(node("n"), gpus("d"), device_class(), claim("c", request("r"), status=status)) as world:
        await world.create(wanting("x", "c"))
        assert world.condition("x")["message"] == (
            f"0/1 nodes are available: 1 resourceclaim not available on the node. still not schedulable, {UNHELPFUL}"
        )
        assert devices_of(world, "c") == ["m/d"]


@pytest.mark.parametrize("error", [InternalError("no"), Conflict("no")])
async def test_a_pod_that_cannot_be_bound_gives_its_claim_back(error: Exception) -> None:
    async with running(node("n"), gpus("d0"), device_class(), claim("c", request("r"))) as world:
        world.client.fail(error, verb="create", ref=PODS, name="x")  # type: ignore[arg-type]
        world.client.add(wanting("x", "c"))
        await world.settle()
        assert users_of(world, "c") == []
        assert devices_of(world, "c") == ["n/d0"], "it may use them when it is tried again"
        await world.clock.advance(2)
        await world.settle()
        assert (world.node_of("x"), users_of(world, "c")) == ("n", ["x"])


async def test_a_claim_that_cannot_be_written_lets_its_devices_go() -> None:
    claims = [claim("c", request("r")), claim("d", request("r"))]
    async with running(node("n"), gpus("d0"), device_class(), *claims) as world:
        world.client.fail(InternalError("no"), verb="update", ref=RESOURCE_CLAIMS, name="c")
        world.client.add(wanting("x", "c"))
        await world.settle()
        assert 'running PreBind plugin "DynamicResources": no' in str(world.events())
        await world.create(wanting("y", "d"))
        assert (world.node_of("y"), devices_of(world, "d")) == ("n", ["n/d0"])


async def test_a_conflict_is_written_again_on_top_of_what_there_is() -> None:
    async with running(node("n"), gpus("d0"), device_class(), claim("c", request("r"))) as world:
        world.client.fail(Conflict("somebody labelled it"), verb="update", ref=RESOURCE_CLAIMS, name="c")
        await world.create(wanting("x", "c"))
        assert (world.node_of("x"), users_of(world, "c")) == ("n", ["x"])


class TestDevicesThatMustBeMadeReady:
    SLICE = slice_of(
        "s",
        [
            device(
                "d", more={"bindsToNode": True, "bindingConditions": ["ready"], "bindingFailureConditions": ["broken"]}
            )
        ],
        on="n",
    )

    def tell(self, world: World, kind: str) -> None:
        told = {
            "driver": DRIVER,
            "pool": "n",
            "device": "d",
            "conditions": [{"type": kind, "status": "True", "reason": "r"}],
        }
        world.client.change(RESOURCE_CLAIMS, "c", "default", lambda new: new["status"].update(devices=[told]))

    async def test_the_pod_is_bound_when_they_are(self) -> None:
        async with running(node("n"), self.SLICE, device_class(), claim("c", request("r"))) as world:
            await world.create(wanting("x", "c"))
            assert world.node_of("x") == ""
            assert (
                "Normal",
                "BindingConditionsPending",
                "waiting for binding conditions for device on node n",
            ) in world.events()
            self.tell(world, "ready")
            await world.settle()
            assert world.node_of("x") == "n"

    async def test_those_that_fail_are_given_back_and_others_are_taken(self) -> None:
        async with running(node("n"), self.SLICE, device_class(), claim("c", request("r"))) as world:
            await world.create(wanting("x", "c"))
            self.tell(world, "broken")
            await world.settle()
            assert "device binding failed: claim=c, reason=r" in str(world.events())
            world.client.add(gpus("other", on="n") | {"spec": slice_of("t", [device("e")], on="n", pool="a")["spec"]})
            for _ in range(3):
                await world.clock.advance(11)
                await world.settle()
            assert (world.node_of("x"), devices_of(world, "c")) == ("n", ["a/e"])

    async def test_they_must_not_take_for_ever(self) -> None:
        async with running(node("n"), self.SLICE, device_class(), claim("c", request("r"))) as world:
            await world.create(wanting("x", "c"))
            await world.clock.advance(timedelta(minutes=10).total_seconds() + 1)
            await world.settle()
            assert "device binding timeout" in str(world.events())


class TestExtendedResources:
    CLASS = device_class("gpu", extendedResourceName="example.com/gpu")

    async def test_are_given_as_devices_by_a_claim_made_for_the_pod(self) -> None:
        x = pod("x", containers=[container(requests={"example.com/gpu": "2"}, name="a"), container(name="b")])
        async with running(node("n"), gpus("d0", "d1", "d2"), self.CLASS) as world:
            await world.create(x)
            assert world.node_of("x") == "n"
            (made,) = world.client.objects(RESOURCE_CLAIMS)
            assert made["metadata"]["annotations"] == {"resource.kubernetes.io/extended-resource-claim": "true"}
            assert made["spec"]["devices"]["requests"] == [
                {
                    "name": "container-0-request-0",
                    "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2},
                }
            ]
            assert [each["device"] for each in made["status"]["allocation"]["devices"]["results"]] == ["d0", "d1"]
            (placed,) = world.client.objects(PODS)
            assert placed["status"]["extendedResourceClaimStatus"] == {
                "resourceClaimName": made["metadata"]["name"],
                "requestMappings": [
                    {"containerName": "a", "resourceName": "example.com/gpu", "requestName": "container-0-request-0"}
                ],
            }

    async def test_that_a_node_has_itself_are_its_own(self) -> None:
        x = pod("x", containers=[container(requests={"example.com/gpu": "1"})])
        async with running(node("n", allocatable={"example.com/gpu": "1"}), self.CLASS) as world:
            await world.create(x)
            assert world.node_of("x") == "n"
            assert world.client.objects(RESOURCE_CLAIMS) == []

    async def test_that_nobody_has_are_refused(self) -> None:
        x = pod("x", containers=[container(requests={"example.com/gpu": "4"})])
        async with running(node("n"), gpus("d0"), self.CLASS) as world:
            await world.create(x)
            assert "1 cannot allocate all claims" in world.condition("x")["message"]
            assert find_by(world.client.objects(RESOURCE_CLAIMS), "kind", "ResourceClaim") is None

    async def test_a_claim_that_came_to_nothing_does_not_stand_in_the_way(self) -> None:
        x = pod("x", containers=[container(requests={"example.com/gpu": "1"})])
        async with running(node("n"), gpus("d0"), self.CLASS) as world:
            world.client.fail(InternalError("no"), verb="update", ref=RESOURCE_CLAIMS)
            world.client.add(x)
            await world.settle()
            assert world.node_of("x") == ""
            for _ in range(4):
                await world.clock.advance(3)
                await world.settle()
            assert world.node_of("x") == "n"

    async def test_the_claim_goes_when_the_pod_is_not_bound(self) -> None:
        x = pod("x", containers=[container(requests={"deviceclass.resource.kubernetes.io/gpu": "1"})])
        async with running(node("n"), gpus("d0"), self.CLASS) as world:
            world.client.fail(InternalError("no"), verb="create", ref=PODS, name="x")
            world.client.add(x)
            await world.settle()
            assert world.node_of("x") == ""
            for _ in range(3):
                await world.clock.advance(3)
                await world.settle()
            assert world.node_of("x") == "n"
            assert (
                len(
                    [
                        each
                        for each in world.client.objects(RESOURCE_CLAIMS)
                        if "deletionTimestamp" not in each["metadata"]
                    ]
                )
                == 1
            )
