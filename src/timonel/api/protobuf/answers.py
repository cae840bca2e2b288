"""Answers in protobuf: objects, lists, metadata, Statuses and events of watches, each in the usual envelope.

Lists have no table of their own: all have metadata as their first field and the items as their second.
"""

from __future__ import annotations

from functools import cache

from timonel.api.objects import Object
from timonel.api.protobuf.envelope import MAGIC
from timonel.api.protobuf.tables import META, definition_of
from timonel.api.protobuf.wire import varint
from timonel.api.protobuf.writing import MessageWriter, delimited_field, repeated_field, text_payload, writer_of
from timonel.api.schema import UnknownDefinition

_METADATA = "PartialObjectMetadata"


def can_encode(api_version: str, kind: str) -> bool:
    """Whether the kind has a message. Custom resources have none."""
    return _writer(api_version, kind) is not None


def encode_protobuf(obj: Object) -> bytes:
    """An object, list or Status with its kind and apiVersion. Raises UnknownDefinition for a kind without a message.

    A pod of 2 KB (as JSON) costs about 100 µs.
    """
    api_version, kind = obj["apiVersion"], obj["kind"]
    writer = _writer(api_version, kind)
    if writer is None:
        raise UnknownDefinition(f"{api_version} {kind}")
    return enveloped(api_version, kind, writer.payload(obj))


def enveloped(api_version: str, kind: str, payload: bytes) -> bytes:
    out = bytearray(MAGIC)
    _TYPE_META({"apiVersion": api_version, "kind": kind}, out)
    out += b"\x12" + varint(len(payload)) + payload
    out += b"\x1a\x00\x22\x00"  # encoding and type of what is inside: empty, and always there
    return bytes(out)


def encode_event(kind: str, obj: Object) -> bytes:
    """One event of a watch as it goes over the wire: its length in four bytes, then the message."""
    raw = encode_protobuf(obj)
    inner = b"\x0a" + varint(len(raw)) + raw
    text = kind.encode()
    message = b"\x0a" + varint(len(text)) + text + b"\x12" + varint(len(inner)) + inner
    return len(message).to_bytes(4, "big") + message


@cache
def _writer(api_version: str, kind: str) -> MessageWriter | None:
    try:
        if kind == _METADATA:
            return _made({1: ("metadata", writer_of(f"{META}.ObjectMeta"))})
        if kind.endswith("List"):
            item = _writer(api_version, kind.removesuffix("List"))
            if item is None:
                return None
            made = _made({1: ("metadata", writer_of(f"{META}.ListMeta"))})
            made.fields["items"] = repeated_field(delimited_field(2, item.payload))
            return made
        definition = definition_of(api_version, kind)
        return None if definition is None else writer_of(definition)
    except UnknownDefinition:
        return None


def _made(messages: dict[int, tuple[str, MessageWriter]]) -> MessageWriter:
    writer = MessageWriter()
    for number, (name, inner) in messages.items():
        writer.fields[name] = delimited_field(number, inner.payload)
    return writer


_type_meta = MessageWriter()
_type_meta.fields = {"apiVersion": delimited_field(1, text_payload), "kind": delimited_field(2, text_payload)}
_TYPE_META = delimited_field(1, _type_meta.payload)
