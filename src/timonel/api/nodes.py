"""Compiled schema: small nodes that check a value, bring it to one spelling, and know how lists and maps merge.

Every node has two ways over a value. `settle` is the fast one for good input: it normalises in place and returns the
value, or BAD at the first thing out of order. `explain` is the slow one for bad input: it names every unknown field
(and removes it) and the first wrong type, in upstream's words. In a struct, a field that is a plain string or boolean
holds the type `str` or `bool` itself in place of a node, which saves a call for most values.

Normalising (`settle`) follows what a typed server stores and returns:
- null is absent; in a list it is the item type's zero.
- An optional field at its zero value ("", 0, false, [], {} of a map) is absent, unless zero says something
  (`presence.zero_counts`). Required fields keep their zero. Structures stay, and some are always shown, as {}.
- Quantities are canonical ("0.5" -> "500m"), numbers in their place become strings; times are UTC at their precision.
Anything without a schema (RawExtension, FieldsV1, unknown-field-preserving) is left as it is.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from timonel.api.field_errors import quote
from timonel.api.named_types import named_type
from timonel.api.quantity import InvalidQuantity, canonical_quantity
from timonel.api.times import TimeError, settle_micro_time, settle_time


class _Bad:
    """The type of BAD; no value ever is or equals it."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


BAD: Final = _Bad()

_MAX_FINDINGS = 100
"""Upstream stops collecting unknown fields here."""


class Findings:
    """What `explain` collects on its way down; `path` and `context` say where it is."""

    __slots__ = ("context", "error", "path", "struct", "unknown")

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.error: str | None = None
        self.path: list[str] = []
        """For unknown fields: "spec", "containers", "[0]"."""
        self.context: list[str] = []
        """For type errors: names of struct fields only."""
        self.struct = ""

    def add_unknown(self, name: str) -> None:
        where = ""
        for step in (*self.path, name):
            where += step if not where or (step[0:1] == "[" and step[-1:] == "]") else f".{step}"
        message = f"unknown field {quote(where)}"
        if message not in self.unknown and len(self.unknown) < _MAX_FINDINGS:
            self.unknown.append(message)

    def add_mismatch(self, value: Any, expected: str) -> None:
        shown = _describe(value)
        if expected in ("int32", "int64") and shown == "number":
            shown = f"number {value!r}"
        target = f"value of type {expected}"
        if self.context:
            target = f"struct field {self.struct}.{'.'.join(self.context)} of type {expected}"
        self.add_error(f"json: cannot unmarshal {shown} into Go {target}")

    def add_error(self, message: str) -> None:
        if self.error is None:
            self.error = message


