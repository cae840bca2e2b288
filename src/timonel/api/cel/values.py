"""Values that JSON has not: unsigned numbers, times, optional values, types; and what equal, less and "type" mean.

bool, int, float, str, bytes, None, list and dict are CEL's own as they are. JSON objects are maps, and structs of a
schema are too. Numbers of different types are equal when their values are; a bool equals no number.
Source: github.com/google/cel-spec/blob/master/doc/langdef.md#values
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from timonel.api.cel import types
from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.types import Type

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1
_NANOS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIN_TIME, _MAX_TIME = -62135596800 * _NANOS, 253402300799 * _NANOS + _NANOS - 1  # of the years 1 to 9999
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_MOST_DIGITS = 40
_NO_TIMESTAMP = "type conversion error from 'string' to 'google.protobuf.Timestamp'"
_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": _NANOS, "m": 60 * _NANOS, "h": 3600 * _NANOS}


class UInt(int):
    """An unsigned number of 64 bits. Arithmetic on it yields int: wrap the result."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    nanos: int  # since 1970, UTC
    offset: int = field(default=0, compare=False)  # seconds east of UTC, as it was written

    def datetime(self) -> datetime:
        """To the microsecond."""
        return _EPOCH + timedelta(microseconds=self.nanos // 1000)


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    nanos: int


@dataclass(frozen=True, slots=True)
class Optional:
    value: Any = None
    present: bool = False


NOTHING = Optional()


class StructValue(dict[str, Any]):
    """An object that an expression made: Object.spec{replicas: 1}."""

    __slots__ = ("type_name",)

    def __init__(self, type_name: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.type_name = type_name


class KeyedList(list[Any]):
    """Of a schema's list that is a set, or a map by some fields of its items: the order of items means nothing.

    `keys`: those fields; none for a set.
    """

    __slots__ = ("keys",)

    def __init__(self, items: Iterable[Any], keys: tuple[str, ...] = ()) -> None:
        super().__init__(items)
        self.keys = keys

    def _key(self, item: Any) -> Any:
        return [item.get(key) for key in self.keys] if self.keys and isinstance(item, dict) else item

    def joined(self, more: Iterable[Any]) -> KeyedList:
        """With other items: one with the key of an item takes its place."""
        found = KeyedList(self, self.keys)
        places = [self._key(item) for item in self]
        for item in more:
            key = self._key(item)
            place = next((index for index, one in enumerate(places) if equal(one, key)), -1)
            if place < 0:
                found.append(item)
                places.append(key)
            else:
                found[place] = item
        return found


class Opaque:
    """Base of values with a type of a library; compared by `==`, which is their business."""

    __slots__ = ()
    cel_type: Type = types.DYN

    def size(self) -> int:
        """What the value weighs where costs depend on sizes."""
        return 1


def whole_number(text: str) -> int:
    """Of decimal digits, a sign before them or not; of more digits than any number here has, only that it is large.

    Python refuses to read thousands of digits.
    """
    digits = text.lstrip("+-0") or "0"
    value = int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
    return -value if text.startswith("-") else value


def timestamp(nanos: int, offset: int = 0) -> Timestamp:
    if not _MIN_TIME <= nanos <= _MAX_TIME:
        raise EvaluationError("timestamp overflow")
    return Timestamp(nanos, offset)


def duration(nanos: int) -> Duration:
    if not INT_MIN <= nanos <= INT_MAX:
        raise EvaluationError("duration overflow")
    return Duration(nanos)


def parse_timestamp(text: str) -> Timestamp:
    """Of RFC 3339, to the nanosecond."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise EvaluationError(_NO_TIMESTAMP)
    zone = "+00:00" if found[4] in "Zz" else found[4]
    try:
        whole = datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}")
    except ValueError as exc:
        raise EvaluationError(_NO_TIMESTAMP) from exc
    seconds = (whole - _EPOCH) // timedelta(seconds=1)
    nanos = int((found[3] or "0")[:9].ljust(9, "0"))
    return timestamp(seconds * _NANOS + nanos, int(whole.utcoffset().total_seconds()))  # type: ignore[union-attr]


def render_timestamp(value: Timestamp) -> str:
    seconds, nanos = divmod(value.nanos + value.offset * _NANOS, _NANOS)
    zone = "Z"
    if value.offset:
        minutes = abs(value.offset) // 60
        zone = f"{'-' if value.offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
    whole = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return (f"{whole}.{nanos:09}".rstrip("0") if nanos else whole) + zone


def parse_duration(text: str) -> Duration:
    """Such as "1h30m", "-1.5s"."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return Duration(0)
    total, end = 0, 0
    while found := _DURATION_PART.match(rest, end):
        whole, _, part = found[1].partition(".")
        unit = _UNITS[found[2]]
        part = part[:_MOST_DIGITS]
        total += whole_number(whole or "0") * unit + (int(part) * unit // 10 ** len(part) if part else 0)
        end = found.end()
    if not rest or end != len(rest):
        raise EvaluationError("type conversion error from 'string' to 'google.protobuf.Duration'")
    return duration(sign * total)


def render_duration(value: Duration) -> str:
    """In seconds: "90s", "1.5s"."""
    seconds, nanos = divmod(abs(value.nanos), _NANOS)
    text = f"{seconds}.{nanos:09}".rstrip("0") if nanos else str(seconds)
    return f"{'-' if value.nanos < 0 else ''}{text}s"


_TYPES: dict[type, Type] = {
    bool: types.BOOL,
    int: types.INT,
    UInt: types.UINT,
    float: types.DOUBLE,
    str: types.STRING,
    bytes: types.BYTES,
    type(None): types.NULL,
    list: types.list_of(types.DYN),
    dict: types.map_of(types.DYN, types.DYN),
    Timestamp: types.TIMESTAMP,
    Duration: types.DURATION,
    Type: types.TYPE,
    Optional: types.optional_of(types.DYN),
}


def type_of(value: Any) -> Type:
    if found := _TYPES.get(type(value)):
        return found
    if isinstance(value, Opaque):
        return value.cel_type
    if isinstance(value, StructValue):
        return types.struct_of(value.type_name)
    for python, cel in ((dict, types.map_of(types.DYN, types.DYN)), (list, types.list_of(types.DYN))):
        if isinstance(value, python):
            return cel
    raise EvaluationError(f"unsupported value of type {type(value).__name__}")


_NUMBERS = frozenset({int, UInt, float})
_SCALARS = frozenset({bool, int, UInt, float, str, bytes, type(None), Timestamp, Duration})


def equal(left: Any, right: Any) -> bool:
    kind, other = type(left), type(right)
    if kind is other and kind in _SCALARS:
        return bool(left == right)
    if kind in _NUMBERS:
        return other in _NUMBERS and bool(left == right)
    if isinstance(left, list):
        if not isinstance(right, list) or len(left) != len(right):
            return False
        if isinstance(left, KeyedList) or isinstance(right, KeyedList):
            return all(contains(right, item) for item in left)
        return all(map(equal, left, right))
    if isinstance(left, dict):
        if not isinstance(right, dict) or len(left) != len(right):
            return False
        return all(key in right and equal(value, right[key]) for key, value in left.items())
    if kind is Optional:
        return other is Optional and left.present == right.present and equal(left.value, right.value)
    if kind is Type:
        return other is Type and same_type(left, right)
    return bool(kind is other and left == right)


def same_type(left: Type, right: Type) -> bool:
    """As values: of lists only that they are lists matters."""
    return left.kind == right.kind and left.name == right.name


def contains(items: list[Any], value: Any) -> bool:
    if type(value) is str:
        return value in items
    return any(equal(value, item) for item in items)


_ORDERED: dict[type, Callable[[Any], Any]] = {
    kind: lambda value: value for kind in (bool, str, bytes, Timestamp, Duration)
}


def comparable(left: Any, right: Any) -> bool:
    kind, other = type(left), type(right)
    return (kind is other and kind in _ORDERED) or (kind in _NUMBERS and other in _NUMBERS)


def size_of(value: Any) -> int:
    """For costs: length of what has one, else 1."""
    kind = type(value)
    if kind is str or kind is list or kind is dict or kind is bytes:
        return len(value)
    if kind is Optional:
        return size_of(value.value) if value.present else 1
    if isinstance(value, Opaque):
        return value.size()
    return len(value) if isinstance(value, (list, dict)) else 1
