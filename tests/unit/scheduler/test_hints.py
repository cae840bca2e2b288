"""Pods that wait are tried again only when what happened to a node can help them there."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scheduler.clusters import cluster_of
from tests.unit.scheduler.objects import node, pod
from tests.unit.scheduler.test_loop import World, running
from timonel.api.objects import Object
from timonel.api.refs import NODES, PODS
from timonel.scheduler.core.framework import Attempt, Change
from timonel.scheduler.core.hints import NodeHints
from timonel.scheduler.core.nominations import Nominations
from timonel.scheduler.core.plugins import DEFAULT_PROFILE
from timonel.scheduler.core.queue import SchedulingQueue
from timonel.scheduler.core.schedule import NoFit, Placement, schedule

PROFILES = {DEFAULT_PROFILE.name: DEFAULT_PROFILE}
HELPED_BY = {plugin.name: plugin.helped_by for plugin in DEFAULT_PROFILE.filters}


async def attempts_after(world: World, change: Any) -> int:
    """How many decisions a change brought about."""
    before = sum(sum(buckets.counts) for buckets in world.scheduler.figures.by_result.values())
    await change()
    await world.settle()
    await world.clock.advance(3)
    await world.settle()
    return sum(sum(buckets.counts) for buckets in world.scheduler.figures.by_result.values()) - before


async def test_ten_pods_that_fit_nowhere_are_left_alone_by_what_cannot_help() -> None:
    nodes = [node("n1", cpu="1"), node("n2", cpu="1", labels={"disk": "hdd"})]
    small = pod("small", "500m", on="n1")
    async with running(*nodes, small) as world:
        for number in range(10):
            await world.create(pod(f"big-{number}", "2"))

        async def relabel() -> None:
            world.client.change(NODES, "n2", "", lambda new: new["metadata"]["labels"].update(disk="ssd"))

        async def grow_a_little() -> None:
            world.client.change(NODES, "n2", "", lambda new: new["status"]["allocatable"].update(cpu="1500m"))

        async def end_small() -> None:
            world.client.remove(PODS, "small", "default")

        async def add_small_node() -> None:
            await world.client.create(NODES, node("n3", cpu="1"))

        for change in (relabel, grow_a_little, end_small, add_small_node):
            assert await attempts_after(world, change) == 0, change.__name__

        async def grow() -> None:
            world.client.change(NODES, "n2", "", lambda new: new["status"]["allocatable"].update(cpu="2"))

        assert await attempts_after(world, grow) >= 1
        assert sum(bool(world.node_of(f"big-{number}")) for number in range(10)) == 1


async def test_room_on_a_node_that_is_not_for_the_pod_does_not_help() -> None:
    nodes = [node("n1", cpu="1", labels={"disk": "ssd"}), node("n2", cpu="1", labels={"disk": "hdd"})]
    there = [pod(f"on-{name}", "1", on=name) for name in ("n1", "n2")]
    async with running(*nodes, *there) as world:
        await world.create(pod("x", "1", nodeSelector={"disk": "ssd"}))

        async def end(name: str) -> None:
            world.client.remove(PODS, name, "default")

        assert await attempts_after(world, lambda: end("on-n2")) == 0
        assert await attempts_after(world, lambda: end("on-n1")) == 1
        assert world.node_of("x") == "n1"


async def test_less_important_pods_on_the_node_could_be_evicted() -> None:
    async with running(node("n1", cpu="1", labels={"disk": "hdd"}), pod("low", "1", on="n1", priority=-1)) as world:
        await world.create(pod("x", "1", nodeSelector={"disk": "ssd"}))

        async def relabel() -> None:
            world.client.change(NODES, "n1", "", lambda new: new["metadata"]["labels"].update(disk="ssd"))

        assert await attempts_after(world, relabel) >= 1


@pytest.mark.parametrize("change", ["labels", "allocatable", "taints", "pod gone", "added"])
@given(data=st.data())
def test_a_pod_that_would_fit_is_never_left_out(change: str, data: st.DataObject) -> None:
    """Random small clusters: whoever waits after a change, and is not retried, does not fit."""
    labels = st.dictionaries(st.sampled_from(["disk", "zone"]), st.sampled_from(["a", "b"]))

    def some_node(name: str) -> Object:
        made = node(name, cpu=data.draw(st.sampled_from(["1", "2"])), labels=data.draw(labels))
        if data.draw(st.booleans()):
            made["spec"]["taints"] = [{"key": "k", "value": "", "effect": "NoSchedule"}]
        return made

    nodes = [some_node(f"n{number}") for number in range(3)]
    placed = [
        pod(f"p{number}", data.draw(st.sampled_from(["", "1"])), on=f"n{data.draw(st.integers(0, 2))}",
            priority=data.draw(st.integers(0, 2)), labels=data.draw(labels))
        for number in range(data.draw(st.integers(0, 4)))
    ]  # fmt: skip
    cluster = cluster_of(nodes, placed)
    queue = SchedulingQueue(HELPED_BY)
    hints = NodeHints(cluster, Nominations(), PROFILES)
    waiting = []
    for number in range(4):
        options: dict[str, Any] = {}
        if data.draw(st.booleans()):
            options["nodeSelector"] = {"disk": data.draw(st.sampled_from(["a", "b"]))}
        if data.draw(st.booleans()):
            options["tolerations"] = [{"key": "k", "operator": "Exists"}]
        if data.draw(st.booleans()):
            options["topologySpreadConstraints"] = [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                 "labelSelector": {"matchLabels": {"disk": "a"}}}
            ]  # fmt: skip
        obj = pod(f"w{number}", data.draw(st.sampled_from(["", "1", "2"])), priority=1, **options)
        parsed = cluster.parse_pod(obj)
        decision = schedule(cluster, Attempt(parsed), random.Random(1))
        if isinstance(decision, NoFit):
            queue.put(parsed, is_gated=False, now=0)
            taken = queue.take(0)
            assert taken is not None
            queue.refused(taken, decision.plugins, 0)
            waiting.append(taken)
    name = "n1"
    match change:
        case "pod gone":
            gone = next((each for each in placed), None)
            if gone is None:
                return
            name = gone["spec"]["nodeName"]
            cluster.remove_pod(gone["metadata"]["uid"])
            happened = Change.POD_GONE
        case "added":
            name = "n9"
            cluster.put_node(some_node(name))
            happened = Change.NODE_ADDED
        case _:
            old, new = nodes[1], some_node(name)
            changed = {"labels": ("metadata", "labels"), "allocatable": ("status", "allocatable"),
                       "taints": ("spec", "taints")}[change]  # fmt: skip
            kept = {key: dict(old[key]) for key in ("metadata", "spec", "status")}
            if changed[1] in new[changed[0]]:
                kept[changed[0]][changed[1]] = new[changed[0]][changed[1]]
            else:
                kept[changed[0]].pop(changed[1], None)
            cluster.put_node({**old, **kept})
            happened = {"labels": Change.NODE_LABELS, "allocatable": Change.NODE_ALLOCATABLE,
                        "taints": Change.NODE_TAINTS}[change]  # fmt: skip
    queue.changed([happened], 100, hints.at(name))
    for each in waiting:
        if each.state == "unschedulable":
            decision = schedule(cluster, Attempt(each.pod), random.Random(1))
            # What no plugin that refused it is helped by is not the hints' business.
            helped = any(happened in HELPED_BY.get(plugin, frozenset()) for plugin in each.refused_by)
            assert not (helped and isinstance(decision, Placement)), each.refused_by
