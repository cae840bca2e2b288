"""What load balancers need of the proxy: addresses, health ports, and clients that stay where they were."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import subprocess

import pytest

from tests.unit.network.test_proxy_fragments import BASE, chain_of, in_kernel, kernel_rules, port
from timonel.api.objects import ObjectKey
from timonel.network.proxy.affinity import render_members
from timonel.network.proxy.fragments import EMPTY, service_fragment
from timonel.network.proxy.health import HealthPorts, render_health
from timonel.network.proxy.services import ServicePort
from timonel.network.proxy.table import render_base, render_changes, render_unmasked

ADDRESS, KEY = "192.0.2.80", "192.0.2.80 . tcp . 80"


def balanced(
    *endpoints: str, ranges: tuple[str, ...] | None = None, here: tuple[str, ...] | None = None
) -> ServicePort:
    return dataclasses.replace(port(*endpoints, here=here), balancer_ips=(ADDRESS,), source_ranges=ranges)


def test_everybody_may_use_a_balancer_unless_told_otherwise() -> None:
    fragment = service_fragment([balanced("10.244.1.2")])
    assert fragment.elements["services", KEY] == f"goto {chain_of(fragment, 'ext-')}"


def test_others_than_the_source_ranges_are_dropped_before_anything_else() -> None:
    fragment = service_fragment([balanced("10.244.1.2", ranges=("198.51.100.0/24", "203.0.113.7/32"))])
    name = chain_of(fragment, "from-")
    assert fragment.elements["services", KEY] == f"goto {name}"
    assert fragment.chains[name] == (
        "ip saddr != { 198.51.100.0/24, 203.0.113.7/32 } drop",
        f"goto {chain_of(fragment, 'ext-')}",
    )
    # The Service's own address and node ports are not the balancer's.
    assert fragment.elements["services", "10.96.0.20 . tcp . 80"] == f"goto {chain_of(fragment, 'svc-')}"


def test_ranges_of_another_family_leave_nobody() -> None:
    fragment = service_fragment([balanced("10.244.1.2", ranges=())])
    assert fragment.chains[chain_of(fragment, "from-")] == ("drop",)


def test_a_node_without_endpoints_lets_other_nodes_addresses_pass() -> None:
    fragment = service_fragment([balanced("10.244.1.2", here=())])
    assert ("undeliverable_here", KEY) in fragment.elements
    assert ("undeliverable", KEY) not in fragment.elements
    empty = service_fragment([balanced()])
    assert ("unserved", KEY) in empty.elements


def test_other_ports_of_an_address_that_is_no_machines_are_rejected() -> None:
    assert ("cluster_ips", ADDRESS) in service_fragment([balanced("10.244.1.2")], virtual=[ADDRESS]).elements
    assert ("cluster_ips", ADDRESS) not in service_fragment([balanced("10.244.1.2")]).elements


@in_kernel
def test_the_kernel_takes_them() -> None:
    fragments = [
        service_fragment([balanced("10.244.0.2", ranges=("198.51.100.0/24",), here=("10.244.0.2",))], ["10.244.0.0/24"])
    ]
    base = render_base("timonel", ["10.244.0.0/24"], "10.244.0.0/16", "10.96.0.0/12", ["192.0.2.0/24", "127.0.0.0/8"])
    rules = kernel_rules(base + render_changes("timonel", [(EMPTY, item) for item in fragments]))
    assert f"{KEY} : goto from-" in rules
    assert "ip daddr { 127.0.0.0/8, 192.0.2.0/24 } fib daddr type local" in rules


@in_kernel
def test_pods_may_be_seen_by_other_nodes_as_what_they_are() -> None:
    added = render_unmasked("timonel", ["192.0.2.3", "192.0.2.2"], [])
    assert added == ("add element ip timonel unmasked { 192.0.2.2 }\nadd element ip timonel unmasked { 192.0.2.3 }\n")
    rules = kernel_rules(BASE, added, render_unmasked("timonel", [], ["192.0.2.3"]))
    assert "elements = { 192.0.2.2 }" in rules
    assert "ip saddr 10.244.0.0/24 ip daddr != 10.244.0.0/16 ip daddr != @unmasked masquerade fully-random" in rules


# Session affinity


@in_kernel
def test_clients_stay_with_their_endpoint_when_the_table_is_made_anew() -> None:
    fragment = service_fragment([port("10.244.0.2", "10.244.1.2", affinity=600)])
    rules = BASE + render_changes("timonel", [(EMPTY, fragment)])
    one, other = sorted(fragment.sets)
    told = f"{rules}add element ip timonel {one} {{ 198.51.100.7 timeout 600s expires 300s }}\n"

    def listed(script: str) -> str:
        command = f"nft -f - <<'END' || exit 1\n{script}END\nnft -j list sets table ip timonel"
        result = subprocess.run(["unshare", "--net", "sh", "-c", command], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    again = render_members("timonel", {one, other}, listed(told))
    name, _, rest = again.removeprefix("add element ip timonel ").partition(" { 198.51.100.7 timeout 600s expires ")
    assert name == one
    assert 290 <= int(rest.removesuffix("s }\n")) <= 300
    (found,) = (
        item["set"]["elem"]
        for item in json.loads(listed(rules + again))["nftables"]
        if item.get("set", {}).get("name") == one
    )
    assert [item["elem"]["val"] for item in found] == ["198.51.100.7"]


def test_sets_that_are_gone_are_not_filled() -> None:
    text = {
        "nftables": [{"set": {"name": "aff-1", "timeout": 60, "elem": [{"elem": {"val": "10.0.0.1", "expires": 9}}]}}]
    }
    assert render_members("t", {"aff-1"}, json.dumps(text)) == (
        "add element ip t aff-1 { 10.0.0.1 timeout 60s expires 9s }\n"
    )
    assert render_members("t", {"aff-2"}, json.dumps(text)) == ""


# Health ports


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


async def ask(number: int) -> tuple[str, dict[str, object]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return head.splitlines()[0], json.loads(body)


async def eventually(number: int) -> tuple[str, dict[str, object]]:
    async with asyncio.timeout(5):
        while True:
            try:
                return await ask(number)
            except ConnectionRefusedError:
                await asyncio.sleep(0)


async def test_a_health_port_tells_whether_there_are_endpoints_here() -> None:
    ports = HealthPorts("127.0.0.1")
    number = free_port()
    service = {"metadata": {"namespace": "default", "name": "web"}, "spec": {"healthCheckNodePort": number}}
    named = {"namespace": "default", "name": "web"}
    try:
        ports.tell(service, [balanced("10.244.0.2", "10.244.1.2", here=("10.244.0.2",))])
        assert await eventually(number) == (
            "HTTP/1.1 200 OK",
            {"service": named, "localEndpoints": 1, "serviceProxyHealthy": True},
        )
        ports.tell(service, [balanced("10.244.1.2", here=())])
        status, body = await ask(number)
        assert (status, body["localEndpoints"]) == ("HTTP/1.1 503 Service Unavailable", 0)
        # Of another policy.
        ports.tell(service, [balanced("10.244.1.2")])
        await asyncio.sleep(0)
        with pytest.raises(ConnectionError):
            for _ in range(100):
                await ask(number)
                await asyncio.sleep(0)
    finally:
        ports.close()
        await asyncio.sleep(0)


def test_the_answer_says_how_many() -> None:
    assert b"X-Load-Balancing-Endpoint-Weight: 3\r\n" in render_health(ObjectKey("default", "web"), 3)
