"""What plugins' arguments change: tables worked out from the documented rules, and slow references for the scores.

Rules: kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing and the API reference of
KubeSchedulerConfiguration v1.
"""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scheduler.clusters import cluster_of
from tests.unit.scheduler.objects import near, node, pod
from timonel.api.labels import selector_from_map
from timonel.api.objects import Object
from timonel.api.quantity import int_value
from timonel.scheduler.core.arguments import (
    DefaultPreemptionArgs,
    DefaultSpread,
    InterPodAffinityArgs,
    NodeAffinityArgs,
    NodeResourcesBalancedAllocationArgs,
    NodeResourcesFitArgs,
    PodTopologySpreadArgs,
    ShapePoint,
    Strategy,
    WeightedResource,
)
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt
from timonel.scheduler.core.plugins import IN_TREE
from timonel.scheduler.core.preemption import Preemption, find_victims
from timonel.scheduler.core.profile import DEFAULT_SCHEDULER, EXTENSION_POINTS, Profile, build_profile
from timonel.scheduler.core.schedule import NoFit, Placement, schedule
from timonel.scheduler.core.selectors import parse_node_term

GPU = "example.com/gpu"
ZONE = "topology.kubernetes.io/zone"


def profile(without: tuple[str, ...] = (), **args: Any) -> Profile:
    points = {
        point: [row.name for row in IN_TREE if row.is_default and point in row.points and row.name not in without]
        for point in EXTENSION_POINTS
    }
    return build_profile(DEFAULT_SCHEDULER, {row.name: row for row in IN_TREE}, points, args=args)


def with_gpus(obj: Object, count: str) -> Object:
    if obj["kind"] == "Node":
        obj["status"]["allocatable"][GPU] = count
    else:
        obj["spec"]["containers"][0]["resources"].setdefault("requests", {})[GPU] = count
    return obj


def rate(cluster: Cluster, wanted: Object, name: str, args: Any) -> list[int] | None:
    plugin = next(row for row in IN_TREE if row.name == name).make(args)  # type: ignore[misc]
    slots = np.flatnonzero(cluster.nodes.alive)
    found = plugin.score(cluster, Attempt(cluster.parse_pod(wanted)), slots)
    return None if found is None else [int(each) for each in found]


# NodeResourcesFit


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        # cpu (1000 + 1000) / 4000, memory (2 + 2) / 8: half free and half used, whatever the weights.
        (NodeResourcesFitArgs(), 50),
        (NodeResourcesFitArgs(strategy=Strategy.MOST_ALLOCATED), 50),
        (NodeResourcesFitArgs(resources=(WeightedResource("cpu", 9), WeightedResource("memory", 1))), 50),
        # The pod has two gpus and one is used: 3 of 4. (50 * 1 + 25 * 3) // 4 and (50 * 1 + 75 * 3) // 4
        (NodeResourcesFitArgs(resources=(WeightedResource("cpu", 1), WeightedResource(GPU, 3))), 31),
        (NodeResourcesFitArgs(strategy=Strategy.MOST_ALLOCATED,
                              resources=(WeightedResource("cpu", 1), WeightedResource(GPU, 3))), 68),
        # A resource that the node does not have does not count.
        (NodeResourcesFitArgs(resources=(WeightedResource("cpu", 1), WeightedResource("example.com/none", 5))), 50),
        # The documentation's example of bin packing: 0 at 0 %, 10 at 100 %. cpu 50, gpu 75: round((50 + 75 * 3) / 4)
        (NodeResourcesFitArgs(strategy=Strategy.REQUESTED_TO_CAPACITY_RATIO,
                              resources=(WeightedResource("cpu", 1), WeightedResource(GPU, 3)),
                              shape=(ShapePoint(0, 0), ShapePoint(100, 10))), 69),
        # And of spreading: 10 at 0 %, 0 at 100 %. round((50 + 25 * 3) / 4) = 31
        (NodeResourcesFitArgs(strategy=Strategy.REQUESTED_TO_CAPACITY_RATIO,
                              resources=(WeightedResource("cpu", 1), WeightedResource(GPU, 3)),
                              shape=(ShapePoint(0, 10), ShapePoint(100, 0))), 31),
    ],
)  # fmt: skip
def test_strategies(args: NodeResourcesFitArgs, expected: int) -> None:
    there = with_gpus(pod("there", "1", "2Gi", on="n"), "1")
    cluster = cluster_of([with_gpus(node("n", cpu="4", memory="8Gi"), "4")], [there])
    assert rate(cluster, with_gpus(pod("x", "1", "2Gi"), "2"), "NodeResourcesFit", args) == [expected]


