"""The enforcer's loop: who waits for what, what is made anew, and what is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from timonel.api.refs import NAMESPACES, NETWORK_POLICIES, PODS
from timonel.client.informer import Informers
from timonel.network.commands import CommandFailed
from timonel.network.policy.enforcer import NotEnforced, PolicyConfig, PolicyEnforcer
from timonel.testing.fake_client import FakeClient


class Nft:
    """Takes scripts; those that begin with `broken` set are refused."""

    def __init__(self) -> None:
        self.scripts: list[str] = []
        self.broken = 0
        self.held: asyncio.Event | None = None

    async def __call__(self, *command: str, stdin: str | None = None) -> str:
        if "counters" in command:
            return '{"nftables": []}'
        if "tables" in command:
            return ""
        if self.held is not None:
            await self.held.wait()
        if self.broken:
            self.broken -= 1
            raise CommandFailed("nft: Device or resource busy")
        self.scripts.append(stdin or "")
        return ""


class World:
    def __init__(self) -> None:
        self.client = FakeClient()
        self.nft = Nft()
        self.informers = Informers(self.client)
        self.pods = self.informers.of(PODS, field_selector="spec.nodeName=here")
        config = PolicyConfig(table="timonel", admit_seconds=0.05)
        self.enforcer = PolicyEnforcer(config=config, informers=self.informers, pods=self.pods, run=self.nft)

    async def pod(self, name: str, address: str = "", node: str = "here") -> Any:
        status = {"phase": "Running", "podIP": address} if address else {"phase": "Pending"}
        made = {"metadata": {"name": name, "namespace": "shop"}, "spec": {"nodeName": node}, "status": status}
        made = await self.client.create(PODS, made, "shop")
        await self.client.patch(PODS, name, {"status": status}, "shop", subresource="status", type="merge")
        await self.until(lambda: node != "here" or self.pods.lister.get("shop", name) is not None)
        return made

    async def deny(self) -> None:
        spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]}
        policy = {"metadata": {"name": "deny", "namespace": "shop"}, "spec": spec}
        await self.client.create(NETWORK_POLICIES, policy, "shop")

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    def told(self, text: str) -> bool:
        return any(text in script for script in self.nft.scripts)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.client.create(NAMESPACES, {"metadata": {"name": "shop"}})
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(made.informers.run()), group.create_task(made.enforcer.run())]
        await made.enforcer.wait_ready()
        yield made
        for task in tasks:
            task.cancel()


async def test_without_policies_there_is_nothing_in_the_kernel_and_nobody_waits(world: World) -> None:
    pod = await world.pod("web")
    await world.enforcer.admit(pod, ["10.244.0.2"])
    # What an earlier agent left.
    assert world.nft.scripts == ["add table inet timonel\ndelete table inet timonel\n"]


async def test_a_pod_waits_until_its_rules_are_in_the_kernel(world: World) -> None:
    await world.deny()
    await world.until(lambda: world.told("add chain inet timonel ingress "))
    pod = await world.pod("web")
    world.nft.held = asyncio.Event()
    waiting = asyncio.create_task(world.enforcer.admit(pod, ["10.244.0.2"]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    world.nft.held.set()
    await waiting
    assert world.told("add element inet timonel ingress4 { 10.244.0.2 : goto all-ingress-")
    # Once more, as for its next container, there is nothing to do.
    before = list(world.nft.scripts)
    await world.enforcer.admit(pod, ["10.244.0.2"])
    assert world.nft.scripts == before


async def test_a_pod_whose_rules_do_not_get_into_the_kernel_does_not_start(world: World) -> None:
    await world.deny()
    await world.until(lambda: world.told("add chain inet timonel ingress "))
    pod = await world.pod("web")
    world.nft.broken = 1000
    with pytest.raises(NotEnforced):
        await world.enforcer.admit(pod, ["10.244.0.2"])
    world.nft.broken = 0


async def test_after_a_failure_the_whole_table_is_made_anew(world: World) -> None:
    await world.deny()
    await world.until(lambda: world.told("add chain inet timonel ingress "))
    pod = await world.pod("web")
    world.nft.scripts.clear()
    world.nft.broken = 1
    await world.enforcer.admit(pod, ["10.244.0.2"])
    (script,) = world.nft.scripts
    assert script.startswith("add table inet timonel\ndelete table inet timonel\n")
    assert "10.244.0.2 : goto all-ingress-" in script


async def test_pods_of_other_nodes_are_peers(world: World) -> None:
    await world.deny()
    await world.until(lambda: world.told("add chain inet timonel ingress "))
    await world.enforcer.admit(await world.pod("web"), ["10.244.0.2"])
    await world.pod("far", "10.244.1.7", node="there")
    await world.until(lambda: world.told("10.244.1.7"))
    assert world.nft.scripts[-1].startswith("add element inet timonel pods-")
    await world.client.delete(PODS, "far", "shop", grace_period_seconds=0)
    await world.until(lambda: world.nft.scripts[-1].startswith("delete element inet timonel pods-"))
    assert "10.244.1.7" in world.nft.scripts[-1]


async def test_a_pod_of_ours_that_ends_is_no_peer_any_more(world: World) -> None:
    await world.deny()
    await world.until(lambda: world.told("add chain inet timonel ingress "))
    for name, address in (("web", "10.244.0.2"), ("other", "10.244.0.3")):
        await world.enforcer.admit(await world.pod(name), [address])
    patch = {"status": {"phase": "Succeeded"}}
    await world.client.patch(PODS, "other", patch, "shop", subresource="status", type="merge")
    await world.until(lambda: world.told("delete element inet timonel ingress4 { 10.244.0.3 }"))
    assert any("delete element inet timonel pods-" in script and "10.244.0.3" in script for script in world.nft.scripts)


async def test_with_the_last_policy_the_table_goes(world: World) -> None:
    await world.deny()
    await world.until(lambda: world.told("add chain inet timonel ingress "))
    await world.client.delete(NETWORK_POLICIES, "deny", "shop")
    await world.until(lambda: world.nft.scripts[-1] == "add table inet timonel\ndelete table inet timonel\n")
    count = len(world.nft.scripts)
    await world.enforcer.admit(await world.pod("web"), ["10.244.0.2"])
    assert len(world.nft.scripts) == count
