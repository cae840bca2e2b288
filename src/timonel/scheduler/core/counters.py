"""How many pods of a kind are on each node: what spreading and affinity between pods are computed from.

A counter comes into being when a pod first asks for it, by one look at all pods of its namespaces, and is kept up to
date by every pod that comes or goes. So a scheduling decision reads an array and never a list of pods.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from timonel.scheduler.core.pods import Pod, PodClass
from timonel.scheduler.core.selectors import AffinityTerm, PodMatch

Counts = NDArray[np.int64]
Namespaces = Mapping[str, Mapping[str, str]]
_MAX_COUNTERS = 512
"""Those not asked for the longest are dropped: each costs a comparison with every pod that comes or goes."""

_MAX_MEMO = 4 * _MAX_COUNTERS


@dataclass(frozen=True, slots=True)
class Question:
    """Pods that match all of `matches`; for spreading, terminating ones do not count."""

    matches: tuple[PodMatch, ...]
    counts_terminating: bool


class _Counter:
    def __init__(self, question: Question, number: int, capacity: int) -> None:
        self.question = question
        self.number = number
        self.counts: Counts = np.zeros(capacity, np.int64)
        self.depends_on_namespaces = any(match.namespace_selector is not None for match in question.matches)

    def matches(self, klass: PodClass, namespaces: Namespaces) -> bool:
        known = klass.memo.get(self.number)
        if known is None:
            if len(klass.memo) > _MAX_MEMO:
                klass.memo.clear()
            known = all(match.matches(klass.namespace, klass.labels, namespaces) for match in self.question.matches)
            klass.memo[self.number] = known
        return bool(known)


class PodCounters:
    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        # Not an OrderedDict: going through one hashes every key, and every change of a pod goes through it.
        self._counters: dict[Question, _Counter] = {}
        self._numbers = count(1)

    def counts(self, question: Question, capacity: int, pods: Iterator[tuple[Pod, int]]) -> Counts:
        """Pods per slot. `pods` (with their slots) is read only when the counter is new."""
        counter = self._counters.get(question)
        if counter is None:
            counter = self._counters[question] = _Counter(question, next(self._numbers), capacity)
            for pod, slot in pods:
                if self._concerns(counter, pod):
                    counter.counts[slot] += 1
            if len(self._counters) > _MAX_COUNTERS:
                del self._counters[next(iter(self._counters))]
        else:
            self._counters[question] = self._counters.pop(question)  # the last one used is the last to go
        if len(counter.counts) < capacity:
            counter.counts = np.pad(counter.counts, (0, capacity - len(counter.counts)))
        return counter.counts

    def change(self, pod: Pod, slot: int, sign: int) -> None:
        for counter in self._counters.values():
            if self._concerns(counter, pod):
                if slot >= len(counter.counts):
                    counter.counts = np.pad(counter.counts, (0, slot + 1 - len(counter.counts)))
                counter.counts[slot] += sign

    def namespaces_changed(self) -> None:
        """Counters that select by the labels of namespaces begin anew."""
        for question in [each for each, counter in self._counters.items() if counter.depends_on_namespaces]:
            del self._counters[question]

    def _concerns(self, counter: _Counter, pod: Pod) -> bool:
        if pod.is_terminating and not counter.question.counts_terminating:
            return False
        return counter.matches(pod.klass, self._namespaces)


class TermCounts:
    """For every distinct affinity term that pods on nodes have: how many such pods are on each node.

    Affinity is symmetric: a pod that wants to be alone keeps others away as much as itself.
    """

    def __init__(self) -> None:
        self._counts: dict[str, dict[AffinityTerm, Counts]] = {}

    def change(self, pod: Pod, slot: int, sign: int, capacity: int) -> None:
        klass = pod.klass
        for kind, terms in (
            ("affinity", klass.affinity),
            ("anti_affinity", klass.anti_affinity),
            ("preferred_affinity", klass.preferred_affinity),
            ("preferred_anti_affinity", klass.preferred_anti_affinity),
        ):
            for term in terms:
                of_kind = self._counts.setdefault(kind, {})
                counts = of_kind.get(term)
                if counts is None:
                    counts = of_kind[term] = np.zeros(capacity, np.int64)
                elif len(counts) < capacity:
                    counts = of_kind[term] = np.pad(counts, (0, capacity - len(counts)))
                counts[slot] += sign
                if sign < 0 and not counts.any():
                    del of_kind[term]

    def terms(self, kind: str, capacity: int) -> Iterator[tuple[AffinityTerm, Counts]]:
        of_kind = self._counts.get(kind, {})
        for term, counts in of_kind.items():
            if len(counts) < capacity:
                yield term, np.pad(counts, (0, capacity - len(counts)))
            else:
                yield term, counts
