"""How nodes are rated. Expected figures are computed by hand from the documented formulas."""

from __future__ import annotations

import math

import pytest

from tests.unit.scheduler.clusters import cluster_of, decide, ratings
from tests.unit.scheduler.objects import container, near, node, pod, spread
from timonel.api.labels import selector_from_map
from timonel.api.objects import Object

HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
WEB = {"app": "web"}


def test_least_allocated_is_the_mean_of_free_shares() -> None:
    nodes = [node("empty", cpu="4", memory="10Gi"), node("used", cpu="4", memory="10Gi")]
    cluster = cluster_of(nodes, [pod("there", "1", "5Gi", on="used")])
    # empty: cpu (4-1)/4 = 75, memory (10-2)/10 = 80, mean 77. used: (4-2)/4 = 50, (10-7)/10 = 30, mean 40.
    assert ratings(cluster, pod("x", "1", "2Gi"), "NodeResourcesFit") == {"empty": 77, "used": 40}


def test_least_allocated_assumes_something_of_pods_that_ask_for_nothing() -> None:
    nodes = [node("empty", cpu="1", memory="2000Mi"), node("used", cpu="1", memory="2000Mi")]
    cluster = cluster_of(nodes, [pod("there", on="used")])
    # Each pod is taken for 100m and 200Mi: (90 + 90) / 2 and (80 + 80) / 2.
    assert ratings(cluster, pod("x"), "NodeResourcesFit") == {"empty": 90, "used": 80}


def test_a_resource_the_node_does_not_have_is_left_out_of_the_mean() -> None:
    assert ratings(cluster_of([node("n", cpu="4", memory="0")]), pod("x", "1"), "NodeResourcesFit") == {"n": 75}


def test_balance_rates_the_improvement() -> None:
    nodes = [node("even", cpu="10", memory="10Gi"), node("cpu-heavy", cpu="10", memory="10Gi")]
    cluster = cluster_of(nodes, [pod("there", "6", on="cpu-heavy")])
    # Deviation of two shares is half their distance. even: 0 -> |0 - 0.4|/2 = 0.2: 50 + (50 + 80 - 100) // 2 = 65.
    # cpu-heavy: |0.6 - 0|/2 = 0.3 -> |0.6 - 0.4|/2 = 0.1: 50 + (50 + 90 - 70) // 2 = 85.
    assert ratings(cluster, pod("x", memory="4Gi"), "NodeResourcesBalancedAllocation") == {"even": 65, "cpu-heavy": 85}
    assert ratings(cluster, pod("x"), "NodeResourcesBalancedAllocation") is None


def test_preferred_node_affinity_adds_weights_and_scales_to_100() -> None:
    nodes = [node("a", labels={"x": "1", "y": "1"}), node("b", labels={"x": "1"}), node("c")]

    def prefer(weight: int, key: str) -> Object:
        return {"weight": weight, "preference": {"matchExpressions": [{"key": key, "operator": "Exists"}]}}

    terms = [prefer(30, "x"), prefer(10, "y"), {"weight": 100, "preference": {}}]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}}
    assert ratings(cluster_of(nodes), pod("p", affinity=affinity), "NodeAffinity") == {"a": 100, "b": 75, "c": 0}


def test_prefer_no_schedule_taints_count_against_a_node() -> None:
    nodes = [
        node("clean"),
        node("one", taints=["a:PreferNoSchedule"]),
        node("two", taints=["a:PreferNoSchedule", "b:PreferNoSchedule"]),
    ]
    cluster = cluster_of(nodes)
    assert ratings(cluster, pod("x"), "TaintToleration") == {"clean": 100, "one": 50, "two": 0}
    tolerated = pod("x", tolerations=[{"key": "a", "operator": "Exists"}])
    assert ratings(cluster, tolerated, "TaintToleration") == {"clean": 100, "one": 100, "two": 0}
    other_effect = pod("x", tolerations=[{"key": "a", "operator": "Exists", "effect": "NoSchedule"}])
    assert ratings(cluster, other_effect, "TaintToleration") == {"clean": 100, "one": 50, "two": 0}


MIB = 1024 * 1024


def test_images_that_are_there_draw_pods_by_size_and_spread() -> None:
    images = {"registry/big:1": 600 * MIB}
    nodes = [node("a", images=images), node("b", images=images), node("c"), node("d")]
    # Half of the nodes have it: 600 MiB * 2/4 = 300; (300 - 23) / (1000 - 23) of 100 = 28.
    asked = pod("x", containers=[container(image="registry/big:1")])
    assert ratings(cluster_of(nodes), asked, "ImageLocality") == {"a": 28, "b": 28, "c": 0, "d": 0}
    # Two containers: 23 is the lower bound, 2000 the upper: (300 - 23) / (2000 - 23) = 14.
    two = pod("x", containers=[container(image="registry/big:1"), container(image="other")])
    assert ratings(cluster_of(nodes), two, "ImageLocality")["a"] == 14  # type: ignore[index]
    assert ratings(cluster_of(nodes), pod("x"), "ImageLocality") is None


