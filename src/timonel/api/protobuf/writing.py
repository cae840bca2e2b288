"""JSON objects as messages: the other direction of `message.py`, by the same tables of numbers.

A `MessageWriter` appends the fields of a dict to a buffer, in the order of the dict, which readers must take. What
JSON leaves out is left out here, for its zero is what readers assume; so it is with empty lists, which protobuf has no
way to say.
"""

from __future__ import annotations

import struct
from binascii import a2b_base64
from calendar import timegm
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import orjson

from timonel.api import nodes
from timonel.api.json_schema_nodes import SchemaOrNode
from timonel.api.nodes import ListNode, MapNode, Node, StructNode
from timonel.api.objects import Object
from timonel.api.protobuf.tables import numbers_of, read_table
from timonel.api.protobuf.wire import DELIMITED, FIXED64, VARINT, varint
from timonel.api.scalars import RAW
from timonel.api.schema import UnknownDefinition, schemas

Field = Callable[[Any, bytearray], None]
"""Appends one field, tag and all."""
Payload = Callable[[Any], bytes]
"""The bytes of a length-delimited value, without tag and length."""


class MessageWriter:
    """Fields by JSON name. Filled after it is made, for a message may contain its own kind."""

    __slots__ = ("fields", "inlined")

    def __init__(self) -> None:
        self.fields: dict[str, Field] = {}
        self.inlined: list[tuple[bytes, MessageWriter]] = []
        """Messages of their own on the wire whose fields JSON has among this one's."""

    def write(self, obj: Object, out: bytearray) -> None:
        fields = self.fields
        for name, value in obj.items():
            field = fields.get(name)
            if field is not None and value is not None:
                field(value, out)
        for tag, inner in self.inlined:
            if payload := inner.payload(obj):
                out += tag
                out += varint(len(payload))
                out += payload

    def payload(self, obj: Object) -> bytes:
        out = bytearray()
        self.write(obj, out)
        return bytes(out)


@cache
def writer_of(definition: str) -> MessageWriter:
    """The writer of a definition, with those of all it contains. Raises UnknownDefinition."""
    return _compile_definition(definition, {})


def delimited_field(number: int, payload: Payload) -> Field:
    tag = varint(number << 3 | DELIMITED)

    def write(value: Any, out: bytearray) -> None:
        data = payload(value)
        out += tag
        out += varint(len(data))
        out += data

    return write


def repeated_field(field: Field) -> Field:
    def write(value: Any, out: bytearray) -> None:
        for item in value:
            field(item, out)

    return write


def text_payload(value: str) -> bytes:
    return value.encode()


def _compile_definition(definition: str, known: dict[str, MessageWriter]) -> MessageWriter:
    if (writer := known.get(definition)) is not None:
        return writer
    package, _, name = definition.rpartition(".")
    if name not in read_table(package):
        raise UnknownDefinition(definition)
    writer = known[definition] = MessageWriter()
    _fill(writer, package, name, schemas().struct(definition), known)
    return writer


def _fill(writer: MessageWriter, package: str, name: str, around: StructNode, known: dict[str, MessageWriter]) -> None:
    """`around` has the fields' types; for a message that JSON has inline it is the struct around it."""
    for field, number in numbers_of(package, name):
        if field.startswith("*"):
            inner = MessageWriter()
            _fill(inner, package, field[1:], around, known)
            writer.inlined.append((varint(number << 3 | DELIMITED), inner))
            continue
        node = around.node(field)
        if node is None:
            raise UnknownDefinition(f"{around.definition}.{field}")
        writer.fields[field] = _field(number, node, known)


def _field(number: int, node: Node, known: dict[str, MessageWriter]) -> Field:
    if isinstance(node, MapNode):
        if isinstance(node.values, ListNode):  # of strings, which a map's value holds in a message of their own
            return _map_field(number, delimited_field(2, _texts))
        return _map_field(number, _field(2, node.values, known))
    if isinstance(node, ListNode):
        return repeated_field(_field(number, node.items, known))
    if node in _INTEGERS:
        return _integer_field(number)
    if node is nodes.NUMBER:
        return _double_field(number)
    if isinstance(node, StructNode):
        return delimited_field(number, _compile_definition(node.definition, known).payload)
    if isinstance(node, SchemaOrNode):
        assert isinstance(node.schema, StructNode)
        return delimited_field(number, _schema_or(node.alternative, _compile_definition(node.schema.definition, known)))
    return delimited_field(number, _PAYLOADS[node])


def _map_field(number: int, value_field: Field) -> Field:
    tag = varint(number << 3 | DELIMITED)
    key_field = delimited_field(1, text_payload)

    def write(value: Any, out: bytearray) -> None:
        for key, item in value.items():
            entry = bytearray()
            key_field(key, entry)
            value_field(item, entry)
            out += tag
            out += varint(len(entry))
            out += entry

    return write


def _integer_field(number: int) -> Field:
    tag = varint(number << 3 | VARINT)

    def write(value: Any, out: bytearray) -> None:
        out += tag
        out += varint(int(value) & 0xFFFF_FFFF_FFFF_FFFF)

    return write


def _double_field(number: int) -> Field:
    tag = varint(number << 3 | FIXED64)

    def write(value: Any, out: bytearray) -> None:
        out += tag
        out += struct.pack("<d", value)

    return write


def _schema_or(alternative: str, schema: MessageWriter) -> Payload:
    """A schema, or what may stand in its place: other schemas, a boolean, names."""
    schema_field = delimited_field(2 if alternative == "boolean" else 1, schema.payload)
    items_field = repeated_field(delimited_field(2, text_payload if alternative == "strings" else schema.payload))

    def payload(value: Any) -> bytes:
        out = bytearray()
        if isinstance(value, bool):
            _integer_1(value, out)
        elif isinstance(value, list):
            items_field(value, out)
        else:
            if alternative == "boolean":
                _integer_1(1, out)
            schema_field(value, out)
        return bytes(out)

    return payload


_integer_1, _integer_2 = _integer_field(1), _integer_field(2)
_text_1, _text_3 = delimited_field(1, text_payload), delimited_field(3, text_payload)


def _texts(value: Any) -> bytes:
    out = bytearray()
    for text in value:
        _text_1(text, out)
    return bytes(out)


def _quantity(value: Any) -> bytes:
    out = bytearray()
    _text_1(str(value), out)
    return bytes(out)


def _int_or_string(value: Any) -> bytes:
    out = bytearray()
    if isinstance(value, str):
        _integer_1(1, out)
        _text_3(value, out)
    else:
        _integer_1(0, out)
        _integer_2(value, out)
    return bytes(out)


def _time(value: str) -> bytes:
    moment = datetime.fromisoformat(value)
    out = bytearray()
    _integer_1(timegm(moment.utctimetuple()), out)
    _integer_2(moment.microsecond * 1000, out)
    return bytes(out)


def _json(value: Any) -> bytes:
    raw = orjson.dumps(value)
    return b"\x0a" + varint(len(raw)) + raw


_INTEGERS = frozenset({nodes.BOOL, nodes.INT32, nodes.INT64})
_PAYLOADS: dict[Node, Payload] = {
    nodes.STRING: text_payload,
    nodes.BYTES: lambda value: a2b_base64(value),
    nodes.QUANTITY: _quantity,
    nodes.INT_OR_STRING: _int_or_string,
    nodes.TIME: _time,
    nodes.MICRO_TIME: _time,
    nodes.ANY: _json,
    RAW: _json,
}
