"""Values whose JSON is not their message's: bytes, quantities, int-or-strings, times, and JSON kept as it is.

Source: kubernetes.io/docs/reference/kubernetes-api/common-definitions; the messages' numbers are public interface.
"""

from __future__ import annotations

from binascii import b2a_base64
from datetime import UTC, datetime, timedelta
from typing import Any

from timonel.api.clock import format_micro_time, format_time
from timonel.api.decode import decode
from timonel.api.objects import Object
from timonel.api.protobuf.message import (
    EmbeddedField,
    Message,
    NumberField,
    Reader,
    RepeatedField,
    SingleField,
    read_text,
)
from timonel.api.protobuf.wire import MalformedMessage, int32_of, int64_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = datetime(1, 1, 1, tzinfo=UTC)
"""A time that nobody set; JSON has null for it."""


def _read_raw(data: bytes, at: int, stop: int) -> bytes:
    return data[at:stop]


_QUANTITY = Message("Quantity")
_QUANTITY.add_delimited(1, SingleField("string", read_text, drops=False))

_INT_OR_STRING = Message("IntOrString")
_INT_OR_STRING.add_varint(1, NumberField("type", int64_of, drops=False))
_INT_OR_STRING.add_varint(2, NumberField("intVal", int32_of, drops=False))
_INT_OR_STRING.add_delimited(3, SingleField("strVal", read_text, drops=False))

_TIMESTAMP = Message("Timestamp")
_TIMESTAMP.add_varint(1, NumberField("seconds", int64_of, drops=False))
_TIMESTAMP.add_varint(2, NumberField("nanos", int32_of, drops=False))

_JSON = Message("RawExtension")
_JSON.add_delimited(1, SingleField("raw", _read_raw, drops=True))

_TEXTS = Message("ExtraValue")
_TEXTS.add_delimited(1, RepeatedField("items", read_text))


def read_base64(data: bytes, at: int, stop: int) -> str:
    return b2a_base64(data[at:stop], newline=False).decode()


def read_quantity(data: bytes, at: int, stop: int) -> str:
    """As written; the schema check refuses what is no quantity. An empty message is zero."""
    text: str = _QUANTITY.new(data, at, stop).get("string", "0")
    return text


def read_int_or_string(data: bytes, at: int, stop: int) -> int | str:
    found = _INT_OR_STRING.new(data, at, stop)
    value: int | str
    match found.get("type", 0):
        case 0:
            value = found.get("intVal", 0)
        case 1:
            value = found.get("strVal", "")
        case _:
            raise MalformedMessage("impossible IntOrString.Type")
    return value


def read_time(data: bytes, at: int, stop: int) -> str | None:
    """Whole seconds: upstream drops the fraction, which its JSON cannot hold."""
    moment = _read_moment(_TIMESTAMP.new(data, at, stop), fraction=False) if at < stop else None
    return None if moment is None else format_time(moment)


def read_micro_time(data: bytes, at: int, stop: int) -> str | None:
    moment = _read_moment(_TIMESTAMP.new(data, at, stop), fraction=True) if at < stop else None
    return None if moment is None else format_micro_time(moment)


def read_json(data: bytes, at: int, stop: int) -> Any:
    """The value of the JSON inside: RawExtension and FieldsV1. Raises BadRequest when it is none."""
    raw = _JSON.new(data, at, stop).get("raw")
    return None if raw is None else decode(raw).obj


def read_texts(data: bytes, at: int, stop: int) -> list[str]:
    """A list of strings as the value of a map, which protobuf must wrap in a message."""
    texts: list[str] = _TEXTS.new(data, at, stop).get("items", [])
    return texts


def schema_or(alternative: str, schema: Message) -> Reader:
    """Where a schema stands or something simpler; `alternative` is "schemas", "boolean" or "strings"."""
    message = Message(f"schema or {alternative}")
    if alternative == "boolean":
        message.add_varint(1, NumberField("other", bool, drops=False))
        message.add_delimited(2, EmbeddedField("schema", schema))
    else:
        message.add_delimited(1, EmbeddedField("schema", schema))
        message.add_delimited(2, RepeatedField("other", read_text if alternative == "strings" else schema.new))

    def read(data: bytes, at: int, stop: int) -> Any:
        found = message.new(data, at, stop)
        if alternative == "boolean":
            return found.get("schema", found.get("other", False))
        return found.get("other", found.get("schema"))

    return read


def _read_moment(timestamp: Object, *, fraction: bool) -> datetime | None:
    microseconds = int(timestamp.get("nanos", 0) / 1000) if fraction else 0
    try:
        moment = _EPOCH + timedelta(seconds=timestamp.get("seconds", 0), microseconds=microseconds)
    except OverflowError:
        raise MalformedMessage("Time.MarshalJSON: year outside of range [0,9999]") from None
    return None if moment == _NEVER else moment