def test_an_image_without_a_tag_is_latest() -> None:
    cluster = cluster_of([node("a", images={"localhost:5000/nginx:latest": 1000 * MIB})])
    asked = pod("x", containers=[container(image="localhost:5000/nginx")])
    assert ratings(cluster, asked, "ImageLocality") == {"a": 100}


def test_preferred_spreading_favours_domains_with_fewer_pods() -> None:
    nodes = [
        node("a1", labels={ZONE: "a"}),
        node("a2", labels={ZONE: "a"}),
        node("b1", labels={ZONE: "b"}),
        node("bare"),
    ]
    there = [pod(f"w{n}", on=on, labels=WEB) for n, on in enumerate(["a1", "a1", "a2", "b1"])]
    asked = pod("x", labels=WEB, topologySpreadConstraints=[spread(ZONE, WEB, when="ScheduleAnyway")])
    # Two domains: weight log(4). a: 3 pods, b: 1. Penalties round(3 * 1.386) = 4 and round(1.386) = 1;
    # ratings 100 * (4 + 1 - p) // 4. A node without the label gets nothing.
    assert (round(3 * math.log(4)), round(math.log(4))) == (4, 1)
    assert ratings(cluster_of(nodes, there), asked, "PodTopologySpread") == {"a1": 25, "a2": 25, "b1": 100, "bare": 0}


def test_default_spreading_is_by_host_name_and_zone() -> None:
    nodes = [node("a1", labels={ZONE: "a"}), node("b1", labels={ZONE: "b"}), node("bare")]
    there = [pod(f"w{n}", on=on, labels=WEB) for n, on in enumerate(["a1", "a1", "b1"])]
    cluster = cluster_of(nodes, there)
    # Host names: 3 domains, weight log(5), maxSkew 3. Zones: "a", "b" and none, 3 domains, weight log(5), maxSkew 5.
    host, zone = math.log(5), math.log(5)
    penalties = {
        "a1": math.floor(2 * host + 2 + 2 * zone + 4 + 0.5),
        "b1": math.floor(host + 2 + zone + 4 + 0.5),
        "bare": 2,
    }
    most, least = max(penalties.values()), min(penalties.values())
    expected = {name: 100 * (most + least - penalty) // most for name, penalty in penalties.items()}
    assert ratings(cluster, pod("x", labels=WEB), "PodTopologySpread", selector_from_map(WEB)) == expected
    assert ratings(cluster, pod("x", labels=WEB), "PodTopologySpread") is None


def test_preferred_affinity_draws_and_anti_affinity_repels() -> None:
    nodes = [node("a1", labels={ZONE: "a"}), node("b1", labels={ZONE: "b"}), node("c1", labels={ZONE: "c"})]
    there = [pod("db", on="a1", labels={"app": "db"}), pod("noisy", on="b1", labels={"app": "noisy"})]
    affinity = near(ZONE, {"app": "db"}, weight=30) | near(ZONE, {"app": "noisy"}, kind="podAntiAffinity", weight=10)
    # a: 30, b: -10, c: 0, scaled from [-10, 30] to [0, 100].
    assert ratings(cluster_of(nodes, there), pod("x", affinity=affinity), "InterPodAffinity") == {
        "a1": 100, "b1": 0, "c1": 25,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        (near(ZONE, WEB, weight=50), {"a1": 100, "b1": 0}),
        (near(ZONE, WEB, kind="podAntiAffinity", weight=50), {"a1": 0, "b1": 100}),
        (near(ZONE, WEB), {"a1": 100, "b1": 0}),  # a required affinity counts as a preference of weight 1
        (near(ZONE, {"app": "other"}, weight=50), None),
    ],
)
def test_the_wishes_of_pods_that_are_there_count_too(affinity: Object, expected: dict[str, int] | None) -> None:
    nodes = [node("a1", labels={ZONE: "a"}), node("b1", labels={ZONE: "b"})]
    cluster = cluster_of(nodes, [pod("there", on="a1", affinity=affinity)])
    assert ratings(cluster, pod("x", labels=WEB), "InterPodAffinity") == expected


def test_the_sum_of_weighted_ratings_decides() -> None:
    """The emptier node wins by NodeResourcesFit, unless it has a taint of preference, which weighs three times."""
    nodes = [node("empty"), node("used")]
    there = [pod("there", "2", "4Gi", on="used")]
    assert decide(cluster_of(nodes, there), pod("x", "100m", "200Mi")).node == "empty"  # type: ignore[union-attr]
    nodes[0]["spec"]["taints"] = [{"key": "a", "value": "", "effect": "PreferNoSchedule"}]
    assert decide(cluster_of(nodes, there), pod("x", "100m", "200Mi")).node == "used"  # type: ignore[union-attr]
