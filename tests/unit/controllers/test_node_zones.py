"""How fast pods are sent away from lost nodes, zone by zone, in simulated time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, node
from tests.unit.controllers.test_node_health import taints
from timonel.api.objects import find_by, name_of
from timonel.api.refs import NODES
from timonel.controllers.manager import ManagerConfig
from timonel.controllers.nodes import EvictionConfig, NodeLifecycleConfig
from timonel.controllers.nodes.health import NOT_READY
from timonel.controllers.nodes.zones import Zones, ZoneState, eviction_rate, zone_of, zone_state

NORMAL, PARTIAL, FULL = ZoneState.NORMAL, ZoneState.PARTIAL, ZoneState.FULL


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, ""),
        ({"topology.kubernetes.io/zone": "a"}, ":\x00:a"),
        ({"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "a"}, "r:\x00:a"),
        ({"failure-domain.beta.kubernetes.io/zone": "old", "topology.kubernetes.io/zone": "a"}, ":\x00:old"),
    ],
)
def test_zone_of_a_node(labels, expected):
    assert zone_of({"metadata": {"name": "n", "labels": labels}}) == expected


@pytest.mark.parametrize(
    ("ready", "others", "expected"),
    [
        (5, 0, NORMAL), (0, 1, FULL), (0, 5, FULL),
        (1, 2, NORMAL),  # two are never a disruption
        (3, 3, NORMAL), (2, 3, PARTIAL), (9, 11, PARTIAL), (10, 11, NORMAL),
    ],
)  # fmt: skip
def test_state_of_a_zone(ready, others, expected):
    assert zone_state(ready, others, 0.55) is expected


@pytest.mark.parametrize(
    ("state", "size", "expected"),
    [(NORMAL, 10, 0.1), (FULL, 10, 0.1), (PARTIAL, 50, 0.0), (PARTIAL, 51, 0.01), (NORMAL, 500, 0.1)],
)
def test_rate_of_a_zone(state, size, expected):
    assert eviction_rate(state, size, EvictionConfig()) == expected


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a", "b", ""]), st.sampled_from([True, False, None]))))
def test_what_is_kept_is_what_counting_anew_gives(changes):
    zones, nodes = Zones(EvictionConfig()), {}
    for number, zone, is_ready in changes:
        name = f"n{number}"
        if is_ready is None:
            zones.forget(name)
            nodes.pop(name, None)
        else:
            zones.note(name, zone, is_ready)
            nodes[name] = zone, is_ready
    counted = {
        zone: ([ready for home, ready in nodes.values() if home == zone])
        for zone in {home for home, _ in nodes.values()}
    }
    assert {zone: (found.size, found.unhealthy) for zone, found in zones.figures()} == {
        zone: (len(states), states.count(False)) for zone, states in counted.items()
    }
    assert zones.all_are_lost == (bool(nodes) and not any(ready for _, ready in nodes.values()))


def test_pace_is_kept_per_zone_and_changes_are_told_to_whom_they_concern():
    zones = Zones(EvictionConfig(rate=0.1))
    for number in range(5):
        for zone in "ab":
            assert zones.note(f"{zone}{number}", zone, True) <= {"a0", "b0"}
    zones.note("a0", "a", False)
    zones.note("a1", "a", False)
    assert zones.wait("a0", 100.0) == 0
    zones.evicted("a0", 100.0)
    assert zones.wait("a1", 104.0) == 6
    assert zones.wait("b0", 104.0) == 0
    assert zones.note("a2", "a", False) == {"a0", "a1", "a2"}  # 3 of 5 lost: a small zone, so nobody goes
    assert zones.wait("a1", 200.0) == math.inf
    assert zones.note("a2", "a", True) == {"a0", "a1"}
    assert zones.wait("a1", 200.0) == 0


class Zoned(Cluster):
    """Nodes zone-number, all ready at first."""

    def __init__(self, sizes, **rates):
        nodes = [
            node(f"{zone}-{number}", labels={"topology.kubernetes.io/zone": zone})
            for zone, size in sizes.items()
            for number in range(size)
        ]
        lifecycle = NodeLifecycleConfig(grace_seconds=40, eviction=EvictionConfig(**rates))
        super().__init__(*nodes, config=ManagerConfig(leader_election=False, node_lifecycle=lifecycle))

    def report(self, name, status):
        def change(obj):
            find_by(obj["status"]["conditions"], "type", "Ready")["status"] = status

        self.client.change(NODES, name, "", change)

    def emptied(self):
        """Nodes whose pods are sent away."""
        return {
            name
            for name in map(name_of, self.client.objects(NODES))
            if any(effect == "NoExecute" for _, effect in taints(self, name))
        }


async def test_lost_nodes_of_a_healthy_zone_are_emptied_one_every_ten_seconds():
    async with Zoned({"a": 10}) as cluster:
        for number in range(4):
            cluster.report(f"a-{number}", "False")
        counts = []
        for _ in range(5):
            await cluster.run(1)
            counts.append(len(cluster.emptied()))
            await cluster.run(9, step=1)
        assert counts == [1, 2, 3, 4, 4]


async def test_small_zone_that_is_unhealthy_is_left_alone_until_it_recovers():
    async with Zoned({"a": 5, "b": 2}) as cluster:
        for number in range(3):
            cluster.report(f"a-{number}", "False")
        cluster.report("b-0", "False")
        await cluster.run(60, step=2)
        assert {name for name in cluster.emptied() if name != "b-0"} <= {"a-0"}  # the first before it was unhealthy
        assert "b-0" in cluster.emptied()
        cluster.report("a-2", "True")
        await cluster.run(25, step=1)
        assert cluster.emptied() == {"a-0", "a-1", "b-0"}


async def test_large_zone_that_is_unhealthy_is_emptied_slowly():
    async with Zoned({"a": 6}, large_zone=5, secondary_rate=0.02) as cluster:
        for number in range(4):
            cluster.report(f"a-{number}", "False")
        await cluster.run(1)
        first = len(cluster.emptied())
        assert first == 1
        await cluster.run(48, step=1)
        assert len(cluster.emptied()) == first
        await cluster.run(4, step=1)
        assert len(cluster.emptied()) == first + 1


async def test_zone_that_is_lost_whole_is_emptied_as_long_as_another_one_is_well():
    async with Zoned({"a": 3, "b": 1}) as cluster:
        for number in range(3):
            cluster.report(f"a-{number}", "Unknown")
        await cluster.run(25, step=1)
        assert cluster.emptied() == {"a-0", "a-1", "a-2"}


async def test_when_every_zone_is_lost_nobody_goes_and_who_was_to_go_may_stay():
    async with Zoned({"a": 1, "b": 1}) as cluster:
        cluster.report("a-0", "False")
        await cluster.run(2)
        assert cluster.emptied() == {"a-0"}
        cluster.report("b-0", "False")
        await cluster.run(2)
        assert cluster.emptied() == set()
        assert (NOT_READY, "NoSchedule") in taints(cluster, "a-0")
        cluster.report("b-0", "True")
        await cluster.run(12, step=1)
        assert cluster.emptied() == {"a-0"}
