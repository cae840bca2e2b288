"""Keys of the protocol are text, etcd's are bytes below the cluster's own prefix."""

from __future__ import annotations

from dataclasses import dataclass

_FIRST = b"\0"
_EVERYTHING = b"\0"
"""As the end of an interval: there is none. Source: etcd.io/docs, api, "Key ranges"."""
_BEYOND_TEXT = b"\xff"
"""Sorts after every text: UTF-8 has no such byte."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Keys from `first` to before `end`."""

    first: bytes
    end: bytes

    def __contains__(self, key: bytes) -> bool:
        return self.first <= key < self.end


class Keyspace:
    """`root` is before every key. `marker` is a key of our own that watches of everything see and nobody else does."""

    def __init__(self, prefix: str) -> None:
        self.root = prefix.encode()
        self.marker = self.root + _BEYOND_TEXT
        self.everything = Interval(self.root or _FIRST, prefix_end(self.root))

    def to_etcd(self, key: str) -> bytes:
        return self.root + key.encode()

    def from_etcd(self, key: bytes) -> str:
        # A foreign key may be no text; nobody asks for it, but a watch of everything passes by it.
        return key[len(self.root) :].decode("utf-8", "surrogateescape")

    def interval(self, prefix: str, start: str = "") -> Interval:
        """The keys that begin with `prefix` and are >= `start`."""
        low = self.to_etcd(prefix)
        first = max(low, self.to_etcd(start)) if start else low
        return Interval(first or _FIRST, low + _BEYOND_TEXT)


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all that begin with `prefix`."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return _EVERYTHING
    return stripped[:-1] + bytes([stripped[-1] + 1])
