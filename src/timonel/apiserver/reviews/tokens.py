"""TokenRequest, TokenReview and SelfSubjectReview.

Source: kubernetes.io/docs/reference/kubernetes-api/authentication-resources
"""

from __future__ import annotations

from datetime import timedelta

from aiohttp import web

from timonel.api.clock import format_time
from timonel.api.errors import BadRequest, Unauthorized, conflict, invalid, not_found
from timonel.api.field_errors import Path
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.objects import Object, uid_of
from timonel.api.refs import (
    NODES,
    PODS,
    SECRETS,
    SELF_SUBJECT_REVIEWS,
    SERVICE_ACCOUNTS,
    TOKEN_REVIEWS,
    ResourceRef,
)
from timonel.api.resource import split_api_version
from timonel.apiserver.admission.chain import AdmissionRequest
from timonel.apiserver.admission.service_account import TOKEN_SECONDS
from timonel.apiserver.authn.service_accounts import InvalidToken
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.reviews.bodies import answer_review, read_review
from timonel.apiserver.subresources import HANDLERS

DEFAULT_SECONDS = 3600
MIN_SECONDS = 600
MAX_SECONDS = 1 << 32
EXTENDED_SECONDS = 365 * 24 * 3600
"""How long a token lives that the server mounted by itself: clients that never read it again keep working."""

_TOKEN_REQUEST = ResourceRef(TOKEN_REVIEWS.group, "v1", "tokenrequests", "TokenRequest")
_BOUND_KINDS = {"Pod": PODS, "Secret": SECRETS, "Node": NODES}


async def request_token(context: RequestContext) -> web.StreamResponse:
    security, name, namespace = context.server.security, context.name, context.namespace
    request = await read_review(
        context,
        ref=_TOKEN_REQUEST,
        definition="io.k8s.api.authentication.v1.TokenRequest",
        expirationSeconds=DEFAULT_SECONDS,
    )
    metadata, spec = request["metadata"], request["spec"]
    for field, wanted in (("name", name), ("namespace", namespace)):
        if metadata.get(field) and metadata[field] != wanted:
            why = f"must match the service account {field} if specified"
            raise invalid(_TOKEN_REQUEST, name, [invalid_field(Path("metadata") / field, metadata[field], why)])
    account = security.readers.reader(SERVICE_ACCOUNTS).get(namespace, name)
    if account is None:
        raise not_found(SERVICE_ACCOUNTS, name)
    if metadata.get("uid") and metadata["uid"] != uid_of(account):
        why = (
            f"the UID in the token request ({metadata['uid']}) does not match the UID of the service account"
            f" ({uid_of(account)})"
        )
        raise conflict(_TOKEN_REQUEST, name, why)
    admission = _admission_request(context, request)
    # Before anything is filled in: what a node may ask for is what its pod's volume says.
    await security.admission.mutate(admission)
    spec["audiences"] = spec.get("audiences") or list(security.tokens.audiences)
    spec.setdefault("boundObjectRef", None)  # shown even so
    now = context.server.clock.now()
    metadata.update(name=name, namespace=namespace, uid=uid_of(account), creationTimestamp=format_time(now))
    _check_expiration(spec["expirationSeconds"])
    await security.admission.validate(admission)
    pod, secret, node = _bound_objects(context, spec.get("boundObjectRef"))
    lifetime = spec["expirationSeconds"]
    warn_after = 0
    if (
        security.config.extend_token_expiration
        and pod is not None
        and lifetime == TOKEN_SECONDS
        and set(spec["audiences"]) <= set(security.tokens.audiences)
    ):
        lifetime, warn_after = EXTENDED_SECONDS, lifetime
    token, token_id = security.tokens.issue(
        account,
        audiences=spec["audiences"],
        expiration_seconds=lifetime,
        warn_after_seconds=warn_after,
        pod=pod,
        secret=secret,
        node=node,
    )
    context.audit["authentication.kubernetes.io/issued-credential-id"] = f"JTI={token_id}"
    expires = now + timedelta(seconds=spec["expirationSeconds"])
    request["status"] = {"token": token, "expirationTimestamp": format_time(expires)}
    return answer_review(context, request)


