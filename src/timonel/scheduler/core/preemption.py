"""Which less important pods would have to go so that a pod fits, and on which node that costs least. Opens nothing.

Candidates are tried for real: their pods are taken out of the cluster's arrays, the filters are asked, and the pods are
put back, so what holds for placing holds here. Where resources alone decide, numbers are compared instead, which costs
microseconds a node.

Source: kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from timonel.api.labels import Selector
from timonel.scheduler.core import explain
from timonel.scheduler.core.arguments import DefaultPreemptionArgs
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.concerns import concerns
from timonel.scheduler.core.framework import Attempt, Filter, PodScope
from timonel.scheduler.core.plugins import DEFAULT_PROFILE, IN_TREE
from timonel.scheduler.core.plugins.node_resources import NodeResourcesFit
from timonel.scheduler.core.pods import Pod, PodClass
from timonel.scheduler.core.profile import Profile
from timonel.scheduler.core.requests import PODS
from timonel.scheduler.core.schedule import refusals_of

_OWN = frozenset(row.name for row in IN_TREE)
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

    def is_like(self, other: Preemption) -> bool:
        """The same pods go, whatever of them changed meanwhile."""
        return self.node == other.node and [each.uid for each in self.victims] == [each.uid for each in other.victims]


@dataclass(frozen=True, slots=True)
class NoVictims:
    """`reasons` counts nodes by why evicting would not help there."""

    reasons: Mapping[str, int] = field(default_factory=dict)


StartTime = Callable[[Pod], float]
"""When a pod was started, seconds since 1970; infinity for one that was not yet, and so is the youngest."""


def find_victims(
    cluster: Cluster,
    attempt: Attempt,
    slots: Sequence[int],
    *,
    budgets: Iterable[Budget],
    started: StartTime,
    rng: random.Random,
    profile: Profile = DEFAULT_PROFILE,
) -> Preemption | NoVictims:
    """`slots`: the nodes where evicting could help. Of more than enough of them, some are left out by chance."""
    search = VictimSearch(cluster, attempt, slots, budgets=budgets, started=started, rng=rng, profile=profile)
    for _ in search.steps(lambda: False):
        pass
    return search.result()


class VictimSearch:
    """The search in steps, between which the cluster may change; what it found is then looked at again."""

    def __init__(
        self,
        cluster: Cluster,
        attempt: Attempt,
        slots: Sequence[int],
        *,
        budgets: Iterable[Budget],
        started: StartTime,
        rng: random.Random,
        profile: Profile = DEFAULT_PROFILE,
    ) -> None:
        self._run = _Run(cluster, attempt, tuple(budgets), started, profile.filters)
        first = rng.randrange(len(slots)) if slots else 0
        self._slots = (*slots[first:], *slots[:first])
        args: DefaultPreemptionArgs = profile.args.get("DefaultPreemption") or DefaultPreemptionArgs()
        share = cluster.nodes.count * args.min_candidate_nodes_percentage // 100
        self._enough = max(share, args.min_candidate_nodes_absolute)
        self._found: dict[int, Preemption] = {}
        self._is_stale = False

    def steps(self, is_tired: Callable[[], bool]) -> Iterator[None]:
        """Goes on until it has enough; yields between nodes whenever `is_tired` says so."""
        for slot in self._slots:
            if is_tired():
                yield
                self._run.refresh()
                self._is_stale = True
            candidate = self._run.consider(slot)
            if candidate is not None:
                self._found[slot] = candidate
                if len(self._found) >= self._enough:
                    break

    def candidates(self) -> list[Preemption]:
        """All that hold; to be asked right after the last step."""
        if not self._is_stale:
            return list(self._found.values())
        again = [(self._run.consider(slot), candidate) for slot, candidate in self._found.items()]
        return [now for now, before in again if now is not None and now.is_like(before)]

    def cheapest(self, candidates: Iterable[Preemption]) -> Preemption:
        return min(candidates, key=self._run.cost)

    def result(self) -> Preemption | NoVictims:
        """The cheapest; to be asked right after the last step."""
        if self._is_stale:
            self._run.refresh()
        while self._found:
            slot = min(self._found, key=lambda each: self._run.cost(self._found[each]))
            candidate = self._found.pop(slot)
            if not self._is_stale:
                return candidate
            again = self._run.consider(slot)
            if again is not None and again.is_like(candidate):
                return again
        return NoVictims(self._run.reasons)


class _Run:
    def __init__(
        self,
        cluster: Cluster,
        attempt: Attempt,
        budgets: tuple[Budget, ...],
        started: StartTime,
        filters: Sequence[Filter],
    ) -> None:
        self.cluster = cluster
        self.attempt = attempt
        self.budgets = budgets
        self.started = started
        self.filters = [each for each in filters if not each.is_static]
        """Nodes that the others refuse are none of ours."""
        fits = [each for each in self.filters if isinstance(each, NodeResourcesFit)]
        self.wanted = {name: amount for each in fits for name, amount in each.checked(attempt).items()}
        self.asks_others = any(each.name not in _OWN for each in self.filters)
        """What filters of others go by is theirs to know."""
        self.asked = [
            each
            for each in self.filters
            if each.pod_scope is not PodScope.NONE and not isinstance(each, NodeResourcesFit)
        ]
        """Those that may change their mind when pods go; resources are counted."""
        self.reasons: dict[str, int] = {}
        self._concerns: dict[PodClass, bool] = {}
        self.refresh()

    def refresh(self) -> None:
        """Asks every filter but that of resources what it says of the nodes as they are."""
        self._known = self._remembered()
        self._concerns.clear()
        self._refusals = [
            (refusal.reason, refusal.mask.copy())
            for plugin in self.filters
            if not isinstance(plugin, NodeResourcesFit)
            for refusal in refusals_of(plugin, self.cluster, self.attempt)
            if refusal.mask.any()
        ]

    def consider(self, slot: int) -> Preemption | None:
        cluster, priority = self.cluster, self.attempt.pod.klass.priority
        if not cluster.nodes.alive[slot]:
            return None
        if (known := self._known.by_slot.get(slot)) is not None and not self.standing_refusal(slot):
            if known.candidate is None:
                self._note(known.why)
            return known.candidate
        victims = [pod for pod in cluster.pods_on(slot) if pod.klass.priority < priority]
        if not victims:
            self._note(explain.NO_VICTIMS)
            return None
        victims.sort(key=self._importance)
        guarded, free = self._divide(victims)
        with _WhatIf(self, slot, victims) as what_if:
            if why := what_if.refusal():
                self._note(why)
                if what_if.by_numbers and not self.standing_refusal(slot):
                    self._remember(slot, victims, None, why)
                return None
            # Those that a budget guards are let off first, then the others, the most important of each first.
            spared = what_if.spared((*guarded, *free))
        left = tuple(pod for pod in victims if pod.uid not in spared)
        violations = sum(pod.uid not in spared for pod in guarded)
        candidate = Preemption(cluster.nodes.names[slot], left, violations)
        if what_if.by_numbers:
            self._remember(slot, victims, candidate, "")
        return candidate

    def _remembered(self) -> _Known:
        """What was found for pods of this class before, of nodes that are as they were then."""
        nodes, memo = self.cluster.nodes, self.attempt.pod.klass.memo
        if self.budgets or self.attempt.expected or self.asks_others:
            return _Known()
        known: _Known = memo.get("victims") or _Known()
        touched = nodes.touched_since(known.version)
        if touched is None:
            known = _Known()
        for slot in touched or ():
            known.by_slot.pop(slot, None)
        known.version = nodes.usage_version
        memo["victims"] = known
        return known

    def _remember(self, slot: int, victims: Sequence[Pod], candidate: Preemption | None, why: str) -> None:
        # A pod that has not started yet will have another age soon.
        if all(self.started(pod) < math.inf for pod in victims):
            self._known.by_slot[slot] = _Result(candidate, why)

    def standing_refusal(self, slot: int) -> str:
        """Why the node will not do as it is, resources aside."""
        return next((reason for reason, mask in self._refusals if mask[slot]), "")

    def concerns(self, pod: Pod) -> bool:
        """Whether its going may matter beyond the resources it frees."""
        if self.asks_others:
            return True
        if pod.claims or pod.disks:  # its own, not its class's
            return concerns(self.cluster, self.attempt.pod, pod)
        known = self._concerns.get(pod.klass)
        if known is None:
            known = self._concerns[pod.klass] = concerns(self.cluster, self.attempt.pod, pod)
        return known

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


@dataclass(frozen=True, slots=True)
class _Result:
    candidate: Preemption | None
    why: str


@dataclass(slots=True)
class _Known:
    version: int = 0
    """Of the nodes' usage."""
    by_slot: dict[int, _Result] = field(default_factory=dict)


