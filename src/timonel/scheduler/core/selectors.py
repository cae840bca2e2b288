"""Node selectors as masks, and what makes pods match an affinity term.

Source: kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from timonel.api.labels import NOTHING, InvalidSelector, Requirement, Selector, selector_from_object
from timonel.api.objects import Object

if TYPE_CHECKING:
    from timonel.scheduler.core.nodes import NodeTable

Mask = NDArray[np.bool_]
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}").fullmatch


@dataclass(frozen=True, slots=True)
class NodeRequirement:
    """One expression over a node label, or over the node's name when `key` is "metadata.name" of matchFields."""

    key: str
    operator: str
    values: tuple[str, ...] = ()
    is_field: bool = False

    def mask(self, nodes: NodeTable) -> Mask:
        if self.is_field:
            return self._name_mask(nodes)
        column = nodes.label_column(self.key)
        match self.operator:
            case "Exists":
                return column.ids >= 0
            case "DoesNotExist":
                return column.ids < 0
            case "In":
                return column.where(self.values)
            case "NotIn":
                return ~column.where(self.values)
            case "Gt" | "Lt":
                return column.where([value for value in column.values if self._compares(value)])
        return np.zeros(nodes.capacity, np.bool_)

    def _compares(self, value: str) -> bool:
        if not _INTEGER(value) or len(self.values) != 1 or not _INTEGER(self.values[0]):
            return False
        bound = int(self.values[0])
        return int(value) > bound if self.operator == "Gt" else int(value) < bound

    def _name_mask(self, nodes: NodeTable) -> Mask:
        mask = np.zeros(nodes.capacity, np.bool_)
        if self.key == "metadata.name":
            mask[[nodes.slots[name] for name in self.values if name in nodes.slots]] = True
            if self.operator == "NotIn":
                mask = ~mask
        return mask


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """All requirements must hold; a term without any matches no node."""

    requirements: tuple[NodeRequirement, ...]

    def mask(self, nodes: NodeTable) -> Mask:
        if not self.requirements:
            return np.zeros(nodes.capacity, np.bool_)
        mask = self.requirements[0].mask(nodes)
        for requirement in self.requirements[1:]:
            mask = mask & requirement.mask(nodes)
        return mask

    def node_names(self) -> frozenset[str] | None:
        """The only nodes it can match by name, None when it does not say."""
        names: frozenset[str] | None = None
        for requirement in self.requirements:
            if requirement.is_field and requirement.key == "metadata.name" and requirement.operator == "In":
                chosen = frozenset(requirement.values)
                names = chosen if names is None else names & chosen
        return names


def parse_node_term(term: Object) -> NodeTerm:
    return NodeTerm(
        tuple(
            NodeRequirement(item.get("key", ""), item.get("operator", ""), tuple(item.get("values") or ()), is_field)
            for field, is_field in (("matchExpressions", False), ("matchFields", True))
            for item in term.get(field) or ()
        )
    )


@dataclass(frozen=True, slots=True)
class PodMatch:
    """Which pods, of which namespaces. Hashable: equal ones share one counter."""

    namespaces: frozenset[str]
    namespace_selector: Selector | None
    selector: Selector

    def matches(self, namespace: str, labels: Mapping[str, str], namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        """`namespaces` gives the labels of each namespace."""
        return self.covers(namespace, namespaces) and self.selector.matches(labels)

    def covers(self, namespace: str, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        return namespace in self.namespaces or (
            self.namespace_selector is not None and self.namespace_selector.matches(namespaces.get(namespace, {}))
        )


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """Pods that match, together or apart within one value of the topology label; `weight` 0 is required."""

    topology_key: str
    match: PodMatch
    weight: int = 0


def parse_affinity_term(term: Object, namespace: str, labels: Mapping[str, str], weight: int = 0) -> AffinityTerm:
    namespaces = frozenset(term.get("namespaces") or ())
    namespace_selector = term.get("namespaceSelector")
    if not namespaces and namespace_selector is None:
        namespaces = frozenset((namespace,))
    selector = parse_selector(term.get("labelSelector"))
    for field, operator in (("matchLabelKeys", "in"), ("mismatchLabelKeys", "notin")):
        selector = require_own_labels(selector, term.get(field) or (), labels, operator)
    return AffinityTerm(
        term.get("topologyKey", ""),
        PodMatch(namespaces, None if namespace_selector is None else parse_selector(namespace_selector), selector),
        weight,
    )


def parse_selector(selector: Object | None) -> Selector:
    """As validation let it pass; one that does not parse matches nothing."""
    try:
        return selector_from_object(selector)
    except InvalidSelector:
        return NOTHING


def require_own_labels(
    selector: Selector, keys: tuple[str, ...] | list[str], labels: Mapping[str, str], operator: str
) -> Selector:
    """`matchLabelKeys`: the selected pods have (or lack) the same values as this one; keys it lacks are ignored."""
    own = tuple(Requirement(key, operator, (labels[key],)) for key in keys if key in labels)
    if not own or selector.nothing:
        return selector
    return Selector((*selector.requirements, *(each for each in own if each not in selector.requirements)))
