"""The nftables text of Services, and that the kernel takes it, in a network namespace that lives for one command."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from timonel.network.proxy.fragments import (
    EMPTY,
    Fragment,
    HostPort,
    host_port_fragment,
    service_fragment,
)
from timonel.network.proxy.services import Endpoint, ServicePort
from timonel.network.proxy.table import render_base, render_changes, render_hairpin

in_kernel = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nft") is None, reason="needs root and nft for a network namespace"
)


def port(
    *endpoints: str,
    name: str = "web",
    protocol: str = "tcp",
    number: int = 80,
    node_port: int = 0,
    affinity: int = 0,
    here: tuple[str, ...] | None = None,
    address: str = "10.96.0.20",
) -> ServicePort:
    everything = tuple(Endpoint(item, 8080, item.startswith("10.244.0.")) for item in endpoints)
    external = everything if here is None else tuple(Endpoint(item, 8080, True) for item in here)
    return ServicePort(
        namespace="default",
        name=name,
        port_name="http",
        protocol=protocol,
        port=number,
        node_port=node_port,
        cluster_ips=(address,),
        external_ips=(),
        affinity_seconds=affinity,
        internal=everything,
        external=external,
        everywhere=everything,
        keeps_client_address=here is not None,
    )


def kernel_rules(*scripts: str) -> str:
    """Applies the scripts one after the other in a fresh namespace and returns the table as the kernel has it.

    Sets, maps and chains sorted: the kernel lists them in the order they were made, which has no meaning.
    """
    commands = "\n".join(f"nft -f - <<'END' || exit 1\n{script}END" for script in scripts if script)
    result = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"{commands}\nnft list table ip timonel"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    body = result.stdout.partition("{\n")[2]
    return "\n\n".join(sorted(block.strip("\n") for block in re.split(r"\n\t}\n", body)))


BASE = render_base("timonel", ["10.244.0.0/24"], "10.244.0.0/16", "10.96.0.0/12")
KNOWN = ("cluster_ips", "10.96.0.20")
"""Other ports of the Service's address are rejected."""


def test_a_service_is_one_map_element_and_one_rule() -> None:
    fragment = service_fragment([port("10.244.0.2", "10.244.1.2")])
    ((chain, rules),) = fragment.chains.items()
    assert rules == (
        "meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.2 . 8080, 1 : 10.244.1.2 . 8080 }",
    )
    assert fragment.elements == {("services", "10.96.0.20 . tcp . 80"): f"goto {chain}", KNOWN: ""}
    assert fragment.hairpin == {"10.244.0.2"}


def test_without_endpoints_connections_are_rejected() -> None:
    fragment = service_fragment([port(node_port=30080)])
    assert fragment.chains == {}
    assert fragment.elements == {
        ("unserved", "10.96.0.20 . tcp . 80"): "",
        ("unserved_nodeports", "tcp . 30080"): "",
        KNOWN: "",
    }


def external_rules(fragment: Fragment) -> tuple[str, ...]:
    (rules,) = [rules for name, rules in fragment.chains.items() if name.startswith("ext-")]
    return rules


def chain_of(fragment: Fragment, prefix: str) -> str:
    (name,) = [name for name in fragment.chains if name.startswith(prefix)]
    return name


def test_outside_clients_are_masqueraded_unless_the_policy_is_local() -> None:
    cluster = service_fragment([port("10.244.1.2", node_port=30080)])
    assert external_rules(cluster) == (
        "meta mark set meta mark or 0x4000",
        f"goto {chain_of(cluster, 'svc-')}",
    )


def test_policy_local_is_for_outside_clients_only() -> None:
    """A node's own pods and processes reach every endpoint (iptables and nftables proxies of upstream do the same)."""
    local = service_fragment(
        [port("10.244.0.2", "10.244.1.2", node_port=30080, here=("10.244.0.2",))], ["10.244.0.0/24"]
    )
    everywhere = chain_of(local, "svc-")
    assert external_rules(local) == (
        f"ip saddr 10.244.0.0/24 goto {everywhere}",
        "fib saddr type local meta mark set meta mark or 0x4000",
        f"fib saddr type local goto {everywhere}",
        f"goto {chain_of(local, 'loc-')}",
    )


def test_policy_local_without_a_local_endpoint_drops_what_comes_from_outside() -> None:
    fragment = service_fragment([port("10.244.1.2", node_port=30080, here=())], ["10.244.0.0/24"])
    assert fragment.elements == {
        ("services", "10.96.0.20 . tcp . 80"): f"goto {chain_of(fragment, 'svc-')}",
        ("nodeports", "tcp . 30080"): f"goto {chain_of(fragment, 'ext-')}",
        ("undeliverable_nodeports", "tcp . 30080"): "",
        KNOWN: "",
    }
    assert not any("loc-" in rule for rule in external_rules(fragment))


