"""NetworkPolicies on three nodes: the matrix pod × namespace × ipBlock × port × direction in real connections, through
Services, from the first packet of a new pod on, and across the death of an agent."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, pod, run, wait_until
from tests.e2e.test_network import NET, echo
from tests.e2e.test_parts_may_die import process_of
from tests.unit.network.policy_reference import Party, is_allowed

SPACES = {"policy-a": {"team": "blue"}, "policy-b": {"team": "red"}}
PODS = (
    ("a1", "policy-a", 1, "web"),
    ("a2", "policy-a", 2, "db"),
    ("b1", "policy-b", 3, "web"),
    ("b2", "policy-b", 1, "db"),
)
"""Name, namespace, node, role."""
PORTS = (8080, 8081)
NAMED = {"http": ("TCP", 8080), "other": ("TCP", 8081)}
Object = dict[str, Any]


@dataclass
class Room:
    cluster: Cluster
    parties: list[Party]
    """Pods, and node 2, which is outside for pods of other nodes."""
    pids: dict[str, int]
    services: dict[str, str]
    """Addresses by the name of the pod behind."""

    def connect(self, place: str, *targets: str) -> list[bool]:
        command = (sys.executable, NET, "connect", *targets)
        if place == "node-2":
            output = self.cluster.on_node(2, *command).stdout
        else:
            output = run("nsenter", "-t", str(self.pids[place]), "-n", *command).stdout
        found: list[bool] = json.loads(output)
        return found

    def matrix(self) -> dict[tuple[str, str, int], bool]:
        """Real connections, to pods as they are and through their Services, which make no difference."""
        found = {}
        for source in self.parties:
            pods = [(target, port) for target in self.parties if target.is_pod for port in PORTS]
            direct = self.connect(source.name, *(f"{target.address}:{port}" for target, port in pods))
            through = self.connect(source.name, *(f"{self.services[target.name]}:{port}" for target, port in pods))
            for (target, port), one, other in zip(pods, direct, through, strict=True):
                assert one == other, f"{source.name} to {target.name}:{port} is {one}, through its Service {other}"
                found[source.name, target.name, port] = one
        return found

    def expected(self, *policies: Object) -> dict[tuple[str, str, int], bool]:
        nodes = {name: node for name, _, node, _ in PODS}

        def passes(source: Party, target: Party, port: int) -> bool:
            if not source.is_pod and nodes[target.name] == 2:
                return True  # a node reaches its own pods
            return is_allowed(source, target, "TCP", port, list(policies), SPACES)

        return {
            (source.name, target.name, port): passes(source, target, port)
            for source in self.parties
            for target in self.parties
            if target.is_pod
            for port in PORTS
        }

    def apply(self, *policies: Object) -> None:
        """These and no others."""
        for name in SPACES:
            self.cluster.kubectl("delete", "networkpolicies", "--all", "-n", name)
        if policies:
            self.cluster.apply(*policies)

    def check(self, *policies: Object) -> None:
        self.apply(*policies)
        wanted = self.expected(*policies)

        def differing() -> bool:
            found = self.matrix()
            assert found == wanted, {key: found[key] for key in wanted if found[key] != wanted[key]}
            return True

        wait_until("what passes is what the policies say", differing, timeout=15)


def policy(name: str, namespace: str, selector: dict[str, str], **spec: Any) -> Object:
    types = spec.pop("types", ["Ingress"])
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": selector}, "policyTypes": types, **spec},
    }


@pytest.fixture(scope="module")
def room(cluster: Cluster) -> Iterator[Room]:
    for name, labels in SPACES.items():
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    made = []
    for name, space, node, role in PODS:
        one = echo(name, cluster.node_name(node))
        one["metadata"] |= {"namespace": space, "labels": {"role": role, "who": name}}
        ports = [{"name": key, "port": number, "targetPort": number} for key, (_, number) in NAMED.items()]
        spec = {"selector": {"who": name}, "ports": ports}
        made += [
            one,
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space}, "spec": spec},
        ]
    cluster.apply(*made)
    pids, services, parties = {}, {}, []
    for name, space, _, role in PODS:
        cluster.wait_ready(name, namespace=space)
        status = cluster.get("pod", name, "-n", space)["status"]
        pids[name] = process_of(status["containerStatuses"][0]["containerID"].removeprefix("containerd://"))
        services[name] = cluster.get("service", name, "-n", space)["spec"]["clusterIP"]
        parties.append(Party(name, status["podIP"], space, {"role": role, "who": name}, NAMED))
    addresses = cluster.get("node", cluster.node_name(2))["status"]["addresses"]
    node = next(item["address"] for item in addresses if item["type"] == "InternalIP")
    room = Room(cluster, [*parties, Party("node-2", node)], pids, services)
    wait_until("without policies everything passes", lambda: all(room.matrix().values()))
    yield room
    for name in SPACES:
        cluster.kubectl("delete", "namespace", name, "--wait=true")


def deny(*spaces: str, types: tuple[str, ...] = ("Ingress", "Egress")) -> list[Object]:
    return [policy("deny", name, {}, types=list(types)) for name in spaces]


def test_default_deny_and_back(room: Room) -> None:
    room.check(*deny("policy-a", types=("Ingress",)))
    room.check(*deny("policy-a", types=("Egress",)))
    room.check(*deny(*SPACES))
    room.check()
    for index in (1, 2, 3):
        wait_until(
            "without policies there is no table",
            lambda: "inet timonel" not in room.cluster.on_node(index, "nft", "list", "tables").stdout,  # noqa: B023
        )


def test_pods_and_namespaces(room: Room) -> None:
    room.check(policy("in", "policy-a", {}, ingress=[{"from": [{"podSelector": {}}]}]))
    room.check(
        policy(
            "in",
            "policy-a",
            {"role": "db"},
            ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}], "ports": [{"port": 8080}]}],
        ),
        policy("out", "policy-b", {"role": "web"}, types=["Egress"], egress=[{"ports": [{"port": "other"}]}]),
    )
    room.check(
        *deny(*SPACES),
        policy(
            "web",
            "policy-a",
            {},
            types=["Ingress", "Egress"],
            ingress=[
                {
                    "from": [
                        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"role": "web"}}},
                    ],
                    "ports": [{"port": "http"}],
                }
            ],
            egress=[{"to": [{"podSelector": {}}], "ports": [{"port": 8080, "endPort": 8090}]}],
        ),
        policy("out", "policy-b", {"role": "web"}, types=["Egress"], egress=[{}]),
    )


def test_blocks_of_addresses(room: Room) -> None:
    node = room.parties[-1].address
    b1 = next(item.address for item in room.parties if item.name == "b1")
    room.check(policy("in", "policy-a", {}, ingress=[{"from": [{"ipBlock": {"cidr": f"{node}/32"}}]}]))
    block = {"cidr": "10.244.0.0/16", "except": [f"{b1}/32"]}
    room.check(policy("in", "policy-a", {}, ingress=[{"from": [{"ipBlock": block}], "ports": [{"port": 8081}]}]))
    room.check(policy("out", "policy-a", {}, types=["Egress"], egress=[{"to": [{"ipBlock": block}]}]))


def test_labels_count_as_they_are_now(room: Room) -> None:
    """Of pods and of namespaces, on the nodes of others."""
    red = {"namespaceSelector": {"matchLabels": {"team": "red"}}, "podSelector": {"matchLabels": {"role": "web"}}}
    room.check(policy("in", "policy-a", {}, ingress=[{"from": [red]}]))
    a2 = next(item.address for item in room.parties if item.name == "a2")
    for change, back in (
        (("pod", "b1", "-n", "policy-b", "role=other"), ("pod", "b1", "-n", "policy-b", "role=web")),
        (("namespace", "policy-b", "team=green"), ("namespace", "policy-b", "team=red")),
    ):
        room.cluster.kubectl("label", *change, "--overwrite")
        wait_until("it is no peer any more", lambda: room.connect("b1", f"{a2}:8080") == [False], timeout=5)
        room.cluster.kubectl("label", *back, "--overwrite")
        wait_until("it is a peer again", lambda: room.connect("b1", f"{a2}:8080") == [True], timeout=5)


def test_not_one_packet_of_a_new_pod_passes_that_may_not(room: Room) -> None:
    room.check(policy("deny", "policy-b", {"new": "yes"}, types=["Egress"]))
    b1 = next(item.address for item in room.parties if item.name == "b1")
    script = (
        "import socket\n"
        f"try: socket.create_connection(({b1!r}, 8080), 1); print('passed')\n"
        "except TimeoutError: print('dropped')"
    )
    names = [f"first-{number}" for number in range(6)]
    made = [
        pod(name, "python:3.13", "python3", "-c", script, labels={"new": "yes"}, restartPolicy="Never")
        for name in names
    ]
    for one in made:
        one["metadata"]["namespace"] = "policy-b"
    room.cluster.apply(*made)
    for name in names:
        done = "--for=jsonpath={.status.phase}=Succeeded"
        room.cluster.kubectl("wait", "-n", "policy-b", f"pod/{name}", done, "--timeout=60s")
    logs = [room.cluster.kubectl("logs", "-n", "policy-b", name).stdout for name in names]
    room.cluster.kubectl("delete", "pod", "-n", "policy-b", *names, "--now")
    assert logs == ["dropped\n"] * len(names)


def test_probes_reach_pods_that_nobody_else_may(room: Room) -> None:
    room.check(*deny(*SPACES))
    one = echo("probed", room.cluster.node_name(2))
    one["metadata"] |= {"namespace": "policy-a", "labels": {"role": "probed"}}
    room.cluster.apply(one)
    room.cluster.wait_ready("probed", namespace="policy-a")
    room.cluster.kubectl("delete", "pod", "-n", "policy-a", "probed", "--now")


def test_dropped_packets_are_counted_by_policy(room: Room) -> None:
    room.check(*deny("policy-a", types=("Ingress",)))
    a1 = next(item.address for item in room.parties if item.name == "a1")

    def count() -> int:
        node = room.cluster.node_name(1)
        text = room.cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics").stdout
        labels = 'namespace="policy-a",policy="deny",direction="ingress"'
        found = re.search(rf"^timonel_network_policy_dropped_packets_total{{{labels}}} (\d+)$", text, re.MULTILINE)
        assert found, "no such metric"
        return int(found[1])

    before = count()
    assert room.connect("b1", *[f"{a1}:8080"] * 5) == [False] * 5
    assert count() >= before + 5


class Attempts:
    """Connections without pause, of which none may succeed, or none may fail."""

    def __init__(self, room: Room, place: str, target: str, wanted: bool) -> None:
        self._arguments = room, place, target, wanted
        self.count, self.wrong = 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._try)

    def _try(self) -> None:
        room, place, target, wanted = self._arguments
        while not self._stop.is_set():
            answers = room.connect(place, *[target] * 20)
            self.count += 20
            self.wrong += answers.count(not wanted)

    def __enter__(self) -> Attempts:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_killing_the_agent_opens_and_closes_nothing(room: Room) -> None:
    room.check(policy("in", "policy-a", {}, ingress=[{"from": [{"podSelector": {}}]}]))
    a1 = next(item.address for item in room.parties if item.name == "a1")
    agent = f"agent@{room.cluster.node_name(1)}"
    with Attempts(room, "b1", f"{a1}:8080", False) as denied, Attempts(room, "a2", f"{a1}:8080", True) as allowed:
        room.cluster.wait_part(agent, room.cluster.kill(agent))
        enough = denied.count + 60, allowed.count + 60
        wait_until("tries after the restart", lambda: denied.count > enough[0] and allowed.count > enough[1])
    assert (denied.wrong, allowed.wrong) == (0, 0)


def test_a_table_that_somebody_deletes_comes_back_and_foreign_ones_stay(room: Room) -> None:
    room.check(*deny("policy-a", types=("Ingress",)))
    a1 = next(item.address for item in room.parties if item.name == "a1")
    node = room.cluster
    node.on_node(1, "nft", "add table inet foreign; add chain inet foreign c; add rule inet foreign c drop")
    foreign = node.on_node(1, "nft", "list", "table", "inet", "foreign").stdout
    node.on_node(1, "nft", "delete", "table", "inet", "timonel")
    wait_until("nobody passes again", lambda: room.connect("b1", f"{a1}:8080") == [False], timeout=10)
    room.apply()
    wait_until("everything passes", lambda: room.connect("b1", f"{a1}:8080") == [True], timeout=10)
    assert node.on_node(1, "nft", "list", "table", "inet", "foreign").stdout == foreign
    node.on_node(1, "nft", "delete", "table", "inet", "foreign")
