"""Compiled schema: small nodes that check a value, bring it to one spelling, and know how lists and maps merge.

Every node has two ways over a value. `settle` is the fast one for good input: it normalises in place and returns the
value, or BAD at the first thing out of order. `explain` is the slow one for bad input: it names every unknown field
(and removes it) and the first wrong type, in upstream's words. In a struct, a field that is a plain string or boolean
holds the type `str` or `bool` itself in place of a node, which saves a call for most values.

Normalising (`settle`) follows what a typed server stores and returns:
- null is absent; in a list it is the item type's zero.
- An optional field at its zero value ("", 0, false, [], {} of a map) is absent, unless zero says something
  (`presence.zero_counts`). Required fields of built-in kinds, and some others (`presence.shown_when_absent`), are
  always there: "", 0, false, or null for lists and times. Structures stay, and some are always shown, as {}.
- Quantities are canonical ("0.5" -> "500m"), numbers in their place become strings; times are UTC at their precision.
Anything without a schema (RawExtension, FieldsV1, unknown-field-preserving) is left as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import orjson

from timonel.api.findings import Findings
from timonel.api.named_types import named_type
from timonel.api.scalars import (
    ANY,
    BAD,
    BOOL,
    BYTES,
    INT32,
    INT64,
    INT_OR_STRING,
    MICRO_TIME,
    NUMBER,
    QUANTITY,
    STRING,
    TIME,
    AnyNode,
    BytesNode,
    IntNode,
    IntOrStringNode,
    Node,
    NumberNode,
    QuantityNode,
    StringNode,
    TimeNode,
)  # fmt: skip

__all__ = [
    "ANY",
    "BAD",
    "BOOL",
    "BYTES",
    "INT32",
    "INT64",
    "INT_OR_STRING",
    "MICRO_TIME",
    "NUMBER",
    "QUANTITY",
    "STRING",
    "TIME",
    "AnyNode",
    "BytesNode",
    "Findings",
    "IntNode",
    "IntOrStringNode",
    "ListNode",
    "MapNode",
    "Node",
    "NumberNode",
    "QuantityNode",
    "StringNode",
    "StructNode",
    "TimeNode",
    "empty_of",
]  # fmt: skip


class ListNode(Node):
    """`list_type` atomic, set or map with `keys`; `merge_key` and `merges` are the strategic merge patch's."""

    __slots__ = ("go_type", "items", "keys", "list_type", "merge_key", "merges", "zero")

    def __init__(
        self,
        items: Node,
        *,
        list_type: str = "atomic",
        keys: Iterable[str] = (),
        merge_key: str = "",
        merges: bool = False,
    ) -> None:
        self.items = items
        self.list_type = list_type
        self.keys = tuple(keys)
        self.merge_key = merge_key
        self.merges = merges
        self.go_type = f"[]{items.go_type}"
        self.zero: list[Any] = []

    def settle(self, value: Any) -> Any:
        if type(value) is not list:
            return BAD
        settle = self.items.settle
        for index, item in enumerate(value):
            settled = settle(item) if item is not None else empty_of(self.items)
            if settled is BAD:
                return BAD
            if settled is not item:
                value[index] = settled
        return value

    def explain(self, value: Any, findings: Findings) -> None:
        if value is None:
            return
        if type(value) is not list:
            findings.add_mismatch(value, self.go_type)
            return
        for index, item in enumerate(value):
            findings.path.append(f"[{index}]")
            self.items.explain(item, findings)
            findings.path.pop()


class MapNode(Node):
    __slots__ = ("atomic", "go_type", "values", "zero")

    def __init__(self, values: Node, *, atomic: bool = False) -> None:
        self.values = values
        self.atomic = atomic
        self.go_type = "v1.ResourceList" if isinstance(values, QuantityNode) else f"map[string]{values.go_type}"
        self.zero: dict[str, Any] = {}

    def child(self, name: str) -> Node:
        return self.values

    def settle(self, value: Any) -> Any:
        if type(value) is not dict:
            return BAD
        settle = self.values.settle
        for key, item in value.items():
            settled = settle(item) if item is not None else empty_of(self.values)
            if settled is BAD:
                return BAD
            if settled is not item:
                value[key] = settled
        return value

    def explain(self, value: Any, findings: Findings) -> None:
        if value is None:
            return
        if type(value) is not dict:
            findings.add_mismatch(value, self.go_type)
            return
        for key, item in value.items():
            findings.path.append(key)
            self.values.explain(item, findings)
            findings.path.pop()


