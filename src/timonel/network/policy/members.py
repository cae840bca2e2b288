"""Who is in which set, kept up to date pod by pod: one pod's change costs the selections that may concern it.

Fed by every pod and namespace of the cluster; `take_changes` tells what to add to and remove from the sets in the
kernel. Opens nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from timonel.api.objects import ObjectKey
from timonel.network.policy.compiler import PortUse
from timonel.network.policy.facts import PodFacts
from timonel.network.policy.selections import Selection
from timonel.network.policy.structure import Element


class Members:
    def __init__(self) -> None:
        self._pods: dict[str, dict[ObjectKey, PodFacts]] = {}
        """By namespace."""
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._addresses: set[Selection] = set()
        self._ports: dict[Selection, set[tuple[str, str]]] = {}
        self._in_one: dict[str, set[Selection]] = {}
        """Selections of a single namespace, by it."""
        self._across: set[Selection] = set()
        self._held: dict[Selection, dict[ObjectKey, frozenset[Element]]] = {}
        """What each pod puts into the sets of each selection."""
        self._count: Counter[Element] = Counter()
        """Two pods may claim one address for a moment; the element stays until both are gone."""
        self._touched: dict[Element, bool] = {}
        """Whether it was there at the last `take_changes`."""

    def follow(self, selections: Iterable[Selection], ports: Iterable[PortUse]) -> None:
        """The sets that exist from now on. Elements of those that do not are forgotten, not removed."""
        wanted_ports: dict[Selection, set[tuple[str, str]]] = {}
        for selection, protocol, name in ports:
            wanted_ports.setdefault(selection, set()).add((protocol, name))
        wanted_addresses = set(selections)
        wanted = wanted_addresses | wanted_ports.keys()
        before = self._addresses | self._ports.keys()
        changed = {
            item
            for item in wanted & before
            if (item in wanted_addresses) != (item in self._addresses)
            or wanted_ports.get(item) != self._ports.get(item)
        }
        for selection in before - wanted:
            self._drop(selection)
        self._addresses, self._ports = wanted_addresses, wanted_ports
        for selection in changed:
            existing = self._sets(selection)
            for held in self._held[selection].values():
                for element in held:
                    if element[0] not in existing:
                        self._forget(element)
            self._held[selection] = {
                key: frozenset(element for element in held if element[0] in existing)
                for key, held in self._held[selection].items()
            }
        for selection in wanted - before:
            self._held[selection] = {}
            if selection.namespaces is None:
                self._in_one.setdefault(selection.namespace, set()).add(selection)
            else:
                self._across.add(selection)
        for selection in changed | (wanted - before):
            self._fill(selection)

    def put_pod(self, pod: PodFacts) -> None:
        self._pods.setdefault(pod.key.namespace, {})[pod.key] = pod
        for selection in self._concerning(pod.key.namespace):
            self._place(selection, pod)

    def remove_pod(self, key: ObjectKey) -> None:
        if self._pods.get(key.namespace, {}).pop(key, None) is not None:
            for selection in self._concerning(key.namespace):
                self._set(selection, key, frozenset())

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        if self._namespaces.get(name) != labels:
            self._namespaces[name] = labels
            for selection in self._across:
                for pod in self._pods.get(name, {}).values():
                    self._place(selection, pod)

    def remove_namespace(self, name: str) -> None:
        self._namespaces.pop(name, None)

    def pod(self, key: ObjectKey) -> PodFacts | None:
        return self._pods.get(key.namespace, {}).get(key)

    def elements(self) -> list[Element]:
        """All there are, in order; what `take_changes` would tell is forgotten, for this tells it all."""
        self._touched.clear()
        return sorted(element for element, count in self._count.items() if count > 0)

    def take_changes(self) -> tuple[list[Element], list[Element]]:
        """Added and removed since last asked, in order."""
        added = sorted(item for item, was in self._touched.items() if not was and self._count[item] > 0)
        removed = sorted(item for item, was in self._touched.items() if was and self._count[item] <= 0)
        for item in self._touched:
            if self._count[item] <= 0:
                del self._count[item]
        self._touched.clear()
        return added, removed

    @property
    def has_changes(self) -> bool:
        return any(was != (self._count[item] > 0) for item, was in self._touched.items())

    def _concerning(self, namespace: str) -> list[Selection]:
        return [*self._in_one.get(namespace, ()), *self._across]

    def _fill(self, selection: Selection) -> None:
        spaces = self._pods if selection.namespaces is not None else [selection.namespace]
        for name in spaces:
            if selection.matches_namespace(name, self._namespaces.get(name, {})):
                for pod in self._pods.get(name, {}).values():
                    self._place(selection, pod)

    def _place(self, selection: Selection, pod: PodFacts) -> None:
        is_in = selection.matches(pod, self._namespaces.get(pod.key.namespace, {}))
        self._set(selection, pod.key, self._elements_of(selection, pod) if is_in else frozenset())

    def _elements_of(self, selection: Selection, pod: PodFacts) -> frozenset[Element]:
        found = set()
        wanted = self._ports.get(selection, ())
        for address in pod.addresses:
            family = 6 if ":" in address else 4
            if selection in self._addresses:
                found.add((selection.set_name(family), address))
            for name, protocol, number in pod.ports:
                if (protocol, name) in wanted:
                    found.add((selection.port_set_name(name, protocol, family), f"{address} . {protocol} . {number}"))
        return frozenset(found)

    def _sets(self, selection: Selection) -> set[str]:
        names = {selection.set_name(family) for family in (4, 6)} if selection in self._addresses else set()
        return names | {
            selection.port_set_name(name, protocol, family)
            for protocol, name in self._ports.get(selection, ())
            for family in (4, 6)
        }

    def _set(self, selection: Selection, key: ObjectKey, elements: frozenset[Element]) -> None:
        held = self._held[selection]
        before = held.get(key, frozenset())
        if before == elements:
            return
        if elements:
            held[key] = elements
        else:
            held.pop(key, None)
        for element in before - elements:
            self._touched.setdefault(element, self._count[element] > 0)
            self._count[element] -= 1
        for element in elements - before:
            self._touched.setdefault(element, self._count[element] > 0)
            self._count[element] += 1

    def _drop(self, selection: Selection) -> None:
        for elements in self._held.pop(selection).values():
            for element in elements:
                self._forget(element)
        self._in_one.get(selection.namespace, set()).discard(selection)
        self._across.discard(selection)

    def _forget(self, element: Element) -> None:
        self._count.pop(element, None)
        self._touched.pop(element, None)
