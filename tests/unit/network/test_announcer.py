"""Who announces which address of the pool, and the frame it does it with."""

from __future__ import annotations

from typing import Any

from timonel.network.announcer import EXCLUDED_LABEL, links_towards, plan_addresses, render_announcement

POOL = ("192.0.2.200-192.0.2.239",)
Object = dict[str, Any]


def node(name: str, ready: str = "True", **labels: str) -> Object:
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def service(name: str, *addresses: str, **spec: Any) -> Object:
    ingress = [{"ip": address, "ipMode": "VIP"} for address in addresses]
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", **spec},
        "status": {"loadBalancer": {"ingress": ingress}},
    }


def endpoints(name: str, *nodes: str) -> Object:
    metadata = {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}}
    return {"metadata": metadata, "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": item} for item in nodes]}


NODES = [node(f"n{number}") for number in range(1, 5)]
SERVICES = [service(f"web-{number}", f"192.0.2.{200 + number}") for number in range(40)]


def test_addresses_spread_over_the_nodes_and_only_those_of_a_lost_node_move() -> None:
    before = plan_addresses(SERVICES, NODES, [], POOL)
    assert set(before) == {f"192.0.2.{200 + number}" for number in range(40)}
    assert set(before.values()) == {"n1", "n2", "n3", "n4"}
    after = plan_addresses(SERVICES, [*NODES[:3], node("n4", "Unknown")], [], POOL)
    assert {address: after[address] for address in before if before[address] != "n4"} == {
        address: name for address, name in before.items() if name != "n4"
    }
    assert set(after.values()) == {"n1", "n2", "n3"}


def test_who_does_not_announce() -> None:
    one = [service("web", "192.0.2.200")]
    assert plan_addresses(one, [node("n1", "False"), node("n2", **{EXCLUDED_LABEL: ""})], [], POOL) == {}
    assert plan_addresses([service("web", "198.51.100.1")], NODES, [], POOL) == {}
    assert plan_addresses([service("web", "192.0.2.200", loadBalancerClass="example.org/x")], NODES, [], POOL) == {}
    assert plan_addresses([service("web", "192.0.2.200", type="ClusterIP")], NODES, [], POOL) == {}


def test_with_the_policy_local_a_node_with_an_endpoint_does() -> None:
    local = [service("web", "192.0.2.200", externalTrafficPolicy="Local")]
    for number in range(1, 5):
        assert plan_addresses(local, NODES, [endpoints("web", f"n{number}")], POOL) == {"192.0.2.200": f"n{number}"}
    assert plan_addresses(local, NODES, [], POOL) != {}


def test_the_announcement_is_an_arp_request_for_oneself() -> None:
    """RFC 5227: "An ARP Announcement is identical to the ARP Probe …, except that now the sender and target IP
    addresses are both set to the host's newly selected IPv4 address."""
    frame = render_announcement(bytes.fromhex("020000000001"), "192.0.2.200")
    assert frame == bytes.fromhex(
        "ffffffffffff 020000000001 0806"  # to everybody, ARP
        "0001 0800 06 04 0001"  # Ethernet, IPv4, request
        "020000000001 c00002c8 000000000000 c00002c8"
    )


def test_links_of_the_segment_or_else_of_the_node() -> None:
    def link(name: str, address: str, prefix: int, kind: str = "ether") -> Object:
        info = {"family": "inet", "local": address, "prefixlen": prefix}
        return {"ifname": name, "link_type": kind, "address": "02:00:00:00:00:01", "addr_info": [info]}

    links = [link("lo", "192.0.2.200", 32, "loopback"), link("eth0", "10.0.0.1", 24), link("eth1", "192.0.2.3", 24)]
    mac = bytes.fromhex("020000000001")
    assert links_towards(links, "192.0.2.200", "10.0.0.1") == [("eth1", mac)]
    assert links_towards(links[:2], "192.0.2.200", "10.0.0.1") == [("eth0", mac)]
