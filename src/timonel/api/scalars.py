"""Schema nodes of single values: strings, numbers, quantities, times, base64, and anything at all.

See `timonel.api.nodes` for what nodes are and do.
"""

from __future__ import annotations

import binascii
from typing import Any, ClassVar, Final

from timonel.api.findings import Findings, describe_value
from timonel.api.quantity import InvalidQuantity, canonical_quantity
from timonel.api.times import TimeError, settle_micro_time, settle_time


class _Bad:
    """The type of BAD; no value ever is or equals it."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


BAD: Final = _Bad()


class Node:
    """Base of all. `go_type` is how type errors call it; `zero` is what null means in a list or map."""

    __slots__ = ()
    go_type: str = "interface {}"
    zero: Any = None
    is_struct: ClassVar[bool] = False

    def child(self, name: str) -> Node:
        """What the value of a field or key is; ANY where nothing is said of it."""
        return ANY

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


class RawNode(AnyNode):
    """RawExtension: any JSON, and one field however deep it is."""

    __slots__ = ()


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
            shown = describe_value(value)
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
            findings.add_error(f"json: cannot unmarshal {describe_value(value)} into Go value of type string")
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


STRING: Final = StringNode(str, "string")
BOOL: Final = StringNode(bool, "bool")
INT32: Final = IntNode(32)
INT64: Final = IntNode(64)
NUMBER: Final = NumberNode()
ANY: Final = AnyNode()
RAW: Final = RawNode()
QUANTITY: Final = QuantityNode()
INT_OR_STRING: Final = IntOrStringNode()
TIME: Final = TimeNode(micro=False)
MICRO_TIME: Final = TimeNode(micro=True)
BYTES: Final = BytesNode()