def _describe(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


class Node:
    """Base of all. `go_type` is how type errors call it; `zero` is what null means in a list or map."""

    __slots__ = ()
    go_type: str = "interface {}"
    zero: Any = None
    is_struct: ClassVar[bool] = False

    def settle(self, value: Any) -> Any:
        raise NotImplementedError

    def explain(self, value: Any, findings: Findings) -> None:
        if value is not None and self.settle(value) is BAD:
            findings.add_mismatch(value, self.go_type)


class StringNode(Node):
    """Strings and booleans where no type can stand in: items of lists, values of maps."""

    __slots__ = ("go_type", "kind", "zero")

    def __init__(self, kind: type, go_type: str) -> None:
        self.kind, self.go_type, self.zero = kind, go_type, kind()

    def settle(self, value: Any) -> Any:
        return value if type(value) is self.kind else BAD


class IntNode(Node):
    __slots__ = ("go_type", "high", "low", "zero")

    def __init__(self, bits: int) -> None:
        self.go_type, self.zero = f"int{bits}", 0
        self.low, self.high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def settle(self, value: Any) -> Any:
        return value if type(value) is int and self.low <= value <= self.high else BAD


class NumberNode(Node):
    __slots__ = ()
    go_type = "float64"
    zero = 0

    def settle(self, value: Any) -> Any:
        return value if type(value) is float or type(value) is int else BAD


class AnyNode(Node):
    """Any JSON, kept as it is."""

    __slots__ = ()

    def settle(self, value: Any) -> Any:
        return value

    def explain(self, value: Any, findings: Findings) -> None:
        pass


class QuantityNode(Node):
    __slots__ = ()
    go_type = "resource.Quantity"
    zero = "0"

    def settle(self, value: Any) -> Any:
        try:
            return canonical_quantity(_quantity_text(value))
        except InvalidQuantity:
            return BAD

    def explain(self, value: Any, findings: Findings) -> None:
        if value is not None:
            try:
                canonical_quantity(_quantity_text(value))
            except InvalidQuantity as exc:
                findings.add_error(str(exc))


def _quantity_text(value: Any) -> str:
    if type(value) is str:
        return value if value.isalnum() else value.strip()
    if type(value) is int:
        return str(value)
    if type(value) is float:
        return repr(value).removesuffix(".0")
    return "!"  # no quantity begins like this


class IntOrStringNode(Node):
    __slots__ = ()
    go_type = "int32"
    zero = 0

    def settle(self, value: Any) -> Any:
        if type(value) is str or (type(value) is int and -(2**31) <= value < 2**31):
            return value
        return BAD

    def explain(self, value: Any, findings: Findings) -> None:
        if value is not None and self.settle(value) is BAD:
            shown = _describe(value)
            shown = f"number {value!r}" if shown == "number" else shown
            findings.add_error(f"json: cannot unmarshal {shown} into Go value of type int32")


class TimeNode(Node):
    __slots__ = ("settle_text",)
    go_type = "v1.Time"

    def __init__(self, *, micro: bool) -> None:
        self.settle_text = settle_micro_time if micro else settle_time

    def settle(self, value: Any) -> Any:
        if type(value) is not str:
            return BAD
        try:
            return self.settle_text(value)
        except TimeError:
            return BAD

    def explain(self, value: Any, findings: Findings) -> None:
        if value is None:
            return
        if type(value) is not str:
            findings.add_error(f"json: cannot unmarshal {_describe(value)} into Go value of type string")
            return
        try:
            self.settle_text(value)
        except TimeError as exc:
            findings.add_error(str(exc))


class BytesNode(Node):
    """Base64 in a string; line breaks inside are dropped."""

    __slots__ = ()
    go_type = "[]uint8"
    zero = ""

    def settle(self, value: Any) -> Any:
        if type(value) is not str:
            return BAD
        if "\n" in value or "\r" in value:
            value = value.replace("\r", "").replace("\n", "")
        try:
            binascii.a2b_base64(value, strict_mode=True)
        except ValueError:  # binascii.Error is one, and so is what a character beyond ASCII raises
            return BAD
        return value

    def explain(self, value: Any, findings: Findings) -> None:
        if value is None or self.settle(value) is not BAD:
            return
        if type(value) is not str:
            findings.add_mismatch(value, self.go_type)
        else:
            findings.add_error(f"illegal base64 data at input byte {_first_illegal(value)}")


def _first_illegal(text: str) -> int:
    """Where a decoder gives up: at the first character out of place, else at the end of an unfinished group."""
    seen = 0
    for offset, char in enumerate(text):
        if char in "\r\n":
            continue
        if (
            char == "="
            and seen % 4 >= 2
            and set(text[offset:].strip("\r\n")) == {"="}
            and (seen % 4 == 3) == (text[offset:].count("=") == 1)
        ):
            return len(text)
        if not (char.isascii() and (char.isalnum() or char in "+/")):
            return offset
        seen += 1
    return len(text) - seen % 4


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
        "atomic",
        "defaults",
        "definition",
        "embedded",
        "fields",
        "filled",
        "go_type",
        "name",
        "open",
        "replaces",
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
        self.replaces: frozenset[str] = frozenset()
        """Struct fields that a strategic merge patch replaces whole."""
        self.defaults: dict[str, Any] = {}
        """Defaults of fields that identify list items."""
        self.embedded: dict[str, str] = {}

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


def _first_not_text(items: list[Any]) -> Any:
    return next((item for item in items if item is not None and not isinstance(item, str)), "")


def empty_of(node: Node) -> Any:
    """What null stands for where something must be: a fresh zero value."""
    if isinstance(node, StructNode):
        return node.settle({})
    if isinstance(node, (ListNode, MapNode)):
        return type(node.zero)()
    return node.zero


STRING: Final = StringNode(str, "string")
BOOL: Final = StringNode(bool, "bool")
INT32: Final = IntNode(32)
INT64: Final = IntNode(64)
NUMBER: Final = NumberNode()
ANY: Final = AnyNode()
QUANTITY: Final = QuantityNode()
INT_OR_STRING: Final = IntOrStringNode()
TIME: Final = TimeNode(micro=False)
MICRO_TIME: Final = TimeNode(micro=True)
BYTES: Final = BytesNode()
