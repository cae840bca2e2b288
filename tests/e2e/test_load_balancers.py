"""Services of type LoadBalancer on bare nodes: on the nodes' own addresses, and on announced ones of a pool."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, run, wait_until
from tests.e2e.test_network import echo
from tests.e2e.test_parts_may_die import process_of

NAMESPACE = "balancers"
PODS = ("e1", "e2", "e3")
NODES_CLASS, POOL_CLASS = "timonel.dev/nodes", "timonel.dev/pool"
Object = dict[str, Any]


class Room:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.nodes = [self._address(index) for index in (1, 2, 3)]
        self.outside = self.nodes[0].rsplit(".", 1)[0] + ".1"
        """Of the machine that the nodes' segment is on, as nodes see it."""
        self.pids: dict[str, int] = {}

    def _address(self, index: int) -> str:
        addresses = self.cluster.get("node", self.cluster.node_name(index))["status"]["addresses"]
        return next(str(item["address"]) for item in addresses if item["type"] == "InternalIP")

    def make(self, name: str, selector: dict[str, str] | None = None, **spec: Any) -> None:
        ports = [{"port": 8095, "targetPort": "http", "name": "http"}]
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"type": "LoadBalancer", "selector": selector or {"app": "net"}, "ports": ports, **spec},
        }
        self.cluster.apply(service)

    def remove(self, *names: str) -> None:
        self.cluster.kubectl("delete", "-n", NAMESPACE, *(f"service/{name}" for name in names), "--wait=true")

    def get(self, name: str) -> Any:
        return self.cluster.get("service", name, "-n", NAMESPACE)

    def addresses(self, name: str) -> list[str]:
        return [item["ip"] for item in self.get(name)["status"]["loadBalancer"].get("ingress") or []]

    def wait_addresses(self, name: str) -> list[str]:
        found: list[str] = wait_until(f"{name} has addresses", lambda: self.addresses(name), timeout=15)
        return found

    def curl(self, place: str, url: str, seconds: float = 2) -> str:
        """ "pod client" of the answer, or the number of curl's error."""
        command = ("curl", "-sS", "--fail", "--max-time", str(seconds), url)
        if place == "outside":
            result = run(*command, check=False)
        elif place.startswith("node-"):
            result = self.cluster.on_node(int(place[-1]), *command, check=False)
        else:
            result = run("nsenter", "-t", str(self.pids[place]), "-n", *command, check=False)
        return result.stdout.strip() if result.returncode == 0 else str(result.returncode)

    def holders(self, address: str) -> list[int]:
        """Numbers of the nodes that have taken an address."""
        shown = {index: self.cluster.on_node(index, "ip", "addr", "show", "dev", "lo").stdout for index in (1, 2, 3)}
        return [index for index, text in shown.items() if f"inet {address}/32" in text]

    def events(self, name: str) -> list[str]:
        found = self.cluster.items("events", "-n", NAMESPACE, f"--field-selector=involvedObject.name={name}")
        return [item["message"] for item in found]


@pytest.fixture(scope="module")
def room(cluster: Cluster) -> Iterator[Room]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    made = Room(cluster)
    pods = [echo(name, cluster.node_name(index)) for index, name in enumerate(PODS, start=1)]
    for one in pods:
        one["metadata"]["namespace"] = NAMESPACE
    cluster.apply(*pods)
    cluster.wait_ready(*PODS, namespace=NAMESPACE)
    for name in PODS:
        status = cluster.get("pod", name, "-n", NAMESPACE)["status"]
        made.pids[name] = process_of(status["containerStatuses"][0]["containerID"].removeprefix("containerd://"))
    yield made
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=true")


def test_on_the_nodes_addresses(room: Room) -> None:
    room.make("web", loadBalancerClass=NODES_CLASS)
    assert room.wait_addresses("web") == room.nodes
    for place in ("outside", "node-1", "e2"):
        for node in room.nodes:
            wait_until(f"{place} reaches {node}", lambda: room.curl(place, f"http://{node}:8095/")[:1] == "e")  # noqa: B023
    # The second one that wants the port waits, and says why.
    room.make("late", loadBalancerClass=NODES_CLASS)
    why = f"Error syncing load balancer: port 8095/TCP of the nodes' addresses is taken by Service {NAMESPACE}/web"
    wait_until("the event", lambda: why in room.events("late"))
    assert room.addresses("late") == []
    room.remove("web")
    assert room.wait_addresses("late") == room.nodes
    room.remove("late")
    assert room.curl("outside", f"http://{room.nodes[0]}:8095/") == "7"


