"""Which claims a pod of a StatefulSet needs, and who owns them, so that they go when the policy says so. Pure.

Source: kubernetes.io/docs/concepts/workloads/controllers/statefulset#persistentvolumeclaim-retention and KEP-1847
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from timonel.api.objects import (
    Object,
    get_path,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    owner_references,
    uid_of,
)
from timonel.api.refs import PODS, STATEFUL_SETS, ResourceRef
from timonel.controllers.ownership import controller_reference
from timonel.controllers.statefulset.identity import claim_name, claim_templates, ordinal_of, ordinals_of

Find = Callable[[str], Object | None]
"""Claims of the set's namespace by name."""


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    create: tuple[Object, ...] = ()
    update: tuple[Object, ...] = ()
    """Claims with the owners that they should have."""
    deleting: tuple[str, ...] = ()
    """Names of claims that are going: no pod may start with them."""
    contested: tuple[str, ...] = ()
    """Names of claims that have another controller, whom the policy does not overrule."""


def deletes(stateful_set: Object, moment: str) -> bool:
    """`moment`: whenDeleted or whenScaled."""
    return bool(get_path(stateful_set, "spec", "persistentVolumeClaimRetentionPolicy", moment) == "Delete")


def plan_pod_claims(stateful_set: Object, pod: Object, find: Find) -> ClaimPlan:
    """For a pod that exists or is about to; one that does not yet has no uid, and owns nothing."""
    ordinal = ordinal_of(pod)
    create, update, deleting, contested = [], [], [], []
    for template in claim_templates(stateful_set):
        name = claim_name(stateful_set, template, ordinal)
        claim = find(name)
        if claim is None:
            create.append(new_claim(stateful_set, template, pod))
            continue
        if is_deleting(claim):
            deleting.append(name)
        if _has_other_controller(claim, stateful_set, pod):
            contested.append(name)
        owners = _right_owners(claim, stateful_set, pod)
        if owners is not None:
            update.append({**claim, "metadata": {**claim["metadata"], "ownerReferences": owners}})
    return ClaimPlan(tuple(create), tuple(update), tuple(deleting), tuple(contested))


def new_claim(stateful_set: Object, template: Object, pod: Object) -> Object:
    metadata: Object = {
        **template["metadata"],
        "name": claim_name(stateful_set, template, ordinal_of(pod)),
        "namespace": namespace_of(stateful_set),
    }
    selected = get_path(stateful_set, "spec", "selector", "matchLabels", default={})
    if labels := {**labels_of(template), **selected}:
        metadata["labels"] = labels
    if owners := _wanted_owners(stateful_set, pod):
        metadata["ownerReferences"] = owners
    return {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": metadata, "spec": template["spec"]}


def is_stale(stateful_set: Object, pod: Object, find: Find) -> bool:
    """Whether a claim still belongs to an earlier pod of that name: it is about to go, and a new one will be made."""
    if not deletes(stateful_set, "whenScaled"):
        return False
    names = (claim_name(stateful_set, template, ordinal_of(pod)) for template in claim_templates(stateful_set))
    return any(claim is not None and _is_left_over(claim, pod, PODS) for claim in map(find, names))


def _wanted_owners(stateful_set: Object, pod: Object) -> list[Object]:
    """Of a claim that nobody else owns: the pod if it is one too many, else the set, each where the policy says so."""
    if deletes(stateful_set, "whenScaled") and ordinal_of(pod) not in ordinals_of(stateful_set):
        return [controller_reference(pod, PODS)] if uid_of(pod) else []
    return [controller_reference(stateful_set, STATEFUL_SETS)] if deletes(stateful_set, "whenDeleted") else []


def _right_owners(claim: Object, stateful_set: Object, pod: Object) -> list[Object] | None:
    """The owners that the claim should have; None: it has them, or they are somebody else's business."""
    if _is_left_over(claim, stateful_set, STATEFUL_SETS) or _is_left_over(claim, pod, PODS):
        return None
    present = owner_references(claim)
    ours = {uid_of(stateful_set), uid_of(pod)} - {""}
    others = [
        owner
        for owner in present
        if owner.get("uid") not in ours
        and not _names(owner, stateful_set, STATEFUL_SETS)
        and not _names(owner, pod, PODS)
    ]
    wanted = [] if _has_other_controller(claim, stateful_set, pod) else _wanted_owners(stateful_set, pod)
    held = {owner["uid"] for owner in present if owner["uid"] in ours and owner.get("controller")}
    loose = any(owner["uid"] in ours and not owner.get("controller") for owner in present)
    if held == {owner["uid"] for owner in wanted} and not loose:
        return None
    return [*others, *wanted]


def _has_other_controller(claim: Object, stateful_set: Object, pod: Object) -> bool:
    """Matters only if the policy would make the set or the pod its controller."""
    if not deletes(stateful_set, "whenScaled") and not deletes(stateful_set, "whenDeleted"):
        return False
    for owner in owner_references(claim):
        if _names(owner, stateful_set, STATEFUL_SETS) or _names(owner, pod, PODS):
            if owner["uid"] not in (uid_of(stateful_set), uid_of(pod)):
                return True
        elif owner.get("controller"):
            return True
    return False


def _is_left_over(claim: Object, owner: Object, ref: ResourceRef) -> bool:
    """Whether it belongs to an object of the same name that is gone."""
    return any(_names(item, owner, ref) and item["uid"] != uid_of(owner) for item in owner_references(claim))


def _names(reference: Object, obj: Object, ref: ResourceRef) -> bool:
    return (reference.get("apiVersion"), reference.get("kind"), reference.get("name")) == (
        ref.api_version,
        ref.kind,
        name_of(obj),
    )
