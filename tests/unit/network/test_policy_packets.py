"""Every pod to every pod, on every port, in real packets: what the rules let pass is what the documentation says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.network.packets import PORTS, Place, segment
from tests.unit.network.policy_reference import Party, is_allowed
from timonel.api.objects import ObjectKey
from timonel.network.policy.compiler import compile_policy
from timonel.network.policy.facts import PodFacts
from timonel.network.policy.members import Members
from timonel.network.policy.structure import EMPTY, plan_structure
from timonel.network.policy.table import render_base, render_step

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "conntrack"))),
    reason="needs root, nft and conntrack for network namespaces",
)

NAMED = {"http": ("TCP", 8080), "dns": ("UDP", 7000)}
PARTIES = (
    Party("a1", "10.244.0.2", "a", {"role": "web"}, NAMED),
    Party("a2", "10.244.0.3", "a", {"role": "db"}, NAMED),
    Party("b1", "10.244.0.4", "b", {"role": "web"}, NAMED),
    Party("b2", "10.244.0.5", "b", {"role": "db"}, {"http": ("TCP", 8081)}),
    Party("outside", "198.51.100.7"),
)
NAMESPACES = {"a": {"team": "blue"}, "b": {"team": "red"}}
Object = dict[str, Any]
State = list[Object]


class Node:
    """The rules of one node, changed step by step as the enforcer does."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.reset()

    def reset(self) -> None:
        self._members, self._structure = Members(), EMPTY
        for name, labels in NAMESPACES.items():
            self._members.put_namespace(name, labels)
        for facts in pods():
            self._members.put_pod(facts)
        self._place.run("nft", "-f", "-", stdin=render_base("timonel"))

    def apply(self, policies: State) -> None:
        new = plan_structure(pods(), [compile_policy(policy) for policy in policies])
        self._members.follow(new.selections, new.ports)
        added, removed = self._members.take_changes()
        text = render_step("timonel", self._structure, new, added, removed)
        self._structure = new
        if text:
            self._place.run("nft", "-f", "-", stdin=text)

    def table(self) -> str:
        return self._place.run("nft", "list", "table", "inet", "timonel")


def pods() -> list[PodFacts]:
    return [
        PodFacts(
            ObjectKey(party.namespace, party.name),
            party.labels,
            (party.address,),
            tuple((name, protocol.lower(), number) for name, (protocol, number) in party.ports.items()),
        )
        for party in PARTIES
        if party.is_pod
    ]


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, Place]]:
    with segment({party.name: party.address for party in PARTIES}) as made:
        yield made


def matrix(places: dict[str, Place]) -> dict[tuple[str, str, str, int], bool]:
    """Real connections: source, target, protocol, port to whether it was answered."""
    # What was allowed once goes on, and of UDP, ports taken by chance may be those of an earlier look.
    places["node"].run("conntrack", "-F")
    targets = [(party.name, protocol, party.address, port) for party in PARTIES for protocol, port in PORTS]
    for party in PARTIES:
        places[party.name].start(*((protocol, address, port) for _, protocol, address, port in targets))
    found = {}
    for party in PARTIES:
        for (name, protocol, _, port), answered in zip(targets, places[party.name].answers(), strict=True):
            found[party.name, name, protocol, port] = answered
    return found


def expected(policies: State) -> dict[tuple[str, str, str, int], bool]:
    return {
        (source.name, target.name, protocol, port): is_allowed(source, target, protocol, port, policies, NAMESPACES)
        for source in PARTIES
        for target in PARTIES
        for protocol, port in PORTS
    }


def policy(name: str, namespace: str, selector: dict[str, str], **spec: Any) -> Object:
    types = spec.pop("types", ["Ingress"])
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": selector}, "policyTypes": types, **spec},
    }


selectors = st.sampled_from([{}, {"matchLabels": {"role": "web"}}, {"matchLabels": {"role": "db"}}])
spaces = st.sampled_from([{}, {"matchLabels": {"team": "blue"}}, {"matchLabels": {"team": "red"}}])
blocks = st.sampled_from(
    [
        {"cidr": "0.0.0.0/0"},
        {"cidr": "0.0.0.0/0", "except": ["10.244.0.0/16"]},
        {"cidr": "10.244.0.0/29", "except": ["10.244.0.4/32", "10.244.0.2/31"]},
        {"cidr": "198.51.100.0/24", "except": ["198.51.100.0/25"]},
        {"cidr": "198.51.100.7/32"},
    ]
)
peers = st.one_of(
    st.builds(lambda item: {"podSelector": item}, selectors),
    st.builds(lambda item: {"namespaceSelector": item}, spaces),
    st.builds(lambda item, space: {"podSelector": item, "namespaceSelector": space}, selectors, spaces),
    st.builds(lambda item: {"ipBlock": item}, blocks),
)
ports = st.sampled_from(
    [
        {"port": 8080},
        {"protocol": "TCP", "port": 8080, "endPort": 8081},
        {"protocol": "TCP", "port": "http"},
        {"protocol": "UDP", "port": "dns"},
        {"protocol": "UDP", "port": 7000},
        {"protocol": "TCP"},
        {"protocol": "SCTP", "port": 9090},
        {"protocol": "TCP", "port": "unknown"},
    ]
)


