"""Who may approve and sign CertificateSigningRequests, and which subjects nobody gets.

Source: kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests
"""

from __future__ import annotations

from dataclasses import replace

from timonel.api.kinds.certificates.pem import requested_organizations
from timonel.api.objects import get_path
from timonel.api.refs import CERTIFICATE_SIGNING_REQUESTS
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.authn.user import MASTERS_GROUP
from timonel.apiserver.authz.attributes import Authorizer

_REQUESTS = frozenset({(CERTIFICATE_SIGNING_REQUESTS.group, CERTIFICATE_SIGNING_REQUESTS.plural)})
_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


class CertificateApproval(Plugin):
    name = "CertificateApproval"
    operations = frozenset({"UPDATE"})
    resources = _REQUESTS

    def __init__(self, *, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        if request.subresource == "approval":
            signer = get_path(request.old, "spec", "signerName", default="")
            if not await may_act_for(self._authorizer, request, "approve", signer):
                raise request.forbidden(f'user not permitted to approve requests with signerName "{signer}"')


class CertificateSigning(Plugin):
    name = "CertificateSigning"
    operations = frozenset({"UPDATE"})
    resources = _REQUESTS

    def __init__(self, *, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        if request.subresource != "status":
            return
        if all(
            get_path(request.old, "status", field) == get_path(request.obj, "status", field)
            for field in ("certificate", "conditions")
        ):
            return
        signer = get_path(request.old, "spec", "signerName", default="")
        if not await may_act_for(self._authorizer, request, "sign", signer):
            raise request.forbidden(f'user not permitted to sign requests with signerName "{signer}"')


class CertificateSubjectRestriction(Plugin):
    """The group that may everything is not to be had by a signed request."""

    name = "CertificateSubjectRestriction"
    operations = frozenset({"CREATE"})
    resources = _REQUESTS

    async def validate(self, request: AdmissionRequest) -> None:
        spec = (request.obj or {}).get("spec") or {}
        if request.subresource or spec.get("signerName") != _CLIENT_SIGNER:
            return
        try:
            organizations = requested_organizations(spec.get("request") or "")
        except ValueError as exc:
            raise request.forbidden(f"failed to parse CSR: {exc}") from exc
        if MASTERS_GROUP in organizations:
            raise request.forbidden(f"use of {_CLIENT_SIGNER} signer with {MASTERS_GROUP} group is not allowed")


async def may_act_for(authorizer: Authorizer, request: AdmissionRequest, verb: str, signer: str) -> bool:
    """Whether the user has the verb on this signer, or on all of its domain."""
    domain = signer.partition("/")[0]
    for name in (signer, f"{domain}/*"):
        attributes = replace(
            request.attributes,
            verb=verb,
            group=CERTIFICATE_SIGNING_REQUESTS.group,
            version="*",
            resource="signers",
            subresource="",
            namespace="",
            name=name,
            path="",
        )
        if (await authorizer.authorize(attributes)).allowed:
            return True
    return False
