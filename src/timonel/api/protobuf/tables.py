"""From the tables of field numbers and the published schema to messages, a kind at a time, when first asked for.

A table (`numbers/<package>.txt`) has a line for each message: its name, then JSON names and numbers, `name=1`.
`*Name=2` is a message whose fields JSON has among those of this one. Indented lines continue the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from timonel.api import nodes
from timonel.api.json_schema_nodes import SchemaOrNode
from timonel.api.nodes import ListNode, MapNode, Node, StructNode
from timonel.api.protobuf.message import (
    EmbeddedField,
    InlinedField,
    MapField,
    Message,
    NumberField,
    NumbersField,
    Reader,
    RepeatedField,
    SingleField,
    read_text,
)
from timonel.api.protobuf.values import (
    read_base64,
    read_int_or_string,
    read_json,
    read_micro_time,
    read_quantity,
    read_texts,
    read_time,
    schema_or,
)
from timonel.api.protobuf.wire import int32_of, int64_of
from timonel.api.scalars import RAW
from timonel.api.schema import UnknownDefinition, schemas

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
PACKAGES = {
    "v1": "io.k8s.api.core.v1",
    "admissionregistration.k8s.io/v1": "io.k8s.api.admissionregistration.v1",
    "apiextensions.k8s.io/v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    "apiregistration.k8s.io/v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
    "apps/v1": "io.k8s.api.apps.v1",
    "authentication.k8s.io/v1": "io.k8s.api.authentication.v1",
    "authorization.k8s.io/v1": "io.k8s.api.authorization.v1",
    "autoscaling/v1": "io.k8s.api.autoscaling.v1",
    "autoscaling/v2": "io.k8s.api.autoscaling.v2",
    "batch/v1": "io.k8s.api.batch.v1",
    "certificates.k8s.io/v1": "io.k8s.api.certificates.v1",
    "coordination.k8s.io/v1": "io.k8s.api.coordination.v1",
    "discovery.k8s.io/v1": "io.k8s.api.discovery.v1",
    "events.k8s.io/v1": "io.k8s.api.events.v1",
    "flowcontrol.apiserver.k8s.io/v1": "io.k8s.api.flowcontrol.v1",
    "networking.k8s.io/v1": "io.k8s.api.networking.v1",
    "node.k8s.io/v1": "io.k8s.api.node.v1",
    "policy/v1": "io.k8s.api.policy.v1",
    "rbac.authorization.k8s.io/v1": "io.k8s.api.rbac.v1",
    "resource.k8s.io/v1": "io.k8s.api.resource.v1",
    "scheduling.k8s.io/v1": "io.k8s.api.scheduling.v1",
    "storage.k8s.io/v1": "io.k8s.api.storage.v1",
}
"""Where the definitions of a group's version are. Types that several share are in META."""

_META_KINDS = frozenset({"DeleteOptions", "Status"})
"""Kinds that clients send under any group's version."""

_OLD_EVICTION = ("policy/v1beta1", "Eviction")
"""Still sent by old clients, with the fields of v1."""

_READERS: dict[Node, Reader] = {
    nodes.STRING: read_text,
    nodes.BYTES: read_base64,
    nodes.QUANTITY: read_quantity,
    nodes.INT_OR_STRING: read_int_or_string,
    nodes.TIME: read_time,
    nodes.MICRO_TIME: read_micro_time,
    nodes.ANY: read_json,
    RAW: read_json,
}
_NUMBERS: dict[Node, Callable[[int], Any]] = {nodes.BOOL: bool, nodes.INT32: int32_of, nodes.INT64: int64_of}


def find_message(api_version: str, kind: str) -> Message | None:
    """The message of a kind; None for kinds that have none."""
    definition = definition_of(api_version, kind)
    try:
        return None if definition is None else message_of(definition)
    except UnknownDefinition:
        return None


def definition_of(api_version: str, kind: str) -> str | None:
    """The definition that a kind would have; None for a version without messages."""
    if (api_version, kind) == _OLD_EVICTION:
        api_version = "policy/v1"
    package = META if kind in _META_KINDS else PACKAGES.get(api_version)
    return None if package is None else f"{package}.{kind}"


@cache
def message_of(definition: str) -> Message:
    """The message of a definition, with those of all it contains; a Pod's take 20 ms. Raises UnknownDefinition."""
    return _Compiler().message(definition)


@cache
def read_table(package: str) -> dict[str, list[str]]:
    """The fields of each message of a package, as written: "name=1", "*VolumeSource=2"."""
    table: dict[str, list[str]] = {}
    fields: list[str] = []
    text = files(__package__).joinpath("numbers", f"{package}.txt").read_text()
    for line in text.splitlines():
        words = line.split()
        if not line.startswith(" "):
            fields = table[words.pop(0)] = []
        fields += words
    return table


def numbers_of(package: str, name: str) -> Iterator[tuple[str, int]]:
    for word in read_table(package)[name]:
        field, _, number = word.rpartition("=")
        yield field, int(number)


class _Compiler:
    """Of one message and all it contains: `known` are those begun, for a message may contain its own kind."""

    def __init__(self) -> None:
        self.known: dict[str, Message] = {}

    def message(self, definition: str) -> Message:
        if (message := self.known.get(definition)) is not None:
            return message
        package, _, name = definition.rpartition(".")
        if name not in read_table(package):
            raise UnknownDefinition(definition)
        message = self.known[definition] = Message(name)
        self._fill(message, package, schemas().struct(definition))
        return message

    def _fill(self, message: Message, package: str, struct: StructNode) -> None:
        """`struct` has the fields' types; for a message that JSON has inline it is the struct around it."""
        for field, number in numbers_of(package, message.name):
            if field.startswith("*"):
                inner = Message(field[1:])
                self._fill(inner, package, struct)
                message.add_delimited(number, InlinedField(inner))
                continue
            node = struct.node(field)
            if node is None:
                raise UnknownDefinition(f"{struct.definition}.{field}")
            self._add_field(message, number, field, node, drops=field in struct.zeroless)

    def _add_field(self, message: Message, number: int, name: str, node: Node, *, drops: bool) -> None:
        if isinstance(node, StructNode):
            message.add_delimited(number, EmbeddedField(name, self.message(node.definition)))
        elif isinstance(node, MapNode):
            message.add_delimited(number, MapField(name, self._reader(node.values)))
        elif isinstance(node, ListNode):
            convert = _NUMBERS.get(node.items)
            if convert is None:
                message.add_delimited(number, RepeatedField(name, self._reader(node.items)))
            else:
                numbers = NumbersField(name, convert)
                message.add_varint(number, numbers)
                message.add_delimited(number, numbers)
        elif (convert := _NUMBERS.get(node)) is not None:
            message.add_varint(number, NumberField(name, convert, drops=drops))
        elif node is nodes.NUMBER:
            message.add_double(number, name)
        else:
            message.add_delimited(number, SingleField(name, self._reader(node), drops=drops))

    def _reader(self, node: Node) -> Reader:
        if isinstance(node, StructNode):
            return self.message(node.definition).new
        if isinstance(node, ListNode):
            return read_texts
        if isinstance(node, SchemaOrNode):
            assert isinstance(node.schema, StructNode)
            return schema_or(node.alternative, self.message(node.schema.definition))
        return _READERS[node]
