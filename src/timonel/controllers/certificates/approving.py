"""Kubelets' requests for client certificates are approved when whoever asks may have them.

Nobody approves others by itself: people do, or controllers of their signers.
Source: kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/#approval
"""

from __future__ import annotations

import logging
from datetime import datetime

from timonel.api.clock import parse_time
from timonel.api.objects import Object, ObjectKey, get_path, name_of
from timonel.api.refs import CERTIFICATE_SIGNING_REQUESTS, SUBJECT_ACCESS_REVIEWS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.controllers.certificates.requests import (
    KUBELET_CLIENT,
    certificate_of,
    is_decided,
    kubelet_client_problem,
    parse_wish,
)

log = logging.getLogger(__name__)

_SELF = ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.")
_ANY = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.")
_SHORTEST_WAIT, _LONGEST_WAIT = 1.0, 1000.0  # seconds


def plan_reviews(request: Object) -> list[tuple[str, str]]:
    """(subresource of certificatesigningrequests, message of approval): the first that may be created approves."""
    if get_path(request, "spec", "signerName") != KUBELET_CLIENT or certificate_of(request) or is_decided(request):
        return []
    spec = request["spec"]
    try:
        wish = parse_wish(request)
    except ValueError:
        return []
    if kubelet_client_problem(wish, spec.get("usages") or []):
        return []
    return [_SELF, _ANY] if spec.get("username") == wish.common_name else [_ANY]


def render_review(request: Object, subresource: str) -> Object:
    """May whoever made the request create this subresource of requests?"""
    spec = request["spec"]
    asker = {"user": "username", "uid": "uid", "groups": "groups", "extra": "extra"}
    return {
        "apiVersion": SUBJECT_ACCESS_REVIEWS.api_version,
        "kind": SUBJECT_ACCESS_REVIEWS.kind,
        "metadata": {},
        "spec": {
            **{field: spec[source] for field, source in asker.items() if spec.get(source)},
            "resourceAttributes": {
                "group": CERTIFICATE_SIGNING_REQUESTS.group,
                "version": "*",
                "resource": CERTIFICATE_SIGNING_REQUESTS.plural,
                "subresource": subresource,
                "verb": "create",
            },
        },
    }


def seconds_until_next_look(request: Object, now: datetime) -> float:
    """Rights may be given later: a refused request is looked at again, after as long as it has been there."""
    age = (now - parse_time(request["metadata"]["creationTimestamp"])).total_seconds()
    return min(max(age, _SHORTEST_WAIT), _LONGEST_WAIT)


def _key(request: Object) -> Keys:
    return None if is_decided(request) or certificate_of(request) else ObjectKey("", name_of(request))


class RequestApprover(Controller):
    """Keys are requests that nobody decided about."""

    name = "certificatesigningrequest-approving-controller"
    watches = (Watch(CERTIFICATE_SIGNING_REQUESTS, key=_key),)

    async def sync(self, key: ObjectKey) -> Result:
        request = self.lister(CERTIFICATE_SIGNING_REQUESTS).get(*key)
        reviews = plan_reviews(request) if request is not None else []
        if request is None or not reviews:
            return Result()
        for subresource, message in reviews:
            review = await self.client.create(SUBJECT_ACCESS_REVIEWS, render_review(request, subresource))
            if get_path(review, "status", "allowed"):
                await self._approve(request, message)
                return Result()
        log.info(
            "request was not approved, whoever asks may not create any of them name=%s subresources=%s",
            key.name, ",".join(subresource for subresource, _ in reviews),
        )  # fmt: skip
        return Result(requeue_after=seconds_until_next_look(request, self.clock.now()))

    async def _approve(self, request: Object, message: str) -> None:
        condition = {"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message}
        status = request.get("status") or {}
        status = status | {"conditions": [*(status.get("conditions") or ()), condition]}
        await self.client.update(CERTIFICATE_SIGNING_REQUESTS, request | {"status": status}, subresource="approval")
        log.info("request was approved name=%s", name_of(request))
