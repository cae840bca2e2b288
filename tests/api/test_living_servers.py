"""Servers that share one etcd share its addresses and ports, and default/kubernetes leads to those that live."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.api.objects import service
from timonel.api.clock import SystemClock
from timonel.apiserver.identity import identity_of, is_expired
from timonel.storage.etcd import EtcdConfig, open_etcd
from timonel.testing.server import RunningServer, start_api_server
from timonel.testing.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

Pair = tuple[RunningServer, RunningServer]
SERVICES = "/api/v1/namespaces/default/services"
OWN_ENDPOINTS = "/api/v1/namespaces/default/endpoints/kubernetes"
OWN_SLICE = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def start(tmp_path_factory, new_config: Callable[[], EtcdConfig]) -> AsyncIterator[Callable[[str], Any]]:
    config = new_config()
    running: list[RunningServer] = []

    async def start(address: str) -> RunningServer:
        store = await open_etcd(config, SystemClock())
        directory = tmp_path_factory.mktemp("server")
        running.append(await start_api_server(directory, store=store, advertise_address=address))
        return running[-1]

    yield start
    for server in running:
        await server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(start: Callable[[str], Any]) -> Pair:
    one, two = await asyncio.gather(start("192.0.2.1"), start("192.0.2.2"))
    return one, two


async def addresses(server: RunningServer) -> tuple[list[str], list[str]]:
    """In the Endpoints and in the slice."""
    _, endpoints = await server.request("GET", OWN_ENDPOINTS)
    _, found = await server.request("GET", OWN_SLICE)
    in_endpoints = [each["ip"] for subset in endpoints.get("subsets", ()) for each in subset["addresses"]]
    return in_endpoints, [address for each in found["endpoints"] for address in each["addresses"]]


async def until_addresses(server: RunningServer, *wanted: str) -> None:
    async def are_told() -> bool:
        return await addresses(server) == (list(wanted), list(wanted))

    await wait_until(are_told, f"addresses {wanted}")


async def test_the_own_service_leads_to_both(pair: Pair) -> None:
    for server in pair:
        await until_addresses(server, "192.0.2.1", "192.0.2.2")
    _, made = await pair[1].request("GET", f"{SERVICES}/kubernetes")
    assert made["spec"]["clusterIP"] == "10.96.0.1"


async def test_nothing_is_given_twice(pair: Pair) -> None:
    answers = await asyncio.gather(
        *(pair[n % 2].request("POST", SERVICES, service(f"s{n}", type="NodePort")) for n in range(40))
    )
    assert {status for status, _ in answers} == {201}
    given = Counter(made["spec"]["clusterIP"] for _, made in answers)
    ports = Counter(made["spec"]["ports"][0]["nodePort"] for _, made in answers)
    assert set(given.values()) == set(ports.values()) == {1}
    _, listed = await pair[0].request("GET", "/apis/networking.k8s.io/v1/ipaddresses")
    names = {item["metadata"]["name"] for item in listed["items"]}
    assert names >= set(given)
    for asked in (
        service("asked", clusterIP="10.96.0.200"),
        service("asked", type="NodePort", ports=[{"port": 80, "nodePort": 30003}]),
    ):
        results = await asyncio.gather(*(
            pair[n % 2].request("POST", SERVICES, {**asked, "metadata": {"name": f"{asked['metadata']['name']}-{n}"}})
            for n in range(8)
        ))  # fmt: skip
        assert sorted(status for status, _ in results) == [201] + [422] * 7
        for n in range(8):
            await pair[0].request("DELETE", f"{SERVICES}/asked-{n}")
    await asyncio.gather(*(pair[n % 2].request("DELETE", f"{SERVICES}/s{n}") for n in range(40)))
    _, listed = await pair[1].request("GET", "/apis/networking.k8s.io/v1/ipaddresses")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["10.96.0.1"]


async def test_a_server_that_stops_is_no_longer_led_to(pair: Pair, start: Callable[[str], Any]) -> None:
    third = await start("192.0.2.3")
    for server in (*pair, third):
        await until_addresses(server, "192.0.2.1", "192.0.2.2", "192.0.2.3")
    third.task.cancel()
    await asyncio.gather(third.task, return_exceptions=True)
    await until_addresses(pair[0], "192.0.2.1", "192.0.2.2")


async def test_a_server_that_died_is_no_longer_led_to_once_its_record_expired(pair: Pair) -> None:
    """Its record is all that others see of a server; one that nobody renews is as good as a dead server's."""
    await pair[0].store.create("/registry/masterleases/192.0.2.9", b"{}", ttl_seconds=1)
    await until_addresses(pair[1], "192.0.2.1", "192.0.2.2", "192.0.2.9")
    await until_addresses(pair[1], "192.0.2.1", "192.0.2.2")


async def test_who_it_is_stands_in_a_lease(pair: Pair) -> None:
    async def leases() -> list[Any]:
        selector = "labelSelector=apiserver.kubernetes.io%2Fidentity%3Dkube-apiserver"
        _, listed = await pair[0].request("GET", f"{LEASES}?{selector}")
        return listed["items"]

    (lease,) = await wait_until(leases)  # both run on one host
    host = lease["metadata"]["labels"]["kubernetes.io/hostname"]
    assert lease["metadata"]["name"] == identity_of(host)
    assert lease["spec"]["holderIdentity"].startswith(f"{identity_of(host)}_")
    assert lease["spec"]["leaseDurationSeconds"] == 3600


async def test_names_are_upstreams() -> None:
    """KEP-1965: the SHA-256 of host and component, each led by two bytes of length, half of it in base32."""
    packed = struct.pack(">H", 4) + b"host" + struct.pack(">H", 14) + b"kube-apiserver"
    wanted = base64.b32encode(hashlib.sha256(packed).digest()[:16]).decode().strip("=").lower()
    assert identity_of("host") == f"apiserver-{wanted}"


async def test_leases_expire() -> None:
    now = SystemClock().now()
    assert is_expired({"spec": {}}, now)
    assert is_expired({"spec": {"renewTime": "2020-01-01T00:00:00.000000Z", "leaseDurationSeconds": 3600}}, now)
    assert not is_expired({"spec": {"renewTime": "2999-01-01T00:00:00.000000Z", "leaseDurationSeconds": 3600}}, now)


async def test_each_check_has_a_path(pair: Pair) -> None:
    for path in ("/livez/etcd", "/readyz/etcd", "/readyz/etcd-readiness", "/healthz/etcd"):
        assert await pair[0].request("GET", path) == (200, b"ok")
