"""How objects become the bytes that are stored and served.

An object is encoded once per write. The stored JSON begins with kind, apiVersion and metadata, in that order, and holds
no resourceVersion, for the store's revision is the only truth about it; `splice` writes it in after the commit, and the
same bytes then answer GET, LIST and WATCH.
"""

from __future__ import annotations

import orjson

from timonel.api.objects import Object
from timonel.storage.transform import IDENTITY, Transformer

_METADATA = b'"metadata":{'
_VERSIONED = b'"metadata":{"resourceVersion":"'
_CLOSING_BRACE = ord("}")


def encode(obj: Object) -> bytes:
    """Wire JSON without resourceVersion; kind, apiVersion and metadata come first, the rest keeps its order.

    Raises TypeError for what JSON cannot hold, KeyError for an object without kind, apiVersion or metadata.
    """
    metadata = {field: value for field, value in obj["metadata"].items() if field != "resourceVersion"}
    ordered = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": metadata}
    ordered.update((field, value) for field, value in obj.items() if field not in ordered)
    return orjson.dumps(ordered)


def splice(plain: bytes, revision: int) -> bytes:
    """The wire form: what `encode` made, with `revision` as metadata.resourceVersion."""
    at = plain.index(_METADATA) + len(_METADATA)
    comma = b"" if plain[at] == _CLOSING_BRACE else b","
    return b'%b"resourceVersion":"%d"%b%b' % (plain[:at], revision, comma, plain[at:])


def with_revision(obj: Object, revision: int) -> Object:
    """What decoding the wire form would give, of the object that `encode` got; its parts are shared."""
    metadata = {"resourceVersion": str(revision)}
    metadata.update((field, value) for field, value in obj["metadata"].items() if field != "resourceVersion")
    made = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": metadata}
    made.update((field, value) for field, value in obj.items() if field not in made)
    return made


def resplice(wire: bytes, revision: int) -> bytes:
    """The wire form of another revision: what `splice` made, with `revision` in place of its own."""
    at = wire.index(_VERSIONED) + len(_VERSIONED)
    return b"%b%d%b" % (wire[:at], revision, wire[wire.index(b'"', at) :])


class Codec:
    """Between plain bytes and stored bytes; one per resource, because Secrets may be encrypted and others not."""

    def __init__(self, transformer: Transformer = IDENTITY) -> None:
        self._transformer = transformer

    def to_store(self, key: str, plain: bytes) -> bytes:
        return self._transformer.seal(plain, key)

    def from_store(self, key: str, stored: bytes) -> bytes:
        """Raises TransformError when the value cannot be read with the keys there are."""
        return self._transformer.unseal(stored, key)

    def is_stale(self, stored: bytes) -> bool:
        """Whether writing the value again would store it differently: another key, or no encryption yet."""
        return self._transformer.is_stale(stored)
