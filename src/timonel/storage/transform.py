"""Encryption at rest: what happens to a value between the plain bytes in memory and the file.

The layout is upstream's, so that its tools and habits carry over: `k8s:enc:aesgcm:v1:<key name>:`, then 12 random bytes
of nonce, then ciphertext and tag. The storage key is authenticated with the value, so that one Secret's bytes cannot be
put in another's place.
Source: kubernetes.io/docs/tasks/administer-cluster/encrypt-data
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from timonel.storage.protocol import StoreError

ENCRYPTED = b"k8s:enc:"
_AESGCM = b"k8s:enc:aesgcm:v1:"
_NONCE_BYTES = 12


class TransformError(StoreError):
    """A stored value cannot be read with the encryption keys that are configured."""


class Transformer(Protocol):
    def seal(self, plain: bytes, key: str) -> bytes:
        """Bytes to store under `key`."""
        ...

    def unseal(self, stored: bytes, key: str) -> bytes:
        """Inverse of `seal`. Raises TransformError."""
        ...

    def is_stale(self, stored: bytes) -> bool:
        """Whether `seal` would no longer choose this form."""
        ...


class Identity:
    """Stores what it is given."""

    def seal(self, plain: bytes, key: str) -> bytes:
        return plain

    def unseal(self, stored: bytes, key: str) -> bytes:
        if stored.startswith(ENCRYPTED):
            raise TransformError(f"{key} is encrypted and no encryption key is configured")
        return stored

    def is_stale(self, stored: bytes) -> bool:
        return False


IDENTITY = Identity()


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    name: str
    """Written in front of each value, to find the key again; without ":"."""
    secret: bytes
    """16, 24 or 32 bytes."""


class AesGcm:
    """The first key writes, every key reads: add a new one in front, rewrite the objects, then drop the old one.

    Nonces are random, which is safe for 2**32 values a key; upstream asks to change keys far sooner.
    """

    def __init__(self, keys: Sequence[EncryptionKey], *, read_plain: bool = True) -> None:
        """`read_plain` also reads values stored before encryption was switched on. ValueError for unusable keys."""
        if not keys:
            raise ValueError("encryption needs at least one key")
        if any(":" in key.name or not key.name for key in keys):
            raise ValueError('the name of an encryption key must not be empty or contain ":"')
        self._ciphers = {_AESGCM + key.name.encode() + b":": AESGCM(key.secret) for key in keys}
        self._prefix, self._cipher = next(iter(self._ciphers.items()))
        self._read_plain = read_plain

    def seal(self, plain: bytes, key: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return self._prefix + nonce + self._cipher.encrypt(nonce, plain, key.encode())

    def unseal(self, stored: bytes, key: str) -> bytes:
        if not stored.startswith(ENCRYPTED):
            if self._read_plain:
                return stored
            raise TransformError(f"{key} is stored without encryption, which the configuration does not allow")
        prefix = stored[: stored.find(b":", len(_AESGCM)) + 1]
        cipher = self._ciphers.get(prefix)
        if cipher is None:
            raise TransformError(f"no encryption key for {key}, which was written with {_readable(prefix)}")
        nonce, sealed = stored[len(prefix) :][:_NONCE_BYTES], stored[len(prefix) + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, sealed, key.encode())
        except (InvalidTag, ValueError) as exc:
            raise TransformError(f"{key} does not decrypt with {_readable(prefix)}: damaged, or another key") from exc

    def is_stale(self, stored: bytes) -> bool:
        return not stored.startswith(self._prefix)


def _readable(prefix: bytes) -> str:
    return prefix.decode("utf-8", "replace").rstrip(":") or "an unknown method"
