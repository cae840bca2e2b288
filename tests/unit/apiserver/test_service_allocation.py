"""Several servers allocate from one store at once: nothing is given twice, and nothing stays behind."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from timonel.api.errors import AlreadyExists, ApiError, InternalError, Invalid
from timonel.api.kinds import BUILTIN
from timonel.api.objects import Object, copy_object
from timonel.api.refs import IP_ADDRESSES, SERVICE_CIDRS, SERVICES
from timonel.apiserver.admission.chain import Admission
from timonel.apiserver.allocators.held import service_addresses, service_ports
from timonel.apiserver.allocators.port_set import decode_ports
from timonel.apiserver.allocators.ports import KEY
from timonel.apiserver.allocators.repair import AllocationRepair
from timonel.apiserver.allocators.services import ServiceAllocation
from timonel.apiserver.registry.registry import Registry
from timonel.storage.codec import Codec
from timonel.storage.protocol import Store
from timonel.storage.sqlite import open_sqlite
from timonel.storage.sqlite.store import SqliteStore
from timonel.testing.clock import VirtualClock, settle


class Server:
    """The write path of one, without HTTP."""

    def __init__(self, store: Store, seed: int, node_ports: tuple[int, int]) -> None:
        self.clock = VirtualClock()
        self.registry = Registry(
            table=BUILTIN, store=store, clock=self.clock, admission=Admission(), codecs=lambda row: Codec()
        )
        self.allocation = ServiceAllocation(
            self.registry, cidrs=["10.0.0.0/26", "fd00::/120"], node_ports=node_ports, rng=random.Random(seed)
        )
        self.registry.of(SERVICES).allocation = self.allocation

    async def start(self) -> Server:
        await self.registry.start()
        await self.allocation.start()
        return self

    def close(self) -> None:
        self.allocation.close()
        self.registry.close()

    async def make(self, name: str, **spec: Any) -> Object:
        service = {"metadata": {"name": name, "namespace": "a"}, "spec": {"ports": [{"port": 80}], **spec}}
        return (await self.registry.create(SERVICES, service)).obj

    async def remove(self, name: str) -> None:
        await self.registry.delete(SERVICES, "a", name)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = await open_sqlite(":memory:", clock=VirtualClock())
    yield opened
    await opened.close()


@pytest.fixture
async def pair(store: Store) -> AsyncIterator[tuple[Server, Server]]:
    """Both in one process, which the store allows as long as each hears of the other's commits."""
    one = await Server(store, 1, (30000, 30031)).start()
    await one.registry.create(
        SERVICE_CIDRS, {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.0.0.0/26", "fd00::/120"]}}
    )
    two = await Server(store, 1, (30000, 30031)).start()  # the same seed: they pick the same
    yield one, two
    one.close()
    two.close()


@contextmanager
def held_up(store: Store) -> Iterator[None]:
    """What is written meanwhile is committed after it, together."""
    assert isinstance(store, SqliteStore)
    began, gate = threading.Event(), threading.Event()

    def hold_up() -> None:
        began.set()
        gate.wait()

    waiting = store._call(hold_up)
    assert began.wait(10)
    try:
        yield
    finally:
        gate.set()
        assert not waiting.done()


async def check_consistent(server: Server, store: Store) -> None:
    """One IPAddress for each address of a Service, one bit for each node port, and no others."""
    services = server.registry.reader(SERVICES).list()
    addresses = Counter(str(address) for service in services for address in service_addresses(service))
    ports = Counter(port for service in services for port in service_ports(service))
    assert all(count == 1 for count in (addresses + ports).values() if count)
    parents = {
        address["metadata"]["name"]: address["spec"]["parentRef"]["name"]
        for address in server.registry.reader(IP_ADDRESSES).list()
    }
    assert parents == {
        str(address): service["metadata"]["name"] for service in services for address in service_addresses(service)
    }
    entry = await store.get(KEY)
    assert entry is not None
    assert set(decode_ports(entry.value, server.allocation.ports.numbers) or ()) == set(ports)


async def test_an_address_is_an_object_that_names_its_service(pair: tuple[Server, Server]) -> None:
    made = await pair[0].make("web")
    (address,) = pair[0].registry.reader(IP_ADDRESSES).list()
    assert address["metadata"]["name"] == made["spec"]["clusterIP"]
    assert address["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }  # fmt: skip
    assert address["spec"] == {"parentRef": {"resource": "services", "namespace": "a", "name": "web"}}
    assert address["metadata"]["uid"]
    assert address["metadata"]["creationTimestamp"]
    (manager,) = address["metadata"]["managedFields"]
    assert (manager["operation"], manager["apiVersion"]) == ("Update", "networking.k8s.io/v1")


async def test_two_servers_that_pick_the_same_at_once_give_different_ones(
    pair: tuple[Server, Server], store: Store
) -> None:
    await asyncio.gather(
        *(pair[n % 2].make(f"s{n}", type="NodePort", ipFamilyPolicy="RequireDualStack") for n in range(30))
    )
    await check_consistent(pair[0], store)
    await check_consistent(pair[1], store)


async def test_writes_that_arrive_together_are_committed_together(pair: tuple[Server, Server], store: Store) -> None:
    """Each changes the one object of the node ports; waiting for each other's disk would cost them half their rate."""
    heard: list[int] = []
    store.subscribe(KEY, lambda events: heard.append(len(events)))
    with held_up(store):
        makes = [asyncio.create_task(pair[0].make(f"s{n}", type="NodePort")) for n in range(20)]
        await settle()
    await asyncio.gather(*makes)
    assert heard == [20]
    await check_consistent(pair[0], store)


async def test_one_that_fails_does_not_take_those_behind_it_along(pair: tuple[Server, Server], store: Store) -> None:
    with held_up(store):
        theirs = asyncio.create_task(pair[1].make("s3", type="ClusterIP"))
        await settle()
        ours = [asyncio.create_task(pair[0].make(f"s{n}", type="NodePort")) for n in range(8)]
        await settle()
    results = await asyncio.gather(theirs, *ours, return_exceptions=True)
    assert [n for n, result in enumerate(results[1:]) if isinstance(result, AlreadyExists)] == [3]
    assert sum(isinstance(result, dict) for result in results) == 8
    await check_consistent(pair[0], store)


async def test_the_port_of_a_write_whose_client_went_is_not_given_twice(
    pair: tuple[Server, Server], store: Store
) -> None:
    ports = [{"port": 80, "nodePort": 30008}]
    with held_up(store):
        gone = asyncio.create_task(pair[0].make("gone", type="NodePort", ports=[dict(ports[0])]))
        await settle()
        gone.cancel()
        await settle()
        late = asyncio.create_task(pair[0].make("late", type="NodePort", ports=[dict(ports[0])]))
        await settle()
    with pytest.raises(Invalid, match="30008: provided port is already allocated"):
        await late
    assert [service["metadata"]["name"] for service in pair[0].registry.reader(SERVICES).list()] == ["gone"]
    await check_consistent(pair[0], store)


async def test_repairs_wait_for_what_is_being_written(pair: tuple[Server, Server], store: Store) -> None:
    one = pair[0]
    repair = AllocationRepair(one.registry, one.allocation, clock=one.clock)
    with held_up(store):
        makes = [asyncio.create_task(one.make(f"s{n}", type="NodePort")) for n in range(3)]
        await settle()
        looking = asyncio.create_task(repair.repair_ports())
        await settle()
        makes.append(asyncio.create_task(one.make("late", type="NodePort")))
        await settle()
        assert not looking.done()
    await asyncio.gather(*makes, looking)
    await check_consistent(one, store)


async def test_one_that_is_asked_for_is_given_once(pair: tuple[Server, Server], store: Store) -> None:
    asked = {"clusterIP": "10.0.0.7", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30007}]}
    results = await asyncio.gather(*(pair[n % 2].make(f"s{n}", **asked) for n in range(6)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Invalid)]
    assert len(refused) == 5
    assert all("10.0.0.7: provided IP is already allocated" in str(error) for error in refused)
    ports = [{"port": 80, "nodePort": 30008}]
    results = await asyncio.gather(
        *(pair[n % 2].make(f"t{n}", type="NodePort", ports=[dict(ports[0])]) for n in range(6)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, Invalid)]
    assert len(refused) == 5
    assert all("spec.ports[0].nodePort: Invalid value: 30008: provided port is already" in str(e) for e in refused)
    await check_consistent(pair[0], store)


