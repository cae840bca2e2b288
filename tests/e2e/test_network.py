"""Services, host ports, DNS and the way outside, from every position, on three nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, pod, run, wait_until
from tests.e2e.test_application import Load
from tests.e2e.test_parts_may_die import process_of

SERVER = """
import os, socket, threading
name = os.environ["NAME"]
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 9000))
    while True:
        data, client = s.recvfrom(65536)
        s.sendto(f"{name} {client[0]} {len(data)}".encode(), client)
def tcp(port):
    s = socket.create_server(("", port), backlog=512)
    while True:
        c, client = s.accept()
        c.recv(4096)
        body = f"{name} {client[0]}\\n"
        c.sendall(f"HTTP/1.0 200 OK\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}".encode())
        c.close()
threading.Thread(target=udp, daemon=True).start()
threading.Thread(target=tcp, args=(8081,), daemon=True).start()
tcp(8080)
"""
NAMESPACE = "net"
PODS = ("e1", "e2", "e3")
"""One on each node, in order; each has its name as label `who`, and app=net."""
DNS = "10.96.0.10"
DOMAIN = "cluster.local"
NET = str(Path(__file__).with_name("net.py"))
OUTSIDE_ADDRESS, HOST_ADDRESS = "203.0.113.2", "203.0.113.1"


def echo(name: str, node: str, **container: Any) -> dict[str, Any]:
    ports = [{"name": "http", "containerPort": 8080}, {"name": "other", "containerPort": 8081}]
    ports += container.pop("ports", [])
    made = pod(
        name,
        "python:3.13",
        "python3",
        "-c",
        SERVER,
        labels={"app": "net", "who": name},
        nodeName=node,
        hostname=name,
        subdomain="headless",
        container={
            "env": [{"name": "NAME", "value": name}],
            "ports": ports,
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            **container,
        },
    )
    made["metadata"]["namespace"] = NAMESPACE
    return made


def service(name: str, selector: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": selector or {"app": "net"}, "ports": [{"port": 80, "targetPort": "http"}], **spec},
    }


NODE_PORT = {"type": "NodePort"}
ALIAS: dict[str, Any] = {"type": "ExternalName", "externalName": f"one.{NAMESPACE}.svc.{DOMAIN}", "ports": []}
UDP = [{"name": "echo", "port": 90, "targetPort": 9000, "protocol": "UDP"}]
NAMED = [{"name": "first", "port": 80, "targetPort": "http"}, {"name": "second", "port": 81, "targetPort": "other"}]
AFFINITY = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
SERVICES = (
    service("all", **NODE_PORT, ports=NAMED),
    service("one", {"who": "e1"}, **NODE_PORT),
    service("udp", {"udp": "yes"}, **NODE_PORT, ports=UDP),
    service("sticky", **AFFINITY),
    service("outer", {"who": "e1"}, **NODE_PORT, externalTrafficPolicy="Local"),
    service("inner", {"inner": "yes"}, internalTrafficPolicy="Local"),
    service("empty", {"who": "nobody"}, **NODE_PORT),
    service("headless", clusterIP="None", ports=NAMED),
    service("joining", {"joined": "yes"}, clusterIP="None"),
    {**service("alias", **ALIAS)},
)


@dataclass
class Net:
    cluster: Cluster
    nodes: list[str]
    """Addresses of the three nodes."""
    pods: dict[str, str]
    """Addresses by name."""
    pids: dict[str, int]
    """A process in each pod's network namespace."""
    services: dict[str, Any]

    def address(self, name: str) -> str:
        return str(self.services[name]["spec"]["clusterIP"])

    def node_port(self, name: str) -> int:
        return int(self.services[name]["spec"]["ports"][0]["nodePort"])

    def at(self, place: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`place`: a pod's name, "node-1" …, or "outside", which is the machine the nodes' segment is on."""
        if place == "outside":
            return run(*command, check=check)
        if place.startswith("node-"):
            return self.cluster.on_node(int(place[-1]), *command, check=check)
        return run("nsenter", "-t", str(self.pids[place]), "-n", *command, check=check)

    def curl(self, place: str, *urls: str) -> list[tuple[str, str]]:
        """(name of the pod that answered, client address it saw) for each URL, on a connection of its own."""
        lines = self.at(place, "curl", "-sS", "--fail", "--no-keepalive", "--max-time", "10", *urls).stdout.splitlines()
        return [(line.split()[0], line.split()[1]) for line in lines]

    def curl_error(self, place: str, url: str, seconds: int = 1) -> int:
        """curl's exit code: 7 refused, 28 timed out."""
        return self.at(place, "curl", "-sS", "--max-time", str(seconds), url, check=False).returncode

    def dns(self, name: str, kind: str = "A", *, place: str = "e1", over: str = "udp") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.at(place, sys.executable, NET, "dns", DNS, name, kind, over).stdout)
        return found

    def udp(self, place: str, address: str, port: int, source_port: int = 0, size: int = 4) -> str | None:
        """ "name client size" of the answer."""
        answer: str | None = json.loads(
            self.at(place, sys.executable, NET, "udp", address, str(port), str(source_port), str(size)).stdout
        )
        return answer

    def label(self, name: str, *labels: str) -> None:
        self.cluster.kubectl("label", "-n", NAMESPACE, "pod", name, "--overwrite", *labels)

    def endpoints(self, name: str) -> set[str]:
        slices = self.cluster.items("endpointslices", "-n", NAMESPACE, "-l", f"kubernetes.io/service-name={name}")
        return {
            address
            for item in slices
            for endpoint in item.get("endpoints") or []
            if endpoint["conditions"].get("ready")
            for address in endpoint["addresses"]
        }


