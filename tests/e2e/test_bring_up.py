"""`timonel up`, `status`, `down` and `down --purge` from a bare machine to a bare machine, whatever was killed between.

Each test has the machine for itself, so the unnamed cluster runs with its real names: node 1 is the machine.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import pod, wait_until
from tests.e2e.machine import ADDRESS, OUTSIDE, OUTSIDE_ADDRESS, Machine, MachineCluster
from timonel.cluster.oci import oci_archive
from timonel.testing.images import RECIPES, build_images

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "key"},
    "stringData": {"value": "hidden"},
}
SETTINGS = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
    "data": {"one": "1"},
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {
        "type": "NodePort",
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}],
    },
}
SERVE = "mkdir -p /www && echo $NAME > /www/index.html && trap exit TERM && { httpd -f -p 8080 -h /www & wait; }"


def web(name: str, node: str) -> dict[str, Any]:
    """A web server with one of each mount that leaves traces on a node, and a port of the node."""
    return pod(
        name,
        "busybox:1.36",
        "sh",
        "-c",
        SERVE,
        labels={"app": "web"},
        nodeName=node,
        volumes=[
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
            {"name": "disk", "emptyDir": {}},
            {"name": "key", "secret": {"secretName": "key"}},
            {"name": "settings", "configMap": {"name": "settings"}},
        ],
        container={
            "env": [{"name": "NAME", "value": name}],
            "ports": [{"containerPort": 8080, "hostPort": 8088}],
            "resources": {"limits": {"memory": "64Mi", "cpu": "200m"}},
            "volumeMounts": [
                {"name": "memory", "mountPath": "/memory"},
                {"name": "disk", "mountPath": "/disk", "subPath": "below"},
                {"name": "key", "mountPath": "/key"},
                {"name": "settings", "mountPath": "/one", "subPath": "one"},
            ],
        },
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """busybox as a file: these tests need no registry."""
    image = build_images([recipe for recipe in RECIPES if recipe.name == "busybox"])["busybox:1.36"]
    file = tmp_path_factory.mktemp("images") / "busybox.tar"
    file.write_bytes(oci_archive(image, "docker.io/library/busybox:1.36"))
    return file


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("machine")) as made:
        yield made


@pytest.fixture(scope="module")
def bare(machine: Machine) -> dict[str, list[str]]:
    return machine.snapshot()


@pytest.fixture
def cluster(machine: Machine, bare: object, tmp_path: Path) -> Iterator[MachineCluster]:
    """The unnamed cluster with the machine and one more node; not up yet."""
    made = MachineCluster("", tmp_path, nodes=2, machine=machine)
    yield made
    made.purge()


@pytest.fixture
def who(machine: Machine) -> Iterator[None]:
    """A server in the outside world that tells its clients who they are."""
    namespace = f"--net=/run/netns/{OUTSIDE}"
    script = str(Path(__file__).with_name("who.py"))
    with machine.start("nsenter", namespace, sys.executable, script, OUTSIDE_ADDRESS, "7000") as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield
        machine.run("pkill", "-f", script)


def bring_up_with_pods(cluster: MachineCluster, archive: Path) -> None:
    cluster.up()
    cluster.timonel("image", "import", str(archive))
    names = [f"web-{index}" for index in range(1, cluster.nodes + 1)]
    pods = [web(name, cluster.node_name(index)) for index, name in enumerate(names, start=1)]
    cluster.apply(SECRET, SETTINGS, SERVICE, *pods)
    cluster.wait_ready(*names)


def assert_bare(machine: Machine, bare: dict[str, list[str]]) -> None:
    now = machine.snapshot()
    differences = [
        f"{what}: {line}"
        for what, lines in bare.items()
        for line in unified_diff(lines, now[what], lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]
    assert differences == []


def part_pids(cluster: MachineCluster) -> dict[str, int]:
    return {name: part["pid"] for name, part in cluster.parts().items()}


def ready_nodes(cluster: MachineCluster) -> int:
    return cluster.kubectl("get", "nodes", "--no-headers").stdout.count(" Ready ")


@pytest.fixture(scope="class")
def life(
    machine: Machine, bare: object, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MachineCluster]:
    made = MachineCluster("", tmp_path_factory.mktemp("life"), nodes=2, machine=machine)
    bring_up_with_pods(made, archive)
    yield made
    made.purge()


class TestLife:
    """One cluster from up to purge."""

    def test_a_second_up_changes_nothing_and_status_shows_every_part(self, life: MachineCluster) -> None:
        assert ready_nodes(life) == 2
        pids = part_pids(life)
        assert set(pids) == {
            "supervisor",
            "server",
            "manager",
            *(f"{part}@{name}" for part in ("containerd", "agent") for name in ("machine", "machine-2")),
        }
        second = life.up()
        assert "Kubeconfig: /var/lib/timonel/admin.kubeconfig" in second.stdout
        assert "Already up; nothing changed." in second.stdout
        assert part_pids(life) == pids
        shown = life.timonel("status")
        assert shown.returncode == 0
        for name, pid in pids.items():
            assert re.search(rf"^{name} +ready +{pid} +0 +\d+\.\d MiB$", shown.stdout, re.MULTILINE), shown.stdout
        assert re.search(r"^machine +Ready$", shown.stdout, re.MULTILINE)

    def test_the_machine_is_a_node_among_others(self, life: MachineCluster, who: None) -> None:
        addresses = {item["metadata"]["name"]: item["status"]["podIP"] for item in life.items("pods")}
        service = life.get("service", "web")["spec"]["clusterIP"]
        # Pods reach pods of the other node in both directions, by the machine in between.
        for source, target in (("web-1", "web-2"), ("web-2", "web-1")):
            url = f"http://{addresses[target]}:8080/"
            assert life.kubectl("exec", source, "--", "wget", "-qO-", url).stdout == f"{target}\n"
            answer = life.kubectl("exec", source, "--", "wget", "-qO-", "http://web/").stdout.strip()
            assert answer in addresses
        for index in (1, 2):
            assert life.fetch(index, f"http://{service}/").strip() in addresses
            assert life.fetch(index, "http://127.0.0.1:30080/").strip() in addresses
        assert life.outside("curl", "-sSf", f"http://{ADDRESS}:30080/").stdout.strip() in addresses
        assert life.outside("curl", "-sSf", f"http://{ADDRESS}:8088/").stdout == "web-1\n"
        # Without a default route too, as on a machine that is off the network.
        life.run("ip", "route", "del", "default")
        assert life.fetch(1, f"http://{service}/").strip() in addresses
        life.run("ip", "route", "add", "default", "via", OUTSIDE_ADDRESS)
        # Pods reach outside, which sees the machine's address instead of theirs.
        for name in addresses:
            ask = f"echo hello | nc -w 5 {OUTSIDE_ADDRESS} 7000"
            assert life.kubectl("exec", name, "--", "sh", "-c", ask).stdout == f"{ADDRESS} 6\n"

    def test_down_keeps_the_objects_and_up_brings_the_pods_back(self, life: MachineCluster) -> None:
        before = {item["metadata"]["name"]: item["metadata"]["uid"] for item in life.items("pods")}
        life.timonel("down")
        processes = life.machine.snapshot()["processes"]
        assert [line for line in processes if "httpd" in line or "timonel" in line.partition(" mount ")[0]] == []
        assert life.timonel("status", check=False).stderr == "timonel: not running; start it with: timonel up\n"
        # Rules for pods that are gone would swallow the machine's own traffic to these ports.
        assert "table ip timonel {" not in life.run("nft", "list", "ruleset").stdout
        life.up()
        wait_until("the pods run again", lambda: "web-" in life.fetch(1, "http://127.0.0.1:30080/"))
        life.wait_ready(*before)
        assert {item["metadata"]["name"]: item["metadata"]["uid"] for item in life.items("pods")} == before
        assert_one_restart(life)

    def test_purge_leaves_nothing(self, life: MachineCluster, bare: dict[str, list[str]]) -> None:
        life.purge()
        assert_bare(life.machine, bare)


def test_purge_leaves_nothing_of_a_named_cluster_of_which_everything_was_killed(
    machine: Machine, bare: dict[str, list[str]], archive: Path, tmp_path: Path
) -> None:
    """kill -9 of the supervisor and every part; the containers and their shims are still there."""
    cluster = MachineCluster("named", tmp_path, machine=machine)
    bring_up_with_pods(cluster, archive)
    cluster.kill(*part_pids(cluster))
    assert any("httpd" in line for line in machine.snapshot()["processes"])
    cluster.purge()
    assert_bare(machine, bare)


def test_purge_leaves_nothing_when_shims_were_killed_too(
    cluster: MachineCluster, bare: dict[str, list[str]], archive: Path
) -> None:
    bring_up_with_pods(cluster, archive)
    cluster.kill(*part_pids(cluster))
    cluster.run("pkill", "-9", "-f", "containerd-shim-runc-v2")  # the machine's own process ids only
    cluster.purge()
    assert_bare(cluster.machine, bare)


def test_up_after_a_reboot(cluster: MachineCluster, archive: Path) -> None:
    """Processes, mounts, links and rules are gone; files, also in /run where it is kept, are not."""
    bring_up_with_pods(cluster, archive)
    cluster.kill(*part_pids(cluster))
    wipe = """
    pkill -9 -f 'containerd-shim|httpd|/pause'
    for i in 1 2 3; do
      cut -d' ' -f5 /proc/self/mountinfo | grep -e /timonel -e /run/netns/timonel | tac | xargs -r umount -l
    done 2>/dev/null
    for link in $(ip -o link | grep -o 'tml[a-z0-9]*'); do ip link del $link; done 2>/dev/null
    nft flush ruleset
    ip addr flush dev lo label lo:timonel
    echo 0 > /proc/sys/net/ipv4/ip_forward
    """
    cluster.run("sh", "-c", wipe, check=False)
    assert cluster.machine.path("/run/timonel/supervisor.sock").exists()
    cluster.up()
    cluster.wait_ready("web-1", "web-2")
    wait_until("the service answers", lambda: "web-" in cluster.fetch(2, "http://127.0.0.1:30080/"))
    assert_one_restart(cluster)


def assert_one_restart(cluster: MachineCluster) -> None:
    """Of every pod whose containers went with their machine, and were not there to say how."""
    for item in cluster.items("pods"):
        status = item["status"]["containerStatuses"][0]
        assert status["restartCount"] == 1, item["metadata"]["name"]
        ended = status["lastState"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")


def test_of_two_ups_at_once_one_waits_and_a_changed_setting_restarts_what_it_concerns(
    cluster: MachineCluster,
) -> None:
    commands = [cluster.start("up", "--nodes", "1") for _ in range(2)]
    outputs = [command.communicate(timeout=120) for command in commands]
    assert [command.returncode for command in commands] == [0, 0], outputs
    waited = [output for output, _ in outputs if "waiting for another timonel command (pid " in output]
    assert len(waited) == 1
    assert "Already up; nothing changed." in waited[0]
    assert ready_nodes(cluster) == 1
    before = part_pids(cluster)
    cluster.nodes = 1
    cluster.config = {"node": {"maxPods": 50}}
    assert "nothing changed" not in cluster.up().stdout
    after = part_pids(cluster)
    assert {name for name in before if before[name] != after[name]} == {"agent@machine"}
    wait_until("the node says 50", lambda: cluster.get("node", "machine")["status"]["capacity"]["pods"] == "50")


def exists(path: str) -> Callable[[MachineCluster], bool]:
    return lambda cluster: cluster.machine.path(path).exists()


def answers(cluster: MachineCluster) -> bool:
    return cluster.run("curl", "-sk", "https://127.0.0.1:6443/livez", check=False).stdout == "ok"


POINTS = {
    "namespace": exists("/run/netns/timonel-2"),
    "keys": exists("/var/lib/timonel/pki/ca.crt"),
    "parts": exists("/run/timonel/parts.json"),
    "supervisor": exists("/run/timonel/supervisor.sock"),
    "server": answers,
}


def kill_up_at(cluster: MachineCluster, point: str) -> None:
    command = cluster.start("up", "--nodes", "2")
    wait_until(point, lambda: POINTS[point](cluster), interval=0.001)
    # The process in the machine, not the nsenter that waits for it out here.
    cluster.run("pkill", "-9", "-f", "timonel.cli.main up")
    command.communicate(timeout=20)
    assert command.returncode != 0, f"up was quicker than {point}"


@pytest.mark.parametrize("point", ["keys", "parts", "server"])
def test_up_completes_what_a_killed_one_began(cluster: MachineCluster, point: str) -> None:
    kill_up_at(cluster, point)
    cluster.up()
    assert ready_nodes(cluster) == 2


@pytest.mark.parametrize("point", ["namespace", "supervisor"])
def test_purge_removes_what_a_killed_up_began(cluster: MachineCluster, bare: dict[str, list[str]], point: str) -> None:
    kill_up_at(cluster, point)
    cluster.purge()
    assert_bare(cluster.machine, bare)


def test_purge_without_any_cluster_says_so(cluster: MachineCluster, bare: dict[str, list[str]]) -> None:
    assert cluster.purge().stdout == "nothing was running\n"
    assert_bare(cluster.machine, bare)
