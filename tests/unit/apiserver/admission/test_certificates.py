"""Who approves and signs, and what nobody is given.

Source: kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.apiserver.admission.reviewing import Permits, admit, refused, review
from timonel.api.objects import Object
from timonel.api.refs import CERTIFICATE_SIGNING_REQUESTS as REQUESTS
from timonel.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)


def signing_request(signer: str = "example.com/own", status: Object | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": "r"}, "spec": {"signerName": signer, **spec}, "status": status or {}}


def update(subresource: str, old: Object, new: Object | None = None) -> Any:
    return review(REQUESTS, new or old, "UPDATE", old=old, subresource=subresource)


@pytest.mark.parametrize("name", ["example.com/own", "example.com/*"])
async def test_approval_needs_the_verb_on_the_signer_or_its_domain(name: str) -> None:
    await admit(
        CertificateApproval(authorizer=Permits(("approve", "signers", name))), update("approval", signing_request())
    )
    nobody = CertificateApproval(authorizer=Permits(("approve", "signers", "other.com/*"), ("sign", "signers", name)))
    error = await refused(nobody, update("approval", signing_request()))
    assert error.message == (
        'certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to approve requests with'
        ' signerName "example.com/own"'
    )
    await admit(nobody, update("", signing_request()))


async def test_signing_needs_the_verb_when_certificate_or_conditions_change() -> None:
    nobody = CertificateSigning(authorizer=Permits())
    old = signing_request()
    await admit(nobody, update("status", old))
    for status in ({"certificate": "x"}, {"conditions": [{"type": "Failed"}]}):
        error = await refused(nobody, update("status", old, signing_request(status=status)))
        assert error.message.endswith('user not permitted to sign requests with signerName "example.com/own"')
        allowed = CertificateSigning(authorizer=Permits(("sign", "signers", "example.com/own")))
        await admit(allowed, update("status", old, signing_request(status=status)))


async def test_nobody_is_certified_as_a_master() -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    def request_of(*organizations: str) -> str:
        names = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, item) for item in organizations]
        made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
        return b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()

    plugin, signer = CertificateSubjectRestriction(), "kubernetes.io/kube-apiserver-client"
    await admit(plugin, review(REQUESTS, signing_request(signer, request=request_of("people"))))
    masters = request_of("people", "system:masters")
    await admit(plugin, review(REQUESTS, signing_request(request=masters)))
    error = await refused(plugin, review(REQUESTS, signing_request(signer, request=masters)))
    assert error.message.endswith(f"use of {signer} signer with system:masters group is not allowed")
    error = await refused(plugin, review(REQUESTS, signing_request(signer, request="bm8=")))
    assert "failed to parse CSR: PEM block type must be CERTIFICATE REQUEST" in error.message
