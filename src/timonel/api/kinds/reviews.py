"""Questions to the server that are answered and never stored, and the Binding of a pod to a node."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.refs import ResourceRef
from timonel.api.resource import Resource, Strategy

_CREATE = ("create",)


class ReviewStrategy(Strategy):
    tracks_generation = False


def _review(ref: ResourceRef, definition: str) -> Resource:
    return Resource(ref=ref, definition=definition, singular=ref.kind.lower(), verbs=_CREATE, strategy=ReviewStrategy())


BINDINGS = _review(refs.BINDINGS, "io.k8s.api.core.v1.Binding")
TOKEN_REVIEWS = _review(refs.TOKEN_REVIEWS, "io.k8s.api.authentication.v1.TokenReview")
SELF_SUBJECT_REVIEWS = _review(refs.SELF_SUBJECT_REVIEWS, "io.k8s.api.authentication.v1.SelfSubjectReview")
SUBJECT_ACCESS_REVIEWS = _review(refs.SUBJECT_ACCESS_REVIEWS, "io.k8s.api.authorization.v1.SubjectAccessReview")
SELF_SUBJECT_ACCESS_REVIEWS = _review(
    refs.SELF_SUBJECT_ACCESS_REVIEWS, "io.k8s.api.authorization.v1.SelfSubjectAccessReview"
)
LOCAL_SUBJECT_ACCESS_REVIEWS = _review(
    refs.LOCAL_SUBJECT_ACCESS_REVIEWS, "io.k8s.api.authorization.v1.LocalSubjectAccessReview"
)
SELF_SUBJECT_RULES_REVIEWS = _review(
    refs.SELF_SUBJECT_RULES_REVIEWS, "io.k8s.api.authorization.v1.SelfSubjectRulesReview"
)
