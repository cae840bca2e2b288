"""Which claims a pod has, which pods a claim is for, and what a claim made from a template looks like. Pure.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from timonel.api.objects import Object, annotations_of, controller_of, find_by, is_deleting, name_of, uid_of
from timonel.api.refs import PODS
from timonel.controllers.pods import is_terminal, node_name_of

FOR_CLAIM = "resource.kubernetes.io/pod-claim-name"
"""Annotation of generated claims: which of the pod's claims it is."""
FINALIZER = "resource.kubernetes.io/delete-protection"
MAX_CONSUMERS = 256
_BASE_LENGTH = 57  # of names, which have 63 characters, a hyphen and five random ones among them


@dataclass(frozen=True, slots=True)
class PodClaim:
    """An entry of a pod's spec.resourceClaims. `claim` is None while it is not known, "" when none is needed."""

    name: str
    template: str
    claim: str | None

    @property
    def is_generated(self) -> bool:
        return bool(self.template)


def claims_of(pod: Object) -> Iterator[PodClaim]:
    statuses = (pod.get("status") or {}).get("resourceClaimStatuses")
    for entry in (pod.get("spec") or {}).get("resourceClaims") or ():
        template = entry.get("resourceClaimTemplateName") or ""
        claim: str | None = entry.get("resourceClaimName")
        if template:
            status = find_by(statuses, "name", entry["name"])
            claim = None if status is None else status.get("resourceClaimName") or ""
        yield PodClaim(entry["name"], template, claim)


def claim_names(pod: Object) -> list[str]:
    """Of all claims of the pod that are known, the one that the scheduler made for extended resources among them."""
    names = [claim.claim for claim in claims_of(pod) if claim.claim]
    extended = (pod.get("status") or {}).get("extendedResourceClaimStatus") or {}
    return [*names, *filter(None, [extended.get("resourceClaimName")])]


def has_claims(pod: Object) -> bool:
    status = pod.get("status") or {}
    return bool((pod.get("spec") or {}).get("resourceClaims") or status.get("extendedResourceClaimStatus"))


def is_done(pod: Object) -> bool:
    """None of its containers runs, or ever will."""
    return is_terminal(pod) or (is_deleting(pod) and not node_name_of(pod))


def owning_pod(claim: Object) -> Object | None:
    """The reference to the pod that a claim was generated for."""
    owner = controller_of(claim)
    return owner if owner is not None and owner.get("apiVersion") == "v1" and owner.get("kind") == "Pod" else None


def is_for(claim: Object, pod: Object) -> bool:
    owner = controller_of(claim)
    return owner is not None and owner.get("uid") == uid_of(pod)


def consumers_of(claim: Object) -> list[Object]:
    return (claim.get("status") or {}).get("reservedFor") or []


def is_pod(consumer: Object) -> bool:
    return not consumer.get("apiGroup") and consumer.get("resource") == PODS.plural


def must_reserve(claim: Object, pod: Object) -> bool:
    """For a pod that is on a node already, without the scheduler's doing."""
    consumers = consumers_of(claim)
    return (
        bool((claim.get("status") or {}).get("allocation"))
        and all(consumer.get("uid") != uid_of(pod) for consumer in consumers)
        and len(consumers) < MAX_CONSUMERS
    )


def consumer(pod: Object) -> Object:
    return {"resource": PODS.plural, "name": name_of(pod), "uid": uid_of(pod)}


def generate_name(pod: str, claim: str) -> str:
    """Both names shortened by the same share where they are too long together."""
    whole = f"{pod}-{claim}-"
    if len(whole) <= _BASE_LENGTH:
        return whole
    return f"{pod[: len(pod) * _BASE_LENGTH // len(whole)]}-{claim[: len(claim) * _BASE_LENGTH // len(whole)]}"


def render_claim(pod: Object, claim: PodClaim, template: Object) -> Object:
    metadata = (template.get("spec") or {}).get("metadata") or {}
    made: Object = {
        "generateName": generate_name(name_of(pod), claim.name),
        "namespace": pod["metadata"]["namespace"],
        "annotations": {**(metadata.get("annotations") or {}), FOR_CLAIM: claim.name},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod), "controller": True}
        ],
    }
    if metadata.get("labels"):
        made["labels"] = metadata["labels"]
    return {
        "kind": "ResourceClaim",
        "apiVersion": "resource.k8s.io/v1",
        "metadata": made,
        "spec": (template.get("spec") or {}).get("spec") or {},
    }


def find_generated(claims: Sequence[Object], pod_claim: PodClaim) -> Object | None:
    """Of the claims that a pod owns, the one for this entry: made before, but not noted in the pod's status."""
    return next((claim for claim in claims if annotations_of(claim).get(FOR_CLAIM) == pod_claim.name), None)


def render_statuses(pod: Object, made: Mapping[str, str]) -> list[Object]:
    """status.resourceClaimStatuses with the names of new claims in it."""
    present = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    kept = [status for status in present if status["name"] not in made]
    return [*kept, *({"name": name, "resourceClaimName": claim} for name, claim in made.items())]


@dataclass(frozen=True, slots=True)
class Release:
    """What is left of a claim's use. `status`: to be written first; `finalizers`: then these."""

    status: Object | None = None
    finalizers: list[str] | None = None


def plan_release(claim: Object, remaining: Sequence[Object]) -> Release:
    """`remaining` are the consumers that still live.

    The last one that goes takes the allocation with it, so that the next one can have any device. A claim that nobody
    used yet keeps it: its driver may have allocated it in advance.
    """
    status = claim.get("status") or {}
    finalizers = claim["metadata"].get("finalizers") or []
    is_ours = FINALIZER in finalizers
    without = [each for each in finalizers if each != FINALIZER]
    if len(remaining) < len(consumers_of(claim)):
        left = {field: value for field, value in status.items() if field != "reservedFor"}
        if remaining:
            left["reservedFor"] = list(remaining)
        elif is_ours:
            left.pop("allocation", None)
        return Release(left, without if is_ours and not left.get("allocation") else None)
    if is_ours and is_deleting(claim) and not remaining:
        left = {field: value for field, value in status.items() if field != "allocation"}
        return Release(left if left != status else None, without)
    return Release()
