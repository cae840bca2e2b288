"""Hollow nodes in virtual time: registration, leases at a bounded pace, addresses of pods."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from timonel.api.clock import parse_time
from timonel.api.errors import ServiceUnavailable
from timonel.api.objects import name_of
from timonel.api.refs import LEASES, NODES, PODS
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.simulation.addresses import PodAddresses
from timonel.simulation.answers import refusal
from timonel.simulation.config import HollowConfig, lease_seconds
from timonel.simulation.hollow import HollowNodes
from timonel.simulation.nodes import SILENT, new_hollow_node, node_name, zone_name
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient

CONFIG = HollowConfig(count=6, address="192.0.2.1", zones=3, cpu="8", memory="16Gi")


class Hollow:
    def __init__(self, config: HollowConfig, *objects) -> None:
        self.clock = VirtualClock()
        self.client = FakeClient(*objects, clock=self.clock)
        informers = Informers(self.client, clock=self.clock)
        recorder = EventRecorder(self.client, component="hollow-kubelet", clock=self.clock)
        self.nodes = HollowNodes(
            config=config, client=self.client, informers=informers, recorder=recorder, clock=self.clock
        )
        self.parts = (informers, recorder, self.nodes)

    def names(self) -> list[str]:
        return [name_of(node) for node in self.client.objects(NODES)]

    def renewals(self) -> int:
        """Writes of leases since the last call."""
        count = sum(write.ref == LEASES for write in self.client.writes)
        self.client.writes.clear()
        return count


@contextlib.asynccontextmanager
async def hollow(config: HollowConfig = CONFIG, *objects) -> AsyncIterator[Hollow]:
    made = Hollow(config, *objects)
    tasks = [asyncio.create_task(part.run()) for part in made.parts]
    await settle(300)
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_nodes_register_themselves() -> None:
    async with hollow() as made:
        await made.clock.advance(2)
        assert made.names() == [f"hollow-000{number}" for number in range(6)]
        creates = [write for write in made.client.writes if write.ref == NODES and write.verb == "create"]
        assert len(creates) == 6


def test_a_node_is_made_as_a_kubelet_makes_it_status_and_all() -> None:
    node = new_hollow_node(CONFIG, 4, parse_time("2026-01-01T00:00:00Z"))
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "zone-b"
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "hollow-0004"
    assert (node["status"]["capacity"]["cpu"], node["status"]["capacity"]["pods"]) == ("8", "110")
    assert node["status"]["allocatable"]["memory"] == f"{16 * 1024**2}Ki"
    assert node["status"]["addresses"][0] == {"type": "InternalIP", "address": "192.0.2.1"}
    assert {item["type"]: item["status"] for item in node["status"]["conditions"]} == {
        "Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"
    }  # fmt: skip


async def test_nodes_beyond_the_count_go_and_foreign_ones_stay() -> None:
    now = parse_time("2026-01-01T00:00:00Z")
    many = HollowConfig(count=9, address="192.0.2.1")
    old = [new_hollow_node(many, index, now) for index in range(9)]
    foreign = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "helm"}, "spec": {}, "status": {}}
    async with hollow(CONFIG, *old, foreign) as made:
        assert made.names() == ["helm", *(f"hollow-000{number}" for number in range(6))]


async def test_leases_of_few_nodes_are_renewed_every_ten_seconds() -> None:
    async with hollow() as made:
        await made.clock.advance(20)
        assert len(made.client.objects(LEASES)) == 6
        lease = made.client.objects(LEASES)[0]
        assert lease["spec"]["leaseDurationSeconds"] == 40
        made.renewals()
        await made.clock.advance(60)
        assert 30 <= made.renewals() <= 66


async def test_leases_of_many_nodes_cost_no_more_and_are_good_for_longer() -> None:
    config = HollowConfig(count=60, address="192.0.2.1", leases_per_second=2.0)
    async with hollow(config) as made:
        await made.clock.advance(60)
        assert len(made.client.objects(LEASES)) == 60
        made.renewals()
        await made.clock.advance(60)
        assert 100 <= made.renewals() <= 130
        oldest = min(parse_time(lease["spec"]["renewTime"]) for lease in made.client.objects(LEASES))
        assert (made.clock.now() - oldest).total_seconds() <= 40
        assert {lease["spec"]["leaseDurationSeconds"] for lease in made.client.objects(LEASES)} == {120}


@pytest.mark.parametrize(("nodes", "seconds"), [(1, 40), (500, 40), (1000, 80), (5000, 400)])
def test_how_long_leases_are_good_for(nodes: int, seconds: int) -> None:
    assert lease_seconds(nodes, 50.0) == seconds


async def test_a_silent_node_renews_nothing() -> None:
    async with hollow() as made:
        await made.clock.advance(15)
        made.client.change(NODES, "hollow-0002", "", lambda node: node["metadata"].update(annotations={SILENT: "true"}))
        await settle(100)
        before = {name_of(lease): lease["spec"]["renewTime"] for lease in made.client.objects(LEASES)}
        await made.clock.advance(30)
        after = {name_of(lease): lease["spec"]["renewTime"] for lease in made.client.objects(LEASES)}
        assert {name for name in after if after[name] == before[name]} == {"hollow-0002"}


async def test_a_node_that_was_called_unknown_says_that_it_is_well() -> None:
    async with hollow() as made:
        await made.clock.advance(2)

        def unknown(node) -> None:
            for condition in node["status"]["conditions"]:
                condition["status"] = "Unknown"

        made.client.change(NODES, "hollow-0001", "", unknown)
        await made.clock.advance(1)
        node = made.client.objects(NODES)[1]
        assert node["status"]["conditions"][-1]["status"] == "True"


async def test_a_server_that_is_away_only_delays() -> None:
    made = Hollow(CONFIG)
    made.client.fail(ServiceUnavailable("away"), verb="create", ref=NODES, times=5)
    tasks = [asyncio.create_task(part.run()) for part in made.parts]
    await settle(300)
    await made.clock.advance(30)
    assert len(made.names()) == 6
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_pod_runs_once_its_node_has_a_network() -> None:
    async with hollow() as made:
        await made.clock.advance(2)
        pod = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"nodeName": "hollow-0003", "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Pending"},
        }
        made.client.add(pod)
        await made.clock.advance(1)
        assert made.client.objects(PODS)[0]["status"]["phase"] == "Pending"
        made.client.change(NODES, "hollow-0003", "", lambda node: node["spec"].update(podCIDR="10.244.7.0/24"))
        await made.clock.advance(1)
        [pod] = made.client.objects(PODS)
        assert (pod["status"]["phase"], pod["status"]["podIP"]) == ("Running", "10.244.7.2")
        await made.client.delete(PODS, "web", "default")
        await made.clock.advance(1)
        assert made.client.objects(PODS) == []


def test_addresses_are_the_nodes_own_and_used_once() -> None:
    addresses = PodAddresses()
    given = [addresses.take(f"u{number}", "n", "10.0.0.0/29") for number in range(6)]
    assert given == ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", ""]
    assert addresses.take("u2", "n", "10.0.0.0/29") == "10.0.0.4"
    addresses.release("u2")
    assert addresses.take("u9", "n", "10.0.0.0/29") == "10.0.0.4"
    assert addresses.take("other", "m", "10.0.1.0/29") == "10.0.1.2"


def test_an_address_that_a_status_tells_is_kept() -> None:
    addresses = PodAddresses()
    assert addresses.take("old", "n", "10.0.0.0/29", "10.0.0.2") == "10.0.0.2"
    assert addresses.take("new", "n", "10.0.0.0/29") == "10.0.0.3"


def test_names() -> None:
    assert (node_name(CONFIG, 7), node_name(CONFIG, 12345)) == ("hollow-0007", "hollow-12345")
    assert [zone_name(number) for number in (0, 25, 26)] == ["zone-a", "zone-z", "zone-26"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/containerLogs/default/web/c", "it has no log"),
        ("/exec/default/web/c", "nothing can be run in it"),
        ("/portForward/default/web", "nothing listens in it"),
        ("/attach/default/web/c", "there is nothing to attach to"),
    ],
)
def test_what_is_asked_of_its_kubelet_is_answered_by_name(path: str, text: str) -> None:
    assert refusal(path) == f'pod "web" is on a hollow node, where pods exist in the API only: {text}'


def test_other_questions() -> None:
    assert refusal("/stats/summary") == "this is a hollow node, which has no kubelet: there is no /stats"
