"""Which less important pods would have to go so that a pod fits, and on which node that costs least. Opens nothing.

Candidates are tried for real: their pods are taken out of the cluster's arrays, the filters are asked, and the pods are
put back, so what holds for placing holds here. Where resources alone decide, numbers are compared instead, which costs
microseconds a node.

Source: kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from timonel.api.labels import Selector
from timonel.scheduler.core import explain
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, Filter
from timonel.scheduler.core.plugins import FILTERS
from timonel.scheduler.core.pods import Pod, PodClass
from timonel.scheduler.core.schedule import refusals_of

_CANDIDATES_SHARE, _CANDIDATES_LEAST = 10, 100
"""Enough is found at a tenth of the nodes, and never at less than a hundred; upstream's numbers."""
_LOWEST_PRIORITY = -(1 << 31)


@dataclass(slots=True)
class Budget:
    """A PodDisruptionBudget: how many more of its pods may go."""

    namespace: str
    selector: Selector
    allowed: int
    counted: frozenset[str] = frozenset()
    """Names of pods that are on their way out already, and counted for it."""

    def covers(self, pod: Pod) -> bool:
        return (
            self.namespace == pod.key[0]
            and bool(self.selector.requirements)
            and self.selector.matches(pod.klass.labels)
            and pod.key[1] not in self.counted
        )


@dataclass(frozen=True, slots=True)
class Preemption:
    node: str
    victims: tuple[Pod, ...]
    """The most important first."""
    violations: int = 0
    """Victims that a budget would have kept."""


@dataclass(frozen=True, slots=True)
class NoVictims:
    """`reasons` counts nodes by why evicting would not help there."""

    reasons: Mapping[str, int] = field(default_factory=dict)


StartTime = Callable[[Pod], float]
"""When a pod was started, seconds since 1970."""


