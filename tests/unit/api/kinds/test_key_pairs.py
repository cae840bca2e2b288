"""Certificates and keys of TLS secrets: whether they go together, as the warning says."""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from timonel.api.kinds.certificates.pem import key_pair_problem

_EC = ec.generate_private_key(ec.SECP256R1())
_RSA = rsa.generate_private_key(65537, 2048)


def _certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    start = datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(_EC.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=1))
    return builder.sign(_EC, hashes.SHA256()).public_bytes(Encoding.PEM)


def _key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_pair_that_belongs_together() -> None:
    assert key_pair_problem(_certificate(), _key(_EC)) == ""


def test_what_is_wrong_with_others() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    assert key_pair_problem(b"", _key(_EC)) == "failed to find any PEM data in certificate input"
    assert key_pair_problem(_certificate(), b"") == "failed to find any PEM data in key input"
    assert key_pair_problem(_certificate(), _key(other)) == "private key does not match public key"
    assert key_pair_problem(_certificate(), _key(_RSA)) == "private key type does not match public key type"
