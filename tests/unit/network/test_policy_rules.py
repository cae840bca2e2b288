"""Golden text: a policy and the rules it becomes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.api.labels import selector_from_map
from timonel.api.objects import ObjectKey
from timonel.network.policy.compiler import EGRESS, INGRESS, compile_policy, render_policy
from timonel.network.policy.counters import parse_counters, render_metrics
from timonel.network.policy.facts import PodFacts, pod_facts, slim_pod
from timonel.network.policy.members import Members
from timonel.network.policy.selections import EVERY_POD, Selection, block_ranges
from timonel.network.policy.structure import EMPTY, plan_structure
from timonel.network.policy.table import render_step


def compiled(**spec: Any) -> Any:
    return compile_policy({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"podSelector": {}, **spec}})


DB = Selection(pods=selector_from_map({"role": "db"}), namespace="shop")
RED = Selection(pods=selector_from_map({}), namespaces=selector_from_map({"team": "red"}))
OWN = Selection(pods=selector_from_map({}), namespace="shop")
PORTS = "meta l4proto . th dport"


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ({}, ["accept"]),
        ({"ports": [{"port": 80}]}, [f"{PORTS} {{ tcp . 80 }} accept"]),
        (
            {
                "ports": [
                    {"protocol": "UDP", "port": 53},
                    {"port": 8000, "endPort": 8010},
                    {"port": 8005, "endPort": 8020},
                    {"protocol": "SCTP"},
                ]
            },
            [f"{PORTS} {{ sctp . 0-65535, tcp . 8000-8020, udp . 53 }} accept"],
        ),
        (
            {"from": [{"podSelector": {"matchLabels": {"role": "db"}}}]},
            [f"ip saddr @{DB.set_name(4)} accept", f"ip6 saddr @{DB.set_name(6)} accept"],
        ),
        (
            {"from": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.8/29"]}}], "ports": [{"port": 80}]},
            [f"ip saddr {{ 192.0.2.0-192.0.2.7, 192.0.2.16-192.0.2.255 }} {PORTS} {{ tcp . 80 }} accept"],
        ),
        ({"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}, ["meta nfproto ipv4 accept"]),
        ({"from": [{"ipBlock": {"cidr": "fd00::/127"}}]}, ["ip6 saddr { fd00::-fd00::1 } accept"]),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}, []),
        (
            {
                "from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}],
                "ports": [{"port": "http"}, {"port": 443}],
            },
            [
                line
                for family, ip in ((4, "ip"), (6, "ip6"))
                for line in (
                    f"{ip} saddr @{RED.set_name(family)} {PORTS} {{ tcp . 443 }} accept",
                    # The pods that the policy selects say which number the name has.
                    f"{ip} saddr @{RED.set_name(family)} {ip} daddr . {PORTS} "
                    f"@{OWN.port_set_name('http', 'tcp', family)} accept",
                )
            ],
        ),
    ],
)
def test_ingress_rules(rule: dict[str, Any], lines: list[str]) -> None:
    assert list(render_policy(compiled(ingress=[rule], policyTypes=["Ingress"]), INGRESS)) == lines


def test_named_ports_of_egress_are_those_of_the_peers() -> None:
    to_red = {"to": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}], "ports": [{"port": "http"}]}
    to_all = {"ports": [{"port": "http"}]}
    policy = compiled(egress=[to_red, to_all], policyTypes=["Egress"])
    assert render_policy(policy, EGRESS)[0] == f"ip daddr . {PORTS} @{RED.port_set_name('http', 'tcp', 4)} accept"
    assert render_policy(policy, EGRESS)[2] == f"ip daddr . {PORTS} @{EVERY_POD.port_set_name('http', 'tcp', 4)} accept"


def test_types_follow_from_the_rules_where_they_are_missing() -> None:
    assert compiled().directions() == (INGRESS,)
    assert compiled(egress=[{}]).directions() == (INGRESS, EGRESS)
    assert compiled(policyTypes=["Egress"], ingress=[{}]).directions() == (EGRESS,)


def pod(name: str, address: str, labels: dict[str, str], *ports: tuple[str, str, int], space: str = "shop") -> PodFacts:
    return PodFacts(ObjectKey(space, name), labels, (address,), ports)


def test_the_whole_script_of_a_first_policy() -> None:
    structure = plan_structure(
        [pod("db-1", "10.244.0.2", {"role": "db"}), pod("web-1", "10.244.0.3", {})],
        [
            compile_policy(
                {
                    "metadata": {"namespace": "shop", "name": "db"},
                    "spec": {
                        "podSelector": {"matchLabels": {"role": "db"}},
                        "policyTypes": ["Ingress"],
                        "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}]}],
                    },
                }
            )
        ],
    )
    (whole,) = [name for name in structure.chains if name.startswith("all-")]
    (policy,) = [name for name in structure.chains if name.startswith("pol-")]
    (counter,) = structure.counters
    one, other = RED.set_name(4), RED.set_name(6)
    assert render_step("timonel", EMPTY, structure, [(one, "10.244.1.9")]) == (
        f"add set inet timonel {one} {{ type ipv4_addr; }}\n"
        f"add set inet timonel {other} {{ type ipv6_addr; }}\n"
        f"add counter inet timonel {counter} {{ packets 0 bytes 0 }}\n"
        f"add chain inet timonel {policy}\n"
        f"add chain inet timonel {whole}\n"
        f"add element inet timonel {one} {{ 10.244.1.9 }}\n"
        f"add rule inet timonel {policy} ip saddr @{one} accept\n"
        f"add rule inet timonel {policy} ip6 saddr @{other} accept\n"
        f"add rule inet timonel {whole} jump {policy}\n"
        f'add rule inet timonel {whole} counter name "{counter}"\n'
        f"add rule inet timonel {whole} drop\n"
        f"add element inet timonel ingress4 {{ 10.244.0.2 : goto {whole} }}\n"
        "add element inet timonel itself4 { 10.244.0.2 . 10.244.0.2 }\n"
    )
    assert policy.endswith("-shop/db")
    assert counter.endswith("-shop/db")


def test_policies_that_select_nobody_here_cost_nothing() -> None:
    assert plan_structure([pod("a", "10.244.0.2", {}, space="other")], [compiled(ingress=[{}])]) == EMPTY


def test_an_address_belongs_to_the_pod_that_got_it_last() -> None:
    old, new = pod("old", "10.244.0.2", {"role": "db"}), pod("new", "10.244.0.2", {})
    only_db = compiled(podSelector={"matchLabels": {"role": "db"}})
    assert plan_structure([old, new], [only_db]).verdicts == {}
    assert len(plan_structure([new, old], [only_db]).verdicts) == 2


# Addresses


@given(
    st.integers(0, 255), st.integers(24, 32), st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=4)
)
def test_ranges_are_what_is_in_the_block_and_in_no_exception(host: int, length: int, excepts: Any) -> None:
    from ipaddress import ip_address, ip_network

    networks = [ip_network(f"192.0.2.{low}/{size}", strict=False) for low, size in excepts]
    found = block_ranges(f"192.0.2.{host}/{length}", [f"192.0.2.{low}/{size}" for low, size in excepts])
    block = ip_network(f"192.0.2.{host}/{length}", strict=False)
    for number in range(256):
        address = ip_address(f"192.0.2.{number}")
        wanted = address in block and not any(address in item for item in networks)
        assert any(first <= int(address) <= last for first, last in found.ranges) == wanted
    assert all(one[1] + 1 < other[0] for one, other in zip(found.ranges, found.ranges[1:], strict=False))


# Pods


def test_who_takes_part() -> None:
    made = {
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {},
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    }
    assert pod_facts(made) == PodFacts(ObjectKey("n", "p"), {}, ("10.0.0.1",))
    assert pod_facts(made | {"spec": {"hostNetwork": True}}) is None
    assert pod_facts(made | {"status": {"phase": "Succeeded", "podIP": "10.0.0.1"}}) is None
    assert pod_facts(made | {"status": {"phase": "Pending"}}) is None
    both = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "FD00::1"}]}
    found = pod_facts(made | {"status": both})
    assert found
    assert found.addresses == ("10.0.0.1", "fd00::1")
    told = pod_facts(made | {"status": {}}, ["10.0.0.9"])
    assert told
    assert told.addresses == ("10.0.0.9",)


def test_slim_pods_say_all_that_matters() -> None:
    ports = [{"name": "http", "containerPort": 80}, {"containerPort": 81}]
    sidecar = {"name": "s", "restartPolicy": "Always", "ports": [{"name": "m", "containerPort": 9, "protocol": "UDP"}]}
    first = {"name": "i", "ports": [{"name": "x", "containerPort": 1}]}
    made = {
        "metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}, "uid": "u", "annotations": {"long": "text"}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": ports}], "initContainers": [first, sidecar]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": []},
    }
    assert pod_facts(slim_pod(made)) == pod_facts(made)
    found = pod_facts(made)
    assert found
    assert found.ports == (("http", "tcp", 80), ("m", "udp", 9))


# Members

names = st.sampled_from(["p", "q"])
facts = st.builds(
    lambda space, name, labels, address, number: pod(name, address, labels, ("http", "tcp", number), space=space),
    st.sampled_from(["shop", "other"]),
    names,
    st.sampled_from([{}, {"role": "db"}]),
    st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]),
    st.sampled_from([80, 81]),
)
selections = st.sampled_from([DB, RED, OWN, EVERY_POD])
steps = st.one_of(
    st.tuples(st.just("put"), facts),
    st.tuples(st.just("remove"), st.builds(ObjectKey, st.sampled_from(["shop", "other"]), names)),
    st.tuples(st.just("label"), st.tuples(st.sampled_from(["shop", "other"]), st.sampled_from([{}, {"team": "red"}]))),
    st.tuples(
        st.just("follow"),
        st.tuples(st.sets(selections), st.sets(st.tuples(selections, st.just("tcp"), st.just("http")))),
    ),
)


@given(st.lists(steps, max_size=25))
def test_changes_add_up_to_what_a_fresh_look_finds(taken: list[Any]) -> None:
    members = Members()
    kernel: set[tuple[str, str]] = set()
    pods: dict[ObjectKey, PodFacts] = {}
    spaces: dict[str, dict[str, str]] = {}
    followed: tuple[Any, Any] = (set(), set())
    for what, value in taken:
        if what == "put":
            pods[value.key] = value
            members.put_pod(value)
        elif what == "remove":
            pods.pop(value, None)
            members.remove_pod(value)
        elif what == "label":
            spaces[value[0]] = value[1]
            members.put_namespace(*value)
        else:
            followed = value
            members.follow(*value)
            existing = {item.set_name(family) for item in value[0] for family in (4, 6)}
            existing |= {item.port_set_name("http", "tcp", family) for item, _, _ in value[1] for family in (4, 6)}
            kernel = {element for element in kernel if element[0] in existing}
        added, removed = members.take_changes()
        # The kernel refuses to remove what is not there, and this would be the end of the transaction.
        assert not kernel & set(added)
        assert set(removed) <= kernel
        kernel = (kernel | set(added)) - set(removed)
    fresh = Members()
    for name, labels in spaces.items():
        fresh.put_namespace(name, labels)
    for one in pods.values():
        fresh.put_pod(one)
    fresh.follow(*followed)
    assert kernel == set(fresh.elements()) == set(members.elements())


# Counters


def test_counters_are_read_and_told() -> None:
    text = '{"nftables": [{"metainfo": {}}, {"counter": {"name": "drops-x", "packets": 5, "bytes": 300}}]}'
    assert parse_counters(text) == {"drops-x": (5, 300)}
    page = render_metrics(parse_counters(text), {"drops-x": ("shop", "db", "ingress"), "drops-y": ("a", "b", "egress")})
    assert page.splitlines()[2:] == [
        'timonel_network_policy_dropped_packets_total{namespace="a",policy="b",direction="egress"} 0',
        'timonel_network_policy_dropped_packets_total{namespace="shop",policy="db",direction="ingress"} 5',
    ]
    assert render_metrics({}, {}) == ""
