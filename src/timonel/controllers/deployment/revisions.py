"""Which ReplicaSet is the new one, what its name is, and the annotations that record the history of rollouts.

`kubectl rollout history|undo|status` reads these annotations. Source:
kubernetes.io/docs/concepts/workloads/controllers/deployment#checking-rollout-history-of-a-deployment
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from timonel.api.objects import Object, annotations_of, labels_of, name_of, namespace_of
from timonel.api.quantity import InvalidQuantity, parse_quantity
from timonel.api.refs import DEPLOYMENTS
from timonel.controllers.ownership import controller_reference

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
POD_TEMPLATE_HASH = "pod-template-hash"
_NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
}
_HISTORY_CHARS = 2000
_MAX_NAME = 253
# Letters and digits that cannot form words or be confused, in which upstream writes its hashes too.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_QUANTITIES = {"limits", "requests", "sizeLimit", "divisor"}


def age_rank(replica_set: Object) -> tuple[str, str]:
    """Sorts oldest first; names decide among equals."""
    return replica_set["metadata"].get("creationTimestamp") or "", name_of(replica_set)


def find_new(deployment: Object, replica_sets: Iterable[Object]) -> Object | None:
    """The oldest ReplicaSet with the Deployment's present template."""
    template = deployment["spec"]["template"]
    for replica_set in sorted(replica_sets, key=age_rank):
        if equal_templates(template, replica_set["spec"]["template"]):
            return replica_set
    return None


def equal_templates(one: Object, other: Object) -> bool:
    """Equal in meaning: the hash label aside, quantities by value, nothing and an empty list or map of text alike."""
    return one == other or _meaning(one) == _meaning(other)


def _meaning(template: Object) -> Any:
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {k: v for k, v in (metadata.get("labels") or {}).items() if k != POD_TEMPLATE_HASH}
    metadata.pop("creationTimestamp", None)
    return _plain({"metadata": {k: v for k, v in metadata.items() if v}, "spec": template.get("spec")})


def _plain(value: Any, quantity: bool = False) -> Any:
    if isinstance(value, dict):
        return {
            key: _plain(item, quantity or key in _QUANTITIES)
            for key, item in value.items()
            if item is not None and item != []
        }
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if quantity:
        try:
            return parse_quantity(str(value))
        except InvalidQuantity:
            return value
    return value


def template_hash(template: Object, collisions: int) -> str:
    """The value of the pod-template-hash label: the same template gives the same, each collision another."""
    data = orjson.dumps([template, collisions], option=orjson.OPT_SORT_KEYS)
    number = int.from_bytes(hashlib.blake2b(data, digest_size=4).digest())
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(number))


def new_replica_set(deployment: Object) -> Object:
    """The ReplicaSet of the present template, with no replicas and no annotations yet."""
    spec = deployment["spec"]
    template = spec["template"]
    suffix = template_hash(template, (deployment.get("status") or {}).get("collisionCount") or 0)
    labels = {**labels_of({"metadata": template.get("metadata") or {}}), POD_TEMPLATE_HASH: suffix}
    selector = dict(spec.get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), POD_TEMPLATE_HASH: suffix}
    new_spec: Object = {
        "replicas": 0,
        "selector": selector,
        "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
    }
    if spec.get("minReadySeconds"):
        new_spec["minReadySeconds"] = spec["minReadySeconds"]
    return {
        "kind": "ReplicaSet",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": f"{name_of(deployment)[: _MAX_NAME - 1 - len(suffix)]}-{suffix}",
            "namespace": namespace_of(deployment),
            "labels": labels,
            "annotations": {},
            "ownerReferences": [controller_reference(deployment, DEPLOYMENTS)],
        },
        "spec": new_spec,
    }


def revision_of(obj: Object) -> int:
    """0 when there is none, or none that is a number."""
    text = annotations_of(obj).get(REVISION) or ""
    return int(text) if text.isdigit() else 0


def next_revision(old: Sequence[Object]) -> int:
    return max(map(revision_of, old), default=0) + 1


def new_annotations(deployment: Object, present: Mapping[str, str], revision: int) -> dict[str, str]:
    """The new ReplicaSet's annotations: the Deployment's, the revision, and which revisions it has been before."""
    annotations = dict(present)
    annotations |= {k: v for k, v in annotations_of(deployment).items() if k not in _NOT_COPIED}
    old = present.get(REVISION) or ""
    if old and not old.isdigit():
        return annotations
    if int(old or 0) < revision:
        annotations[REVISION] = str(revision)
        if old:
            annotations[REVISION_HISTORY] = _extend_history(present.get(REVISION_HISTORY) or "", old)
    return annotations


def _extend_history(history: str, revision: str) -> str:
    revisions = [*(history.split(",") if history else ()), revision]
    while len(",".join(revisions)) > _HISTORY_CHARS:
        revisions.pop(0)
    return ",".join(revisions)
