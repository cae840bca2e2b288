"""Which revision holds an owner's present template, which number it has, and which revisions may go. Pure.

A revision's data is the patch that brings its template back, which `kubectl rollout history|undo` read and apply.
Source: kubernetes.io/docs/tasks/manage-daemon/rollback-daemon-set and design-proposals-archive
controller_history.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import orjson

from timonel.api.objects import Object, annotations_of, copy_object, labels_of, name_of, namespace_of
from timonel.api.refs import CONTROLLER_REVISIONS, ResourceRef
from timonel.controllers.deployment.revisions import template_hash
from timonel.controllers.ownership import controller_reference

HASH = "controller.kubernetes.io/hash"
"""Label of a StatefulSet's revisions."""
REVISION_HASH = "controller-revision-hash"
"""Label of pods: their revision; and of a DaemonSet's revisions."""
_MAX_PREFIX = 223
_REPLACE = {"$patch": "replace"}


@dataclass(frozen=True, slots=True)
class HistoryPlan:
    """What to do so that the history ends with the present template."""

    present: Object | None = None
    """The revision with that template; None: there is none yet."""
    number: int = 1
    """What its number must be: that of `present`, when it is the last already."""

    @property
    def is_done(self) -> bool:
        return self.present is not None and self.present.get("revision") == self.number


def rank(revision: Object) -> tuple[int, str, str]:
    """Sorts oldest first."""
    return revision.get("revision") or 0, revision["metadata"].get("creationTimestamp") or "", name_of(revision)


def patch_of(owner: Object) -> Object:
    """The data of the revision of an owner's present template: keys in order, so that equal data are equal bytes."""
    patch: Object = {"spec": {"template": {**owner["spec"]["template"], **_REPLACE}}}
    ordered: Object = orjson.loads(orjson.dumps(patch, option=orjson.OPT_SORT_KEYS))
    return ordered


def template_of(revision: Object) -> Object:
    """The pod template that a revision keeps. Shares its parts with the revision."""
    template = ((revision.get("data") or {}).get("spec") or {}).get("template") or {}
    return {key: value for key, value in template.items() if key not in _REPLACE}


def plan_history(owner: Object, revisions: Sequence[Object]) -> HistoryPlan:
    """`revisions` are the owner's. A template that comes back keeps its revision, which gets the next number."""
    ordered = sorted(revisions, key=rank)
    last = (ordered[-1].get("revision") or 0) if ordered else 0
    patch = patch_of(owner)
    equal = [revision for revision in ordered if revision.get("data") == patch]
    if not equal and ordered and restores(ordered[-1], owner):
        equal = ordered[-1:]
    if not equal:
        return HistoryPlan(None, last + 1)
    newest = equal[-1]
    if newest is ordered[-1] or (newest.get("revision") or 0) == last:
        return HistoryPlan(newest, last)
    return HistoryPlan(newest, last + 1)


def restores(revision: Object, owner: Object) -> bool:
    """Whether it is the same template but for defaults that it was recorded without, by an older version.

    Else pods would be replaced because the server was.
    """
    from timonel.api.kinds.pod.defaults import default_pod_template  # 4 MB, of use where there are revisions

    template = copy_object(template_of(revision))
    default_pod_template(template)
    return bool(template == owner["spec"]["template"])


def new_revision(owner: Object, ref: ResourceRef, number: int, collisions: int, label: str) -> Object:
    """`label` is the key under which its hash is written."""
    data = patch_of(owner)
    suffix = template_hash(data, collisions)
    template_labels = labels_of({"metadata": owner["spec"]["template"].get("metadata") or {}})
    metadata: Object = {
        "name": f"{name_of(owner)[:_MAX_PREFIX]}-{suffix}",
        "namespace": namespace_of(owner),
        "labels": {**template_labels, label: suffix},
        "ownerReferences": [controller_reference(owner, ref)],
    }
    if annotations := annotations_of(owner):
        metadata["annotations"] = dict(annotations)
    return {
        "kind": CONTROLLER_REVISIONS.kind,
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "metadata": metadata,
        "data": data,
        "revision": number,
    }


def surplus(revisions: Sequence[Object], live: Container[str], limit: int) -> list[Object]:
    """Those to delete, oldest first, so that at most `limit` remain beside those whose names are `live`.

    A negative limit keeps all.
    """
    past = [revision for revision in sorted(revisions, key=rank) if name_of(revision) not in live]
    return past[: max(0, len(past) - limit)] if limit >= 0 else []
