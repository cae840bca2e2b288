"""Requests that served their purpose, or never will, are deleted after a while.

Each request has a time at which it is due, so nothing is looked at before.
Source: kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#request-signing-process
"""

from __future__ import annotations

import logging
from base64 import b64decode
from binascii import Error as Base64Error
from datetime import datetime, timedelta

from timonel.api.certificate_requests import APPROVED, DENIED, FAILED
from timonel.api.clock import parse_time
from timonel.api.errors import NotFound
from timonel.api.objects import Object, ObjectKey, get_path, is_deleting, uid_of
from timonel.api.refs import CERTIFICATE_SIGNING_REQUESTS
from timonel.client.controller import Controller, Result, Watch
from timonel.controllers.certificates.requests import certificate_of

log = logging.getLogger(__name__)

APPROVED_LIFE = timedelta(hours=1)
DENIED_LIFE = timedelta(hours=1)
"""Of failed ones too."""
PENDING_LIFE = timedelta(hours=24)
"""Of approved ones that nobody signed, too."""


def due_at(request: Object) -> datetime | None:
    """When the request is to be deleted, as it is now; None: never by itself."""
    conditions = get_path(request, "status", "conditions", default=[])
    moments = []
    if not conditions:
        moments.append(parse_time(request["metadata"]["creationTimestamp"]) + PENDING_LIFE)
    certificate = certificate_of(request)
    for condition in conditions:
        kind, updated = condition.get("type"), condition.get("lastUpdateTime")
        if updated:
            if kind == APPROVED:
                moments.append(parse_time(updated) + (APPROVED_LIFE if certificate else PENDING_LIFE))
            elif kind in (DENIED, FAILED):
                moments.append(parse_time(updated) + DENIED_LIFE)
        if kind == APPROVED and certificate and (end := _end_of(certificate)):
            moments.append(end)
    return min(moments, default=None)


def _end_of(certificate: str) -> datetime | None:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(b64decode(certificate)).not_valid_after_utc
    except (ValueError, Base64Error):
        return None


class RequestCleaner(Controller):
    name = "certificatesigningrequest-cleaner-controller"
    watches = (Watch(CERTIFICATE_SIGNING_REQUESTS),)
    workers = 1

    async def sync(self, key: ObjectKey) -> Result:
        request = self.lister(CERTIFICATE_SIGNING_REQUESTS).get(*key)
        due = due_at(request) if request is not None and not is_deleting(request) else None
        if request is None or due is None:
            return Result()
        left = (due - self.clock.now()).total_seconds()
        if left >= 0:
            return Result(requeue_after=left + 1)
        try:
            await self.client.delete(CERTIFICATE_SIGNING_REQUESTS, key.name, uid=uid_of(request))
        except NotFound:
            return Result()
        log.info("request was deleted, its time was over name=%s", key.name)
        return Result()