def test_extended_resources_count_only_for_pods_that_ask() -> None:
    cluster = cluster_of([with_gpus(node("n", cpu="4"), "4")], [with_gpus(pod("there", on="n"), "4")])
    args = NodeResourcesFitArgs(resources=(WeightedResource("cpu"), WeightedResource(GPU)))
    # cpu: two pods that ask for nothing count as 100m each: (4000 - 200) / 4000
    assert rate(cluster, pod("x"), "NodeResourcesFit", args) == [95]


@pytest.mark.parametrize(
    ("args", "fits"),
    [
        (NodeResourcesFitArgs(), False),
        (NodeResourcesFitArgs(ignored_resources=frozenset({GPU})), True),
        (NodeResourcesFitArgs(ignored_groups=frozenset({"example.com"})), True),
        (NodeResourcesFitArgs(ignored_groups=frozenset({"example.org"})), False),
    ],
)
def test_ignored_resources_are_not_looked_at(args: NodeResourcesFitArgs, fits: bool) -> None:
    cluster = cluster_of([node("n")])
    wanted = cluster.parse_pod(with_gpus(pod("x"), "1"))
    decision = schedule(cluster, Attempt(wanted), random.Random(1), profile(NodeResourcesFit=args))
    assert isinstance(decision, Placement) is fits


def test_native_resources_cannot_be_ignored() -> None:
    cluster = cluster_of([node("n", cpu="1")])
    args = NodeResourcesFitArgs(ignored_resources=frozenset({"cpu", "hugepages-2Mi"}))
    decision = schedule(
        cluster, Attempt(cluster.parse_pod(pod("x", "2"))), random.Random(1), profile(NodeResourcesFit=args)
    )
    assert isinstance(decision, NoFit)


