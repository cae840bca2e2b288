"""Keys that sign and verify service account tokens, and how they are published for OpenID Connect discovery.

The first key signs; the others only verify, so that a key can be exchanged without invalidating tokens in use.
Source: kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from timonel.api.objects import Object
from timonel.api.token_keys import PrivateKey, PublicKey, TokenSigner, algorithm_of, key_id_of, parse_private_key


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    key_id: str
    algorithm: str
    public: PublicKey

    def as_jwk(self) -> Object:
        encoder: Any = jwt.algorithms.get_default_algorithms()[self.algorithm]
        jwk: Object = encoder.to_jwk(self.public, as_dict=True)
        jwk.pop("key_ops", None)
        return {"use": "sig", "kty": jwk.pop("kty"), "kid": self.key_id, "alg": self.algorithm, **jwk}


class KeySet:
    """Raises ValueError for a key that is neither RSA nor on a NIST curve."""

    def __init__(self, signing: PrivateKey, verifying: Sequence[PublicKey] = ()) -> None:
        self._signer = TokenSigner(signing)
        described = (_describe(key) for key in (signing.public_key(), *verifying))
        self.by_id = {key.key_id: key for key in described}

    @classmethod
    def from_files(cls, signing: Path, verifying: Sequence[Path] = ()) -> KeySet:
        """PEM files; `verifying` may hold public or private keys. Raises OSError and ValueError."""
        try:
            private = parse_private_key(signing.read_bytes())
        except ValueError as error:
            raise ValueError(f"{signing}: {error}") from error
        return cls(private, [_load_public(path) for path in verifying])

    def sign(self, claims: Object) -> str:
        return self._signer.sign(claims)

    def verify(self, token: str) -> Object:
        """The claims of a token whose signature is ours. Times, issuer and audience are the caller's business.

        Raises jwt.InvalidTokenError.
        """
        key = self.by_id.get(jwt.get_unverified_header(token).get("kid") or self._signer.key_id)
        if key is None:
            raise jwt.InvalidTokenError("invalid signature, no keys found")
        claims: Object = jwt.decode(token, key.public, algorithms=[key.algorithm], options=_SIGNATURE_ONLY)
        return claims

    def jwks(self) -> Object:
        return {"keys": [key.as_jwk() for key in self.by_id.values()]}

    def algorithms(self) -> list[str]:
        return sorted({key.algorithm for key in self.by_id.values()})


_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def _describe(public: PublicKey) -> VerifyingKey:
    return VerifyingKey(key_id_of(public), algorithm_of(public), public)


def _load_public(path: Path) -> PublicKey:
    data = path.read_bytes()
    key = (
        load_pem_private_key(data, password=None).public_key() if b"PRIVATE KEY" in data else load_pem_public_key(data)
    )
    if not isinstance(key, PublicKey):
        raise ValueError(f"{path}: neither an RSA nor an elliptic curve key")
    return key
