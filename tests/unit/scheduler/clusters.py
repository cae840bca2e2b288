"""A cluster from nodes and pods, and what the core says about one more pod."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from timonel.api.labels import Selector
from timonel.api.objects import Object
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, Score
from timonel.scheduler.core.plugins import SCORES
from timonel.scheduler.core.schedule import NoFit, Placement, schedule


def cluster_of(
    nodes: Iterable[Object], pods: Iterable[Object] = (), namespaces: Mapping[str, Mapping[str, str]] | None = None
) -> Cluster:
    cluster = Cluster()
    for name, labels in (namespaces or {}).items():
        cluster.put_namespace(name, labels)
    for node in nodes:
        cluster.put_node(node)
    for pod in pods:
        cluster.put_pod(cluster.parse_pod(pod))
    return cluster


def decide(cluster: Cluster, pod: Object, spread_over: Selector | None = None) -> Placement | NoFit:
    return schedule(cluster, Attempt(cluster.parse_pod(pod), spread_over), random.Random(1))


def feasible(cluster: Cluster, pod: Object, spread_over: Selector | None = None) -> int:
    decision = decide(cluster, pod, spread_over)
    return decision.feasible if isinstance(decision, Placement) else 0


def reasons(cluster: Cluster, pod: Object) -> dict[str, int]:
    """Counts of why it fits nowhere; empty if it does."""
    decision = decide(cluster, pod)
    return decision.reasons if isinstance(decision, NoFit) else {}


def fitting(nodes: Iterable[Object], pod: Object, pods: Iterable[Object] = (), **options: object) -> set[str]:
    """Names of the nodes on which the pod is allowed: each asked with all others cordoned away."""
    nodes, pods = list(nodes), list(pods)
    allowed = set()
    for chosen in nodes:
        name = chosen["metadata"]["name"]
        cluster = cluster_of(nodes, pods, **options)  # type: ignore[arg-type]
        for other in nodes:
            slot = cluster.nodes.slots[other["metadata"]["name"]]
            cluster.nodes.unschedulable[slot] = other["metadata"]["name"] != name
        if isinstance(decide(cluster, pod), Placement):
            allowed.add(name)
    return allowed


def ratings(cluster: Cluster, pod: Object, plugin: str, spread_over: Selector | None = None) -> dict[str, int] | None:
    """What one score plugin gives to every node."""
    found: Score = next(each for each in SCORES if each.name == plugin)
    slots = cluster.nodes.alive.nonzero()[0]
    result = found.score(cluster, Attempt(cluster.parse_pod(pod), spread_over), slots)
    if result is None:
        return None
    return {cluster.nodes.names[slot]: int(rating) for slot, rating in zip(slots, result, strict=True)}