def _check_expiration(seconds: int) -> None:
    path = Path("spec") / "expirationSeconds"
    if seconds < MIN_SECONDS:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > MAX_SECONDS:
        why = "may not specify a duration larger than 2^32 seconds"
    else:
        return
    raise invalid(_TOKEN_REQUEST, "", [invalid_field(path, seconds, why)])


def _admission_request(context: RequestContext, request: Object) -> AdmissionRequest:
    return AdmissionRequest(
        context.attributes, context.resource, "CREATE", request,
        warnings=context.warnings, subresource="token", audit=context.audit, dry_run=context.dry_run,
    )  # fmt: skip


def _bound_objects(context: RequestContext, bound: Object | None) -> tuple[Object | None, Object | None, Object | None]:
    """(pod, secret, node) that the token shall die with. Raises NotFound, BadRequest, Conflict."""
    if not bound:
        return None, None, None
    group, version = split_api_version(bound.get("apiVersion"))
    kind, name = bound.get("kind") or "", bound.get("name") or ""
    ref = _BOUND_KINDS.get(kind) if not group else None
    if ref is None:
        raise BadRequest(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
    readers = context.server.security.readers
    live = readers.reader(ref).get(context.namespace if ref.namespaced else "", name)
    if live is None:
        raise not_found(ref, name)
    node = live if ref is NODES else None
    if ref is PODS:
        if live["spec"].get("serviceAccountName") != context.name:
            raise BadRequest(
                f'cannot bind token for serviceaccount "{context.name}" to pod running with different serviceaccount'
                " name."
            )
        if node_name := live["spec"].get("nodeName"):
            node = readers.reader(NODES).get("", node_name) or {"metadata": {"name": node_name}}
    if bound.get("uid") and bound["uid"] != uid_of(live):
        why = (
            f"the UID in the bound object reference ({bound['uid']}) does not match the UID in record."
            " The object might have been deleted and then recreated"
        )
        raise conflict(ref, name, why)
    return (live if ref is PODS else None), (live if ref is SECRETS else None), node


async def review_token(context: RequestContext) -> web.StreamResponse:
    review = await read_review(context)
    spec = review["spec"]
    token = spec.get("token")
    if not token:
        raise BadRequest("token is required for TokenReview in authentication")
    review["status"] = _token_status(context, token, tuple(spec.get("audiences") or ()))
    return answer_review(context, review)


def _token_status(context: RequestContext, token: str, audiences: tuple[str, ...]) -> Object:
    security = context.server.security
    wanted = audiences or security.tokens.audiences
    try:
        user, common = security.authenticator.review_token(token, wanted)
    except InvalidToken as error:
        return {"user": {}, "error": error.why}
    except Unauthorized:
        return {"user": {}, "error": "invalid bearer token"}
    return {"authenticated": True, "user": user.as_object(), "audiences": list(common)}


async def review_self(context: RequestContext) -> web.StreamResponse:
    review = await read_review(context)
    review.pop("spec", None)
    metadata = review["metadata"]
    metadata.pop("managedFields", None)  # the answer is made anew
    metadata["creationTimestamp"] = format_time(context.server.clock.now())
    review["status"] = {"userInfo": context.user.as_object()}
    return answer_review(context, review)


HANDLERS.update({
    (SERVICE_ACCOUNTS.group, SERVICE_ACCOUNTS.plural, "token"): request_token,
    (TOKEN_REVIEWS.group, TOKEN_REVIEWS.plural, ""): review_token,
    (SELF_SUBJECT_REVIEWS.group, SELF_SUBJECT_REVIEWS.plural, ""): review_self,
})  # fmt: skip