class StructNode(Node):
    """Named fields. `name` is the definition's short name; `fields` values are nodes, or the types str and bool."""

    __slots__ = (
        "_children",
        "atomic",
        "defaults",
        "definition",
        "embedded",
        "fields",
        "filled",
        "go_type",
        "name",
        "nulls",
        "open",
        "replaces",
        "shown",
        "zeroless",
    )
    is_struct = True

    def __init__(self, name: str, go_type: str, *, atomic: bool, open_: bool = False) -> None:
        self.name = name
        self.definition = ""
        """Its full name, for those that have one."""
        self.go_type = go_type
        self.atomic = atomic
        self.open = open_
        """Unknown fields are kept (x-kubernetes-preserve-unknown-fields)."""
        self.fields: dict[str, Node | type] = {}
        self.zeroless: frozenset[str] = frozenset()
        """Optional fields whose zero value means absent."""
        self.filled: tuple[tuple[str, StructNode], ...] = ()
        """Structures that are always shown."""
        self.shown: tuple[tuple[str, Any], ...] = ()
        """Other fields that are always shown, and what of them when nobody set them: 0, "", false or null."""
        self.nulls: frozenset[str] = frozenset()
        """Those of them that are shown as null."""
        self.replaces: frozenset[str] = frozenset()
        """Struct fields that a strategic merge patch replaces whole."""
        self.defaults: dict[str, Any] = {}
        """Defaults of fields that identify list items."""
        self.embedded: dict[str, str] = {}
        self._children: dict[str, Node] = {}

    def child(self, name: str) -> Node:
        children = self._children
        if not children:  # `fields` is filled after the structure is made
            children = self._children = {field: self.node(field) or ANY for field in self.fields}
        return children.get(name, ANY)

    def node(self, name: str) -> Node | None:
        """The node of a field, also where `fields` holds a bare type; None for an unknown field."""
        field = self.fields.get(name)
        if field is str:
            return STRING
        if field is bool:
            return BOOL
        if field is None:
            return ANY if self.open else None
        assert isinstance(field, Node)
        return field

    def settle(self, value: Any) -> Any:
        if type(value) is not dict:
            return BAD
        fields = self.fields
        changes: list[tuple[str, Any]] | None = None
        for name, item in value.items():
            field = fields.get(name)
            if type(item) is field and item:
                continue
            if field is None:
                if self.open:
                    continue
                return BAD
            if item is None:
                if name in self.nulls:
                    continue
                settled = None
            elif type(item) is field:
                settled = None if name in self.zeroless else item
            elif field is str or field is bool:
                return BAD
            else:
                settled = field.settle(item)  # type: ignore[union-attr]
                if settled is BAD:
                    return BAD
                if not settled and name in self.zeroless:
                    settled = None
            if settled is not item or item is None:
                if changes is None:
                    changes = []
                changes.append((name, settled))
        if changes is not None:
            for name, settled in changes:
                if settled is None:
                    del value[name]
                else:
                    value[name] = settled
        for name, node in self.filled:
            if name not in value:
                value[name] = node.settle({})
        for name, zero in self.shown:
            if name not in value:
                value[name] = zero
        return value

    def settle_changes(
        self, value: dict[str, Any], settled: dict[str, Any], touched: Collection[str] | None = None
    ) -> Any:
        """As `settle`, passing over the fields that are just as in a value that is settled already: all but those in
        `touched`, or else those found to be alike. Of structures in `touched` the fields that are the very same are
        passed over too."""
        changed = {}
        for name, item in value.items():
            before = settled.get(name)
            if before is item and item is not None:
                continue
            if touched is None:
                if name not in settled or not _alike(item, before):
                    changed[name] = item
            elif name in touched:
                node = self.fields.get(name)
                if type(item) is type(before) is dict and isinstance(node, StructNode) and item:
                    if node.settle_apart(item, before) is BAD:
                        return BAD
                else:
                    changed[name] = item
        return self._settle_some(value, changed)

    def settle_apart(self, value: dict[str, Any], settled: dict[str, Any]) -> Any:
        """As `settle`, passing over the fields that are the very same as in a value that is settled already, or the
        same text."""
        changed = {}
        for name, item in value.items():
            before = settled.get(name)
            if item is None or not (before is item or (type(item) is str and type(before) is str and item == before)):
                changed[name] = item
        return self._settle_some(value, changed)

    def _shows_all(self, value: dict[str, Any]) -> bool:
        return all(name in value for name, _ in self.filled) and all(name in value for name, _ in self.shown)

    def _settle_some(self, value: dict[str, Any], fields: dict[str, Any]) -> Any:
        """`settle` for these fields of a value, of which all others are settled."""
        if not fields and self._shows_all(value):
            return value
        parts = dict(fields)
        if self.settle(parts) is BAD:
            return BAD
        for name in fields:
            if name not in parts:
                del value[name]
        for name, item in parts.items():
            if name in fields or name not in value:
                value[name] = item
        return value

    def explain(self, value: Any, findings: Findings) -> None:
        if value is None:
            return
        if type(value) is not dict:
            findings.add_mismatch(value, self.go_type)
            return
        struct, depth = findings.struct, len(findings.context)
        unknown = []
        for name, item in value.items():
            node = self.node(name)
            if node is None:
                findings.add_unknown(name)
                unknown.append(name)
                continue
            if embedded := self.embedded.get(name):
                findings.context.append(embedded)
            findings.context.append(name)
            findings.path.append(name)
            findings.struct = self.name
            if not self._explain_named(name, node, item, findings):
                node.explain(item, findings)
            findings.path.pop()
            del findings.context[depth:]
            findings.struct = struct
        for name in unknown:
            del value[name]

    def _explain_named(self, name: str, node: Node, value: Any, findings: Findings) -> bool:
        """Words the error of a string, or list of strings, whose type has a name of its own; whether it did."""
        listed = isinstance(node, ListNode) and node.items is STRING
        if value is None or not (node is STRING or listed):
            return False
        type_name = named_type(self.name, name, self.go_type.partition(".")[0])
        if not type_name:
            return False
        if listed and not isinstance(value, list):
            findings.add_mismatch(value, f"[]{type_name}")
            return True
        wrong = _first_not_text(value) if listed else value
        if isinstance(wrong, str):
            return False
        findings.add_mismatch(wrong, type_name)
        return True


def _alike(one: Any, other: Any) -> bool:
    """Equal as JSON, where true is not 1. Those in another order are not: they cost more to compare than to settle."""
    return orjson.dumps(one) == orjson.dumps(other)


def _first_not_text(items: list[Any]) -> Any:
    return next((item for item in items if item is not None and not isinstance(item, str)), "")


def empty_of(node: Node) -> Any:
    """What null stands for where something must be: a fresh zero value."""
    if isinstance(node, StructNode):
        return node.settle({})
    if isinstance(node, (ListNode, MapNode)):
        return type(node.zero)()
    return node.zero