def find_victims(
    cluster: Cluster,
    attempt: Attempt,
    slots: Sequence[int],
    *,
    budgets: Iterable[Budget],
    started: StartTime,
    rng: random.Random,
    filters: Sequence[Filter] = FILTERS,
) -> Preemption | NoVictims:
    """`slots`: the nodes where evicting could help. Of more than enough of them, some are left out by chance."""
    run = _Run(cluster, attempt, cluster.pods_at(slots), tuple(budgets), started, filters)
    enough = max(cluster.nodes.count * _CANDIDATES_SHARE // 100, _CANDIDATES_LEAST)
    first = rng.randrange(len(slots)) if slots else 0
    found: list[Preemption] = []
    for slot in (*slots[first:], *slots[:first]):
        candidate = run.consider(slot)
        if candidate is not None:
            found.append(candidate)
            if len(found) >= enough:
                break
    if not found:
        return NoVictims(run.reasons)
    return min(found, key=run.cost)


class _Run:
    def __init__(
        self,
        cluster: Cluster,
        attempt: Attempt,
        pods: Mapping[int, list[Pod]],
        budgets: tuple[Budget, ...],
        started: StartTime,
        filters: Sequence[Filter],
    ) -> None:
        self.cluster = cluster
        self.attempt = attempt
        self.pods = pods
        self.budgets = budgets
        self.started = started
        self.filters = filters
        self.reasons: dict[str, int] = {}
        self.by_numbers = _only_resources_decide(cluster, attempt.pod)

    def consider(self, slot: int) -> Preemption | None:
        cluster, priority = self.cluster, self.attempt.pod.klass.priority
        victims = [pod for pod in self.pods[slot] if pod.klass.priority < priority]
        if not victims:
            self._note(explain.NO_VICTIMS)
            return None
        victims.sort(key=self._importance)
        guarded, free = self._divide(victims)
        what_if = _Numbers(cluster, self.attempt, slot) if self.by_numbers else _Filters(self, slot)
        with what_if.without(victims):
            if why := what_if.refusal():
                self._note(why)
                return None
            # Those that a budget guards are let off first, then the others, the most important of each first.
            spared: set[str] = set()
            for pod in (*guarded, *free):
                what_if.put_back(pod)
                if what_if.refusal():
                    what_if.take(pod)
                else:
                    spared.add(pod.uid)
        left = tuple(pod for pod in victims if pod.uid not in spared)
        violations = sum(pod.uid not in spared for pod in guarded)
        return Preemption(cluster.nodes.names[slot], left, violations)

    def _note(self, reason: str) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def _importance(self, pod: Pod) -> tuple[int, float]:
        """By priority, then by age."""
        return -pod.klass.priority, self.started(pod)

    def _divide(self, pods: Sequence[Pod]) -> tuple[list[Pod], list[Pod]]:
        """Those whose end a budget does not allow any more, and the rest."""
        allowed = [budget.allowed for budget in self.budgets]
        guarded: list[Pod] = []
        free: list[Pod] = []
        for pod in pods:
            violates = False
            for index, budget in enumerate(self.budgets):
                if budget.covers(pod):
                    allowed[index] -= 1
                    violates |= allowed[index] < 0
            (guarded if violates else free).append(pod)
        return guarded, free

    def cost(self, candidate: Preemption) -> tuple[int, int, int, int, float]:
        """Less is better: budgets broken, the most important victim, all priorities together, number, age.

        Of what is left equal, the node goes whose most important victims have run the shortest.
        """
        priorities = [pod.klass.priority for pod in candidate.victims]
        if not priorities:
            return (0, _LOWEST_PRIORITY, 0, 0, 0.0)
        highest = max(priorities)
        earliest = min(self.started(pod) for pod in candidate.victims if pod.klass.priority == highest)
        # Priorities are made positive first, so that a node with fewer victims of negative priority counts as cheaper.
        total = sum(priority - _LOWEST_PRIORITY for priority in priorities)
        return candidate.violations, highest, total, len(priorities), -earliest


def _only_resources_decide(cluster: Cluster, pod: Pod) -> bool:
    klass: PodClass = pod.klass
    if klass.host_ports or klass.affinity or klass.anti_affinity or klass.spread_required or pod.claims or pod.disks:
        return False
    return not any(True for _ in cluster.terms.terms("anti_affinity", cluster.nodes.capacity))


class _Numbers:
    """One node by its numbers alone."""

    def __init__(self, cluster: Cluster, attempt: Attempt, slot: int) -> None:
        nodes, requests = cluster.nodes, attempt.pod.klass.requests
        self._free = {
            name: int(nodes.allocatable[row, slot] - nodes.requested[row, slot]) if row is not None else 0
            for name in requests
            if requests[name] > 0
            for row in (nodes.rows.get(name),)
        }
        self._wanted = requests

    @contextmanager
    def without(self, victims: Sequence[Pod]) -> Iterator[None]:
        for pod in victims:
            self.take(pod)
        yield

    def take(self, pod: Pod) -> None:
        for name in self._free:
            self._free[name] += pod.klass.requests.get(name, 0)

    def put_back(self, pod: Pod) -> None:
        for name in self._free:
            self._free[name] -= pod.klass.requests.get(name, 0)

    def refusal(self) -> str:
        short = [name for name, free in self._free.items() if free < self._wanted[name]]
        return ("Too many pods" if short[0] == "pods" else f"Insufficient {short[0]}") if short else ""


class _Filters:
    """One node by every filter, with its pods really taken out of the cluster meanwhile."""

    def __init__(self, run: _Run, slot: int) -> None:
        self._cluster, self._attempt, self._filters, self._slot = run.cluster, run.attempt, run.filters, slot
        self._out: dict[str, Pod] = {}

    @contextmanager
    def without(self, victims: Sequence[Pod]) -> Iterator[None]:
        try:
            for pod in victims:
                self.take(pod)
            yield
        finally:
            for pod in list(self._out.values()):
                self.put_back(pod)

    def take(self, pod: Pod) -> None:
        self._cluster.remove_pod(pod.uid)
        self._out[pod.uid] = pod

    def put_back(self, pod: Pod) -> None:
        self._cluster.put_pod(self._out.pop(pod.uid))

    def refusal(self) -> str:
        for plugin in self._filters:
            for refusal in refusals_of(plugin, self._cluster, self._attempt):
                if refusal.mask[self._slot]:
                    return refusal.reason
        return ""
