"""CertificateSigningRequests: what may be asked, and who may say what of it."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from functools import lru_cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from timonel.api import refs
from timonel.api.kinds.certificates import APPROVAL
from timonel.api.objects import Object, copy_object
from timonel.api.resource import Occasion

from .samples import NOW, ago, cells, changed, created, findings, status_findings, strategy, update_findings

REF = refs.CERTIFICATE_SIGNING_REQUESTS
APPROVED = {"type": "Approved", "status": "True", "reason": "ok"}
DENIED = {"type": "Denied", "status": "True"}


def encoded(pem: bytes | str) -> str:
    return b64encode(pem if isinstance(pem, bytes) else pem.encode()).decode()


@lru_cache(maxsize=1)
def pems() -> tuple[str, str]:
    """A request and a certificate, both PEM in base64."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ann")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    form = serialization.Encoding.PEM
    return encoded(request.public_bytes(form)), encoded(certificate.public_bytes(form))


def request(**spec: Any) -> Object:
    return {
        "metadata": {"name": "csr-1", "creationTimestamp": ago(minutes=5)},
        "spec": {"request": pems()[0], "signerName": "example.com/signer", "usages": ["client auth"], **spec},
    }


NOT_A_REQUEST = "PEM block type must be CERTIFICATE REQUEST"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        ({"request": ""}, [f'spec.request: Invalid value: null: {NOT_A_REQUEST}']),
        ({"usages": []}, ["spec.usages: Required value"]),
        ({"usages": ["signing", "signing"]}, ['spec.usages[1]: Duplicate value: "signing"']),
        ({"expirationSeconds": 599},
         ["spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"]),
        ({"expirationSeconds": 600}, []),
        ({"signerName": ""}, ["spec.signerName: Required value"]),
        (
            {"signerName": "signer"},
            [
                'spec.signerName: Invalid value: "signer": must be a fully qualified domain and path of the form '
                "'example.com/signer-name'"
            ],
        ),
        (
            {"signerName": "example/signer"},
            [
                'spec.signerName: Invalid value: "example": should be a domain with at least two segments separated by '
                "dots"
            ],
        ),
        (
            {"signerName": "kubernetes.io/legacy-unknown"},
            [
                'spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed '
                "via this API version"
            ],
        ),
    ],
)  # fmt: skip
def test_rules(spec: dict[str, Any], expected: list[str]) -> None:
    assert findings(REF, request(**spec)) == expected


def test_other_pem_and_broken_signatures_are_no_requests() -> None:
    certificate = pems()[1]
    assert findings(REF, request(request=certificate)) == [
        f'spec.request: Invalid value: "{certificate}": {NOT_A_REQUEST}'
    ]
    broken = encoded("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n")
    found = findings(REF, request(request=broken))
    assert len(found) == 1
    assert found[0].startswith(f'spec.request: Invalid value: "{broken}": x509: ')


def test_signer_names_are_checked_label_by_label() -> None:
    found = findings(REF, request(signerName="exa_mple.com/UPPER"))
    assert [text.partition(" a lower")[0] for text in found] == [
        'spec.signerName: Invalid value: "exa_mple.com": validating label "exa_mple":',
        'spec.signerName: Invalid value: "UPPER": validating label "UPPER":',
    ]


def test_unknown_usages_are_refused_with_all_there_are() -> None:
    found = findings(REF, request(usages=["fly"]))
    assert found[0].startswith('spec.usages[0]: Unsupported value: "fly": supported values: "any", "cert sign"')


def test_the_server_says_who_asks() -> None:
    new = created(REF, request(username="somebody", groups=["system:masters"]))
    assert "username" not in new["spec"]
    strategy(REF).stamp(new, None, Occasion(NOW, "", "ann", "7", ("dev",), {"scope": ("a",)}))
    asker = {field: new["spec"][field] for field in ("username", "uid", "groups", "extra")}
    assert asker == {"username": "ann", "uid": "7", "groups": ["dev"], "extra": {"scope": ["a"]}}


