"""PEM text inside base64 text: what is wrong with it. Source: RFC 7468."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from typing import TYPE_CHECKING

from timonel.api.field_errors import quote

if TYPE_CHECKING:  # 9 MB, imported when the first certificate is read: most clients of this package never do
    from cryptography import x509

_blocks_in = re.compile(
    rb"^-----BEGIN (?P<kind>[^-\n]+)-----[ \t]*\r?\n(?P<headers>(?:[^\n:]+:[^\n]*\r?\n)*)\s*(?P<body>[^-]*?)"
    rb"-----END (?P=kind)-----",
    re.MULTILINE,
).finditer


def request_problem(text: str) -> str:
    """Of a certificate request, base64 of PEM; "" when it is well-formed and signed with its own key."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    for kind, _, der in _blocks(text):
        if kind != "CERTIFICATE REQUEST":
            break
        try:
            request = x509.load_der_x509_csr(der)
            return "" if request.is_signature_valid else "x509: invalid signature"
        except (ValueError, UnsupportedAlgorithm) as exc:
            return f"x509: {exc}"
    return "PEM block type must be CERTIFICATE REQUEST"


def requested_organizations(text: str) -> list[str]:
    """The O= of a request's subject: the groups of a user. Raises ValueError for what is no request."""
    from cryptography import x509

    return _requested(text, x509.NameOID.ORGANIZATION_NAME)


def requested_common_name(text: str) -> str:
    """The CN= of a request's subject, the last one if there are several: a user's name. Raises ValueError."""
    from cryptography import x509

    return next(reversed(_requested(text, x509.NameOID.COMMON_NAME)), "")


def _requested(text: str, oid: x509.ObjectIdentifier) -> list[str]:
    from cryptography import x509

    for kind, _, der in _blocks(text):
        if kind != "CERTIFICATE REQUEST":
            break
        return [str(item.value) for item in x509.load_der_x509_csr(der).subject.get_attributes_for_oid(oid)]
    raise ValueError("PEM block type must be CERTIFICATE REQUEST")


def certificates_problem(text: str) -> str:
    """Of issued certificates, base64 of one or more PEM blocks."""
    from cryptography import x509

    count = 0
    for kind, headers, der in _blocks(text):
        if kind != "CERTIFICATE":
            return f"only CERTIFICATE PEM blocks are allowed, found {quote(kind)}"
        if headers:
            return "no PEM block headers are permitted"
        count += 1
        try:
            x509.load_der_x509_certificate(der)
        except ValueError as exc:
            return f"x509: {exc}"
    return "" if count else "must contain at least one CERTIFICATE PEM block"


def _blocks(text: str) -> Iterator[tuple[str, bytes, bytes]]:
    """Kind, headers and content of each block; what is no PEM is passed over."""
    try:
        data = b64decode(text)
    except Base64Error:
        return
    for found in _blocks_in(data):
        try:
            der = b64decode(found["body"], validate=False)
        except Base64Error:
            continue
        yield found["kind"].decode(errors="replace"), found["headers"], der


def key_pair_problem(certificate: bytes, key: bytes) -> str:
    """Why a certificate and a private key, both PEM, do not go together; "" when they do."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    leaf = next((der for kind, der in _plain_blocks(certificate) if kind == "CERTIFICATE"), None)
    if leaf is None:
        return "failed to find any PEM data in certificate input"
    if not any(kind == "PRIVATE KEY" or kind.endswith(" PRIVATE KEY") for kind, _ in _plain_blocks(key)):
        return "failed to find any PEM data in key input"
    try:
        public = x509.load_der_x509_certificate(leaf).public_key()
        private = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "failed to parse private key"
    if type(public) is not type(private):
        return "private key type does not match public key type"
    return "" if public == private else "private key does not match public key"


def _plain_blocks(pem: bytes) -> Iterator[tuple[str, bytes]]:
    for match in _blocks_in(pem):
        try:
            yield match["kind"].decode(), b64decode(b"".join(match["body"].split()), validate=True)
        except (Base64Error, UnicodeDecodeError):
            continue