def rules(field: str) -> st.SearchStrategy[list[Object]]:
    rule = st.fixed_dictionaries(
        {}, optional={field: st.lists(peers, max_size=2), "ports": st.lists(ports, max_size=2)}
    )
    return st.lists(rule, max_size=2)


policies_of = st.builds(
    lambda name, namespace, selector, types, ingress, egress: {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": selector, "policyTypes": types, "ingress": ingress, "egress": egress},
    },
    st.sampled_from(["p", "q", "r"]),
    st.sampled_from(["a", "b"]),
    selectors,
    st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
    rules("from"),
    rules("to"),
)
states = st.lists(
    st.lists(policies_of, max_size=4, unique_by=lambda item: tuple(item["metadata"].values())), min_size=1, max_size=3
)


def test_without_policies_everything_passes(places: dict[str, Place]) -> None:
    Node(places["node"])
    assert all(matrix(places).values())


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(states)
def test_what_passes_is_what_the_documentation_says(places: dict[str, Place], steps: list[State]) -> None:
    """Several states one after the other, each by what differs from the one before."""
    node = Node(places["node"])
    for state in steps:
        node.apply(state)
        assert matrix(places) == expected(state)


CASES: dict[str, State] = {
    "default deny ingress": [policy("deny", "a", {})],
    "default deny egress": [policy("deny", "a", {}, types=["Egress"])],
    "default deny both, in both namespaces": [
        policy("deny", name, {}, types=["Ingress", "Egress"]) for name in ("a", "b")
    ],
    "an empty rule allows all": [policy("deny", "a", {}), policy("allow", "a", {}, ingress=[{}])],
    "only what both ends allow": [
        policy("out", "a", {}, types=["Egress"], egress=[{"to": [{"namespaceSelector": {}}]}]),
        policy("in", "b", {}, ingress=[{"from": [{"podSelector": {}}]}]),
    ],
    "a named port is what each pod calls so": [
        policy("in", "b", {}, ingress=[{"ports": [{"port": "http"}]}]),
        policy("out", "a", {}, types=["Egress"], egress=[{"ports": [{"port": "http"}]}]),
    ],
    "peers and ports of one rule belong together": [
        policy(
            "in",
            "a",
            {"role": "db"},
            ingress=[
                {"from": [{"podSelector": {"matchLabels": {"role": "web"}}}], "ports": [{"port": 8080}]},
                {"from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}], "ports": [{"port": 9090}]},
            ],
        )
    ],
    "a block without its exceptions": [
        policy("in", "a", {}, ingress=[{"from": [{"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.0.4/31"]}}]}])
    ],
    "everything but the cluster": [
        policy(
            "out",
            "a",
            {},
            types=["Egress"],
            egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}],
        )
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_cases_that_people_write(places: dict[str, Place], name: str) -> None:
    node = Node(places["node"])
    node.apply(CASES[name])
    found = matrix(places)
    assert found == expected(CASES[name])
    assert len(set(found.values())) == (1 if name == "an empty rule allows all" else 2)


def test_the_node_reaches_its_pods_and_they_reach_it_whatever_is_denied(places: dict[str, Place]) -> None:
    node = Node(places["node"])
    node.apply(CASES["default deny both, in both namespaces"])
    everywhere = [(protocol, party.address, port) for party in PARTIES if party.is_pod for protocol, port in PORTS]
    assert all(places["node"].ask(*everywhere))
    assert all(places["a1"].ask(*((protocol, "192.0.2.254", port) for protocol, port in PORTS)))


def test_what_is_dropped_is_counted_for_each_policy_that_isolates(places: dict[str, Place]) -> None:
    node = Node(places["node"])
    node.apply([policy("one", "a", {}), policy("two", "a", {"role": "db"}), policy("other", "b", {})])
    places["b1"].ask(("UDP", "10.244.0.2", 7000), ("UDP", "10.244.0.3", 7000))
    table = node.table()
    counts = {name: int(table.split(f"/{name} {{\n\t\tpackets ")[1].split()[0]) for name in ("one", "two", "other")}
    assert counts == {"one": 2, "two": 1, "other": 0}


def test_a_change_of_one_member_is_one_command(places: dict[str, Place]) -> None:
    members = Members()
    structure = plan_structure(
        pods(), [compile_policy(policy("in", "a", {}, ingress=[{"from": [{"podSelector": {}}]}]))]
    )
    members.follow(structure.selections, structure.ports)
    for facts in pods():
        members.put_pod(facts)
    members.take_changes()
    members.put_pod(PodFacts(ObjectKey("a", "new"), {}, ("10.244.1.9",)))
    text = render_step("timonel", structure, structure, *members.take_changes())
    (selection,) = structure.selections
    assert text == f"add element inet timonel {selection.set_name(4)} {{ 10.244.1.9 }}\n"
