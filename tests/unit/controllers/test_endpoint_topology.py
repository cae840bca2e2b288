"""Traffic that stays in its zone, by `service.kubernetes.io/topology-mode: Auto`.

Source: kubernetes.io/docs/concepts/services-networking/topology-aware-routing
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, node
from tests.unit.controllers.test_endpoint_slices import pod, service
from timonel.api.objects import Object
from timonel.api.refs import ENDPOINT_SLICES, NODES, SERVICES
from timonel.controllers.endpoints.topology import Member, NoHints, assign_zones, cpu_ratios, wants_topology
from timonel.testing.clock import settle

AUTO = {"service.kubernetes.io/topology-mode": "Auto"}


def placed(name: str, zone: str = "", cpu: str = "1000m", ready: str = "True", **labels: str) -> Object:
    made: Object = node(name, ready, labels={**({"topology.kubernetes.io/zone": zone} if zone else {}), **labels})
    made["status"]["allocatable"] = {"cpu": cpu}
    return made


@pytest.mark.parametrize(
    ("nodes", "ratios"),
    [
        ([placed("a", "x"), placed("b", "y")], {"x": 0.5, "y": 0.5}),
        ([placed("a", "x", "3"), placed("b", "y")], {"x": 0.75, "y": 0.25}),
        ([placed("a", "x"), placed("b", "x"), placed("c", "y", "2")], {"x": 0.5, "y": 0.5}),
        ([placed("a", "x")], None),
        ([placed("a", "x"), placed("b")], None),
        ([placed("a", "x"), placed("b", "y", "0")], None),
        ([placed("a", "x"), placed("b", "y"), placed("c", ready="False")], {"x": 0.5, "y": 0.5}),
        ([placed("a", "x"), placed("b", "y"), placed("c", **{"node-role.kubernetes.io/control-plane": ""})],
         {"x": 0.5, "y": 0.5}),
    ],
)  # fmt: skip
def test_the_zones_shares(nodes: list[Object], ratios: Any) -> None:
    assert cpu_ratios(nodes) == ratios


EVEN = {"x": 0.5, "y": 0.5}


def zones(text: str) -> list[Member]:
    """ "xxy": three endpoints by their zones."""
    return [Member(zone.strip(".")) for zone in text]


@pytest.mark.parametrize(
    ("members", "ratios", "assigned"),
    [
        ("xy", EVEN, "xy"),
        ("xxyy", EVEN, "xxyy"),
        ("xxxx", EVEN, "yyxx"),
        ("xxxy", EVEN, "yxxy"),
        ("xxxxxxx", EVEN, "xxxxyyy"),  # three and a half each: three go over
        ("xxxyyy", {"x": 2 / 3, "y": 1 / 3}, "xxxxyy"),
    ],
)
def test_where_they_go(members: str, ratios: Any, assigned: str) -> None:
    assert "".join(sorted(assign_zones(zones(members), ratios))) == "".join(sorted(assigned))


@pytest.mark.parametrize(
    ("members", "ratios", "why"),
    [
        ("xy", None, "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"),
        ("x", EVEN, "Insufficient number of endpoints (1 endpoints, 2 zones)"),
        ("x.yy", EVEN, "One or more endpoints do not have a zone specified"),
        ("xxxyy", EVEN,
         "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
         " (5 endpoints, 2 zones)"),
        ("xyz", {"x": 0.45, "y": 0.45, "z": 0.1},
         "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
         " (3 endpoints, 3 zones)"),
    ],
)  # fmt: skip
def test_when_there_are_no_hints(members: str, ratios: Any, why: str) -> None:
    with pytest.raises(NoHints) as caught:
        assign_zones(zones(members), ratios)
    assert str(caught.value) == why


def test_what_is_well_stays() -> None:
    members = [Member("x", "y"), Member("x", "x"), Member("y", "x"), Member("y", "y")]
    assert assign_zones(members, EVEN) == ["y", "x", "x", "y"]


def test_hints_for_zones_that_are_gone_are_given_anew() -> None:
    assert assign_zones([Member("x", "gone"), Member("y", "gone")], EVEN) == ["x", "y"]


@given(
    st.lists(st.sampled_from("xyz"), min_size=3, max_size=60),
    st.lists(st.integers(1, 32), min_size=3, max_size=3),
)
def test_every_zone_has_about_its_share(members: list[str], cpus: list[int]) -> None:
    """No endpoint gets more than a fifth too much, and nothing changes when asked again.

    Where the last endpoint is fought over, a small zone may be left with none: its clients then use all of them.
    """
    ratios = {zone: cpu / sum(cpus) for zone, cpu in zip("xyz", cpus, strict=True)}
    try:
        assigned = assign_zones([Member(zone) for zone in members], ratios)
    except NoHints:
        return
    counts = Counter(assigned)
    for zone, ratio in ratios.items():
        if not counts[zone]:
            assert ratio * len(members) <= 1.2
            continue
        assert ratio * len(members) / counts[zone] <= 1.2 + 1.0 / counts[zone]
    again = assign_zones([Member(zone, hint) for zone, hint in zip(members, assigned, strict=True)], ratios)
    assert Counter(again) == counts


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        ({}, False),
        (AUTO, True),
        ({"service.kubernetes.io/topology-mode": "auto"}, True),
        ({"service.kubernetes.io/topology-mode": "Disabled"}, False),
        ({"service.kubernetes.io/topology-aware-hints": "Auto"}, True),
        ({"service.kubernetes.io/topology-aware-hints": "Disabled", **AUTO}, False),
    ],
)
def test_who_asks_for_it(annotations: dict[str, str], wanted: bool) -> None:
    made = service()
    made["metadata"]["annotations"] = annotations
    assert wants_topology(made) == wanted


def hints(cluster: Cluster) -> list[Any]:
    (found,) = cluster.client.objects(ENDPOINT_SLICES)
    return [each.get("hints") for each in found["endpoints"]]


def for_zone(zone: str) -> Object:
    return {"forZones": [{"name": zone}]}


async def test_hints_come_and_go_and_it_is_told() -> None:
    own = service()
    own["metadata"]["annotations"] = AUTO
    nodes = [placed("n1", "x"), placed("n2", "y")]
    pods = [pod(1, node_name="n1"), pod(2, node_name="n2")]
    controllers = ("pod-garbage-collector", "node-lifecycle", "taint-eviction-controller", "garbage-collector")
    async with Cluster(own, *nodes, *pods, without=controllers) as cluster:

        async def told() -> list[str]:
            await cluster.clock.advance(2)
            return [message for _, reason, message in cluster.events() if reason.startswith("TopologyAware")]

        assert hints(cluster) == [for_zone("x"), for_zone("y")]
        assert await told() == ["Topology Aware Hints has been enabled, addressType: IPv4"]
        cluster.client.change(NODES, "n2", "", lambda obj: obj["status"]["allocatable"].update(cpu="0"))
        await settle(300)
        assert hints(cluster) == [None, None]
        assert (await told())[-1].startswith("Insufficient Node information")
        cluster.client.change(NODES, "n2", "", lambda obj: obj["status"]["allocatable"].update(cpu="1"))
        await settle(300)
        assert hints(cluster) == [for_zone("x"), for_zone("y")]
        cluster.client.change(SERVICES, "web", "default", lambda obj: obj["metadata"].pop("annotations"))
        await settle(300)
        assert hints(cluster) == [None, None]
        assert "Topology Aware Hints has been disabled, addressType: IPv4" in await told()