def test_addresses_of_load_balancers_and_external_ips_lead_where_node_ports_do() -> None:
    described = dataclasses.replace(port("10.244.1.2"), external_ips=("192.0.2.80",))
    fragment = service_fragment([described])
    assert fragment.elements["services", "192.0.2.80 . tcp . 80"] == f"goto {chain_of(fragment, 'ext-')}"
    empty = service_fragment([dataclasses.replace(port(), external_ips=("192.0.2.80",))])
    assert empty.elements["unserved", "192.0.2.80 . tcp . 80"] == ""


def test_udp_ports_are_known_by_every_address_they_are_asked_at() -> None:
    fragment = service_fragment([port("10.244.0.2", "10.244.1.2", protocol="udp", number=53, node_port=30053)])
    endpoints = {"10.244.0.2", "10.244.1.2"}
    assert fragment.udp == {("10.96.0.20", 53): endpoints, ("", 30053): endpoints}
    # Without endpoints the port is still known, so that entries to former ones are stale.
    assert service_fragment([port(protocol="udp", number=53)]).udp == {("10.96.0.20", 53): frozenset()}


@in_kernel
def test_a_port_moves_from_one_service_to_another_in_one_transaction() -> None:
    """The new owner's name sorts before the old one's: its element must not come before the old one has left."""
    old = service_fragment([port("10.244.0.2", name="web", node_port=30080)])
    new = service_fragment([port("10.244.0.2", name="app", node_port=30080)])
    moved = render_changes("timonel", [(EMPTY, new), (old, EMPTY)])
    assert kernel_rules(BASE, render_changes("timonel", [(EMPTY, old)]), moved) == kernel_rules(
        BASE + render_changes("timonel", [(EMPTY, new)])
    )


def test_equal_fragments_need_no_transaction() -> None:
    assert (
        render_changes("timonel", [(service_fragment([port("10.244.0.2")]), service_fragment([port("10.244.0.2")]))])
        == ""
    )


def test_a_changed_endpoint_rewrites_one_chain_and_no_element() -> None:
    old, new = service_fragment([port("10.244.0.2")]), service_fragment([port("10.244.0.3")])
    lines = render_changes("timonel", [(old, new)]).splitlines()
    (chain,) = new.chains
    assert lines == [
        f"add chain ip timonel {chain}",
        f"flush chain ip timonel {chain}",
        f"add rule ip timonel {chain} {new.chains[chain][0]}",
    ]


@in_kernel
def test_the_kernel_takes_every_kind_of_fragment() -> None:
    fragments = [
        service_fragment([port("10.244.0.2", "10.244.1.2", node_port=30080)]),
        service_fragment([port("10.244.0.2", name="sticky", address="10.96.0.21", affinity=60, node_port=30081)]),
        service_fragment([port("10.244.0.2", name="dns", protocol="udp", number=53, address="10.96.0.22")]),
        service_fragment([port(name="empty", address="10.96.0.23")]),
        service_fragment(
            [port("10.244.0.2", name="near", address="10.96.0.24", node_port=30082, here=("10.244.0.2",))],
            ["10.244.0.0/24"],
        ),
        host_port_fragment(
            "default/web-1",
            [
                HostPort("tcp", 8080, "", Endpoint("10.244.0.2", 80, True)),
                HostPort("udp", 5353, "192.0.2.1", Endpoint("10.244.0.2", 53, True)),
            ],
        ),
    ]
    script = BASE + render_changes("timonel", [(EMPTY, item) for item in fragments])
    rules = kernel_rules(script + render_hairpin("timonel", ["10.244.0.2"], []))
    assert "10.96.0.20 . tcp . 80 : goto svc-" in rules
    assert "tcp . 8080 : goto host-" in rules
    assert "192.0.2.1 . udp . 5353 : goto host-" in rules
    assert "10.96.0.23 . tcp . 80" in rules


@in_kernel
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.lists(
            st.builds(
                lambda addresses, node_port, affinity, number: port(
                    *addresses, node_port=node_port, affinity=affinity, number=number
                ),
                st.lists(st.sampled_from(["10.244.0.2", "10.244.0.3", "10.244.1.2"]), unique=True, max_size=3),
                st.sampled_from([0, 30080]),
                st.sampled_from([0, 60, 90]),
                st.just(80),
            ),
            max_size=1,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_steps_end_where_starting_anew_would(states: list[list[ServicePort]]) -> None:
    fragments = [service_fragment(state) for state in states]
    steps = [
        render_changes("timonel", [(old, new)]) for old, new in itertools.pairwise([EMPTY, *fragments])
    ]  # fmt: skip
    last: Fragment = fragments[-1]
    assert kernel_rules(BASE, *steps) == kernel_rules(BASE + render_changes("timonel", [(EMPTY, last)]))
