"""Addresses that the API takes and nft or ip would not: they cost their own rules, not everybody's."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from timonel.client.informer import Informers
from timonel.network import pod_network
from timonel.network.addresses import ipv4_of
from timonel.network.commands import CommandFailed
from timonel.network.pod_network import PodNetwork, PodNetworkConfig, Route, plan_routes
from timonel.network.proxy.proxy import host_ports_of
from timonel.network.proxy.services import Position, plan_service
from timonel.testing.clock import VirtualClock
from timonel.testing.fake_client import FakeClient


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("010.08.0.001", "10.8.0.1"),  # decimal, although C reads octal
        ("::1", ""),
        ("::ffff:10.0.0.1", ""),
        ("node.example.org", ""),
        ("10.0.0.256", ""),
        ("10.0.1", ""),
        ("", ""),
    ],
)
def test_what_is_an_address(text: str, address: str) -> None:
    assert ipv4_of(text) == address


def test_host_ports_of_other_families_are_not_this_tables() -> None:
    def ports(**more: str) -> list[str]:
        made = {"containerPort": 80, "hostPort": 8080, **more}
        pod = {"spec": {"containers": [{"ports": [made]}]}, "status": {"podIP": "10.244.0.2", "phase": "Running"}}
        return [port.host_address for port in host_ports_of(pod)]

    assert ports() == ports(hostIP="0.0.0.0") == [""]
    assert ports(hostIP="127.0.0.1") == ["127.0.0.1"]
    assert ports(hostIP="::") == ports(hostIP="fd00::1") == []


def test_external_addresses_are_written_one_way() -> None:
    spec = {"clusterIP": "10.96.0.20", "externalIPs": ["192.0.2.010", "192.0.2.10", "fd00::1"], "ports": [{"port": 80}]}
    (port,) = plan_service({"metadata": {"namespace": "default", "name": "web"}, "spec": spec}, [], Position("here"))
    assert port.external_ips == ("192.0.2.10",)


CONFIG = PodNetworkConfig(
    node_name="n1",
    node_address="192.0.2.1",
    network_name="t",
    cluster_cidr="10.244.0.0/16",
    cni_config=Path("/nowhere"),
    cni_data=Path("/nowhere"),
)


def node(name: str, address: str, pod_cidr: str) -> dict[str, Any]:
    addresses = [{"type": "InternalIP", "address": address}]
    return {"metadata": {"name": name}, "spec": {"podCIDR": pod_cidr}, "status": {"addresses": addresses}}


def test_a_node_with_an_odd_address_does_not_keep_the_others_from_their_routes() -> None:
    nodes = [
        node("n2", "not.an.address", "10.244.2.0/24"),
        node("n3", "192.0.2.3", "10.244.3.0/24"),
        node("n4", "192.0.2.4", "fd00:4::/64"),
    ]
    assert plan_routes(CONFIG, nodes, [IPv4Network("192.0.2.0/24")]) == {Route("10.244.3.0/24", "192.0.2.3")}


async def test_after_a_failure_the_other_routes_are_set_and_the_kernel_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = {"10.244.9.0/24": "192.0.2.9"}
    refused = {"10.244.2.0/24"}

    async def run_command(*words: str, **_: Any) -> str:
        if words[1] == "-j":
            return "[" + ",".join(f'{{"dst":"{to}","gateway":"{by}"}}' for to, by in kernel.items()) + "]"
        if words[3] in refused or (words[2] == "del" and words[3] not in kernel):
            raise CommandFailed("RTNETLINK answers: No such process")
        if words[2] == "del":
            del kernel[words[3]]
        else:
            kernel[words[3]] = words[5]
        return ""

    monkeypatch.setattr(pod_network, "run_command", run_command)
    network = PodNetwork(config=CONFIG, informers=Informers(FakeClient(clock=VirtualClock())))
    wanted = {Route("10.244.2.0/24", "192.0.2.2"), Route("10.244.3.0/24", "192.0.2.3")}
    with pytest.raises(CommandFailed):
        await network._apply_routes(wanted)
    assert kernel == {"10.244.3.0/24": "192.0.2.3"}
    refused.clear()
    await network._apply_routes(wanted)
    assert kernel == {"10.244.2.0/24": "192.0.2.2", "10.244.3.0/24": "192.0.2.3"}
