"""Which connection tracking entries of UDP have to go."""

from __future__ import annotations

from timonel.network.proxy.conntrack import UdpFlow, ended_flows, stale_flows

LISTING = """\
udp 17 9 src=10.244.0.9 dst=10.96.0.30 sport=4000 dport=53 src=10.244.0.2 dst=10.244.0.9 sport=53 dport=4000
udp 17 9 src=10.244.0.9 dst=10.96.0.30 sport=4001 dport=53 [UNREPLIED] src=10.244.0.7 dst=10.244.0.9 sport=53 dport=4001
udp 17 9 src=192.0.2.1 dst=192.0.2.2 sport=4002 dport=30053 [UNREPLIED] src=10.244.0.8 dst=10.0.0.1 sport=53 dport=4002
udp 17 9 src=192.0.2.2 dst=192.0.2.1 sport=4003 dport=123 src=192.0.2.1 dst=192.0.2.2 sport=123 dport=4003
udp 17 9 src=10.244.0.9 dst=10.96.0.40 sport=4004 dport=53 src=10.244.0.6 dst=10.244.0.9 sport=53 dport=4004
garbage
"""


def test_entries_to_endpoints_that_a_known_port_does_not_have_are_stale() -> None:
    known = {("10.96.0.30", 53): frozenset({"10.244.0.2"}), ("", 30053): frozenset[str]()}
    assert stale_flows(LISTING, known) == {
        UdpFlow("10.96.0.30", 53, "10.244.0.7"),
        UdpFlow("192.0.2.2", 30053, "10.244.0.8"),
    }


def test_ended_are_endpoints_that_left_and_not_those_that_moved_to_another_slice() -> None:
    before = [{("10.96.0.30", 53): frozenset({"10.244.0.2", "10.244.0.3"})}]
    after = [{("10.96.0.30", 53): frozenset({"10.244.0.3", "10.244.0.4"})}]
    assert ended_flows(before, after) == {UdpFlow("10.96.0.30", 53, "10.244.0.2")}
