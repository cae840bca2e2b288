"""How many pods of a kind are on each node: what spreading and affinity between pods are computed from.

A counter comes into being when a pod first asks for it, by one look at all pods of its namespaces, and is kept up to
date by every pod that comes or goes. So a scheduling decision reads an array and never a list of pods. Counters are
filed by a label that their pods must have: a pod meets those of its own labels, not the counters of all workloads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timonel.scheduler.core.pods import Pod
from timonel.scheduler.core.selectors import AffinityTerm, PodMatch

Counts = NDArray[np.int64]
Namespaces = Mapping[str, Mapping[str, str]]
_MAX_COUNTERS = 512
"""Those not asked for the longest are dropped."""
_FEW_NODES = 256
"""Counts of a workload that is on no more nodes than this are kept by node: 10 KB at most, instead of 40 KB for an
array of 5 000 nodes. The array is made when it is asked for."""
_ANY: tuple[str, str, str] = ("", "", "")
_EXACT = ("=", "==", "in")


@dataclass(frozen=True, slots=True)
class Question:
    """Pods that match all of `matches`; for spreading, terminating ones do not count."""

    matches: tuple[PodMatch, ...]
    counts_terminating: bool


class _Counter:
    def __init__(self, question: Question) -> None:
        self.question = question
        self.filed: tuple[tuple[str, str, str], ...] = ()
        self.depends_on_namespaces = any(match.namespace_selector is not None for match in question.matches)
        self._few: dict[int, int] = {}
        self._many: Counts | None = None

    def concerns(self, pod: Pod, namespaces: Namespaces) -> bool:
        question, klass = self.question, pod.klass
        if pod.is_terminating and not question.counts_terminating:
            return False
        return all(match.matches(klass.namespace, klass.labels, namespaces) for match in question.matches)

    def add(self, slot: int, sign: int) -> None:
        if self._many is not None:
            if slot >= len(self._many):
                self._many = np.pad(self._many, (0, slot + 1 - len(self._many)))
            self._many[slot] += sign
            return
        count = self._few.get(slot, 0) + sign
        if count:
            self._few[slot] = count
        else:
            del self._few[slot]
        if len(self._few) > _FEW_NODES:
            self._many = self.counts(max(self._few) + 1)
            self._few = {}

    def counts(self, capacity: int) -> Counts:
        """Per slot, of so many slots."""
        if self._many is not None:
            if len(self._many) < capacity:
                self._many = np.pad(self._many, (0, capacity - len(self._many)))
            return self._many
        counts = np.zeros(capacity, np.int64)
        if self._few:
            counts[list(self._few)] = list(self._few.values())
        return counts


class PodCounters:
    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        # Not an OrderedDict: going through one hashes every key.
        self._counters: dict[Question, _Counter] = {}
        self._files: dict[tuple[str, str, str], dict[Question, _Counter]] = {}
        """(namespace or "", label, value) that a pod must have -> counters; the rest under three times ""."""

    def counts(self, question: Question, capacity: int, pods: Iterator[tuple[Pod, int]]) -> Counts:
        """Pods per slot. `pods` (with their slots) is read only when the counter is new."""
        counter = self._counters.get(question)
        if counter is None:
            counter = self._counters[question] = _Counter(question)
            self._file(counter)
            for pod, slot in pods:
                if counter.concerns(pod, self._namespaces):
                    counter.add(slot, 1)
            if len(self._counters) > _MAX_COUNTERS:
                self._drop(next(iter(self._counters)))
        else:
            self._counters[question] = self._counters.pop(question)  # the last one used is the last to go
        return counter.counts(capacity)

    def change(self, pod: Pod, slot: int, sign: int) -> None:
        for counter in self._met_by(pod):
            if counter.concerns(pod, self._namespaces):
                counter.add(slot, sign)

    def namespaces_changed(self) -> None:
        """Counters that select by the labels of namespaces begin anew."""
        for question in [each for each, counter in self._counters.items() if counter.depends_on_namespaces]:
            self._drop(question)

    def _file(self, counter: _Counter) -> None:
        counter.filed = min(_places(counter.question), key=self._crowd, default=(_ANY,))
        for place in counter.filed:
            self._files.setdefault(place, {})[counter.question] = counter

    def _crowd(self, places: tuple[tuple[str, str, str], ...]) -> int:
        return sum(len(self._files.get(place, ())) for place in places)

    def _drop(self, question: Question) -> None:
        for place in self._counters.pop(question).filed:
            there = self._files[place]
            del there[question]
            if not there:
                del self._files[place]

    def _met_by(self, pod: Pod) -> Iterator[_Counter]:
        """Each counter that may count the pod, once: it is filed under one value of one label."""
        files, namespace = self._files, pod.klass.namespace
        if not files:
            return
        yield from files.get(_ANY, {}).values()
        for label, value in pod.klass.labels.items():
            for place in ((namespace, label, value), ("", label, value)):
                if there := files.get(place):
                    yield from there.values()


def _places(question: Question) -> Iterator[tuple[tuple[str, str, str], ...]]:
    """For each requirement that names values: all places, one of which a pod must have to match."""
    for match in question.matches:
        namespaces = ("",) if match.namespace_selector is not None else sorted(match.namespaces)
        for requirement in match.selector.requirements:
            if requirement.operator in _EXACT:
                yield tuple(
                    (namespace, requirement.key, value)
                    for namespace in namespaces
                    for value in dict.fromkeys(requirement.values)
                )


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
