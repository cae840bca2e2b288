"""Messages: what to do with each field number, and the loop that does it.

A message writes its fields into a dict that it is given, by their JSON names. So a repeated embedded message is merged,
as protobuf wants, and what upstream embeds in a struct (the sources of a volume) lands where JSON has it.
Fields of messages are known by tag, number and wire type in one; unknown numbers are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from timonel.api.objects import Object
from timonel.api.protobuf.wire import DELIMITED, FIXED64, VARINT, MalformedMessage, read_double, read_varint, skip_field

Reader = Callable[[bytes, int, int], Any]
"""Reads a length-delimited value between two offsets; None stands for absent."""


class DelimitedField(Protocol):
    def read(self, data: bytes, at: int, stop: int, obj: Object) -> None: ...


class VarintField(Protocol):
    def store(self, value: int, obj: Object) -> None: ...


class Message:
    """A message may contain its own kind; whoever reads one from outside must be ready for a RecursionError."""

    __slots__ = ("delimited", "doubles", "name", "numbers", "varints")

    def __init__(self, name: str) -> None:
        self.name = name
        self.delimited: dict[int, DelimitedField] = {}
        self.varints: dict[int, VarintField] = {}
        self.doubles: dict[int, str] = {}
        self.numbers: set[int] = set()

    def add_delimited(self, number: int, field: DelimitedField) -> None:
        self.delimited[number << 3 | DELIMITED] = field
        self.numbers.add(number)

    def add_varint(self, number: int, field: VarintField) -> None:
        self.varints[number << 3 | VARINT] = field
        self.numbers.add(number)

    def add_double(self, number: int, name: str) -> None:
        self.doubles[number << 3 | FIXED64] = name
        self.numbers.add(number)

    def new(self, data: bytes, at: int, end: int) -> Object:
        obj: Object = {}
        self.read(data, at, end, obj)
        return obj

    def read(self, data: bytes, at: int, end: int, obj: Object) -> None:
        """Adds the fields between the two offsets to `obj`. Raises MalformedMessage, or IndexError for cut data."""
        delimited, varints = self.delimited, self.varints
        while at < end:
            tag = data[at]
            at += 1
            if tag > 0x7F:
                tag, at = read_varint(data, at - 1)
            if (field := delimited.get(tag)) is not None:
                size = data[at]
                at += 1
                if size > 0x7F:
                    size, at = read_varint(data, at - 1)
                stop = at + size
                if stop > end:
                    raise MalformedMessage("unexpected EOF")
                field.read(data, at, stop, obj)
                at = stop
            elif (number := varints.get(tag)) is not None:
                value, at = read_varint(data, at)
                number.store(value, obj)
            elif (name := self.doubles.get(tag)) is not None:
                obj[name], at = read_double(data, at)
            elif tag >> 3 in self.numbers:
                raise MalformedMessage(f"proto: wrong wireType = {tag & 7} for field {tag >> 3} of {self.name}")
            else:
                at = skip_field(data, at, end, tag)
        if at > end:
            raise MalformedMessage("unexpected EOF")


class SingleField:
    """The last one counts. `drops`: an empty value is an absent one."""

    __slots__ = ("drops", "name", "reader")

    def __init__(self, name: str, reader: Reader, *, drops: bool) -> None:
        self.name, self.reader, self.drops = name, reader, drops

    def read(self, data: bytes, at: int, stop: int, obj: Object) -> None:
        value = self.reader(data, at, stop)
        if value is None or (self.drops and not value):
            obj.pop(self.name, None)
        else:
            obj[self.name] = value


class EmbeddedField:
    __slots__ = ("message", "name")

    def __init__(self, name: str, message: Message) -> None:
        self.name, self.message = name, message

    def read(self, data: bytes, at: int, stop: int, obj: Object) -> None:
        inner = obj.get(self.name)
        if inner is None:
            inner = obj[self.name] = {}
        self.message.read(data, at, stop, inner)


class InlinedField:
    """A message of its own on the wire whose fields JSON has among its parent's."""

    __slots__ = ("message",)

    def __init__(self, message: Message) -> None:
        self.message = message

    def read(self, data: bytes, at: int, stop: int, obj: Object) -> None:
        self.message.read(data, at, stop, obj)


class RepeatedField:
    __slots__ = ("name", "reader")

    def __init__(self, name: str, reader: Reader) -> None:
        self.name, self.reader = name, reader

    def read(self, data: bytes, at: int, stop: int, obj: Object) -> None:
        value = self.reader(data, at, stop)
        items = obj.get(self.name)
        if items is None:
            obj[self.name] = [value]
        else:
            items.append(value)


class MapField:
    """Entries are messages of a key and a value; either may be left out when empty."""

    __slots__ = ("entry", "name", "zero")

    def __init__(self, name: str, reader: Reader) -> None:
        self.name = name
        self.zero = reader
        self.entry = Message(f"{name} entry")
        self.entry.add_delimited(1, SingleField("key", read_text, drops=False))
        self.entry.add_delimited(2, SingleField("value", reader, drops=False))

    def read(self, data: bytes, at: int, stop: int, obj: Object) -> None:
        entry = self.entry.new(data, at, stop)
        value = entry["value"] if "value" in entry else self.zero(b"", 0, 0)
        items = obj.get(self.name)
        if items is None:
            items = obj[self.name] = {}
        items[entry.get("key", "")] = value


class NumberField:
    """`convert` makes the integer or boolean of a varint."""

    __slots__ = ("convert", "drops", "name")

    def __init__(self, name: str, convert: Callable[[int], Any], *, drops: bool) -> None:
        self.name, self.convert, self.drops = name, convert, drops

    def store(self, value: int, obj: Object) -> None:
        if value or not self.drops:
            obj[self.name] = self.convert(value)
        else:
            obj.pop(self.name, None)


class NumbersField:
    """Repeated numbers, one by one or packed: readers must take both."""

    __slots__ = ("convert", "name")

    def __init__(self, name: str, convert: Callable[[int], Any]) -> None:
        self.name, self.convert = name, convert

    def store(self, value: int, obj: Object) -> None:
        obj.setdefault(self.name, []).append(self.convert(value))

    def read(self, data: bytes, at: int, stop: int, obj: Object) -> None:
        while at < stop:
            value, at = read_varint(data, at)
            self.store(value, obj)
        if at > stop:
            raise MalformedMessage("unexpected EOF")


def read_text(data: bytes, at: int, stop: int) -> str:
    try:
        return str(data[at:stop], "utf-8")
    except UnicodeDecodeError:
        raise MalformedMessage("proto: string field contains invalid UTF-8") from None
