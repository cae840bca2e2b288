"""What is remembered of nodes is what a look at all of them would find, whatever happened; and who is preferred."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.devices.things import (
    DRIVER,
    allocated,
    claim,
    device,
    device_class,
    either,
    exactly,
    request,
    slice_of,
)
from tests.unit.scheduler.objects import container, node, pod
from timonel.api.objects import Object, ObjectKey
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.devices.extended import map_requests
from timonel.scheduler.core.devices.results import render_allocation
from timonel.scheduler.core.devices.wishes import parse_claim
from timonel.scheduler.core.framework import Attempt
from timonel.scheduler.core.plugins.dynamic_resources import DynamicResources
from timonel.scheduler.core.schedule import NoFit, Placement, schedule

NODES = ("a", "b", "c")


def wanting(*claims: str, **more: Any) -> Object:
    entries = [{"name": f"e{number}", "resourceClaimName": each} for number, each in enumerate(claims)]
    return pod("x", resourceClaims=entries, **more)


def cluster_of(nodes: list[Object], *objects: Object) -> Cluster:
    cluster = Cluster()
    for each in nodes:
        cluster.put_node(each)
    for obj in objects:
        {
            "ResourceSlice": cluster.devices.catalogue.put,
            "DeviceClass": cluster.devices.put_class,
            "ResourceClaim": cluster.devices.ledger.put_claim,
        }[obj["kind"]](obj)
    return cluster


def place(cluster: Cluster, obj: Object) -> Placement | NoFit:
    return schedule(cluster, Attempt(cluster.parse_pod(obj), object=obj), random.Random(1))


def ratings(cluster: Cluster, obj: Object) -> dict[str, int] | None:
    slots = cluster.nodes.alive.nonzero()[0]
    found = DynamicResources().score(cluster, Attempt(cluster.parse_pod(obj), object=obj), slots)
    if found is None:
        return None
    return {cluster.nodes.names[slot]: int(rating) for slot, rating in zip(slots, found, strict=True)}


class TestRatings:
    CLASS = device_class("gpu")
    SMALL, LARGE = (f'device.attributes["{DRIVER}"].size == "{size}"' for size in ("small", "large"))

    def test_the_nearer_to_the_front_the_better(self) -> None:
        slices = [
            slice_of(f"s-{name}", [device("d", size=size)], on=name)
            for name, size in zip("abc", ("small", "large", "other"), strict=True)
        ]
        wanted = claim("c", either("r", exactly(self.LARGE), exactly(self.SMALL), exactly()))
        cluster = cluster_of([node(name) for name in NODES], *slices, self.CLASS, wanted)
        # Eight for the first alternative, seven for the second; scaled so that the best is 100.
        assert ratings(cluster, wanting("c")) == {"a": 87, "b": 100, "c": 75}
        assert place(cluster, wanting("c")) == Placement("b", 3)

    def test_without_alternatives_there_is_nothing_to_rate(self) -> None:
        cluster = cluster_of([node("a")], slice_of("s", [device("d")], on="a"), self.CLASS, claim("c", request("r")))
        assert ratings(cluster, wanting("c")) is None


class TestNodesOfAnAllocation:
    """Where an allocation says that its devices can be used."""

    ZONE = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["z"]}]}]}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("reach", "more", "expected"),
        [
            ({"on": "a"}, {}, "a"),
            ({"allNodes": True}, {}, None),
            ({"allNodes": True}, {"bindsToNode": True}, "a"),
            ({"nodeSelector": ZONE}, {}, ZONE),
            ({"perDeviceNodeSelection": True}, {"nodeSelector": ZONE}, ZONE),
            ({"perDeviceNodeSelection": True}, {"nodeName": "a"}, "a"),
        ],
    )
    def test_is_as_narrow_as_the_narrowest_device(self, reach: Any, more: Any, expected: Any) -> None:
        wanted = claim("c", request("r"))
        offered = slice_of("s", [device("d", more=more)], **reach)
        cluster = cluster_of([node("a", labels={"zone": "z"})], offered, device_class(), wanted)
        (found,) = cluster.devices.allocate([wanted], "a")  # type: ignore[misc]
        rendered = render_allocation(parse_claim(wanted), found, "a", {}, lambda: "id")
        if isinstance(expected, str):
            here = {"key": "metadata.name", "operator": "In", "values": [expected]}
            expected = {"nodeSelectorTerms": [{"matchFields": [here]}]}
        assert rendered.get("nodeSelector") == expected

    def test_keeps_the_pod_to_them(self) -> None:
        here = {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}
        held = claim("c", request("r"), status=allocated("b/d", selector=here))
        cluster = cluster_of([node(name) for name in NODES], device_class(), held)
        assert place(cluster, wanting("c")) == Placement("b", 1)


GPU = "example.com/gpu"


@pytest.mark.parametrize(
    ("init", "main", "requests", "mappings"),
    [
        ([], [("m", 2)], {"container-0-request-0": 2}, {("m", "container-0-request-0")}),
        ([], [("m", 1), ("n", 2)], {"container-0-request-0": 1, "container-1-request-0": 2},
         {("m", "container-0-request-0"), ("n", "container-1-request-0")}),
        # One that ends before the others begin uses theirs,
        ([("i", 1)], [("m", 2)], {"container-1-request-0": 2},
         {("m", "container-1-request-0"), ("i", "container-1-request-0")}),
        # and has what it needs beyond that for itself.
        ([("i", 3)], [("m", 2)], {"container-0-request-0": 1, "container-1-request-0": 2},
         {("m", "container-1-request-0"), ("i", "container-1-request-0"), ("i", "container-0-request-0")}),
        # Of several the largest such request is made, once.
        ([("i", 3), ("j", 4)], [("m", 2)], {"container-1-request-0": 2, "container-2-request-0": 2},
         {("m", "container-2-request-0"), ("i", "container-2-request-0"), ("i", "container-1-request-0"),
          ("j", "container-2-request-0"), ("j", "container-1-request-0")}),
        ([], [("m", 0)], {}, set()),
    ],
)  # fmt: skip
def test_which_container_has_which_devices(init: Any, main: Any, requests: Any, mappings: Any) -> None:
    """KEP-5004: as the effective request of the pod, the larger of what runs together and what runs before."""
    obj = pod("x", containers=[container(name=name, requests={GPU: str(count)}) for name, count in main])
    obj["spec"]["initContainers"] = [container(name=name, requests={GPU: str(count)}) for name, count in init]
    mapped = map_requests(obj, {GPU: "gpu"})
    assert {each["name"]: each["exactly"]["count"] for each in mapped.requests} == requests
    assert {(each["containerName"], each["requestName"]) for each in mapped.mappings} == mappings


def test_of_classes_for_one_resource_the_newest_counts() -> None:
    older = device_class("a", extendedResourceName=GPU, created="2026-01-01T00:00:00Z")
    newer = [device_class(name, extendedResourceName=GPU, created="2026-02-01T00:00:00Z") for name in ("c", "b")]
    by_resource = cluster_of([], older, *newer).devices.by_resource
    assert by_resource.class_of(GPU) == "b", "the first by name of equally new ones"
    assert by_resource.class_of("deviceclass.resource.kubernetes.io/a") == "a"
    by_resource.remove("b")
    by_resource.remove("c")
    assert by_resource.class_of(GPU) == "a"
    by_resource.remove("a")
    assert GPU not in by_resource


SPREAD_OUT = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]}
EVENTS = st.one_of(
    st.tuples(st.just("node"), st.sampled_from(NODES), st.booleans()),
    st.tuples(st.just("no node"), st.sampled_from(NODES)),
    st.tuples(st.just("slice"), st.sampled_from(NODES), st.integers(0, 2), st.integers(1, 2)),
    st.tuples(st.just("no slice"), st.sampled_from((*NODES, "shared"))),
    st.tuples(st.just("shared"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("taken"), st.sampled_from((*NODES, "shared")), st.integers(0, 2)),
    st.tuples(st.just("given back"), st.sampled_from((*NODES, "shared")), st.integers(0, 2)),
    st.tuples(st.just("asked"), st.sampled_from("cd")),
)


def apply(cluster: Cluster, event: tuple[Any, ...]) -> None:
    devices = cluster.devices
    match event:
        case ("node", name, has_zone):
            cluster.put_node(node(name, labels={"zone": "z"} if has_zone else {}))
        case ("no node", name):
            cluster.remove_node(name)
        case ("slice", name, count, generation):
            devices.catalogue.put(
                slice_of(name, [device(f"d{number}") for number in range(count)], on=name, generation=generation)
            )
        case ("no slice", name):
            devices.catalogue.remove(name)
        case ("shared", count, by_zone):
            reach: Any = {"nodeSelector": SPREAD_OUT} if by_zone else {"allNodes": True}
            devices.catalogue.put(slice_of("shared", [device(f"d{number}") for number in range(count)], **reach))
        case ("taken", pool, number):
            devices.ledger.put_claim(claim(f"{pool}-{number}", status=allocated(f"{pool}/d{number}")))
        case ("given back", pool, number):
            devices.ledger.remove_claim(ObjectKey("default", f"{pool}-{number}"))


def answers(cluster: Cluster, wanted: Object) -> dict[str, str]:
    codes, _, reasons = cluster.devices.answers([wanted], cluster.nodes.alive)
    told = ("not known", "fits", *reasons)
    return {cluster.nodes.names[slot]: told[codes[slot]] for slot in cluster.nodes.alive.nonzero()[0]}


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_answers_are_those_of_a_fresh_look(events: list[tuple[Any, ...]]) -> None:
    wanted = {"c": claim("c", request("r")), "d": claim("d", request("r", count=2))}
    cluster = cluster_of([], device_class(), *wanted.values())
    for place_of, event in enumerate(events):
        if event[0] == "asked":
            answers(cluster, wanted[event[1]])
        else:
            apply(cluster, event)
        if event[0] in ("no slice", "taken", "given back", "no node") or place_of == len(events) - 1:
            fresh = cluster_of([], device_class(), *wanted.values())
            for past in events[: place_of + 1]:
                apply(fresh, past)
            for each in wanted.values():
                assert answers(cluster, each) == answers(fresh, each)


def test_what_is_too_much_for_one_attempt_is_gone_on_with_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timonel.scheduler.core.devices.inventory.STEPS_PER_POD", 60)
    names = [f"n{number}" for number in range(20)]
    # Each node has devices of its own kind, so none can be judged by another.
    slices = [slice_of(name, [device(f"d{each}", of=name) for each in range(4)], on=name) for name in names]
    wanted = claim("c", request("r", count=5))
    cluster = cluster_of([node(name) for name in names], *slices, device_class(), wanted)
    left = len(names)
    while left:
        found = list(answers(cluster, wanted).values()).count("not known")
        assert found < left
        left = found
    assert set(answers(cluster, wanted).values()) == {"cannot allocate all claims"}
