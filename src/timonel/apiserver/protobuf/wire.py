"""From the bytes of a Kubernetes protobuf body to the JSON object they stand for. Pure.

The envelope is `k8s\\0` and a runtime.Unknown: apiVersion, kind and the object's own bytes. Source:
kubernetes.io/docs/reference/using-api/api-concepts ("Protobuf encoding"), protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from timonel.api.clock import format_micro_time, format_time
from timonel.api.objects import Object
from timonel.apiserver.protobuf.messages import INLINE, WHOLE, Field, Messages, messages

MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 60
_INT64_SIGN = 1 << 63


class Malformed(ValueError):
    """The bytes are no such message; the text says where it stopped."""


class UnknownMessage(ValueError):
    """A kind whose protobuf form is not known here."""


@dataclass(frozen=True, slots=True)
class Envelope:
    api_version: str
    kind: str
    raw: bytes


def open_envelope(body: bytes) -> Envelope:
    """Raises Malformed."""
    if not body.startswith(MAGIC):
        raise Malformed("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    api_version = kind = ""
    raw = b""
    for number, value in _fields(body[len(MAGIC) :]):
        if number == 1 and isinstance(value, bytes):
            for part, text in _fields(value):
                if part == 1:
                    api_version = _text(text)
                elif part == 2:
                    kind = _text(text)
        elif number == 2 and isinstance(value, bytes):
            raw = value
        elif number == 3 and value:
            raise Malformed("an encoding inside the envelope is not supported")
    return Envelope(api_version, kind, raw)


def decode_message(raw: bytes, name: str) -> Object:
    """The JSON object of a message, "io.k8s.api.core.v1.Pod". Raises Malformed, UnknownMessage.

    Fields at their zero value are kept where the bytes have them; the schema's normalising drops them as for JSON.
    """
    table = messages()
    if name not in table:
        raise UnknownMessage(name)
    obj = _message(raw, name, table, 0)
    if not isinstance(obj, dict):
        raise UnknownMessage(name)
    return obj


def _message(raw: bytes, name: str, table: Messages, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise Malformed("messages are nested too deeply")
    known = table[name]
    made: Object = {}
    whole: Any = None
    for number, value in _fields(raw):
        field = known.get(number)
        if field is None:
            continue
        if field.shape == "map":
            key, item = _entry(value, field, table, depth)
            made.setdefault(field.name, {})[key] = item
        elif field.shape == "list":
            items = _list_items(value, field, table, depth)
            if field.name == WHOLE:
                whole = [*(whole or ()), *items]
            else:
                made.setdefault(field.name, []).extend(items)
        else:
            decoded = _value(value, field.type, table, depth)
            if field.name == INLINE:
                made.update(decoded)
            elif decoded is not None:
                made[field.name] = decoded
    if any(field.name == WHOLE for field in known.values()):
        return whole or []
    return made


def _list_items(value: int | bytes, field: Field, table: Messages, depth: int) -> list[Any]:
    if isinstance(value, bytes) and field.type in ("int32", "int64", "bool"):
        return [_value(each, field.type, table, depth) for each in _packed(value)]
    return [_value(value, field.type, table, depth)]


def _entry(value: int | bytes, field: Field, table: Messages, depth: int) -> tuple[str, Any]:
    key = ""
    item: int | bytes | None = None
    for number, part in _fields(_bytes(value)):
        if number == 1:
            key = _text(part)
        elif number == 2:
            item = part
    if item is None:
        item = b""
    return key, _value(item, field.type, table, depth)


def _value(value: int | bytes, kind: str, table: Messages, depth: int) -> Any:
    match kind:
        case "string":
            return _text(value)
        case "bytes":
            return base64.b64encode(_bytes(value)).decode()
        case "bool":
            return bool(_integer(value))
        case "int32" | "int64":
            return _integer(value)
        case "quantity":
            return next((_text(part) for number, part in _fields(_bytes(value)) if number == 1), "0")
        case "intstr":
            parts = dict(_fields(_bytes(value)))
            return _text(parts.get(3, b"")) if parts.get(1, 0) else _integer(parts.get(2, 0))
        case "time" | "microtime":
            return _time(_bytes(value), kind)
        case "fields":
            return _json(dict(_fields(_bytes(value))).get(1, b""))
    if kind not in table:
        raise UnknownMessage(kind)
    return _message(_bytes(value), kind, table, depth + 1)


def _time(raw: bytes, kind: str) -> str | None:
    if not raw:
        return None
    parts = dict(_fields(raw))
    seconds, nanos = _integer(parts.get(1, 0)), _integer(parts.get(2, 0))
    try:
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)
    except (ValueError, OverflowError, OSError) as exc:
        raise Malformed("a time is out of range") from exc
    return format_time(moment) if kind == "time" else format_micro_time(moment)


def _json(raw: int | bytes) -> Any:
    try:
        return orjson.loads(_bytes(raw) or b"{}")
    except orjson.JSONDecodeError as exc:
        raise Malformed("managed fields are no JSON") from exc


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and raw values: an int for numbers, bytes for everything with a length."""
    at, end = 0, len(raw)
    while at < end:
        tag, at = _varint(raw, at)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise Malformed("field number 0")
        if wire_type == _VARINT:
            value, at = _varint(raw, at)
            yield number, value
            continue
        if wire_type == _BYTES:
            length, at = _varint(raw, at)
        elif wire_type == _FIXED64:
            length = 8
        elif wire_type == _FIXED32:
            length = 4
        else:
            raise Malformed(f"wire type {wire_type}")
        if at + length > end:
            raise Malformed("unexpected EOF")
        yield number, raw[at : at + length]
        at += length


def _packed(raw: bytes) -> Iterator[int]:
    at = 0
    while at < len(raw):
        value, at = _varint(raw, at)
        yield value


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(raw):
            raise Malformed("unexpected EOF")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7
        if shift > 63:
            raise Malformed("integer overflow")


def _integer(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise Malformed("a number was expected")
    return value - (1 << 64) if value & _INT64_SIGN else value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise Malformed("bytes were expected")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as exc:
        raise Malformed("a string is not UTF-8") from exc
