"""Certificate requests and a cluster authority, made with real keys."""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from timonel.api.objects import Object

START = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the virtual clock begins."""


@cache
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    if common_name:
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(parts)


def general_names(**names: Sequence[str]) -> list[x509.GeneralName]:
    made: list[x509.GeneralName] = [x509.DNSName(each) for each in names.get("dns", ())]
    made += [x509.IPAddress(ipaddress.ip_address(each)) for each in names.get("ip", ())]
    made += [x509.RFC822Name(each) for each in names.get("email", ())]
    return [*made, *(x509.UniformResourceIdentifier(each) for each in names.get("uri", ()))]


def request_pem(common_name: str, organizations: Sequence[str] = (), **names: Sequence[str]) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name(common_name, organizations))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(general_names(**names)), critical=False)
    return builder.sign(key(), hashes.SHA256()).public_bytes(Encoding.PEM)


def signing_request(
    common_name: str = "jane",
    organizations: Sequence[str] = (),
    *,
    signer: str = "kubernetes.io/kube-apiserver-client",
    usages: Sequence[str] = ("client auth",),
    conditions: Sequence[Object] = (),
    certificate: bytes = b"",
    names: dict[str, Sequence[str]] | None = None,
    **spec: Any,
) -> Object:
    status: Object = {"conditions": list(conditions)} if conditions else {}
    if certificate:
        status["certificate"] = b64encode(certificate).decode()
    return {
        "kind": "CertificateSigningRequest",
        "apiVersion": "certificates.k8s.io/v1",
        "metadata": {"name": "wish"},
        "spec": {
            "request": b64encode(request_pem(common_name, organizations, **(names or {}))).decode(),
            "signerName": signer,
            "usages": list(usages),
            **spec,
        },
        "status": status,
    }


def condition(kind: str, updated: str = "2026-01-01T00:00:00Z") -> Object:
    return {"type": kind, "status": "True", "reason": "Test", "lastUpdateTime": updated}


APPROVED = condition("Approved")


def write_authority(directory: Path, *, ends: datetime = START + timedelta(days=3650)) -> tuple[Path, Path]:
    """A CA with a key of its own: (certificate file, key file)."""
    own = ec.generate_private_key(ec.SECP256R1())
    subject = name("kubernetes")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START - timedelta(days=1))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .sign(own, hashes.SHA256())
    )
    cert_file, key_file = directory / "ca.crt", directory / "ca.key"
    cert_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert_file, key_file