def test_nothing_changes_outside_of_the_subresources() -> None:
    old = created(REF, request())
    new = copy_object(old)
    new["spec"]["usages"] = ["server auth"]
    strategy(REF).prepare_update(new, old)
    assert new["spec"] == old["spec"]
    assert update_findings(REF, request(), changed("metadata", "labels", to={"a": "b"})) == []


def test_a_signer_issues_but_does_not_decide() -> None:
    old = created(REF, request())
    issued = changed("status", "certificate", to=pems()[1])
    assert status_findings(REF, old, issued) == []
    assert status_findings(REF, old, changed("status", "conditions", to=[APPROVED])) == [
        'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    ]
    assert status_findings(REF, old, changed("status", "conditions", to=[{"type": "Failed", "status": "True"}])) == []
    old["status"]["certificate"] = encoded("other")
    assert status_findings(REF, old, issued) == [
        "status.certificate: Forbidden: updates may not modify existing certificate content"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("text", "must contain at least one CERTIFICATE PEM block"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n",
            'only CERTIFICATE PEM blocks are allowed, found "RSA PRIVATE KEY"',
        ),
        (
            "-----BEGIN CERTIFICATE-----\nA: b\n\nMAA=\n-----END CERTIFICATE-----\n",
            "no PEM block headers are permitted",
        ),
    ],
)
def test_only_certificates_are_issued(text: str, problem: str) -> None:
    change = changed("status", "certificate", to=encoded(text))
    assert status_findings(REF, created(REF, request()), change) == [
        f'status.certificate: Invalid value: "<certificate data>": {problem}'
    ]


def approve(old: Object, **status: Any) -> tuple[Object, list[str]]:
    new = {**copy_object(old), "status": status}
    APPROVAL.prepare_update(new, old)
    APPROVAL.stamp(new, old, Occasion(NOW, "approval"))
    return new, [str(error) for error in APPROVAL.validate_update(new, old)]


def test_an_approver_decides_but_does_not_issue() -> None:
    new, found = approve(created(REF, request()), conditions=[dict(APPROVED)], certificate=pems()[1])
    assert found == []
    assert new["status"] == {"conditions": [{**APPROVED, "lastUpdateTime": ago(), "lastTransitionTime": ago()}]}


def test_decisions_are_final() -> None:
    old, _ = approve(created(REF, request()), conditions=[dict(APPROVED)])
    assert approve(old, conditions=[])[1] == [
        'status.conditions: Forbidden: updates may not remove a condition of type "Approved"'
    ]
    assert approve(old, conditions=[APPROVED, DENIED])[1] == [
        'status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'
    ]
    later = {**APPROVED, "reason": "again"}
    new, _ = approve(old, conditions=[later])
    assert new["status"]["conditions"][0]["lastTransitionTime"] == ago()


def test_conditions_are_checked() -> None:
    old = created(REF, request())
    assert approve(old, conditions=[{"type": "Approved", "status": "False"}, {}, {"type": "Approved"}])[1] == [
        'status.conditions[0].status: Unsupported value: "False": supported values: "True"',
        "status.conditions[1].type: Required value",
        "status.conditions[1].status: Required value",
        "status.conditions[2].status: Required value",
        'status.conditions[2].type: Duplicate value: "Approved"',
    ]


def test_columns() -> None:
    obj = request(username="ann", expirationSeconds=86400)
    assert cells(REF, obj) == {
        "Name": "csr-1", "Age": "5m", "SignerName": "example.com/signer", "Requestor": "ann",
        "RequestedDuration": "24h", "Condition": "Pending",
    }  # fmt: skip
    obj["status"] = {"conditions": [APPROVED, {"type": "Failed"}], "certificate": "x"}
    assert cells(REF, obj)["Condition"] == "Approved,Failed,Issued"
    assert cells(REF, request())["RequestedDuration"] == "<none>"
