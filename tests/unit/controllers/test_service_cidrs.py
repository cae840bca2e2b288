"""ServiceCIDRs: protected, ready, and gone when nothing depends on them (KEP-1880)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controllers.cluster import Cluster
from timonel.api.objects import Object, find_by
from timonel.api.refs import IP_ADDRESSES, SERVICE_CIDRS
from timonel.controllers.servicecidrs import FINALIZER, is_needed


def cidr(name: str, *networks: str, **metadata: Any) -> Object:
    return {
        "kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": name, **metadata}, "spec": {"cidrs": list(networks)},
    }  # fmt: skip


def address(name: str, manager: str = "ipallocator.k8s.io") -> Object:
    return {
        "kind": "IPAddress", "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": name, "labels": {"ipaddress.kubernetes.io/managed-by": manager}},
        "spec": {"parentRef": {"resource": "services", "namespace": "a", "name": "b"}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("others", "addresses", "needed"),
    [
        ([], [], False),
        ([], ["10.0.0.5"], True),
        ([], ["10.0.1.5"], False),
        ([["10.0.0.0/16"]], ["10.0.0.5"], False),  # all of it lies in another
        ([["10.0.0.0/24"]], ["10.0.0.5"], False),  # the same network again
        ([["10.0.0.0/28"]], ["10.0.0.5"], False),  # the one address in use does
        ([["10.0.0.0/28"]], ["10.0.0.5", "10.0.0.77"], True),
        ([["10.0.0.0/28"]], ["10.0.0.15"], True),  # its address for broadcasts is no Service's
        ([["fd00::/112"]], ["10.0.0.5"], True),
    ],
)
def test_what_depends_on_a_network(others: list[list[str]], addresses: list[str], needed: bool) -> None:
    own = cidr("own", "10.0.0.0/24")
    all_of_them = [own, *(cidr(f"other-{n}", *networks) for n, networks in enumerate(others))]
    assert is_needed(own, all_of_them, [address(name) for name in addresses]) == needed


def test_addresses_that_somebody_else_manages_do_not_count() -> None:
    own = cidr("own", "10.0.0.0/24")
    assert not is_needed(own, [own], [address("10.0.0.5", manager="gateways.example")])


def ready(cluster: Cluster, name: str) -> tuple[str, str]:
    (found,) = [each for each in cluster.client.objects(SERVICE_CIDRS) if each["metadata"]["name"] == name]
    condition = find_by(found["status"]["conditions"], "type", "Ready")
    assert condition is not None
    return condition["status"], condition["reason"]


async def test_a_new_one_is_protected_and_ready() -> None:
    async with Cluster(cidr("more", "10.0.0.0/24")) as cluster:
        await cluster.run(1)
        (found,) = cluster.client.objects(SERVICE_CIDRS)
        assert found["metadata"]["finalizers"] == [FINALIZER]
        assert ready(cluster, "more") == ("True", "")


async def test_a_deletion_waits_for_the_addresses_and_for_the_servers() -> None:
    async with Cluster(cidr("more", "10.0.0.0/24"), address("10.0.0.5")) as cluster:
        await cluster.run(1)
        await cluster.client.delete(SERVICE_CIDRS, "more")
        await cluster.run(12)
        assert ready(cluster, "more") == ("False", "Terminating")
        cluster.client.remove(IP_ADDRESSES, "10.0.0.5")
        await cluster.run(1)
        assert cluster.client.objects(SERVICE_CIDRS) == []


async def test_the_servers_get_ten_seconds_to_hear_of_it() -> None:
    async with Cluster(cidr("more", "10.0.0.0/24")) as cluster:
        await cluster.run(1)
        await cluster.client.delete(SERVICE_CIDRS, "more")
        await cluster.run(8)
        assert len(cluster.client.objects(SERVICE_CIDRS)) == 1
        await cluster.run(4)
        assert cluster.client.objects(SERVICE_CIDRS) == []


async def test_a_larger_one_takes_over() -> None:
    async with Cluster(cidr("more", "10.0.0.0/24"), address("10.0.0.5")) as cluster:
        await cluster.run(1)
        await cluster.client.delete(SERVICE_CIDRS, "more")
        await cluster.run(12)
        cluster.client.add(cidr("larger", "10.0.0.0/16"))
        await cluster.run(2)
        assert [each["metadata"]["name"] for each in cluster.client.objects(SERVICE_CIDRS)] == ["larger"]
