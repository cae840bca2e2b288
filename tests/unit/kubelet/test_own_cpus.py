"""CPUs of their own: who gets some, which, and where the others run meanwhile.

Source: kubernetes.io/docs/tasks/administer-cluster/cpu-management-policies
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod, sidecar
from timonel.api.objects import Object
from timonel.api.refs import PODS
from timonel.kubelet import kubelet as kubelet_module
from timonel.kubelet.cpus.manager import reserved_cpus
from timonel.kubelet.cpus.packing import NotEnoughCpus, plan_cpus, take, whole_cpus
from timonel.kubelet.cpus.topology import Place, format_cpus, parse_cpus, read_topology

# Two sockets with four cores of two threads each; threads of a core are 8 apart, as x86 numbers them.
TWO_SOCKETS = {cpu: Place(socket=cpu % 8 // 4, numa=cpu % 8 // 4, core=(cpu % 8 // 4, cpu % 4)) for cpu in range(16)}
ALL = frozenset(TWO_SOCKETS)


# Spelling


@pytest.mark.parametrize(
    ("text", "cpus"), [("", set()), ("3", {3}), ("0-2,7\n", {0, 1, 2, 7}), (" 1 , 5-6", {1, 5, 6})]
)
def test_lists_as_the_kernel_spells_them(text: str, cpus: set[int]) -> None:
    assert parse_cpus(text) == cpus
    assert parse_cpus(format_cpus(cpus)) == cpus


@pytest.mark.parametrize("text", ["-", "1-", "3-1", "a", "1,,2"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match="no list of CPUs"):
        parse_cpus(text)


def test_the_kernel_is_asked(tmp_path: Path) -> None:
    cpus = tmp_path / "devices/system/cpu"
    for cpu, (socket, core) in {0: (0, 0), 1: (0, 1), 2: (1, 0)}.items():
        (cpus / f"cpu{cpu}/topology").mkdir(parents=True)
        (cpus / f"cpu{cpu}/topology/physical_package_id").write_text(f"{socket}\n")
        (cpus / f"cpu{cpu}/topology/core_id").write_text(f"{core}\n")
    (cpus / "online").write_text("0-2\n")
    (tmp_path / "devices/system/node/node1").mkdir(parents=True)
    (tmp_path / "devices/system/node/node1/cpulist").write_text("2\n")
    assert read_topology(str(tmp_path)) == {0: Place(0, 0, (0, 0)), 1: Place(0, 0, (0, 1)), 2: Place(1, 1, (1, 0))}
    assert read_topology(str(tmp_path / "none")) == {}


# Packing


@pytest.mark.parametrize(
    ("available", "count", "given"),
    [
        (ALL, 8, "0-3,8-11"),  # a whole socket
        (ALL - {0}, 8, "4-7,12-15"),  # the one that is whole
        (ALL, 2, "0,8"),  # a whole core
        (ALL, 3, "0-1,8"),
        (ALL - {0}, 1, "8"),  # of a core that is in use already
        (ALL - {5, 13}, 2, "4,12"),  # of the socket that is fuller already
        (ALL, 16, "0-15"),
        (ALL, 10, "0-4,8-12"),  # a socket, then a core of the other
        (frozenset({0, 1, 2}), 3, "0-2"),
    ],
)
def test_which_cpus(available: frozenset[int], count: int, given: str) -> None:
    assert format_cpus(take(TWO_SOCKETS, available, count)) == given


def test_too_few() -> None:
    with pytest.raises(NotEnoughCpus, match="not enough cpus available to satisfy request: requested=3, available=2"):
        take(TWO_SOCKETS, frozenset({0, 1}), 3)


@given(st.frozensets(st.sampled_from(sorted(ALL))), st.integers(1, 16))
def test_as_many_as_asked_for_of_what_is_free(available: frozenset[int], count: int) -> None:
    if count > len(available):
        with pytest.raises(NotEnoughCpus):
            take(TWO_SOCKETS, available, count)
        return
    taken = take(TWO_SOCKETS, available, count)
    assert len(taken) == count
    assert taken <= available


@pytest.mark.parametrize(
    ("named", "milli", "given"),
    [("", 500, "0"), ("", 2000, "0,8"), ("5,13", 9000, "5,13"), ("", 0, "")],
)
def test_what_is_kept_for_the_system(named: str, milli: int, given: str) -> None:
    assert format_cpus(reserved_cpus(TWO_SOCKETS, parse_cpus(named), milli)) == given


# Who


def guaranteed(name: str, cpu: str, **more: Any) -> Object:
    amounts = {"cpu": cpu, "memory": "10Mi"}
    return container(name, resources={"requests": amounts, "limits": amounts}, **more)


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (guaranteed("c", "2"), 2),
        (guaranteed("c", "2000m"), 2),
        (guaranteed("c", "1500m"), 0),
        (container("c", resources={"requests": {"cpu": "2"}}), 0),
        (container("c", resources={"limits": {"cpu": "2", "memory": "1Mi"}}), 2),
        (container("c"), 0),
    ],
)
def test_only_guaranteed_containers_with_whole_cpus(made: Object, count: int) -> None:
    assert whole_cpus(pod(made), made) == count


def test_containers_after_an_init_container_have_its_cpus_again() -> None:
    first = guaranteed("init", "2")
    side = {**guaranteed("side", "1"), "restartPolicy": "Always"}
    planned = plan_cpus(pod(guaranteed("c", "2"), init=(first, side)), TWO_SOCKETS, ALL - {0, 8})
    assert planned["side"] <= planned["init"]
    assert planned["side"].isdisjoint(planned["c"])
    assert len(planned["init"] | planned["side"] | planned["c"]) == 3
    assert sidecar("x")["restartPolicy"] == "Always"


# A kubelet


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    made = Node(tmp_path)
    made.config = replace(made.config, cpu_policy="static", reserved_cpus=frozenset({0}))
    four = {cpu: Place(core=(0, cpu)) for cpu in range(4)}
    monkeypatch.setattr(kubelet_module, "read_topology", lambda: four)
    monkeypatch.setattr("timonel.kubelet.node.machine.os.cpu_count", lambda: 4)
    return made


def cpus_of(node: Node, name: str) -> str:
    (found,) = [
        config.linux.resources.cpuset_cpus
        for config in node.runtime.container_configs.values()
        if config.metadata.name == name
    ]
    return str(found)


async def test_the_others_make_room_and_come_back(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(container("common"), name="common"))
        await node.until(lambda: node.is_ready("common"))
        assert cpus_of(node, "common") == "0-3"
        await node.client.create(PODS, pod(guaranteed("own", "2"), name="own"))
        await node.until(lambda: node.is_ready("own"))
        assert cpus_of(node, "own") == "1-2"
        await node.until(lambda: cpus_of(node, "common") == "0,3")
        await node.client.create(PODS, pod(container("late"), name="late"))
        await node.until(lambda: node.is_ready("late"))
        assert cpus_of(node, "late") == "0,3"
        await node.client.delete(PODS, "own", "default")
        await node.until(lambda: node.get("own") is None)
        await node.until(lambda: (cpus_of(node, "common"), cpus_of(node, "late")) == ("0-3", "0-3"))


async def test_who_finds_too_few_is_refused(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(guaranteed("own", "2"), name="own"))
        await node.until(lambda: node.is_ready("own"))
        # The node has the second CPU for pods, but not for one alone: one of them is the system's.
        await node.client.create(PODS, pod(guaranteed("more", "2"), name="more"))
        await node.until(lambda: node.status("more").get("phase") == "Failed")
    status = node.status("more")
    assert status["reason"] == "UnexpectedAdmissionError"
    assert "not enough cpus available to satisfy request: requested=2, available=1" in status["message"]


async def test_a_new_agent_leaves_everybody_what_he_has(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(guaranteed("own", "2"), name="own"))
        await node.until(lambda: node.is_ready("own"))
    uid = node.get("own")["metadata"]["uid"]  # type: ignore[index]
    container_id = node.container("own")["containerID"].rpartition("/")[2]
    folder = node.folder / f"cgroup/cpuset/t/node/kubepods/pod{uid}/{container_id}"
    folder.mkdir(parents=True)
    (folder / "cpuset.cpus").write_text("2-3\n")  # as it might have been given long ago
    async with node.running():
        await node.client.create(PODS, pod(container("common"), name="common"))
        await node.until(lambda: node.is_ready("common"))
        assert cpus_of(node, "common") == "0-1"
        await node.until(lambda: cpus_of(node, "own") == "2-3")