class _WhatIf:
    """One node without some of its pods: by numbers alone as long as only resources can tell the difference.

    Otherwise the pods are really taken out of the cluster meanwhile and every filter is asked: a hundred times as much.
    """

    def __init__(self, run: _Run, slot: int, victims: Sequence[Pod]) -> None:
        self._run, self._cluster, self._attempt, self._slot = run, run.cluster, run.attempt, slot
        self._victims = victims
        self._expected = tuple(run.attempt.expected.get(self._cluster.nodes.names[slot], ()))
        self.by_numbers = not any(run.concerns(pod) for pod in (*victims, *self._expected))
        self._out: dict[str, Pod] = {}
        nodes, self._wanted = self._cluster.nodes, run.wanted
        self._free = {
            name: int(nodes.allocatable[row, slot] - nodes.requested[row, slot]) if row is not None else 0
            for name in self._wanted
            for row in (nodes.rows.get(name),)
            if name not in self._cluster.devices.by_resource or (row is not None and nodes.allocatable[row, slot])
        }
        for pod in self._expected:
            self._count(pod, -1)

    def __enter__(self) -> Self:
        for pod in self._victims:
            self._take(pod)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for pod in list(self._out.values()):
            self._put_back(pod)

    def refusal(self) -> str:
        if why := self._short_of():
            return why
        return self._run.standing_refusal(self._slot) if self.by_numbers else self._asked_both()

    def spared(self, pods: Sequence[Pod]) -> set[str]:
        """Those that can stay, each tried beside the ones before it."""
        if not self._run.asks_others:
            # What pods concern each other by only gets worse with more of them, so if all those that there is room
            # for can be put back, so could have been each of them.
            back = [pod for pod in pods if self._has_room_for(pod)]
            if self.by_numbers or not self._asked_both():
                return {pod.uid for pod in back}
            for pod in back:
                self._take(pod)
        return {pod.uid for pod in pods if self._can_stay(pod)}

    def _has_room_for(self, pod: Pod) -> bool:
        """Puts the pod back, if there is."""
        self._put_back(pod)
        if self._short_of():
            self._take(pod)
            return False
        return True

    def _can_stay(self, pod: Pod) -> bool:
        if not self._has_room_for(pod):
            return False
        if self._run.concerns(pod) and self._asked_both():
            self._take(pod)
            return False
        return True

    def _asked_both(self) -> str:
        """Beside the pods that are expected, and without them."""
        if self._expected:
            with self._cluster.beside(self._expected):
                if why := self._asked():
                    return why
        return self._asked()

    def _asked(self) -> str:
        for plugin in self._run.asked:
            for refusal in refusals_of(plugin, self._cluster, self._attempt):
                if refusal.mask[self._slot]:
                    return refusal.reason
        return ""

    def _short_of(self) -> str:
        short = next((name for name, free in self._free.items() if free < self._wanted[name]), "")
        return ("Too many pods" if short == PODS else f"Insufficient {short}") if short else ""

    def _take(self, pod: Pod) -> None:
        self._count(pod, 1)
        self._out[pod.uid] = pod
        if not self.by_numbers and self._run.concerns(pod):
            self._cluster.remove_pod(pod.uid)

    def _put_back(self, pod: Pod) -> None:
        self._count(pod, -1)
        del self._out[pod.uid]
        if not self.by_numbers and self._run.concerns(pod):
            self._cluster.put_pod(pod)

    def _count(self, pod: Pod, sign: int) -> None:
        for name in self._free:
            self._free[name] += sign * pod.klass.requests.get(name, 0)
