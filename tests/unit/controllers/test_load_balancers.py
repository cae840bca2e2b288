"""Addresses of Services of type LoadBalancer: who gets which, who waits and why, and how they are given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.controllers.rights import identities
from timonel.api.refs import ENDPOINT_SLICES, EVENTS, NODES, SERVICES
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.controllers.loadbalancer.controller import FINALIZER, ServiceLoadBalancerController
from timonel.controllers.loadbalancer.planner import (
    EXCLUDED_LABEL,
    Assignment,
    Held,
    LoadBalancerConfig,
    plan_assignment,
)
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient

Object = dict[str, Any]
NODE_MODE = LoadBalancerConfig()
POOL = LoadBalancerConfig(pool=("192.0.2.10-192.0.2.11", "192.0.2.64/30"))


def node(name: str, address: str, ready: str = "True", **labels: str) -> Object:
    status = {
        "conditions": [{"type": "Ready", "status": ready}],
        "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}],
    }
    return {"metadata": {"name": name, "labels": labels}, "status": status}


NODES_THERE = [node("n1", "10.0.0.1"), node("n2", "10.0.0.2"), node("n10", "10.0.0.10")]


def service(name: str = "web", port: int = 80, protocol: str = "TCP", **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "default"}
    ports = [{"port": port, "protocol": protocol}]
    return {"metadata": metadata, "spec": {"type": "LoadBalancer", "ports": ports, **spec}}


def endpoints(name: str, *nodes: str) -> Object:
    return {
        "metadata": {"name": f"{name}-1", "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "endpoints": [{"addresses": ["10.244.0.2"], "nodeName": item} for item in nodes],
    }


def plan(made: Object, *others: Held, config: LoadBalancerConfig = NODE_MODE, **more: Any) -> Assignment:
    nodes, slices = more.get("nodes", NODES_THERE), more.get("slices", [])
    return plan_assignment(made, others, nodes, slices, more.get("node_ports", ()), config)


# Node addresses


def test_every_node_that_is_ready_serves() -> None:
    assert plan(service()) == Assignment(("10.0.0.1", "10.0.0.2", "10.0.0.10"))
    nodes = [node("n1", "10.0.0.1", "Unknown"), node("n2", "10.0.0.2"), node("n3", "10.0.0.3", **{EXCLUDED_LABEL: ""})]
    assert plan(service(), nodes=nodes) == Assignment(("10.0.0.2",))
    assert plan(service(), nodes=[]).problem == "There are no available nodes for LoadBalancer"


def test_with_the_policy_local_those_with_an_endpoint() -> None:
    local = service(externalTrafficPolicy="Local")
    assert plan(local, slices=[endpoints("web", "n2", "gone")]) == Assignment(("10.0.0.2",))
    assert plan(local) == Assignment(("10.0.0.1", "10.0.0.2", "10.0.0.10"))


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (service(port=80), "port 80/TCP of the nodes' addresses is taken by Service default/other"),
        (service(port=80, protocol="UDP"), ""),
        (service(port=22), "port 22/TCP of the nodes' addresses is reserved for the nodes"),
        (service(port=22, protocol="UDP"), ""),
        (service(port=30080), "port 30080/TCP of the nodes' addresses is the node port of another Service"),
        (service(ipFamilies=["IPv6"]), "the nodes' addresses are IPv4"),
    ],
)
def test_ports_of_nodes_are_given_once(made: Object, problem: str) -> None:
    other = Held("default/other", frozenset({"10.0.0.1"}), frozenset({("TCP", 80)}), by_nodes=True)
    found = plan(made, other, node_ports=[("TCP", 30080)])
    assert found.problem == problem
    assert bool(found.addresses) == (not problem)


# The pool


def test_each_service_has_an_address_of_its_own() -> None:
    def held(*addresses: str) -> Held:
        return Held("default/other", frozenset(addresses), frozenset({("TCP", 80)}), by_nodes=False)

    assert plan(service(), config=POOL) == Assignment(("192.0.2.10",))
    assert plan(service(), held("192.0.2.10"), config=POOL) == Assignment(("192.0.2.11",))
    # Of a network, neither its own address nor the one for broadcasts.
    assert plan(service(), held("192.0.2.10", "192.0.2.11"), config=POOL) == Assignment(("192.0.2.65",))
    everything = held("192.0.2.10", "192.0.2.11", "192.0.2.65", "192.0.2.66")
    assert plan(service(), everything, config=POOL).problem == "no address of the pool is free"


def test_an_address_stays_and_one_can_be_asked_for() -> None:
    had = service() | {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.66"}]}}}
    assert plan(had, config=POOL) == Assignment(("192.0.2.66",))
    asking = service(loadBalancerIP="192.0.2.11")
    assert plan(asking, config=POOL) == Assignment(("192.0.2.11",))
    taken = Held("default/other", frozenset({"192.0.2.11"}), frozenset(), by_nodes=False)
    assert plan(asking, taken, config=POOL).problem == "spec.loadBalancerIP 192.0.2.11 is another Service's"
    outside = plan(service(loadBalancerIP="198.51.100.1"), config=POOL)
    assert outside.problem == "spec.loadBalancerIP 198.51.100.1 is not in the pool of addresses"


def test_the_class_chooses() -> None:
    assert plan(service(loadBalancerClass="timonel.dev/nodes"), config=POOL).addresses[0] == "10.0.0.1"
    assert plan(service(loadBalancerClass="timonel.dev/pool")).problem == "there is no pool of addresses"


# The loop


class World:
    def __init__(self, config: LoadBalancerConfig) -> None:
        self.clock = VirtualClock()
        self.client = FakeClient(clock=self.clock)
        self.informers = Informers(self.client, clock=self.clock)
        self.refused: list[str] = []
        acting = identities(self.client, self.refused)("service-controller")
        self.recorder = EventRecorder(acting, component="service-controller", clock=self.clock)
        self.controller = ServiceLoadBalancerController(
            client=acting, informers=self.informers, clock=self.clock, recorder=self.recorder, config=config
        )

    async def add(self, made: Object) -> None:
        await self.client.create(SERVICES, made, "default")
        await settle()

    async def addresses(self, name: str) -> list[str]:
        found = await self.client.get(SERVICES, name, "default")
        ingress = (found.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
        assert all(item["ipMode"] == "VIP" for item in ingress)
        return [item["ip"] for item in ingress]

    async def events(self, name: str) -> list[str]:
        await settle()
        found = (await self.client.list(EVENTS, "default"))["items"]
        return [item["message"] for item in found if item["involvedObject"]["name"] == name]


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = World(getattr(request, "param", NODE_MODE))
    for item in NODES_THERE[:2]:
        await made.client.create(NODES, item)
        await made.client.patch(
            NODES, item["metadata"]["name"], {"status": item["status"]}, subresource="status", type="merge"
        )
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work.run()) for work in (made.informers, made.recorder, made.controller)]
        await settle()
        yield made
        assert made.refused == []
        for task in tasks:
            task.cancel()


async def test_a_service_gets_addresses_and_a_finalizer(world: World) -> None:
    await world.add(service())
    assert await world.addresses("web") == ["10.0.0.1", "10.0.0.2"]
    found = await world.client.get(SERVICES, "web", "default")
    assert found["metadata"]["finalizers"] == [FINALIZER]
    assert await world.events("web") == ["Ensured load balancer"]


async def test_the_second_waits_for_a_port_says_why_and_has_its_turn(world: World) -> None:
    await world.add(service("first"))
    await world.add(service("second"))
    assert await world.addresses("second") == []
    problem = "port 80/TCP of the nodes' addresses is taken by Service default/first"
    assert await world.events("second") == [f"Error syncing load balancer: {problem}"]
    await world.client.delete(SERVICES, "first", "default")
    await settle()
    assert await world.addresses("second") == ["10.0.0.1", "10.0.0.2"]
    # Nothing held the first but the finalizer.
    assert [item["metadata"]["name"] for item in (await world.client.list(SERVICES))["items"]] == ["second"]


async def test_other_classes_are_left_alone(world: World) -> None:
    await world.add(service(loadBalancerClass="example.org/elsewhere"))
    found = await world.client.get(SERVICES, "web", "default")
    assert await world.addresses("web") == []
    assert "finalizers" not in found["metadata"]
    assert await world.events("web") == []


async def test_another_type_gives_the_addresses_back(world: World) -> None:
    await world.add(service())
    await world.client.patch(SERVICES, "web", {"spec": {"type": "ClusterIP"}}, "default", type="merge")
    await settle()
    found = await world.client.get(SERVICES, "web", "default")
    assert await world.addresses("web") == []
    assert not found["metadata"].get("finalizers")


async def test_addresses_follow_nodes_and_endpoints(world: World) -> None:
    await world.add(service(externalTrafficPolicy="Local"))
    await world.client.create(ENDPOINT_SLICES, endpoints("web", "n2"), "default")
    await settle()
    assert await world.addresses("web") == ["10.0.0.2"]
    lost = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    await world.client.patch(NODES, "n2", lost, subresource="status", type="merge")
    await settle()
    assert await world.addresses("web") == ["10.0.0.1"]


@pytest.mark.parametrize("world", [POOL], indirect=True)
async def test_addresses_of_the_pool_are_never_given_twice(world: World) -> None:
    """Also when the cache has not heard of the first when the second is looked at."""
    for number in range(3):
        await world.client.create(SERVICES, service(f"web-{number}"), "default")
    await settle()
    assert sorted([await world.addresses(f"web-{number}") for number in range(3)]) == [
        ["192.0.2.10"],
        ["192.0.2.11"],
        ["192.0.2.65"],
    ]
