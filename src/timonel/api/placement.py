"""Which nodes a pod's spec lets it run on: names, labels, taints. Pure, one pod and one node at a time.

For whoever asks about few pods, such as controllers; the scheduler answers the same for all nodes at once, with arrays
of its own. Source: kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node and .../taint-and-toleration
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from timonel.api.objects import Object, get_path, labels_of, name_of

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NODE_NAME_FIELD = "metadata.name"
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
"""Annotation of DaemonSets that counts their templates: what is left of a field of versions long gone."""
_integer = re.compile(r"[+-]?[0-9]{1,19}").fullmatch


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """An empty key with Exists tolerates everything; an empty effect, every effect."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if (toleration.get("operator") or "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def untolerated_taint(node: Object, tolerations: Sequence[Object], effects: Container[str]) -> Object | None:
    """The first of the node's taints with such an effect that no toleration matches."""
    taints: Iterable[Object] = get_path(node, "spec", "taints", default=())
    for taint in taints:
        if taint.get("effect") in effects and not any(tolerates(each, taint) for each in tolerations):
            return taint
    return None


def matches_node(spec: Object, node: Object) -> bool:
    """Whether the node is what the pod's nodeSelector and required node affinity ask for."""
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required: Object | None = get_path(spec, "affinity", "nodeAffinity", REQUIRED)
    if required is None:
        return True
    return any(matches_node_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def matches_node_term(term: Object, node: Object) -> bool:
    """All of a term's requirements must hold; a term without any matches no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = labels_of(node)
    return all(_holds(item, labels.get(item.get("key", ""))) for item in expressions) and all(
        item.get("key") == NODE_NAME_FIELD and _holds(item, name_of(node)) for item in fields
    )


def _holds(requirement: Object, value: str | None) -> bool:
    """`value` is None when the label is not there."""
    values: Sequence[str] = requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            if value is None or len(values) != 1 or not _integer(value) or not _integer(values[0]):
                return False
            return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
    return False


def pinned_node(spec: Object) -> str:
    """The node that a pod is on or, before that, the only one that its affinity names; "" when there is none."""
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    terms: Sequence[Object] = get_path(spec, "affinity", "nodeAffinity", REQUIRED, "nodeSelectorTerms", default=())
    for term in terms:
        for item in term.get("matchFields") or ():
            if item.get("key") == NODE_NAME_FIELD and item.get("operator") == "In":
                names: Sequence[str] = item.get("values") or ()
                return names[0] if len(names) == 1 else ""
    return ""
