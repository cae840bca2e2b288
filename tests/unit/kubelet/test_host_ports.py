"""Two pods never get the same port of the node, whoever put them there."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod
from timonel.api.objects import Object
from timonel.api.refs import PODS
from timonel.kubelet.pods.host_ports import HostPorts


def with_port(name: str, port: int = 80, **fields: Any) -> Object:
    return pod(container("c", ports=[{"containerPort": 80, "hostPort": port, **fields}]), name=name)


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({}, False),
        ({"port": 81}, True),
        ({"protocol": "UDP"}, True),
        ({"hostIP": "192.0.2.1"}, False),
    ],
)
def test_what_conflicts(fields, fits):
    held = HostPorts()
    first = with_port("a", protocol="TCP")
    assert held.take(first)
    assert held.take(first)
    second = with_port("b", **fields)
    assert held.take(second) is fits


def test_different_addresses_of_the_node_do_not_conflict():
    held = HostPorts()
    for number in (1, 2):
        assert held.take(with_port(f"p{number}", hostIP=f"192.0.2.{number}"))


async def test_the_second_pod_fails_and_its_successor_runs_when_the_port_is_free(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running():
        node.client.add(with_port("first"))
        await node.until(lambda: node.is_ready("first"), seconds=5)
        node.client.add(with_port("second"))
        await node.until(lambda: node.status("second").get("phase") == "Failed", seconds=5)
        status = node.status("second")
        why = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
        assert (status["reason"], status["message"]) == ("NodePorts", f"Pod was rejected: {why}")
        await node.until(lambda: ("NodePorts", why) in node.events("second"))
    async with node.running():  # the next life of the agent: who was first stays so
        node.client.add(with_port("third"))
        await node.until(lambda: node.status("third").get("phase") == "Failed", seconds=5)
        assert node.is_ready("first")
        await node.client.delete(PODS, "first", "default", grace_period_seconds=0)
        node.client.add(with_port("fourth"))
        await node.until(lambda: node.is_ready("fourth"), seconds=10)


async def test_after_a_restart_a_pod_that_is_ending_has_its_port_until_it_has_ended(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running():
        node.client.add(with_port("first"))
        await node.until(lambda: node.is_ready("first"), seconds=5)
    await node.client.delete(PODS, "first", "default", grace_period_seconds=30)
    node.client.add(with_port("second"))
    async with node.running():
        await node.until(lambda: node.status("second").get("phase") == "Failed", seconds=5)
        assert node.status("second")["reason"] == "NodePorts"
