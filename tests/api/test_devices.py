"""Devices from slice to pod and back, by the controllers and the scheduler as themselves against a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio

from timonel.api.clock import SystemClock, format_time
from timonel.api.objects import Object, get_path
from timonel.api.refs import (
    DEVICE_CLASSES,
    NODES,
    PODS,
    RESOURCE_CLAIM_TEMPLATES,
    RESOURCE_CLAIMS,
    RESOURCE_SLICES,
    ResourceRef,
)
from timonel.client.config import ClientConfig
from timonel.client.events import EventRecorder
from timonel.client.rest import Client
from timonel.client.service_accounts import ServiceAccountClients
from timonel.cluster.pki import MANAGER, SCHEDULER
from timonel.controllers.manager import ControllerManager, ManagerConfig, Surroundings
from timonel.scheduler.loop import Scheduler
from timonel.testing.server import start_api_server

CLOCK = SystemClock()
PATIENCE_SECONDS = 60.0
DRIVER = "gpu.example.com"


class World:
    def __init__(self, server: Any, manager: ControllerManager) -> None:
        self.client = server.client
        self._informers = manager.informers
        self._changed = asyncio.Event()
        for ref in (PODS, NODES, RESOURCE_CLAIMS):
            wake: Callable[..., None] = lambda *objects: self._changed.set()  # noqa: E731
            self._informers.of(ref).add_handler(on_add=wake, on_update=wake, on_delete=wake)

    def see(self, ref: ResourceRef, name: str, *path: str) -> Any:
        return get_path(self._informers.of(ref).lister.get("default" if ref.namespaced else "", name), *path)

    def claims(self) -> list[Object]:
        return self._informers.of(RESOURCE_CLAIMS).lister.list()

    async def until(self, what: str, holds: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (found := holds()):
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"never: {what}") from None

    async def add_node(self, name: str, devices: list[Object], cpu: str = "4") -> None:
        made = await self.client.create(NODES, {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
        now = format_time(CLOCK.now())
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}
        status = {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}, "conditions": [ready]}
        await self.client.update(NODES, made | {"status": status}, subresource="status")
        spec = {
            "driver": DRIVER,
            "nodeName": name,
            "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
            "devices": devices,
        }
        await self.client.create(RESOURCE_SLICES, {"metadata": {"name": f"slice-{name}"}, "spec": spec})

    async def end(self, pod: str) -> None:
        """What the kubelet does last."""
        await self.client.delete(PODS, pod, "default", grace_period_seconds=0)


@pytest_asyncio.fixture
async def world(tmp_path: Any) -> AsyncIterator[World]:
    """The manager as `timonel up` wires it: certificates of manager and scheduler, tokens of controllers."""
    server = await start_api_server(tmp_path)

    def identity(name: str) -> ClientConfig:
        pair = server.pki.clients[name]
        return ClientConfig(server=server.url, ca_file=str(server.ca), cert_file=str(pair.cert), key_file=str(pair.key))

    async with Client(identity(MANAGER)) as client, Client(identity(SCHEDULER)) as own:
        recorder = EventRecorder(own, component="default-scheduler", clock=CLOCK)
        accounts = ServiceAccountClients(client, clock=CLOCK)

        def scheduler(around: Surroundings) -> Scheduler:
            return Scheduler(client=own, informers=around.informers, recorder=recorder, clock=CLOCK)

        config = ManagerConfig(leader_election=False, root_ca=server.ca.read_text())
        manager = ControllerManager(client, CLOCK, config, hosted=[scheduler], identities=accounts.client)
        tasks = [asyncio.create_task(part.run()) for part in (manager, recorder)]
        await asyncio.wait_for(manager.wait_ready(), PATIENCE_SECONDS)
        made = World(server, manager)
        selector = {"cel": {"expression": f'device.driver == "{DRIVER}"'}}
        await server.client.create(
            DEVICE_CLASSES,
            {"metadata": {"name": "gpu"}, "spec": {"selectors": [selector], "extendedResourceName": "example.com/gpu"}},
        )
        yield made
        assert not tasks[0].done()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await accounts.aclose()
    await server.stop()


def gpu(name: str, **more: Any) -> Object:
    return {"name": name, "attributes": {"model": {"string": "large"}}, **more}


def pod(name: str, **spec: Any) -> Object:
    containers = [{"name": "c", "image": "i", "resources": spec.pop("resources", {})}]
    whole = {"automountServiceAccountToken": False, "containers": containers, **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": whole}


def devices(claim: Object | None) -> list[str]:
    results = get_path(claim or {}, "status", "allocation", "devices", "results", default=[])
    return [f"{each['pool']}/{each['device']}" for each in results]


ONE = {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}


async def test_a_pod_with_a_template_gets_a_device_and_gives_it_back(world: World) -> None:
    await world.add_node("n1", [gpu("d0")])
    template = {"metadata": {"name": "t", "namespace": "default"}, "spec": {"spec": {"devices": ONE}}}
    await world.client.create(RESOURCE_CLAIM_TEMPLATES, template, "default")
    claims = [{"name": "gpu", "resourceClaimTemplateName": "t"}]
    await world.client.create(PODS, pod("first", resourceClaims=claims), "default")
    assert await world.until("placed", lambda: world.see(PODS, "first", "spec", "nodeName")) == "n1"
    (claim,) = world.claims()
    assert devices(claim) == ["n1/d0"]
    assert [each["name"] for each in claim["status"]["reservedFor"]] == ["first"]
    await world.client.create(PODS, pod("second", resourceClaims=claims), "default")
    await world.until(
        "told to wait", lambda: "cannot allocate" in str(world.see(PODS, "second", "status", "conditions"))
    )
    await world.end("first")
    assert await world.until("placed", lambda: world.see(PODS, "second", "spec", "nodeName")) == "n1"


async def test_extended_resources_are_given_as_devices(world: World) -> None:
    await world.add_node("n1", [gpu("d0"), gpu("d1")])
    wanted = {"requests": {"example.com/gpu": "2"}, "limits": {"example.com/gpu": "2"}}
    await world.client.create(PODS, pod("x", resources=wanted), "default")
    assert await world.until("placed", lambda: world.see(PODS, "x", "spec", "nodeName")) == "n1"
    whole = await world.client.get(PODS, "x", "default")
    told = whole["status"]["extendedResourceClaimStatus"]
    claim = await world.client.get(RESOURCE_CLAIMS, told["resourceClaimName"], "default")
    assert devices(claim) == ["n1/d0", "n1/d1"]
    assert told["requestMappings"] == [
        {"containerName": "c", "resourceName": "example.com/gpu", "requestName": "container-0-request-0"}
    ]


async def test_devices_that_fail_before_the_pod_is_bound_are_replaced(world: World) -> None:
    slow = gpu("slow", bindsToNode=True, bindingConditions=["ready"], bindingFailureConditions=["broken"])
    await world.add_node("n1", [slow])
    claim = {"metadata": {"name": "c", "namespace": "default"}, "spec": {"devices": ONE}}
    await world.client.create(RESOURCE_CLAIMS, claim, "default")
    claims = [{"name": "gpu", "resourceClaimName": "c"}]
    await world.client.create(PODS, pod("x", resourceClaims=claims), "default")
    await world.until("reserved", lambda: world.see(RESOURCE_CLAIMS, "c", "status", "reservedFor"))
    condition = {
        "type": "broken",
        "status": "True",
        "reason": "Burnt",
        "message": "",
        "lastTransitionTime": format_time(CLOCK.now()),
    }
    told = [{"driver": DRIVER, "pool": "n1", "device": "slow", "conditions": [condition]}]
    patch = {"status": {"devices": told}}
    await world.client.patch(RESOURCE_CLAIMS, "c", patch, "default", type="merge", subresource="status")
    # Its driver offers the broken one no more, else it would be as good as any for the next try.
    await world.client.delete(RESOURCE_SLICES, "slice-n1")
    await world.add_node("n2", [gpu("quick")])
    assert await world.until("placed", lambda: world.see(PODS, "x", "spec", "nodeName")) == "n2"
    assert devices(world.see(RESOURCE_CLAIMS, "c")) == ["n2/quick"]


async def test_shares_of_a_device_are_told_apart(world: World) -> None:
    capacity = {
        "memory": {"value": "10Gi", "requestPolicy": {"default": "1Gi", "validRange": {"min": "1Gi", "step": "1Gi"}}}
    }
    await world.add_node("n1", [gpu("d", allowMultipleAllocations=True, capacity=capacity)])
    for number in range(3):
        exactly = {"deviceClassName": "gpu", "capacity": {"requests": {"memory": "3500Mi"}}}
        spec = {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}
        metadata = {"name": f"c{number}", "namespace": "default"}
        await world.client.create(RESOURCE_CLAIMS, {"metadata": metadata, "spec": spec}, "default")
        claims = [{"name": "gpu", "resourceClaimName": f"c{number}"}]
        await world.client.create(PODS, pod(f"x{number}", resourceClaims=claims), "default")

    def placed() -> list[int]:
        return [number for number in range(3) if world.see(PODS, f"x{number}", "spec", "nodeName")]

    await world.until("two placed", lambda: len(placed()) == 2)
    results = [
        world.see(RESOURCE_CLAIMS, f"c{number}", "status", "allocation", "devices", "results")[0] for number in placed()
    ]
    assert [each["consumedCapacity"] for each in results] == [{"memory": "4Gi"}] * 2
    assert len({each["shareID"] for each in results}) == 2
    (last,) = {0, 1, 2} - set(placed())
    await world.until("told", lambda: "cannot allocate" in str(world.see(PODS, f"x{last}", "status", "conditions")))