@pytest.fixture(scope="module")
def net(cluster: Cluster) -> Iterator[Net]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    clients = [echo(name, cluster.node_name(index)) for index, name in enumerate(PODS, start=1)]
    guest = echo("guest", cluster.node_name(1))
    guest["metadata"]["labels"] = {"who": "guest"}
    port = {"containerPort": 8080, "hostPort": 8088, "name": "host"}
    clients[0] = echo("e1", cluster.node_name(1), ports=[port])
    for made in clients[:2]:
        made["metadata"]["labels"] |= {"udp": "yes", "inner": "yes"}
    cluster.apply(*SERVICES, *clients, guest)
    cluster.wait_ready(*PODS, "guest", namespace=NAMESPACE)
    found = {item["metadata"]["name"]: item for item in cluster.items("pods", "-n", NAMESPACE)}
    made_net = Net(
        cluster,
        [
            next(item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP")
            for node in sorted(cluster.items("nodes"), key=lambda node: str(node["metadata"]["name"]))
        ],
        {name: item["status"]["podIP"] for name, item in found.items()},
        {
            name: process_of(item["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://"))
            for name, item in found.items()
        },
        {item["metadata"]["name"]: item for item in cluster.items("services", "-n", NAMESPACE)},
    )
    everybody = {made_net.pods[name] for name in PODS}
    wait_until("every endpoint is known", lambda: made_net.endpoints("all") == everybody)
    wait_until(
        "every node has the rules",
        lambda: all(
            {made_net.curl(f"node-{n}", f"http://{made_net.address('all')}/")[0][0] for _ in range(12)} == set(PODS)
            for n in (1, 2, 3)
        ),
    )
    yield made_net
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=true")


# Services


@pytest.mark.parametrize("place", ["guest", "e1", "e2", "node-1", "node-2"])
def test_a_service_is_reached_from_everywhere_inside(net: Net, place: str) -> None:
    """guest: on the pod's node; e1: the pod itself (hairpin); e2: another node; and the nodes themselves."""
    in_cluster, on_nodes = f"http://{net.address('one')}/", [f"http://{n}:{net.node_port('one')}/" for n in net.nodes]
    answers = net.curl(place, f"http://{net.pods['e1']}:8080/", in_cluster, in_cluster, in_cluster, *on_nodes)
    assert [name for name, _ in answers] == ["e1"] * 7
    if place in ("guest", "e2"):
        # Inside, nobody's address is hidden.
        assert {client for _, client in answers[:4]} == {net.pods[place]}
    if place.startswith("node-"):
        assert net.curl(place, f"http://127.0.0.1:{net.node_port('one')}/")[0][0] == "e1"


def test_a_node_port_is_reached_from_outside_at_every_node(net: Net) -> None:
    answers = net.curl("outside", *(f"http://{node}:{net.node_port('one')}/" for node in net.nodes))
    assert [name for name, _ in answers] == ["e1"] * 3


def test_named_ports_lead_to_the_container_ports_of_that_name(net: Net) -> None:
    for number in (80, 81):
        assert net.curl("guest", f"http://{net.address('all')}:{number}/")[0][0] in PODS
    # Any other port of a Service is refused, on the node already.
    for place in ("guest", "e2", "node-3"):
        assert net.curl_error(place, f"http://{net.address('one')}:81/") == 7


def test_packets_to_service_addresses_nobody_has_do_not_leave_the_node(net: Net) -> None:
    """They would wander off by the default route, to whoever has that address out there."""
    assert net.curl_error("guest", "http://10.96.77.77/") == 28
    assert net.curl_error("node-1", "http://10.96.77.77/") in (7, 28)


def test_requests_spread_evenly_over_the_endpoints(net: Net) -> None:
    answers = Counter(name for name, _ in net.curl("node-2", *[f"http://{net.address('all')}/"] * 300))
    assert set(answers) == set(PODS)
    chi_square = sum((count - 100) ** 2 / 100 for count in answers.values())
    # Two degrees of freedom: an even choice exceeds this once in a hundred thousand runs.
    assert chi_square < 23.0


def test_session_affinity_keeps_a_client_with_one_endpoint(net: Net) -> None:
    for place in ("guest", "e2", "node-3"):
        assert len({name for name, _ in net.curl(place, *[f"http://{net.address('sticky')}/"] * 20)}) == 1


def test_external_policy_local_keeps_the_client_address_and_drops_elsewhere(net: Net) -> None:
    port = net.node_port("outer")
    host_side = net.nodes[0].rsplit(".", 1)[0] + ".1"
    assert net.curl("outside", f"http://{net.nodes[0]}:{port}/") == [("e1", host_side)]
    assert net.curl_error("outside", f"http://{net.nodes[1]}:{port}/") == 28
    # The policy is for clients outside: a node's own pods and processes reach the endpoint through any of them.
    assert net.curl("e2", f"http://{net.nodes[1]}:{port}/")[0][0] == "e1"
    assert net.curl("node-2", f"http://{net.nodes[1]}:{port}/")[0][0] == "e1"


def test_internal_policy_local_stays_on_the_node(net: Net) -> None:
    url = f"http://{net.address('inner')}/"
    for index in (1, 2):
        assert {name for name, _ in net.curl(f"node-{index}", *[url] * 8)} == {f"e{index}"}
    assert net.curl_error("e3", url) == 28


@pytest.mark.parametrize("place", ["guest", "e2", "node-3"])
def test_without_endpoints_connections_are_refused_at_once(net: Net, place: str) -> None:
    assert net.curl_error(place, f"http://{net.address('empty')}/") == 7


def test_without_endpoints_node_ports_are_refused_at_once(net: Net) -> None:
    assert net.curl_error("outside", f"http://{net.nodes[0]}:{net.node_port('empty')}/") == 7


def test_a_udp_client_is_sent_elsewhere_when_its_endpoint_goes(net: Net) -> None:
    """It never stops sending from one port, so only its connection tracking entry could end."""
    ways = [("guest", net.address("udp"), 90), ("outside", net.nodes[2], net.node_port("udp"))]
    for number, (place, address, port) in enumerate(ways):
        source = 41000 + number
        first = wait_until("an answer", lambda: net.udp(place, address, port, source))  # noqa: B023
        assert all(net.udp(place, address, port, source).split()[0] == first.split()[0] for _ in range(3))  # type: ignore[union-attr]
        leaving = first.split()[0]
        net.label(leaving, "udp=no")

        def elsewhere() -> bool:
            answer = net.udp(place, address, port, source)  # noqa: B023
            return answer is not None and answer.split()[0] != leaving  # noqa: B023

        wait_until("another endpoint answers", elsewhere, timeout=10)
        net.label(leaving, "udp=yes")
        wait_until("it is back", lambda: len(net.endpoints("udp")) == 2)


# Host ports


def test_a_host_port_is_reached_where_its_pod_is(net: Net) -> None:
    assert net.curl("outside", f"http://{net.nodes[0]}:8088/")[0][0] == "e1"
    assert net.curl("node-1", "http://127.0.0.1:8088/", f"http://{net.nodes[0]}:8088/")[0][0] == "e1"
    # Towards a node's address a pod is behind its own node's.
    assert net.curl("e2", f"http://{net.nodes[0]}:8088/") == [("e1", net.nodes[1])]
    assert net.curl_error("outside", f"http://{net.nodes[1]}:8088/") == 7


def test_a_host_port_that_is_a_node_port_spoils_no_other_rule(net: Net) -> None:
    """nodeName set by hand passes the scheduler by, and nobody else looks."""
    wanted = {"containerPort": 8080, "hostPort": net.node_port("one"), "name": "host"}
    intruder = echo("intruder", net.cluster.node_name(1), ports=[wanted])
    intruder["metadata"]["labels"] = {"who": "intruder"}
    net.cluster.apply(intruder, service("after", {"who": "e1"}))
    net.cluster.wait_ready("intruder", namespace=NAMESPACE)
    try:
        address = net.cluster.get("service", "after", "-n", NAMESPACE)["spec"]["clusterIP"]
        wait_until("a later service works", lambda: net.curl("node-1", f"http://{address}/")[0][0] == "e1")
    finally:
        net.cluster.kubectl("delete", "-n", NAMESPACE, "pod/intruder", "service/after", "--wait=true")
    assert net.curl("outside", f"http://{net.nodes[0]}:{net.node_port('one')}/")[0][0] == "e1"


# The agent


def table(net: Net, name: str) -> str:
    return net.at("node-1", "nft", "list", "table", "ip", name, check=False).stdout


def test_foreign_tables_stay_and_our_own_comes_back(net: Net) -> None:
    foreign_text = "add table ip foreign; add chain ip foreign c; add rule ip foreign c ip daddr 192.0.2.1 drop"
    net.at("node-1", "nft", foreign_text)
    foreign = table(net, "foreign")
    net.at("node-1", "nft", "delete", "table", "ip", "timonel")
    wait_until("the rules are back", lambda: net.curl("node-1", f"http://{net.address('one')}/")[0][0] == "e1")
    # As a restart of Debian's nftables does: everybody's tables.
    net.at("node-1", "nft", f"flush ruleset; {foreign_text}")
    wait_until("the rules are back", lambda: net.curl("node-1", f"http://{net.address('one')}/")[0][0] == "e1")
    assert table(net, "foreign") == foreign
    net.at("node-1", "nft", "delete", "table", "ip", "foreign")


def test_killing_the_agent_loses_no_request_and_it_mends_the_rules(net: Net) -> None:
    agent = f"agent@{net.cluster.node_name(1)}"
    with Load(net.cluster, f"http://{net.address('all')}/") as load:
        pid = net.cluster.kill(agent)
        net.cluster.wait_part(agent, pid)
        enough = load.answers + 100
        wait_until("requests after the restart", lambda: load.answers > enough or load.failures)
    assert load.failures == []
    pid = net.cluster.kill(agent)
    net.at("node-1", "nft", "flush", "table", "ip", "timonel")
    net.cluster.wait_part(agent, pid)
    assert net.curl("node-1", f"http://{net.address('one')}/")[0][0] == "e1"


# DNS


def test_dns_answers_for_services(net: Net) -> None:
    full = f"one.{NAMESPACE}.svc.{DOMAIN}"
    address = net.address("one")
    for place in ("e1", "e3", "node-2"):
        answer = net.dns(full, place=place)
        assert (answer["rcode"], answer["answers"]) == ("NOERROR", [["A", address]])
    assert net.dns(full, over="tcp")["answers"] == [["A", address]]
    assert net.dns(full.upper())["answers"] == [["A", address]]
    assert net.dns(full, "AAAA")["answers"] == []
    assert net.dns(full, "AAAA")["rcode"] == "NOERROR"
    assert net.dns(f"kubernetes.default.svc.{DOMAIN}")["answers"] == [["A", "10.96.0.1"]]
    for unknown in (f"none.{NAMESPACE}.svc.{DOMAIN}", f"one.none.svc.{DOMAIN}", f"x.{DOMAIN}"):
        assert net.dns(unknown)["rcode"] == "NXDOMAIN"
    reverse = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
    assert net.dns(reverse, "PTR")["answers"] == [["PTR", f"{full}."]]


def test_dns_answers_for_ports_and_headless_services(net: Net) -> None:
    base = f"headless.{NAMESPACE}.svc.{DOMAIN}"
    addresses = sorted(net.pods[name] for name in PODS)
    assert net.dns(base)["answers"] == sorted(["A", address] for address in addresses)
    for name in PODS:
        assert net.dns(f"{name}.{base}")["answers"] == [["A", net.pods[name]]]
    assert net.dns(f"_second._tcp.{base}", "SRV")["answers"] == sorted(
        ["SRV", f"0 33 8081 {name}.{base}."] for name in PODS
    )
    full = f"all.{NAMESPACE}.svc.{DOMAIN}"
    assert net.dns(f"_second._tcp.{full}", "SRV")["answers"] == [["SRV", f"0 100 81 {full}."]]
    assert net.dns(f"_third._tcp.{full}", "SRV")["rcode"] == "NXDOMAIN"
    reverse = ".".join(reversed(net.pods["e2"].split("."))) + ".in-addr.arpa"
    assert ["PTR", f"e2.{base}."] in net.dns(reverse, "PTR")["answers"]


def test_dns_answers_for_pods_and_external_names(net: Net) -> None:
    dashed = net.pods["e3"].replace(".", "-")
    assert net.dns(f"{dashed}.{NAMESPACE}.pod.{DOMAIN}")["answers"] == [["A", net.pods["e3"]]]
    alias = net.dns(f"alias.{NAMESPACE}.svc.{DOMAIN}")["answers"]
    assert alias == sorted([["A", net.address("one")], ["CNAME", f"one.{NAMESPACE}.svc.{DOMAIN}."]])


def test_pods_find_services_by_short_names(net: Net) -> None:
    names = ("one", f"one.{NAMESPACE}", f"one.{NAMESPACE}.svc", f"one.{NAMESPACE}.svc.{DOMAIN}")
    script = f"import socket\nfor name in {names!r}: print(socket.gethostbyname(name))"
    answer = net.cluster.kubectl("exec", "-n", NAMESPACE, "guest", "--", "python3", "-c", script).stdout.split()
    assert answer == [net.address("one")] * 4


def test_dns_knows_a_new_endpoint_as_soon_as_the_api_does(net: Net) -> None:
    name = f"joining.{NAMESPACE}.svc.{DOMAIN}"
    assert net.dns(name, place="e3")["answers"] == []
    net.label("e2", "joined=yes")
    wait_until("the endpoint", lambda: net.endpoints("joining") == {net.pods["e2"]})
    wait_until("DNS has it", lambda: net.dns(name, place="e3")["answers"] == [["A", net.pods["e2"]]], timeout=1)
    net.label("e2", "joined-")


# The way outside


@contextmanager
def internet(net: Net) -> Iterator[None]:
    """A namespace behind the machine that knows no way back to pods or nodes: only masquerading can reach it."""
    name, link = f"{net.cluster.layout.context}-outside", f"{net.cluster.layout.identity}out"
    run("ip", "netns", "del", name, check=False)
    run("ip", "netns", "add", name)
    server = None
    try:
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "addr", "add", f"{HOST_ADDRESS}/30", "dev", link)
        run("ip", "link", "set", link, "up")
        run("ip", "-n", name, "addr", "add", f"{OUTSIDE_ADDRESS}/30", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        script = str(Path(__file__).with_name("who.py"))
        command = ["nsenter", f"--net=/run/netns/{name}", sys.executable, script, OUTSIDE_ADDRESS, "7000"]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield
    finally:
        if server is not None:
            server.terminate()
            server.wait(timeout=10)
            assert server.stdout is not None
            server.stdout.close()
        run("ip", "link", "del", link, check=False)
        run("ip", "netns", "del", name)


def test_pods_reach_outside_under_the_machines_address_with_whole_packets(net: Net) -> None:
    with internet(net):
        for place in ("e1", "e3", "node-2"):
            talk = f"head -c 200000 /dev/zero | busybox nc -w 5 {OUTSIDE_ADDRESS} 7000"
            assert net.at(place, "sh", "-c", talk).stdout == f"{HOST_ADDRESS} 200000\n"
            # 1500 bytes with headers, not to be fragmented.
            assert net.udp(place, OUTSIDE_ADDRESS, 7000, size=1472) == f"{HOST_ADDRESS} 1472"
            assert net.udp(place, OUTSIDE_ADDRESS, 7000, size=1473) is None
    assert net.udp("e1", net.pods["e3"], 9000, size=1472) == f"e3 {net.pods['e1']} 1472"
