"""Addresses and node ports that went apart from their Services are mended, with upstream's reasons and patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest

from tests.unit.apiserver.test_service_allocation import Server
from timonel.api.clock import format_time
from timonel.api.errors import ApiError
from timonel.api.objects import Object, copy_object
from timonel.api.refs import EVENTS, IP_ADDRESSES, SERVICE_CIDRS, SERVICES, ResourceRef
from timonel.apiserver.allocators.findings import check_address, check_ports, check_service
from timonel.apiserver.allocators.pool import NumberRange
from timonel.apiserver.allocators.repair import AllocationRepair
from timonel.storage.protocol import Store
from timonel.storage.sqlite import open_sqlite
from timonel.testing.clock import VirtualClock
from timonel.testing.waiting import wait_until

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def service(name: str = "web", *addresses: str, age: float = 600, **spec: Any) -> Object:
    made = format_time(NOW - timedelta(seconds=age))
    return {
        "kind": "Service", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "a", "creationTimestamp": made},
        "spec": {"type": "ClusterIP", "clusterIPs": list(addresses), **spec},
    }  # fmt: skip


def address(ip: str, name: str = "web", *, age: float = 600, labels: bool = True, **parent: str) -> Object:
    metadata: Object = {"name": ip, "creationTimestamp": format_time(NOW - timedelta(seconds=age))}
    if labels:
        metadata["labels"] = {
            "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }  # fmt: skip
    return {
        "metadata": metadata,
        "spec": {"parentRef": {"resource": "services", "namespace": "a", "name": name, **parent}},
    }


IP = "10.0.0.7"


@pytest.mark.parametrize(
    ("addresses", "others", "deed", "reason"),
    [
        ([address(IP)], [], None, ""),
        ([], [], "create", "ClusterIPNotAllocated"),
        ([address(IP, group="gateways.example", resource="gateways")], [], "recreate", "ClusterIPNotAllocated"),
        ([address(IP, "gone")], [], "recreate", "ClusterIPNotAllocated"),
        ([address(IP, "other")], [service("other", IP)], "", "ClusterIPAlreadyAllocated"),
        ([address(IP, labels=False)], [], "recreate", ""),
    ],
)  # fmt: skip
def test_services(addresses: list[Object], others: list[Object], deed: str | None, reason: str) -> None:
    by_name = {each["metadata"]["name"]: each for each in addresses}
    services = {("a", each["metadata"]["name"]): each for each in others}
    found = list(
        check_service(
            service("web", IP),
            find_address=lambda ip: by_name.get(str(ip)),
            find_service=lambda namespace, name: services.get((namespace, name)),
            is_known=lambda ip: ip in {ip_address(IP)},
        )
    )
    assert [(finding.deed, finding.reason) for finding in found] == ([] if deed is None else [(deed, reason)])


def test_an_address_outside_of_every_network_is_told_and_left() -> None:
    (found,) = check_service(
        service("web", "192.0.2.1"),
        find_address=lambda ip: None,
        find_service=lambda namespace, name: None,
        is_known=lambda ip: False,
    )
    assert (found.deed, found.reason) == ("", "ClusterIPOutOfRange")
    assert found.message == (
        "Cluster IP [IPv4]: 192.0.2.1 is not within any configured Service CIDR; please recreate service"
    )


@pytest.mark.parametrize("spec", [{"type": "ExternalName"}, {"clusterIPs": ["None"]}, {"clusterIPs": []}])
def test_services_without_an_address_are_fine(spec: Object) -> None:
    assert not list(
        check_service(
            service("web", **spec),
            find_address=lambda ip: None,
            find_service=lambda namespace, name: None,
            is_known=lambda ip: True,
        )
    )


@pytest.mark.parametrize(
    ("found", "of", "reason", "again"),
    [
        (address(IP), service("web", IP), "", False),
        (address(IP, age=59), None, "", True),  # its Service may be on its way
        (address(IP, age=61), None, "IPAddressNotAllocated", False),
        (address(IP, age=61, labels=False), None, "", False),  # somebody else's
        (address(IP, group="x.example", resource="gateways"), None, "IPAddressNotAllocated", False),
        (address(IP), service("web", "10.0.0.8"), "IPAddressWrongReference", False),
        (address(IP, age=4), service("web", "10.0.0.8"), "", True),  # a write being taken back
        (address(IP, age=6), service("web", "10.0.0.8"), "IPAddressWrongReference", False),
        (address(IP, age=59), service("web", type="ExternalName"), "", True),  # about to get one
        (address(IP, age=61), service("web", type="ExternalName"), "IPAddressWrongReference", False),
    ],
)
def test_addresses(found: Object, of: Object | None, reason: str, again: bool) -> None:
    finding, seconds = check_address(found, find_service=lambda namespace, name: of, now=NOW)
    assert (finding.reason if finding else "") == reason
    assert (seconds > 0) == again


NUMBERS = NumberRange(30000, 30099, 16)


def test_ports() -> None:
    services = [
        service("a", ports=[{"nodePort": 30001}, {"nodePort": 30002}]),
        service("b", ports=[{"nodePort": 30002}, {"nodePort": 31000}]),
    ]
    found = check_ports(services, {30001, 30005}, NUMBERS, {})
    assert found.add == {30002}
    assert [(told["metadata"]["name"], reason) for told, reason, _ in found.told] == [
        ("a", "PortNotAllocated"), ("b", "PortAlreadyAllocated"), ("b", "PortOutOfRange"),
    ]  # fmt: skip
    leaks = found.leaks
    for _ in range(2):
        found = check_ports(services, {30001, 30002, 30005}, NUMBERS, leaks)
        assert not found.remove
        leaks = found.leaks
    assert check_ports(services, {30001, 30002, 30005}, NUMBERS, leaks).remove == {30005}
    used = check_ports([*services, service("c", ports=[{"nodePort": 30005}])], {30005}, NUMBERS, leaks)
    assert not used.remove
    assert not used.leaks


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = await open_sqlite(":memory:", clock=VirtualClock())
    yield opened
    await opened.close()


@pytest.fixture
async def server(store: Store) -> AsyncIterator[Server]:
    made = await Server(store, 1, (30000, 30031)).start()
    await made.registry.create(
        SERVICE_CIDRS, {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.0.0.0/26", "fd00::/120"]}}
    )
    yield made
    made.close()


@pytest.fixture
async def repair(server: Server) -> AsyncIterator[AllocationRepair]:
    repair = AllocationRepair(server.registry, server.allocation, clock=server.clock)
    task = asyncio.create_task(repair.run())
    yield repair
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_deleted_address_comes_back(server: Server, repair: AllocationRepair) -> None:
    made = await server.make("web")
    name = made["spec"]["clusterIP"]
    addresses = server.registry.reader(IP_ADDRESSES)
    before = addresses.get("", name) or {}
    await server.registry.delete(IP_ADDRESSES, "", name)
    await wait_until(lambda: addresses.get("", name) is not None)
    assert (addresses.get("", name) or {})["metadata"]["uid"] != before["metadata"]["uid"]
    events = server.registry.reader(EVENTS)
    await wait_until(lambda: bool(events.list()))
    (event,) = events.list()
    assert (event["reason"], event["action"], event["type"]) == (
        "ClusterIPNotAllocated", "ClusterIPAllocation", "Warning",
    )  # fmt: skip
    assert event["message"] == f"Cluster IP [IPv4]: {name} is not allocated; repairing"
    assert event["involvedObject"]["name"] == "web"


async def test_services_of_before_have_their_addresses_when_it_starts(server: Server, store: Store) -> None:
    name = (await server.make("web"))["spec"]["clusterIP"]
    await server.registry.delete(IP_ADDRESSES, "", name)
    again = await Server(store, 1, (30000, 30031)).start()
    await AllocationRepair(again.registry, again.allocation, clock=again.clock).start()
    assert again.registry.reader(IP_ADDRESSES).get("", name) is not None
    again.close()


async def test_a_server_starts_although_some_address_cannot_be_made(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [(await server.make(name))["spec"]["clusterIP"] for name in ("one", "two")]
    for name in names:
        await server.registry.delete(IP_ADDRESSES, "", name)
    create = server.registry.create

    async def refusing(ref: ResourceRef, obj: Object, namespace: str = "") -> Any:
        if obj["metadata"]["name"] == names[0]:
            raise ApiError("refused", code=500)
        return await create(ref, obj, namespace)

    monkeypatch.setattr(server.registry, "create", refusing)
    await AllocationRepair(server.registry, server.allocation, clock=server.clock).start()
    found = [server.registry.reader(IP_ADDRESSES).get("", name) is not None for name in names]
    assert found == [False, True]


async def test_a_leaked_address_goes_after_a_minute(server: Server, repair: AllocationRepair) -> None:
    leaked = address("10.0.0.9", "never-made")
    del leaked["metadata"]["creationTimestamp"]
    await server.registry.create(IP_ADDRESSES, leaked)
    addresses = server.registry.reader(IP_ADDRESSES)
    await server.clock.advance(59)
    await server.registry.store.check()  # what was written is done
    assert addresses.get("", "10.0.0.9") is not None
    await server.clock.advance(3)
    await wait_until(lambda: addresses.get("", "10.0.0.9") is None)


async def test_somebody_elses_address_stays_and_is_not_given(server: Server, repair: AllocationRepair) -> None:
    foreign = address("10.0.0.9", "gw", labels=False, group="gateway.networking.k8s.io", resource="gateways")
    del foreign["metadata"]["creationTimestamp"]
    await server.registry.create(IP_ADDRESSES, foreign)
    await server.clock.advance(600)
    made = [(await server.make(f"s{n}"))["spec"]["clusterIP"] for n in range(61)]
    assert "10.0.0.9" not in made
    assert server.registry.reader(IP_ADDRESSES).get("", "10.0.0.9") is not None


async def test_restored_services_get_their_ports_back(server: Server, repair: AllocationRepair) -> None:
    await server.make("web", type="NodePort", ports=[{"port": 80, "nodePort": 30009}])
    async with server.allocation.ports.alone():
        await server.allocation.ports.write(set(), {30009})
    await repair.repair_ports()
    assert 30009 in server.allocation.ports.taken

    def as_is(live: Object) -> Object:
        return copy_object(live)

    await server.registry.update(SERVICES, "a", "web", as_is)