def reference_fit(args: NodeResourcesFitArgs, capacity: dict[str, int], used: dict[str, int]) -> int:
    """By the documentation, resource by resource, with exact numbers; `used` includes the pod."""

    def line(percent: int) -> int:
        shape = [(point.utilization, point.score * 10) for point in args.shape]
        if percent <= shape[0][0]:
            return shape[0][1]
        for (x0, y0), (x1, y1) in itertools.pairwise(shape):
            if percent <= x1:
                return y0 + math.trunc((y1 - y0) * (percent - x0) / (x1 - x0))
        return shape[-1][1]

    total = weights = 0
    for resource in args.resources:
        size = capacity.get(resource.name, 0)
        if not size or resource.name not in used:
            continue
        taken = used[resource.name]
        if args.strategy is Strategy.LEAST_ALLOCATED:
            score = 0 if taken > size else (size - taken) * 100 // size
        elif args.strategy is Strategy.MOST_ALLOCATED:
            score = min(taken, size) * 100 // size
        else:
            score = line(100 if taken > size else taken * 100 // size)
            if not score:
                continue
        total += score * resource.weight
        weights += resource.weight
    if not weights:
        return 0
    if args.strategy is Strategy.REQUESTED_TO_CAPACITY_RATIO:
        return math.floor(total / weights + 0.5)
    return total // weights


@st.composite
def shapes(draw: st.DrawFn) -> tuple[ShapePoint, ...]:
    utilizations = sorted(draw(st.sets(st.integers(0, 100), min_size=1, max_size=5)))
    return tuple(ShapePoint(each, draw(st.integers(0, 10))) for each in utilizations)


resources = st.lists(
    st.sampled_from(["cpu", "memory", "ephemeral-storage", GPU, "example.com/none", "pods"]), min_size=1, unique=True
).flatmap(lambda names: st.tuples(*(st.builds(WeightedResource, st.just(each), st.integers(1, 100)) for each in names)))


@given(
    strategy=st.sampled_from(Strategy),
    weighted=resources,
    shape=shapes(),
    size=st.integers(0, 8),
    cores=st.integers(1, 8),
    taken=st.integers(0, 9),
    wanted=st.integers(0, 9),
    gpus=st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)),
)
def test_strategies_equal_the_reference(
    strategy: Strategy,
    weighted: tuple[WeightedResource, ...],
    shape: tuple[ShapePoint, ...],
    size: int,
    cores: int,
    taken: int,
    wanted: int,
    gpus: tuple[int, int, int],
) -> None:
    args = NodeResourcesFitArgs(strategy=strategy, resources=weighted, shape=shape)
    capacity_gpu, used_gpu, wanted_gpu = gpus
    on = with_gpus(node("n", cpu=str(cores), memory=f"{size}Gi"), str(capacity_gpu))
    there = with_gpus(pod("there", f"{taken}", f"{taken}Gi", on="n"), str(used_gpu))
    asking = pod("x", f"{wanted}", f"{wanted}Gi")
    if wanted_gpu:
        with_gpus(asking, str(wanted_gpu))
    used = {"cpu": (taken + wanted) * 1000, "memory": (taken + wanted) << 30, "ephemeral-storage": 0}
    if wanted_gpu:
        used[GPU] = used_gpu + wanted_gpu
    capacity = {"cpu": cores * 1000, "memory": size << 30, GPU: capacity_gpu}
    capacity |= _storage(on)
    cluster = cluster_of([on], [there])
    assert rate(cluster, asking, "NodeResourcesFit", args) == [reference_fit(args, capacity, used)]


def _storage(on: Object) -> dict[str, int]:
    found = on["status"]["allocatable"].get("ephemeral-storage")
    return {"ephemeral-storage": int_value(found)} if found else {}


# NodeResourcesBalancedAllocation


def test_balance_of_three_resources() -> None:
    """Shares with the pod 0.5, 0.5, 1: mean 2/3, deviation sqrt(1/18) = 0.2357, 76; without it 0.25, 0.25, 0.5: 88."""
    there = with_gpus(pod("there", "1", "2Gi", on="n"), "2")
    cluster = cluster_of([with_gpus(node("n", cpu="4", memory="8Gi"), "4")], [there])
    args = NodeResourcesBalancedAllocationArgs(("cpu", "memory", GPU))
    expected = 50 + (50 + 76 - 88) // 2
    wanted = with_gpus(pod("x", "1", "2Gi"), "2")
    assert rate(cluster, wanted, "NodeResourcesBalancedAllocation", args) == [expected]


