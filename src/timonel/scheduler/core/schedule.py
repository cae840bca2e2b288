"""One decision: which node a pod goes to, or why none will do."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from timonel.scheduler.core import explain
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.concerns import concerns
from timonel.scheduler.core.framework import Attempt, Filter, PodScope, Refusal, Score, Slots
from timonel.scheduler.core.gangs import PLUGIN as COSCHEDULING
from timonel.scheduler.core.plugins import DEFAULT_PROFILE
from timonel.scheduler.core.plugins.dynamic_resources import blocked_by_claims
from timonel.scheduler.core.pods import PodClass
from timonel.scheduler.core.profile import Profile
from timonel.scheduler.core.selectors import Mask

NOT_BUILT = "NotBuilt"
"""Refuses pods that ask for what this scheduler does not do yet; nothing but a new pod helps."""


@dataclass(frozen=True, slots=True)
class Placement:
    """`feasible` nodes would have done."""

    node: str
    feasible: int


@dataclass(frozen=True, slots=True)
class NoFit:
    """`message` is upstream's; `plugins` refused nodes, so what helps them helps the pod; `reasons` counts nodes."""

    message: str
    plugins: frozenset[str]
    reasons: dict[str, int] = field(default_factory=dict)
    slots: tuple[int, ...] = ()
    """Nodes where evicting less important pods might help; the message leaves open then what came of it."""


class _Step(NamedTuple):
    plugin: str
    before: Mask
    """Nodes left when the plugin was asked."""
    refusals: Sequence[Refusal]


def schedule(
    cluster: Cluster, attempt: Attempt, rng: random.Random, profile: Profile = DEFAULT_PROFILE
) -> Placement | NoFit:
    """Considers every node. Of equally good ones, `rng` picks. Costs about 0.3 ms at 5 000 nodes for a plain pod.

    A node that was freed for the pod is taken if it will do. Pods that are expected on a node count for whether this
    one may go there, and not for how good the node is.
    """
    candidates = find_nodes(cluster, attempt, profile)
    if isinstance(candidates, NoFit):
        return candidates
    nodes = cluster.nodes
    freed = nodes.slots.get(attempt.freed_node, -1)
    chosen = freed if freed in candidates else _choose(cluster, attempt, candidates, profile.scores, rng)
    return Placement(nodes.names[chosen], len(candidates))


def find_nodes(cluster: Cluster, attempt: Attempt, profile: Profile) -> Slots | NoFit:
    """All nodes where the pod may go; there is one at least."""
    nodes, klass, filters = cluster.nodes, attempt.pod.klass, profile.filters
    if nodes.count == 0:
        return NoFit("no nodes available to schedule pods", frozenset(each.name for each in filters))
    if klass.not_built:
        what = "; ".join(klass.not_built)
        return NoFit(explain.no_fit(nodes.count, {}, f"not built in this release: {what}"), frozenset({NOT_BUILT}))
    steps: list[_Step] = []
    feasible: Mask | None = nodes.alive
    if profile.runs("preFilter", "NodeAffinity"):
        feasible = _named_nodes(cluster, klass, steps)
    if feasible is None:
        return _refused_at_once(cluster, profile, klass, "pod affinity terms conflict", "NodeAffinity")
    binds = profile.runs("preFilter", "VolumeBinding")
    if binds and attempt.pod.claims and (why := cluster.volumes.blocked(attempt.pod)):
        return _refused_at_once(cluster, profile, klass, why, "VolumeBinding")
    if profile.runs("preFilter", COSCHEDULING) and (why := cluster.gangs.blocked(attempt.pod)):
        return _refused_at_once(cluster, profile, klass, why, COSCHEDULING)
    if profile.runs("preFilter", "DynamicResources") and (why := blocked_by_claims(cluster, attempt)):
        return _refused_at_once(cluster, profile, klass, why, "DynamicResources")
    feasible = _ask(filters, cluster, attempt, feasible, steps)
    if attempt.expected:
        feasible = _ask_beside_expected(filters, cluster, attempt, feasible, steps)
    candidates: Slots = np.flatnonzero(feasible)
    return candidates if len(candidates) else _explain(cluster, profile, klass, steps)


def _ask(filters: Iterable[Filter], cluster: Cluster, attempt: Attempt, feasible: Mask, steps: list[_Step]) -> Mask:
    """The nodes of `feasible` that no filter refuses; adds to `steps` who refused which."""
    for plugin in filters:
        if not feasible.any():
            break
        refusals = refusals_of(plugin, cluster, attempt)
        if refusals:
            steps.append(_Step(plugin.name, feasible, refusals))
            feasible = feasible.copy()
            for refusal in refusals:
                feasible &= ~refusal.mask
    return feasible


