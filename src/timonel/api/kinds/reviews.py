"""Questions to the server that are answered and never stored, and the Binding of a pod to a node."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid, not_supported, required
from timonel.api.kinds.rules import Errors
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.api.resource import Resource, Strategy

_CREATE = ("create",)
_SPEC = Path("spec")


class ReviewStrategy(Strategy):
    tracks_generation = False


class BindingStrategy(ReviewStrategy):
    def validate_create(self, obj: Object) -> list[FieldError]:
        return validate_binding(obj)


def validate_binding(binding: Object) -> list[FieldError]:
    target = binding.get("target") or {}
    errors: Errors = []
    kind = target.get("kind") or ""
    if kind not in ("", "Node"):
        errors.append(not_supported(Path("target") / "kind", kind, ("Node", "<empty>")))
    if not target.get("name"):
        errors.append(required(Path("target") / "name"))
    return errors


class AccessReviewStrategy(ReviewStrategy):
    """`about_self`: the caller is the subject, so none is named. `local`: about one namespace, the review's own."""

    def __init__(self, *, about_self: bool = False, local: bool = False) -> None:
        self._about_self = about_self
        self._local = local

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        resource, url = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if resource is not None and url is not None:
            why = "cannot be specified in combination with resourceAttributes"
            errors.append(invalid(_SPEC / "nonResourceAttributes", url, why))
        if resource is None and url is None:
            why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            errors.append(invalid(_SPEC / "resourceAttributes", None, why))
        if not self._about_self and not spec.get("user") and not spec.get("groups"):
            why = "at least one of user or group must be specified"
            errors.append(invalid(_SPEC / "user", "", why))
        if self._local:
            namespace = (resource or {}).get("namespace") or ""
            if resource is not None and namespace != (obj["metadata"].get("namespace") or ""):
                why = "must match metadata.namespace"
                errors.append(invalid(_SPEC / "resourceAttributes" / "namespace", namespace, why))
            if url is not None:
                why = "disallowed on this kind of request"
                errors.append(invalid(_SPEC / "nonResourceAttributes", url, why))
        return errors


def _review(ref: ResourceRef, definition: str, strategy: Strategy | None = None) -> Resource:
    return Resource(
        ref=ref,
        definition=definition,
        singular=ref.kind.lower(),
        verbs=_CREATE,
        strategy=strategy or ReviewStrategy(),
    )


BINDINGS = _review(refs.BINDINGS, "io.k8s.api.core.v1.Binding", BindingStrategy())
TOKEN_REVIEWS = _review(refs.TOKEN_REVIEWS, "io.k8s.api.authentication.v1.TokenReview")
SELF_SUBJECT_REVIEWS = _review(refs.SELF_SUBJECT_REVIEWS, "io.k8s.api.authentication.v1.SelfSubjectReview")
SUBJECT_ACCESS_REVIEWS = _review(
    refs.SUBJECT_ACCESS_REVIEWS,
    "io.k8s.api.authorization.v1.SubjectAccessReview",
    AccessReviewStrategy(),
)
SELF_SUBJECT_ACCESS_REVIEWS = _review(
    refs.SELF_SUBJECT_ACCESS_REVIEWS,
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    AccessReviewStrategy(about_self=True),
)
LOCAL_SUBJECT_ACCESS_REVIEWS = _review(
    refs.LOCAL_SUBJECT_ACCESS_REVIEWS,
    "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    AccessReviewStrategy(local=True),
)
SELF_SUBJECT_RULES_REVIEWS = _review(
    refs.SELF_SUBJECT_RULES_REVIEWS, "io.k8s.api.authorization.v1.SelfSubjectRulesReview"
)
