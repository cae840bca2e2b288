"""Which nodes a DaemonSet's pods belong on, and the pods made for them. Pure.

Source: kubernetes.io/docs/concepts/workloads/controllers/daemonset (how daemon pods are scheduled; taints and
tolerations)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from timonel.api.objects import Object, annotations_of, is_deleting, labels_of, name_of
from timonel.api.placement import (
    NODE_NAME_FIELD,
    REQUIRED,
    TEMPLATE_GENERATION,
    matches_node,
    pinned_node,
    untolerated_taint,
)
from timonel.api.refs import DAEMON_SETS
from timonel.controllers.history import REVISION_HASH
from timonel.controllers.pods import is_terminal
from timonel.controllers.replicaset.planner import pod_from_template

TEMPLATE_GENERATION_LABEL = "pod-template-generation"
_NODE = "node.kubernetes.io"
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)
_HARD = ("NoSchedule", "NoExecute")


class Fit(Enum):
    """Of a node for the pods of a DaemonSet."""

    NONE = "none"
    """No pod may be there."""
    STAYS = "stays"
    """A pod that is there may stay; none is made."""
    RUNS = "runs"


def fits_of(daemon_set: Object, nodes: Iterable[Object]) -> dict[str, Fit]:
    """By names of nodes, in their order."""
    spec = daemon_set["spec"]["template"].get("spec") or {}
    tolerations = tolerations_of(spec)
    return {name_of(node): _fit(spec, tolerations, node) for node in nodes}


def fit_of(daemon_set: Object, node: Object) -> Fit:
    return fits_of(daemon_set, (node,))[name_of(node)]


def _fit(spec: Object, tolerations: Sequence[Object], node: Object) -> Fit:
    if spec.get("nodeName") not in (None, "", name_of(node)) or not matches_node(spec, node):
        return Fit.NONE
    if untolerated_taint(node, tolerations, _HARD) is None:
        return Fit.RUNS
    return Fit.STAYS if untolerated_taint(node, tolerations, ("NoExecute",)) is None else Fit.NONE


def tolerations_of(spec: Object) -> list[Object]:
    """The template's, and those that keep daemons where other pods have to go or may not come."""
    tolerated = [*_TOLERATED, *((("network-unavailable", "NoSchedule"),) if spec.get("hostNetwork") else ())]
    added = [{"key": f"{_NODE}/{key}", "operator": "Exists", "effect": effect} for key, effect in tolerated]
    given: list[Object] = list(spec.get("tolerations") or ())
    for item in added:
        same = [each for each in given if _identity(each) == _identity(item)]
        if same:
            given = [item if each is same[0] else each for each in given if each not in same[1:]]
        else:
            given.append(item)
    return given


def _identity(toleration: Object) -> tuple[str, ...]:
    """What makes one toleration replace another: all but for how long."""
    return tuple(toleration.get(field) or "" for field in ("key", "operator", "value", "effect"))


def new_pod(daemon_set: Object, node_name: str, revision_hash: str) -> Object:
    """The pod for one node. It goes through the scheduler, which its affinity leaves no choice.

    Shares the template's parts: for sending only.
    """
    pod = pod_from_template(daemon_set, DAEMON_SETS)
    labels = {**(pod["metadata"].get("labels") or {}), REVISION_HASH: revision_hash}
    if generation := annotations_of(daemon_set).get(TEMPLATE_GENERATION):
        labels[TEMPLATE_GENERATION_LABEL] = generation
    pod["metadata"] = {**pod["metadata"], "labels": labels}
    spec = pod["spec"]
    affinity = spec.get("affinity") or {}
    only = [{"matchFields": [{"key": NODE_NAME_FIELD, "operator": "In", "values": [node_name]}]}]
    pinned = {**(affinity.get("nodeAffinity") or {}), REQUIRED: {"nodeSelectorTerms": only}}
    pod["spec"] = {
        **spec,
        "affinity": {**affinity, "nodeAffinity": pinned},
        "tolerations": tolerations_of(spec),
    }
    return pod


def is_updated(daemon_set: Object, pod: Object, revision_hash: str) -> bool:
    labels = labels_of(pod)
    if revision_hash and labels.get(REVISION_HASH) == revision_hash:
        return True
    generation = annotations_of(daemon_set).get(TEMPLATE_GENERATION)
    return bool(generation) and labels.get(TEMPLATE_GENERATION_LABEL) == generation


def by_node(pods: Iterable[Object]) -> dict[str, list[Object]]:
    """Pods by the node they are on or meant for, the one to keep first: placed before waiting, old before young.

    Without those that ended and are about to vanish.
    """
    found: dict[str, list[Object]] = {}
    for pod in sorted(pods, key=_seniority):
        node_name = pinned_node(pod["spec"])
        if node_name and not (is_terminal(pod) and is_deleting(pod)):
            found.setdefault(node_name, []).append(pod)
    return found


def _seniority(pod: Object) -> tuple[bool, str, str]:
    return not pod["spec"].get("nodeName"), pod["metadata"].get("creationTimestamp") or "", name_of(pod)


def living(pods: Sequence[Object]) -> list[Object]:
    return [pod for pod in pods if not is_deleting(pod)]