def _ask_beside_expected(
    filters: Sequence[Filter], cluster: Cluster, attempt: Attempt, feasible: Mask, steps: list[_Step]
) -> Mask:
    """Asks again of the nodes where others are expected, for each as if only its own had come.

    Filters that look at no other node are asked once for all of them; the rest only where it can make a difference.
    """
    known = ((cluster.nodes.slots.get(name), pods) for name, pods in attempt.expected.items())
    expected = {slot: pods for slot, pods in known if slot is not None and feasible[slot]}
    there = _only(cluster, expected)
    left = feasible & ~there
    with cluster.beside(pod for pods in expected.values() for pod in pods):
        there = _ask((each for each in filters if each.pod_scope is PodScope.NODE), cluster, attempt, there, steps)
    wider = [each for each in filters if each.pod_scope is PodScope.CLUSTER]
    for slot in map(int, np.flatnonzero(there)):
        if any(concerns(cluster, attempt.pod, pod) for pod in expected[slot]):
            with cluster.beside(expected[slot]):
                left |= _ask(wider, cluster, attempt, _only(cluster, (slot,)), steps)
        else:
            left[slot] = True
    return left


def _only(cluster: Cluster, slots: Iterable[int]) -> Mask:
    mask = np.zeros(cluster.nodes.capacity, np.bool_)
    mask[list(slots)] = True
    return mask


def _choose(
    cluster: Cluster, attempt: Attempt, candidates: Slots, scores: Sequence[tuple[Score, int]], rng: random.Random
) -> int:
    if len(candidates) == 1:
        return int(candidates[0])
    total = np.zeros(len(candidates), np.int64)
    for plugin, weight in scores:
        ratings = plugin.score(cluster, attempt, candidates)
        if ratings is not None:
            total += ratings * weight
    best = np.flatnonzero(total == total.max())
    return int(candidates[best[rng.randrange(len(best))]])


def refusals_of(plugin: Filter, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
    """The plugin's answer; a static one is asked once for all pods of a class until a node changes."""
    if not plugin.is_static:
        return plugin.refuse(cluster, attempt)
    memo, nodes = attempt.pod.klass.memo, cluster.nodes
    version, refusals = memo.get(plugin, (None, ()))
    if version != (nodes.static_version, nodes.capacity):
        refusals = [refusal for refusal in plugin.refuse(cluster, attempt) if refusal.mask.any()]
        memo[plugin] = ((nodes.static_version, nodes.capacity), refusals)
    answer: Sequence[Refusal] = refusals
    return answer


def _named_nodes(cluster: Cluster, klass: PodClass, steps: list[_Step]) -> Mask | None:
    """Nodes to look at: all, or those that required affinity names (DaemonSets do); None if it names none at all."""
    alive = cluster.nodes.alive
    names = klass.node_names
    if names is None:
        return alive
    if not names:
        return None
    mask = np.zeros(cluster.nodes.capacity, np.bool_)
    mask[[cluster.nodes.slots[name] for name in names if name in cluster.nodes.slots]] = True
    steps.append(_Step("NodeAffinity", alive, [Refusal("node(s) didn't satisfy plugin(s) [NodeAffinity]", ~mask)]))
    return alive & mask


def may_evict(profile: Profile) -> bool:
    return profile.runs("postFilter", "DefaultPreemption")


def _refused_at_once(cluster: Cluster, profile: Profile, klass: PodClass, why: str, plugin: str) -> NoFit:
    count = cluster.nodes.count
    after = explain.preemption(count, {explain.UNHELPFUL: count}) if klass.may_preempt else _NEVER
    if not may_evict(profile):
        after = ""
    return NoFit(explain.no_fit(count, {}, why, after), frozenset({plugin}))


_NEVER = explain.not_eligible("preemptionPolicy=Never")


def _explain(cluster: Cluster, profile: Profile, klass: PodClass, steps: Sequence[_Step]) -> NoFit:
    """Counts, for each reason, the nodes whose first refusing plugin gave it."""
    nodes = cluster.nodes
    reasons: dict[str, int] = {}
    plugins: set[str] = set()
    resolvable = np.zeros(nodes.capacity, np.bool_)
    for plugin, before, refusals in steps:
        refused_here = np.zeros(nodes.capacity, np.bool_)
        hopeless = np.zeros(nodes.capacity, np.bool_)
        for refusal in refusals:
            mask = refusal.mask & before
            if plugin != "NodeResourcesFit":
                mask &= ~refused_here  # one reason a node; only missing resources are all told
            if found := int(mask.sum()):
                reasons[refusal.reason] = reasons.get(refusal.reason, 0) + found
                plugins.add(plugin)
            refused_here |= mask
            hopeless |= mask & ~np.asarray(refusal.resolvable)
        resolvable |= refused_here & ~hopeless
    slots = tuple(int(slot) for slot in np.flatnonzero(resolvable))
    if not may_evict(profile):
        after = ""
    elif not klass.may_preempt:
        after = _NEVER
    elif any(cluster.has_lower_priority(slot, klass.priority) for slot in slots):
        return NoFit(explain.no_fit(nodes.count, reasons), frozenset(plugins), reasons, slots)
    else:
        after = unhelped(cluster, {explain.NO_VICTIMS: len(slots)})
    return NoFit(explain.no_fit(nodes.count, reasons, "", after), frozenset(plugins), reasons)


def unhelped(cluster: Cluster, reasons: Mapping[str, int]) -> str:
    """What preemption came to, by its `reasons`; at all other nodes evicting cannot help."""
    count = cluster.nodes.count
    return explain.preemption(count, {**reasons, explain.UNHELPFUL: count - sum(reasons.values())})
