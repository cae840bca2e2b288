"""The SubjectAccessReview family and SelfSubjectRulesReview.

Source: kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from aiohttp import web

from timonel.api.errors import BadRequest, FieldError, invalid
from timonel.api.field_errors import Path, required
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.fields import FieldRequirement, FieldSelector
from timonel.api.kinds.rules import check_label_requirement, check_requirement_values
from timonel.api.objects import Object
from timonel.api.refs import (
    LOCAL_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_RULES_REVIEWS,
    SUBJECT_ACCESS_REVIEWS,
)
from timonel.apiserver.authn.user import MASTERS_GROUP, UserInfo, node_name_of
from timonel.apiserver.authz.attributes import Attributes
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.reviews.bodies import answer_review, read_review
from timonel.apiserver.subresources import HANDLERS

_SPEC = Path("spec")


async def review_subject_access(context: RequestContext) -> web.StreamResponse:
    review = await read_review(context)
    errors = _check_spec(review["spec"], names_subject=True)
    errors += _check_metadata(review, but=())
    return await _answer(context, review, errors, _subject_of(review["spec"]))


async def review_own_access(context: RequestContext) -> web.StreamResponse:
    review = await read_review(context)
    errors = _check_spec(review["spec"], names_subject=False)
    errors += _check_metadata(review, but=())
    return await _answer(context, review, errors, context.user)


async def review_local_access(context: RequestContext) -> web.StreamResponse:
    review = await read_review(context)
    spec, metadata = review["spec"], review["metadata"]
    metadata.setdefault("namespace", context.namespace)
    errors = _check_spec(spec, names_subject=True)
    errors += _check_metadata(review, but=("namespace",))
    resource = spec.get("resourceAttributes")
    if resource is not None and (resource.get("namespace") or "") != metadata["namespace"]:
        path = _SPEC / "resourceAttributes" / "namespace"
        errors.append(invalid_field(path, resource.get("namespace") or "", "must match metadata.namespace"))
    if spec.get("nonResourceAttributes") is not None:
        path = _SPEC / "nonResourceAttributes"
        errors.append(invalid_field(path, spec["nonResourceAttributes"], "disallowed on this kind of request"))
    if not errors and metadata["namespace"] != context.namespace:
        raise BadRequest(f"spec.resourceAttributes.namespace must match namespace: {context.namespace}")
    return await _answer(context, review, errors, _subject_of(spec))


async def review_own_rules(context: RequestContext) -> web.StreamResponse:
    review = await read_review(context)
    namespace = review["spec"].get("namespace") or ""
    if not namespace:
        raise BadRequest("no namespace on request")
    review["spec"] = {}
    review["metadata"].pop("managedFields", None)  # the answer is made anew
    review["status"] = rules_status(context.user, context.server.security.rbac.rules_for(context.user, namespace))
    return answer_review(context, review)


def rules_status(user: UserInfo, rules: Iterable[Object]) -> Object:
    """SubjectRulesReviewStatus: the user's rules, resources and plain paths apart."""
    resources: list[Object] = []
    paths: list[Object] = []
    if MASTERS_GROUP in user.groups:
        resources.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
        paths.append({"verbs": ["*"], "nonResourceURLs": ["*"]})
    for rule in rules:
        if rule.get("resources"):
            kept = ("verbs", "apiGroups", "resources", "resourceNames")
            resources.append({field: rule[field] for field in kept if rule.get(field)})
        if rule.get("nonResourceURLs"):
            paths.append({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
    status: Object = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
    if node_name_of(user) is not None:
        status["incomplete"] = True
        status["evaluationError"] = "node authorizer does not support user rule resolution"
    return status


def attributes_of(spec: Object, user: UserInfo) -> Attributes:
    """What a review's spec asks about."""
    resource = spec.get("resourceAttributes")
    if resource is None:
        path = spec.get("nonResourceAttributes") or {}
        return Attributes(user, path.get("verb") or "", path=path.get("path") or "")
    return Attributes(
        user=user,
        verb=resource.get("verb") or "",
        group=resource.get("group") or "",
        version=resource.get("version") or "",
        resource=resource.get("resource") or "",
        subresource=resource.get("subresource") or "",
        namespace=resource.get("namespace") or "",
        name=resource.get("name") or "",
        field_selector=_field_selector(resource.get("fieldSelector")),
    )


def _field_selector(selector: Object | None) -> str:
    """As a query would hold it; requirements that are no equality do not narrow what is asked."""
    if not selector:
        return ""
    if raw := selector.get("rawSelector"):
        return str(raw)
    requirements = (
        FieldRequirement(item.get("key") or "", "=", item["values"][0])
        for item in selector.get("requirements") or ()
        if item.get("operator") == "In" and len(item.get("values") or ()) == 1
    )
    return str(FieldSelector(tuple(requirements)))


def _subject_of(spec: Object) -> UserInfo:
    return UserInfo(
        name=spec.get("user") or "",
        uid=spec.get("uid") or "",
        groups=tuple(spec.get("groups") or ()),
        extra={key: tuple(values or ()) for key, values in (spec.get("extra") or {}).items()},
    )


def _check_spec(spec: Object, *, names_subject: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        why = "cannot be specified in combination with resourceAttributes"
        errors.append(invalid_field(_SPEC / "nonResourceAttributes", path, why))
    if resource is None and path is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        errors.append(invalid_field(_SPEC / "resourceAttributes", None, why))
    for field in ("fieldSelector", "labelSelector"):
        if (selector := (resource or {}).get(field)) is not None:
            here = _SPEC / "resourceAttributes" / field
            _check_selector(errors, here, selector, of_labels=field == "labelSelector")
    if names_subject and not spec.get("user") and not spec.get("groups"):
        errors.append(invalid_field(_SPEC / "user", "", "at least one of user or group must be specified"))
    return errors


def _check_selector(errors: list[FieldError], path: Path, selector: Object, *, of_labels: bool) -> None:
    """Operators that are not known here pass: who asks may be newer. Source: KEP-4601."""
    raw, requirements = selector.get("rawSelector"), selector.get("requirements") or []
    if raw and requirements:
        errors.append(invalid_field(path / "rawSelector", raw, "may not specified at the same time as requirements"))
    if not raw and not requirements:
        why = f"when {path} is specified, requirements or rawSelector is required"
        errors.append(required(path / "requirements", why))
    for index, requirement in enumerate(requirements):
        here = (path / "requirements")[index]
        if of_labels:
            check_label_requirement(errors, here, requirement, any_operator=True)
            continue
        if not requirement.get("key"):
            errors.append(required(here / "key", "must be specified"))
        check_requirement_values(errors, here, requirement, any_operator=True)


def _check_metadata(review: Object, *, but: tuple[str, ...]) -> list[FieldError]:
    metadata = {key: value for key, value in review["metadata"].items() if value not in (None, {}, [])}
    if metadata.keys() - {"managedFields", "creationTimestamp", *but}:
        why = "must be empty except for namespace" if but else "must be empty"
        return [invalid_field(Path("metadata"), metadata, why)]
    return []


async def _answer(
    context: RequestContext, review: Object, errors: list[FieldError], subject: UserInfo
) -> web.StreamResponse:
    if errors:
        # Upstream names no kind here.
        raise invalid(replace(context.resource.ref, kind=""), "", errors)
    decision = await context.server.security.authorizer.authorize(attributes_of(review["spec"], subject))
    review["status"] = {"allowed": decision.allowed, **({"reason": decision.reason} if decision.reason else {})}
    return answer_review(context, review)


HANDLERS.update({
    (SUBJECT_ACCESS_REVIEWS.group, SUBJECT_ACCESS_REVIEWS.plural, ""): review_subject_access,
    (SELF_SUBJECT_ACCESS_REVIEWS.group, SELF_SUBJECT_ACCESS_REVIEWS.plural, ""): review_own_access,
    (LOCAL_SUBJECT_ACCESS_REVIEWS.group, LOCAL_SUBJECT_ACCESS_REVIEWS.plural, ""): review_local_access,
    (SELF_SUBJECT_RULES_REVIEWS.group, SELF_SUBJECT_RULES_REVIEWS.plural, ""): review_own_rules,
})  # fmt: skip
