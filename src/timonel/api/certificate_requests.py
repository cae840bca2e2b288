"""The conditions of a CertificateSigningRequest, for its validation and for those who decide about it."""

from __future__ import annotations

from timonel.api.objects import Object, get_path

APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"


def conditions_of(request: Object, kind: str) -> list[Object]:
    return [c for c in get_path(request, "status", "conditions", default=[]) if c.get("type") == kind]
