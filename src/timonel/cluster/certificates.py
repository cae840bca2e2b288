"""Certificates and their authorities as pairs of files: made once, kept while good, renewed before they expire.

Keys are ECDSA P-256: a signature takes 20 µs where RSA takes a millisecond. Which ones a cluster has is `pki.py`'s.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from timonel.cluster.private_files import write_atomic, write_private

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=60)
"""A leaf with less left than this is made anew, a CA with less than a leaf's whole life."""
BACKDATE = timedelta(minutes=5)
"""Certificates hold from a little before now, for machines whose clocks are behind."""

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    cert: Path
    key: Path


def ensure_authority(directory: Path, name: str, common_name: str, *, now: datetime | None = None) -> Pair:
    """One more, which nothing of the cluster trusts by itself."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    return ensure_ca(directory, name, common_name, now or datetime.now(UTC))


def ensure_client_certificate(
    directory: Path, name: str, ca: Pair, common_name: str, groups: Sequence[str] = (), *, now: datetime | None = None
) -> Pair:
    return _ensure_leaf(directory, name, ca, _subject(common_name, groups), (), ExtendedKeyUsageOID.CLIENT_AUTH, now)


def ensure_server_certificate(
    directory: Path,
    name: str,
    ca: Pair,
    common_name: str,
    alternatives: Sequence[str],
    *,
    groups: Sequence[str] = (),
    now: datetime | None = None,
) -> Pair:
    """`alternatives` are DNS names and IP addresses in any order."""
    unique = tuple(dict.fromkeys(_general_name(text) for text in alternatives if text))
    subject = _subject(common_name, groups)
    return _ensure_leaf(directory, name, ca, subject, unique, ExtendedKeyUsageOID.SERVER_AUTH, now)


def _ensure_leaf(
    directory: Path,
    name: str,
    ca: Pair,
    subject: x509.Name,
    alternatives: Sequence[x509.GeneralName],
    usage: x509.ObjectIdentifier,
    now: datetime | None,
) -> Pair:
    now = now or datetime.now(UTC)
    directory.mkdir(parents=True, exist_ok=True)
    pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
    authority = read_pair(ca)
    if authority is None:
        raise ValueError(f"{ca.cert} and {ca.key} are no usable certificate authority")
    ca_certificate, ca_key = authority
    existing = read_pair(pair)
    if existing is not None and _is_good(existing[0], ca_certificate, subject, alternatives, now):
        pair.key.chmod(0o600)
        return pair
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(
            subject, ca_certificate.subject, key, now, min(now + LEAF_LIFETIME, ca_certificate.not_valid_after_utc)
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(_authority_identifier(ca_certificate), critical=False)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    _write_pair(pair, builder.sign(ca_key, hashes.SHA256()), key)
    return pair


def ensure_ca(directory: Path, name: str, common_name: str, now: datetime) -> Pair:
    """A CA is kept as long as it outlives the leaves it signs. It is renewed with its key, so its leaves stay good."""
    pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
    existing = read_pair(pair)
    if existing is not None and existing[0].not_valid_after_utc - now > LEAF_LIFETIME:
        pair.key.chmod(0o600)
        return pair
    key = existing[1] if existing is not None else ec.generate_private_key(ec.SECP256R1())
    subject = _subject(common_name, ())
    certificate = (
        _builder(subject, subject, key, now, now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_pair(pair, certificate, key)
    return pair


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common_name: str, groups: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _is_good(
    certificate: x509.Certificate,
    ca: x509.Certificate,
    subject: x509.Name,
    alternatives: Sequence[x509.GeneralName],
    now: datetime,
) -> bool:
    if certificate.not_valid_after_utc - now < RENEW_BEFORE or certificate.not_valid_before_utc > now:
        return False
    if certificate.subject != subject:
        return False
    try:
        certificate.verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not from this CA and is made anew
        return False
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return not alternatives
    return set(alternatives) <= set(extension.value)


def read_pair(pair: Pair) -> tuple[x509.Certificate, Key] | None:
    """None when either file is missing, damaged or does not belong to the other."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.cert.read_bytes())
        key = load_pem_private_key(pair.key.read_bytes(), password=None)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return None
    return certificate, key


def _write_pair(pair: Pair, certificate: x509.Certificate, key: Key) -> None:
    # The key first: a crash in between leaves a pair that does not match, which is made anew.
    write_private(pair.key, key_pem(key))
    write_atomic(pair.cert, certificate.public_bytes(Encoding.PEM), 0o644)


def key_pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