async def test_nothing_is_left_of_a_write_that_failed(pair: tuple[Server, Server], store: Store) -> None:
    await pair[0].make("a", type="NodePort")
    with pytest.raises(AlreadyExists):
        await pair[0].make("a", type="NodePort")
    with pytest.raises(Invalid):
        await pair[0].make("b", type="NodePort", sessionAffinity="Sometimes")
    with pytest.raises(AlreadyExists):
        await asyncio.gather(*(pair[n].make("c", type="NodePort") for n in range(2)))
    await asyncio.sleep(0)
    await check_consistent(pair[0], store)


async def test_full_ranges_say_so_and_what_is_deleted_is_given_again(pair: tuple[Server, Server], store: Store) -> None:
    for n in range(32):
        await pair[n % 2].make(f"p{n}", type="NodePort")
    with pytest.raises(InternalError, match="failed to allocate a nodePort: range is full"):
        await pair[0].make("more", type="NodePort")
    for n in range(30):
        await pair[n % 2].make(f"s{n}")
    with pytest.raises(InternalError, match='failed to allocate a serviceIP for Service "more": range is full'):
        await pair[0].make("more")
    await pair[1].remove("p5")
    await check_consistent(pair[0], store)
    await pair[0].make("more", type="NodePort")
    await check_consistent(pair[1], store)