@given(
    names=st.lists(st.sampled_from(["cpu", "memory", GPU]), min_size=1, unique=True),
    amounts=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8)), min_size=3, max_size=3),
)
def test_balance_equals_the_reference(names: list[str], amounts: list[tuple[int, int, int]]) -> None:
    """50 + (50 + with - without) / 2, each (1 - standard deviation) * 100 of the shares, none above 1."""
    capacity, used, wanted = (dict(zip(("cpu", "memory", GPU), row, strict=True)) for row in amounts)
    on = with_gpus(node("n", cpu=str(capacity["cpu"]), memory=f"{capacity['memory']}Gi"), str(capacity[GPU]))
    there = with_gpus(pod("there", str(used["cpu"]), f"{used['memory']}Gi", on="n"), str(used[GPU]))
    asking = with_gpus(pod("x", str(wanted["cpu"]), f"{wanted['memory']}Gi"), str(wanted[GPU]))
    found = rate(cluster_of([on], [there]), asking, "NodeResourcesBalancedAllocation",
                 NodeResourcesBalancedAllocationArgs(tuple(names)))  # fmt: skip
    if not any(wanted[name] for name in names):
        assert found is None
        return

    def balance(extra: dict[str, int]) -> int:
        shares = [
            min((used[name] + extra.get(name, 0)) / capacity[name], 1.0)
            for name in names
            if capacity[name] and (name != GPU or wanted[name])
        ]
        if len(shares) < 2:
            return 100
        if len(shares) == 2:
            return int((1 - abs(shares[0] - shares[1]) / 2) * 100)
        mean = sum(shares) / len(shares)
        return int((1 - math.sqrt(sum((share - mean) ** 2 for share in shares) / len(shares))) * 100)

    expected = 50 + (50 + balance(wanted) - balance({})) // 2
    assert found is not None
    assert abs(found[0] - expected) <= 1  # sums of floating point numbers may end on either side of a whole one


# NodeAffinity


def test_added_affinity_applies_to_every_pod() -> None:
    term = parse_node_term({"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a"]}]})
    cluster = cluster_of([node("in", labels={"pool": "a", "disk": "ssd"}), node("out", labels={"disk": "ssd"})])
    enforcing = profile(NodeAffinity=NodeAffinityArgs(required=(term,)))
    decision = schedule(cluster, Attempt(cluster.parse_pod(pod("x"))), random.Random(1), enforcing)
    assert isinstance(decision, Placement)
    assert (decision.node, decision.feasible) == ("in", 1)
    both = pod("y", nodeSelector={"disk": "hdd"})
    refused = schedule(cluster, Attempt(cluster.parse_pod(both)), random.Random(1), enforcing)
    assert isinstance(refused, NoFit)
    assert refused.reasons == {
        "node(s) didn't match scheduler-enforced node affinity": 1,
        "node(s) didn't match Pod's node affinity/selector": 1,
    }


def test_added_preferences_count_beside_the_pods_own() -> None:
    pool, disk = (parse_node_term({"matchExpressions": [{"key": key, "operator": "Exists"}]}) for key in ("a", "b"))
    cluster = cluster_of([node("none"), node("a", labels={"a": ""}), node("both", labels={"a": "", "b": ""})])
    args = NodeAffinityArgs(preferred=((30, pool), (10, disk)))
    assert rate(cluster, pod("x"), "NodeAffinity", args) == [0, 75, 100]


# PodTopologySpread


def spread(*constraints: DefaultSpread) -> Profile:
    return profile(PodTopologySpread=PodTopologySpreadArgs(constraints))


def test_default_constraints_of_ones_own_can_be_required() -> None:
    web = {"app": "web"}
    nodes = [node("a", labels={ZONE: "a"}), node("b", labels={ZONE: "b"}), node("none")]
    cluster = cluster_of(nodes, [pod("there", on="a", labels=web)])
    wanted = cluster.parse_pod(pod("x", labels=web))
    strict = spread(DefaultSpread(1, ZONE, is_required=True))
    grouped = schedule(cluster, Attempt(wanted, selector_from_map(web)), random.Random(1), strict)
    assert isinstance(grouped, Placement)
    assert (grouped.node, grouped.feasible) == ("b", 1)
    alone = schedule(cluster, Attempt(wanted), random.Random(1), strict)
    assert isinstance(alone, Placement)
    assert alone.feasible == 3
    own = pod("y", labels=web, topologySpreadConstraints=[
        {"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": "ScheduleAnyway",
         "labelSelector": {"matchLabels": web}}
    ])  # fmt: skip
    of_its_own = schedule(cluster, Attempt(cluster.parse_pod(own), selector_from_map(web)), random.Random(1), strict)
    assert isinstance(of_its_own, Placement)
    assert of_its_own.feasible == 3


