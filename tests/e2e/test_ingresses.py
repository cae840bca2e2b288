"""Ingresses on a real cluster: from the first one on, with TLS, and without a failed request while things change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, run, wait_until
from tests.e2e.test_application import Load
from tests.e2e.test_network import echo

NAMESPACE = "ingresses"
Object = dict[str, Any]


def ingress(name: str, host: str, service: str, path: str = "/", **spec: Any) -> Object:
    backend = {"service": {"name": service, "port": {"name": "http"}}}
    rule = {"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"rules": [rule], **spec},
    }


class Room:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        addresses = cluster.get("node", cluster.node_name(1))["status"]["addresses"]
        self.node = next(str(item["address"]) for item in addresses if item["type"] == "InternalIP")

    def curl(self, host: str, path: str = "/", *more: str, scheme: str = "http") -> str:
        """The pod that answered, or the HTTP status, or curl's error."""
        port = 443 if scheme == "https" else 80
        form = ("-w", " %{http_code}", "--max-time", "5", "--resolve", f"{host}:{port}:{self.node}")
        result = run("curl", "-sS", *form, *more, f"{scheme}://{host}{path}", check=False)
        if result.returncode:
            return f"error {result.returncode}"
        body, _, status = result.stdout.rpartition(" ")
        return body.split()[0] if status == "200" else status

    def get(self, name: str) -> Any:
        return self.cluster.get("ingress", name, "-n", NAMESPACE)

    def listens(self) -> bool:
        shown: str = self.cluster.on_node(1, "ss", "-ltn", "sport = :80").stdout
        return ":80 " in shown


@pytest.fixture(scope="module")
def room(cluster: Cluster) -> Iterator[Room]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    for number, name in enumerate(("one", "two"), start=1):
        made = echo(name, cluster.node_name(number))
        made["metadata"] |= {"namespace": NAMESPACE, "labels": {"who": name}}
        ports = [{"name": "http", "port": 80, "targetPort": "http"}]
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE}}
        cluster.apply(made, {**service, "spec": {"selector": {"who": name}, "ports": ports}})
    cluster.wait_ready("one", "two", namespace=NAMESPACE)
    yield Room(cluster)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=true")


def test_the_first_ingress_starts_it_and_the_last_one_ends_it(room: Room) -> None:
    assert not room.listens()
    room.cluster.apply(ingress("web", "web.example.org", "one"))
    wait_until("it is served", lambda: room.curl("web.example.org") == "one")
    assert room.curl("other.example.org") == "404"
    shown = wait_until("its status", lambda: room.get("web")["status"]["loadBalancer"].get("ingress"))
    assert shown == [{"ip": room.node}]
    assert room.get("web")["spec"]["ingressClassName"] == "timonel"
    told = f"Served at {room.node}, port 80 of the node"
    describe = ("describe", "ingress", "web", "-n", NAMESPACE)
    wait_until("its event", lambda: told in room.cluster.kubectl(*describe).stdout)
    room.cluster.kubectl("delete", "ingress", "web", "-n", NAMESPACE)
    wait_until("nobody listens", lambda: not room.listens())


def test_certificates_come_from_secrets(room: Room, tmp_path: Path) -> None:
    key, cert = tmp_path / "tls.key", tmp_path / "tls.crt"
    name = ("-subj", "/CN=tls.example.org", "-addext", "subjectAltName=DNS:tls.example.org")
    run(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(cert),
        *name,
    )
    room.cluster.kubectl("create", "secret", "tls", "cert", "-n", NAMESPACE, f"--cert={cert}", f"--key={key}")
    room.cluster.apply(
        ingress("tls", "tls.example.org", "two", tls=[{"hosts": ["tls.example.org"], "secretName": "cert"}])
    )
    trusting = ("--cacert", str(cert))
    wait_until("it is served", lambda: room.curl("tls.example.org", "/", *trusting, scheme="https") == "two")
    room.cluster.kubectl("delete", "ingress", "tls", "-n", NAMESPACE)


def test_no_request_fails_while_ingresses_change_and_the_agent_dies(room: Room) -> None:
    room.cluster.apply(ingress("steady", "steady.example.org", "one"))
    wait_until("it is served", lambda: room.curl("steady.example.org") == "one")
    url = f"-H Host:steady.example.org http://{room.node}/"
    agent = f"agent@{room.cluster.node_name(1)}"
    with Load(room.cluster, url) as load:
        for number in range(5):
            room.cluster.apply(ingress(f"more-{number}", f"more-{number}.example.org", "two"))
            wait_until("it is served", lambda: room.curl(f"more-{number}.example.org") == "two")  # noqa: B023
        room.cluster.wait_part(agent, room.cluster.kill(agent))
        room.cluster.apply(ingress("late", "late.example.org", "two"))
        wait_until("it is served", lambda: room.curl("late.example.org") == "two")
    assert load.failures == []
    assert load.answers > 100
    room.cluster.kubectl("delete", "ingress", "--all", "-n", NAMESPACE)
    wait_until("nobody listens", lambda: not room.listens())