def test_on_an_announced_address(room: Room) -> None:
    room.make("pooled", loadBalancerClass=POOL_CLASS, allocateLoadBalancerNodePorts=False)
    (address,) = room.wait_addresses("pooled")
    assert "nodePort" not in room.get("pooled")["spec"]["ports"][0]
    (holder,) = wait_until("one node has the address", lambda: room.holders(address))
    for place in ("outside", "node-1", "node-2", "e3"):
        wait_until(f"{place} is answered", lambda: room.curl(place, f"http://{address}:8095/")[:1] == "e")  # noqa: B023
    assert room.curl("outside", f"http://{address}:22/") == "7"
    # The address stays with its node while the agent is away, and moves when the node may not have it.
    agent = f"agent@{room.cluster.node_name(holder)}"
    pid = room.cluster.kill(agent)
    assert [room.curl("outside", f"http://{address}:8095/")[:1] for _ in range(20)] == ["e"] * 20
    room.cluster.wait_part(agent, pid)
    assert room.holders(address) == [holder]
    label = "node.kubernetes.io/exclude-from-external-load-balancers"
    room.cluster.kubectl("label", "node", room.cluster.node_name(holder), f"{label}=")
    try:
        wait_until("another node has it", lambda: len(room.holders(address)) == 1 and room.holders(address) != [holder])
        moved = time.monotonic()
        wait_until("it answers there", lambda: room.curl("outside", f"http://{address}:8095/", 0.3)[:1] == "e")
        assert time.monotonic() - moved < 5  # neighbours were told; by themselves they would look after a minute
    finally:
        room.cluster.kubectl("label", "node", room.cluster.node_name(holder), f"{label}-")
    room.remove("pooled")
    wait_until("nobody has it", lambda: room.holders(address) == [])


def test_only_source_ranges_may_use_it(room: Room) -> None:
    room.make("ranged", loadBalancerClass=POOL_CLASS, loadBalancerSourceRanges=[f"{room.outside}/32"])
    (address,) = room.wait_addresses("ranged")
    wait_until("from the range", lambda: room.curl("outside", f"http://{address}:8095/")[:1] == "e")
    assert room.curl("e1", f"http://{address}:8095/", 1) in ("28", "7")
    cluster_ip = room.get("ranged")["spec"]["clusterIP"]
    assert room.curl("e1", f"http://{cluster_ip}:8095/")[:1] == "e"
    room.cluster.kubectl(
        "patch", "-n", NAMESPACE, "service", "ranged", "-p", '{"spec":{"loadBalancerSourceRanges":["192.0.2.0/24"]}}'
    )
    wait_until("not from elsewhere", lambda: room.curl("outside", f"http://{address}:8095/", 0.5) == "28")
    room.remove("ranged")


def test_the_policy_local_keeps_client_addresses_and_tells_health(room: Room) -> None:
    room.make("local", {"who": "e2"}, loadBalancerClass=NODES_CLASS, externalTrafficPolicy="Local")
    wait_until("only the node with the endpoint", lambda: room.addresses("local") == [room.nodes[1]])
    url = f"http://{room.nodes[1]}:8095/"
    wait_until("the client's address", lambda: room.curl("outside", url) == f"e2 {room.outside}")
    assert room.curl("e1", url)[:2] == "e2"
    number = room.get("local")["spec"]["healthCheckNodePort"]
    health = [
        run("curl", "-s", "-w", " %{http_code}", f"http://{node}:{number}/").stdout.rpartition(" ")
        for node in room.nodes
    ]
    assert [status for _, _, status in health] == ["503", "200", "503"]
    assert [json.loads(body)["localEndpoints"] for body, _, _ in health] == [0, 1, 0]
    room.remove("local")
    wait_until("the port is closed", lambda: room.curl("outside", f"http://{room.nodes[1]}:{number}/") == "7")


def test_other_classes_and_other_types(room: Room) -> None:
    room.make("foreign", loadBalancerClass="example.org/other")
    room.make("mine", loadBalancerClass=POOL_CLASS)
    room.wait_addresses("mine")
    assert room.addresses("foreign") == []
    assert "finalizers" not in room.get("foreign")["metadata"]
    assert room.get("mine")["metadata"]["finalizers"] == ["service.kubernetes.io/load-balancer-cleanup"]
    change = '{"spec":{"type":"ClusterIP","loadBalancerClass":null,"allocateLoadBalancerNodePorts":null}}'
    room.cluster.kubectl("patch", "-n", NAMESPACE, "service", "mine", "-p", change)
    wait_until("it is let go", lambda: "finalizers" not in room.get("mine")["metadata"])
    assert room.addresses("mine") == []
    room.remove("foreign", "mine")


def test_clients_stay_with_their_endpoint_when_the_agent_restarts(room: Room) -> None:
    room.make("sticky", type="ClusterIP", sessionAffinity="ClientIP")
    url = f"http://{room.get('sticky')['spec']['clusterIP']}:8095/"
    places = ("node-1", "e1")
    wait_until("it answers", lambda: all(room.curl(place, url)[:1] == "e" for place in places))
    before = {place: room.curl(place, url) for place in places}
    for _ in range(3):
        agent = f"agent@{room.cluster.node_name(1)}"
        room.cluster.wait_part(agent, room.cluster.kill(agent))
        assert {place: room.curl(place, url) for place in places} == before
    room.remove("sticky")


def test_traffic_prefers_what_is_near(room: Room) -> None:
    room.make("near", type="ClusterIP", trafficDistribution="PreferSameNode")
    url = f"http://{room.get('near')['spec']['clusterIP']}:8095/"
    for index in (1, 2, 3):

        def only_here() -> bool:
            return {room.curl(f"node-{index}", url).split()[0] for _ in range(10)} == {f"e{index}"}  # noqa: B023

        wait_until("the node's own endpoint", only_here, timeout=15)
    room.remove("near")