def test_with_preferred_defaults_of_ones_own_nodes_without_the_label_get_nothing() -> None:
    web = {"app": "web"}
    cluster = cluster_of([node("a", labels={ZONE: "a"}), node("none")], [])
    plugin = next(row for row in IN_TREE if row.name == "PodTopologySpread").make  # type: ignore[union-attr]
    assert plugin is not None
    made = plugin(PodTopologySpreadArgs((DefaultSpread(1, ZONE, is_required=False),)))
    attempt = Attempt(cluster.parse_pod(pod("x", labels=web)), selector_from_map(web))
    assert made.score(cluster, attempt, np.flatnonzero(cluster.nodes.alive)).tolist() == [100, 0]
    assert plugin(PodTopologySpreadArgs(())).score(cluster, attempt, np.array([0, 1])) is None


# InterPodAffinity


def test_the_weight_of_required_affinity() -> None:
    """Two pods there require this one near; b has one that prefers it by 1."""
    hard, soft = near(ZONE, {"app": "web"}), near(ZONE, {"app": "web"}, weight=1)
    there = [pod(f"p{n}", on="a", affinity=hard) for n in range(2)] + [pod("q", on="b", affinity=soft)]
    cluster = cluster_of([node("a", labels={ZONE: "a"}), node("b", labels={ZONE: "b"}), node("c")], there)
    wanted = pod("x", labels={"app": "web"})
    assert rate(cluster, wanted, "InterPodAffinity", InterPodAffinityArgs()) == [100, 50, 0]
    assert rate(cluster, wanted, "InterPodAffinity", InterPodAffinityArgs(0)) == [0, 100, 0]
    assert rate(cluster, wanted, "InterPodAffinity", InterPodAffinityArgs(100)) == [100, 0, 0]
    ignoring = InterPodAffinityArgs(1, ignore_preferred_terms_of_existing_pods=True)
    assert rate(cluster, wanted, "InterPodAffinity", ignoring) is None
    own = pod("y", labels={"app": "web"}, affinity=near(ZONE, {"none": "such"}, weight=1))
    assert rate(cluster, own, "InterPodAffinity", ignoring) == [100, 50, 0]


# DefaultPreemption


def test_the_number_of_candidates() -> None:
    """20 nodes: with 5 % and at least none, one candidate is enough; the default looks at all of them."""
    nodes = [node(f"n{index}", cpu="1") for index in range(20)]
    pods = [pod(f"p{index}", "1", on=f"n{index}", priority=index) for index in range(20)]
    cluster = cluster_of(nodes, pods)
    attempt = Attempt(cluster.parse_pod(pod("x", "1", priority=100)))

    def victim(args: DefaultPreemptionArgs) -> int:
        found = find_victims(cluster, attempt, range(20), budgets=(), started=lambda each: 0.0, rng=random.Random(4),
                             profile=profile(DefaultPreemption=args))  # fmt: skip
        assert isinstance(found, Preemption)
        return found.victims[0].klass.priority

    assert victim(DefaultPreemptionArgs()) == 0
    first = random.Random(4).randrange(20)
    assert victim(DefaultPreemptionArgs(5, 0)) == first
    assert victim(DefaultPreemptionArgs(10, 0)) == min(first, (first + 1) % 20)


def test_without_preemption_nothing_is_said_of_it() -> None:
    cluster = cluster_of([node("n", cpu="1")], [pod("there", "1", on="n")])
    wanted = Attempt(cluster.parse_pod(pod("x", "1", priority=5)))
    decision = schedule(cluster, wanted, random.Random(1), profile(without=("DefaultPreemption",)))
    assert isinstance(decision, NoFit)
    assert decision.message == "0/1 nodes are available: 1 Insufficient cpu."
    assert decision.slots == ()
