"""A certificate authority as files: read again when they change, signing what was checked by others.

Imported when the first certificate is to be signed, for it brings the whole of cryptography along.

Source: the fields of issued certificates and their times as kube-controller-manager's signer makes them; RFC 5280.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from timonel.controllers.certificates.requests import CannotSign, Wish

BACKDATE = timedelta(minutes=5)
"""Certificates hold from a little before now, for machines whose clocks are behind."""
SHORT = timedelta(hours=8)
"""Certificates of a shorter life end when asked for; others, as much earlier as they begin."""

_KEY_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
_EXTENDED_USAGES = {  # in the order they are written
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "microsoft sgc": ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": ObjectIdentifier("2.16.840.1.113730.4.1"),
}

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class _Loaded:
    stamps: tuple[int, ...]
    certificate: x509.Certificate
    key: SigningKey


class Authority:
    """`cert_file` and `key_file` are PEM. The first certificate of the file is the one that signs."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._files = (cert_file, key_file)
        self._loaded: _Loaded | None = None

    def sign(self, wish: Wish, usages: Sequence[str], lifetime: timedelta, now: datetime) -> bytes:
        """The certificate as PEM, for a client that is no authority itself, never outliving the authority.

        Raises CannotSign, and ValueError for a key or usages that cannot go into a certificate.
        """
        try:
            return self._sign(wish, usages, lifetime, now)
        except UnsupportedAlgorithm as error:
            raise ValueError(str(error)) from error

    def _sign(self, wish: Wish, usages: Sequence[str], lifetime: timedelta, now: datetime) -> bytes:
        own = self._load()
        ends = own.certificate.not_valid_after_utc
        if now >= ends:
            raise CannotSign(f"refusing to sign a certificate that expired in the past: NotAfter={ends}")
        now = now.replace(microsecond=0)
        not_after = now + lifetime if lifetime < SHORT else now + lifetime - BACKDATE
        builder = (
            x509.CertificateBuilder()
            .subject_name(wish.request.subject)
            .issuer_name(own.certificate.subject)
            .public_key(wish.request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(min(not_after, ends))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        key_usage, extended = render_usages(usages)
        if key_usage is not None:
            builder = builder.add_extension(key_usage, critical=True)
        if extended is not None:
            builder = builder.add_extension(extended, critical=False)
        if identifier := _authority_identifier(own.certificate):
            builder = builder.add_extension(identifier, critical=False)
        if names := wish.alternative_names:
            # RFC 5280, 4.2.1.6: critical where the subject says nothing.
            is_only_name = not list(wish.request.subject)
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=is_only_name)
        algorithm = None if isinstance(own.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(own.key, algorithm).public_bytes(Encoding.PEM)

    def _load(self) -> _Loaded:
        cert_file, key_file = self._files
        try:
            stamps = tuple(file.stat().st_mtime_ns for file in self._files)
            if self._loaded is not None and self._loaded.stamps == stamps:
                return self._loaded
            certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
            key = load_pem_private_key(key_file.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise CannotSign(str(error)) from error
        if not isinstance(key, SigningKey) or key.public_key() != certificate.public_key():
            raise CannotSign(f"{key_file} is not the key of {cert_file}")
        self._loaded = _Loaded(stamps, certificate, key)
        return self._loaded


def render_usages(usages: Sequence[str]) -> tuple[x509.KeyUsage | None, x509.ExtendedKeyUsage | None]:
    """The two extensions, None where nothing belongs into one. Raises ValueError for what is no usage."""
    unknown = [usage for usage in usages if usage not in _KEY_USAGES and usage not in _EXTENDED_USAGES]
    if unknown:
        raise ValueError(f"unrecognized usage values: {unknown}")
    bits = {_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES}
    purposes = dict.fromkeys(oid for usage, oid in _EXTENDED_USAGES.items() if usage in usages)
    key_usage = x509.KeyUsage(**{bit: bit in bits for bit in _KEY_USAGES.values()}) if bits else None
    return key_usage, x509.ExtendedKeyUsage(purposes) if purposes else None


def _authority_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier | None:
    try:
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
