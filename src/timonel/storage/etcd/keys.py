"""Keys of the protocol are text, etcd's are bytes below the cluster's own prefix."""

from __future__ import annotations

_EVERYTHING = b"\0"
"""As first key and as end: the whole key space. Source: etcd.io/docs, api "Key ranges"."""


class Keyspace:
    def __init__(self, prefix: str) -> None:
        self.root = prefix.encode()

    def to_etcd(self, key: str) -> bytes:
        return self.root + key.encode()

    def from_etcd(self, key: bytes) -> str:
        # A foreign key may be no text; nobody asks for it, but a watch of everything passes by it.
        return key[len(self.root) :].decode("utf-8", "surrogateescape")

    def interval(self, prefix: str, start: str = "") -> tuple[bytes, bytes]:
        """First key and end (exclusive) of the keys that begin with `prefix` and are >= `start`."""
        low = self.to_etcd(prefix)
        first = max(low, self.to_etcd(start)) if start else low
        return first or _EVERYTHING, prefix_end(low)


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all that begin with `prefix`."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return _EVERYTHING
    return stripped[:-1] + bytes([stripped[-1] + 1])
