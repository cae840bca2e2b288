"""Keys that sign service account tokens: their ids, their algorithms, and signing. Pure.

Source: kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
"""

from __future__ import annotations

import base64
import hashlib

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from timonel.api.objects import Object

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


def key_id_of(public: PublicKey) -> str:
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def algorithm_of(public: PublicKey) -> str:
    """Raises ValueError for a curve that has none."""
    if isinstance(public, rsa.RSAPublicKey):
        return "RS256"
    algorithm = _CURVES.get(public.curve.name)
    if algorithm is None:
        raise ValueError(f"curve {public.curve.name} cannot sign tokens; use P-256, P-384 or P-521")
    return algorithm


def parse_private_key(pem: bytes) -> PrivateKey:
    """Raises ValueError for what is neither an RSA nor an elliptic curve key."""
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, PrivateKey):
        raise ValueError("neither an RSA nor an elliptic curve key")
    return key


class TokenSigner:
    """Raises ValueError for a key that is not on a NIST curve."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.key_id = key_id_of(key.public_key())
        self.algorithm = algorithm_of(key.public_key())

    def sign(self, claims: Object) -> str:
        return jwt.encode(claims, self._key, algorithm=self.algorithm, headers={"kid": self.key_id})
