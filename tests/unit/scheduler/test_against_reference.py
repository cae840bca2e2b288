"""Random clusters: the arrays must agree with the rules applied node by node, however the cluster came about."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler import reference
from tests.unit.scheduler.clusters import cluster_of, decide, ratings
from tests.unit.scheduler.objects import container, near, node, pod, spread
from timonel.api.objects import Object
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt
from timonel.scheduler.core.plugins import FILTERS
from timonel.scheduler.core.schedule import NoFit, Placement, schedule

HOST = "kubernetes.io/hostname"
ZONE = "zone"
NAMES = [f"n{number}" for number in range(6)]

labels_of_pods = st.fixed_dictionaries({"app": st.sampled_from(["web", "db"])})
keys = st.sampled_from([HOST, ZONE])
selectors = st.sampled_from([{"app": "web"}, {"app": "db"}])


@st.composite
def nodes(draw: st.DrawFn, name: str) -> Object:
    labels = draw(st.sampled_from([{}, {ZONE: "a"}, {ZONE: "b"}, {ZONE: "c"}]))
    return node(
        name,
        cpu=draw(st.sampled_from(["0", "1", "2500m", "4"])),
        memory=draw(st.sampled_from(["1Gi", "3Gi"])),
        pods=draw(st.sampled_from(["1", "3", "10"])),
        labels=labels,
        taints=draw(st.lists(st.sampled_from(["a=1:NoSchedule", "a=2:NoExecute", "b:PreferNoSchedule"]), max_size=2)),
        unschedulable=draw(st.integers(0, 9)) == 0,
        allocatable=draw(st.sampled_from([{}, {"example.com/gpu": "2"}])),
    )


@st.composite
def pods(draw: st.DrawFn, on: str = "") -> Object:
    extra = draw(st.sampled_from([{}, {}, {"example.com/gpu": "1"}, {"example.com/none": "1"}]))
    ports = draw(
        st.sampled_from([[], [], [{"hostPort": 80, "protocol": "TCP"}], [{"hostPort": 80, "protocol": "UDP"}]])
    )
    cpu, memory = draw(st.sampled_from(["", "500m", "1", "3"])), draw(st.sampled_from(["", "512Mi", "2Gi"]))
    spec: Object = {"containers": [container(cpu, memory, requests=extra, ports=ports)]}
    if draw(st.integers(0, 2)) == 0:
        spec["nodeSelector"] = {ZONE: draw(st.sampled_from("abc"))}
    if draw(st.integers(0, 2)) == 0:
        spec["topologySpreadConstraints"] = draw(
            st.lists(st.builds(spread, keys, selectors, skew=st.integers(1, 2)), min_size=1, max_size=2)
        )
    affinity: Object = {}
    if draw(st.integers(0, 2)) == 0:
        affinity |= near(draw(keys), draw(selectors))
    if draw(st.integers(0, 2)) == 0:
        affinity |= near(draw(keys), draw(selectors), kind="podAntiAffinity")
    spec["tolerations"] = draw(
        st.lists(
            st.sampled_from(
                [
                    {"operator": "Exists"},
                    {"key": "a", "operator": "Equal", "value": "1", "effect": "NoSchedule"},
                    {"key": "a", "operator": "Exists", "effect": "NoExecute"},
                ]
            ),
            max_size=2,
        )
    )
    namespace = draw(st.sampled_from(["default", "default", "other"]))
    return pod("p", namespace=namespace, labels=draw(labels_of_pods), on=on, affinity=affinity, **spec)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Object], list[Object], Object]:
    machines = [draw(nodes(name)) for name in NAMES[: draw(st.integers(1, len(NAMES)))]]
    placed = [draw(pods(draw(st.sampled_from(NAMES[: len(machines)])))) for _ in range(draw(st.integers(0, 6)))]
    return machines, placed, draw(pods())


def masks_of(cluster: Cluster, asked: Object) -> dict[str, list[str]]:
    """For every node, the reasons of the first filter that refuses it."""
    attempt = Attempt(cluster.parse_pod(asked))
    found: dict[str, list[str]] = {name: [] for name in cluster.nodes.slots}
    for plugin in FILTERS:
        refusals = plugin.refuse(cluster, attempt)
        for name, slot in cluster.nodes.slots.items():
            reasons = [refusal.reason for refusal in refusals if refusal.mask[slot]]
            if not found[name] and reasons:
                found[name] = reasons if plugin.name == "NodeResourcesFit" else reasons[:1]
    return found


@settings(max_examples=120)
@given(world=worlds())
def test_every_node_is_refused_for_the_right_reason(world: tuple[list[Object], list[Object], Object]) -> None:
    machines, placed, asked = world
    cluster = cluster_of(machines, placed)
    expected = {each["metadata"]["name"]: reference.why_not(asked, each, machines, placed) for each in machines}
    assert {name: sorted(found) for name, found in masks_of(cluster, asked).items()} == {
        name: sorted(reasons) for name, reasons in expected.items()
    }
    decision = decide(cluster, asked)
    allowed = [name for name, reasons in expected.items() if not reasons]
    if allowed:
        assert isinstance(decision, Placement)
        assert decision.node in allowed
        assert decision.feasible == len(allowed)
    else:
        assert isinstance(decision, NoFit)
        assert decision.reasons == Counter(reason for reasons in expected.values() for reason in reasons)


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("node"), st.sampled_from(NAMES).flatmap(nodes)),
        st.tuples(st.just("remove node"), st.sampled_from(NAMES)),
        st.tuples(st.just("pod"), st.sampled_from(NAMES).flatmap(pods)),
        st.tuples(st.just("remove pod"), st.integers(0, 20)),
        st.tuples(st.just("ask"), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=200)
@given(changes=CHANGES, asked=pods())
def test_events_in_any_order_lead_to_the_same_cluster(changes: list[tuple[str, object]], asked: Object) -> None:
    """Counters, masks and columns that were made on the way must have followed every change."""
    cluster = Cluster()
    machines: dict[str, Object] = {}
    placed: list[Object] = []
    for what, value in changes:
        if what == "node":
            machines[value["metadata"]["name"]] = value  # type: ignore[index,assignment]
            cluster.put_node(value)  # type: ignore[arg-type]
        elif what == "remove node":
            machines.pop(value, None)  # type: ignore[call-overload]
            cluster.remove_node(value)  # type: ignore[arg-type]
        elif what == "pod":
            placed.append(value)  # type: ignore[arg-type]
            cluster.put_pod(cluster.parse_pod(value))  # type: ignore[arg-type]
        elif what == "remove pod" and placed:
            gone = placed.pop(value % len(placed))  # type: ignore[operator]
            cluster.remove_pod(gone["metadata"]["uid"])
        elif what == "ask":
            decide(cluster, asked)  # makes the counters, masks and columns that must then be kept up to date
    fresh = cluster_of(machines.values(), placed)
    alive = set(machines)
    assert {n: r for n, r in masks_of(cluster, asked).items() if n in alive} == {
        n: r for n, r in masks_of(fresh, asked).items() if n in alive
    }
    for name in alive:
        here, there = cluster.nodes.slots[name], fresh.nodes.slots[name]
        for resource, row in fresh.nodes.rows.items():
            assert cluster.nodes.requested[cluster.nodes.rows[resource], here] == fresh.nodes.requested[row, there]
    for plugin in ("NodeResourcesFit", "NodeResourcesBalancedAllocation"):
        remembered, computed = ratings(cluster, asked, plugin), ratings(fresh, asked, plugin)
        assert remembered == computed
    for asked_pod in placed:
        cluster.remove_pod(asked_pod["metadata"]["uid"])
    for name in list(machines):
        cluster.remove_node(name)
    assert not cluster.nodes.slots
    assert not cluster.nodes.requested.any()
    assert not cluster.nodes.assumed.any()


@settings(max_examples=40)
@given(
    machines=st.lists(st.sampled_from(NAMES), unique=True, min_size=1).flatmap(
        lambda names: st.tuples(*(nodes(name) for name in names))
    ),
    wanted=st.lists(pods(), max_size=30),
    seed=st.integers(0, 5),
)
def test_no_node_is_ever_over_committed(machines: tuple[Object, ...], wanted: list[Object], seed: int) -> None:
    cluster, rng = cluster_of(machines), random.Random(seed)
    for each in wanted:
        parsed = cluster.parse_pod(each)
        decision = schedule(cluster, Attempt(parsed), rng)
        if isinstance(decision, Placement):
            parsed.node = decision.node
            cluster.put_pod(parsed)
    assert np.all(cluster.nodes.requested[:, cluster.nodes.alive] <= cluster.nodes.allocatable[:, cluster.nodes.alive])