async def test_an_update_takes_and_gives_back(pair: tuple[Server, Server], store: Store) -> None:
    one = pair[0]
    await one.make("web", type="ExternalName", externalName="example.com")
    await check_consistent(one, store)

    async def change(**spec: Any) -> Object:
        def apply(live: Object) -> Object:
            changed = copy_object(live)
            merged = {**changed["spec"], **spec}
            return {**changed, "spec": {field: value for field, value in merged.items() if value}}

        return (await one.registry.update(SERVICES, "a", "web", apply)).obj

    made = await change(type="NodePort", externalName=None)
    assert len(service_addresses(made)) == 1
    assert len(service_ports(made)) == 1
    await check_consistent(one, store)
    await change(ipFamilyPolicy="PreferDualStack")
    await check_consistent(one, store)
    await change(ipFamilyPolicy="SingleStack")
    await check_consistent(one, store)
    await change(type="ClusterIP")
    await check_consistent(one, store)
    await change(type="ExternalName", externalName="example.com")
    await check_consistent(one, store)
    assert one.registry.reader(IP_ADDRESSES).list() == []


async def test_random_histories_keep_everything_consistent(pair: tuple[Server, Server], store: Store) -> None:
    rng = random.Random(7)

    async def live(server: Server) -> None:
        for _ in range(60):
            name = f"s{rng.randrange(12)}"
            try:
                if rng.random() < 0.5:
                    await server.make(name, type=rng.choice(["ClusterIP", "NodePort", "LoadBalancer"]))
                else:
                    await server.remove(name)
            except ApiError:
                pass

    await asyncio.gather(*(live(server) for server in (*pair, *pair)))
    await check_consistent(pair[0], store)


async def test_node_ports_that_were_lost_are_counted_from_the_services(
    pair: tuple[Server, Server], store: Store
) -> None:
    await pair[0].make("a", type="NodePort")
    entry = await store.get(KEY)
    assert entry is not None
    await store.delete(KEY, entry.mod_revision)
    await pair[0].make("b", type="NodePort")
    await check_consistent(pair[1], store)


async def test_a_wider_range_keeps_what_is_taken(pair: tuple[Server, Server], store: Store) -> None:
    await pair[0].make("a", type="NodePort")
    wider = await Server(store, 2, (30000, 32767)).start()
    await check_consistent(wider, store)
    wider.close()


async def test_addresses_come_from_networks_that_are_ready(pair: tuple[Server, Server]) -> None:
    one = pair[0]
    with pytest.raises(Invalid, match="the provided network does not match the current range"):
        await one.make("a", clusterIP="192.0.2.5")
    await one.registry.create(SERVICE_CIDRS, {"metadata": {"name": "more"}, "spec": {"cidrs": ["192.0.2.0/28"]}})
    made = await one.make("a", clusterIP="192.0.2.5")
    assert made["spec"]["clusterIPs"] == ["192.0.2.5"]

    def unready(live: Object) -> Object:
        condition = {"type": "Ready", "status": "False", "reason": "Terminating", "message": "",
                     "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
        return {**copy_object(live), "status": {"conditions": [condition]}}

    await one.registry.update(SERVICE_CIDRS, "", "more", unready, subresource="status")
    with pytest.raises(Invalid, match="the provided network does not match the current range"):
        await one.make("b", clusterIP="192.0.2.6")
