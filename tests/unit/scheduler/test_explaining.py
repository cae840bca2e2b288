"""The text of FailedScheduling, as upstream v1.36 prints it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.scheduler.clusters import cluster_of, decide
from tests.unit.scheduler.objects import node, pod
from timonel.scheduler.core.schedule import NoFit

MIXED = [
    node("small-1", cpu="1"),
    node("small-2", cpu="1"),
    node("tainted", cpu="8", taints=["dedicated:NoSchedule"]),
    node("cordoned", cpu="8", unschedulable=True),
]


def message(nodes: list[Any], pods: list[Any], **spec: Any) -> str:
    decision = decide(cluster_of(nodes, pods), pod("x", "2", **spec))
    assert isinstance(decision, NoFit)
    return decision.message


def test_reasons_are_counted_and_sorted() -> None:
    assert message(MIXED, []) == (
        "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, "
        "2 Insufficient cpu. no new claims to deallocate, preemption: 0/4 nodes are available: "
        "4 Preemption is not helpful for scheduling."
    )


def test_a_node_that_is_only_full_could_be_helped_by_eviction_but_has_no_victims() -> None:
    nodes = [node("full", cpu="2"), node("small", cpu="1")]
    assert message(nodes, [pod("there", "1", on="full")]) == (
        "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: "
        "0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )


def test_where_eviction_might_help_the_nodes_are_named_and_the_rest_is_left_open() -> None:
    cluster = cluster_of([node("full", cpu="2")], [pod("there", "1", on="full")])
    decision = decide(cluster, pod("x", "2", priority=10))
    assert isinstance(decision, NoFit)
    assert decision.message == "0/1 nodes are available: 1 Insufficient cpu."
    assert decision.slots == (cluster.nodes.slots["full"],)


def test_a_pod_that_does_not_preempt() -> None:
    nodes = [node("full", cpu="2")]
    assert message(nodes, [pod("there", "1", on="full")], priority=10, preemptionPolicy="Never") == (
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: "
        "not eligible due to preemptionPolicy=Never."
    )


@pytest.mark.parametrize("removed", [[], ["gone"]])
def test_no_nodes_at_all(removed: list[str]) -> None:
    cluster = cluster_of([node(name) for name in removed])
    for name in removed:
        cluster.remove_node(name)
    decision = decide(cluster, pod("x"))
    assert isinstance(decision, NoFit)
    assert decision.message == "no nodes available to schedule pods"
