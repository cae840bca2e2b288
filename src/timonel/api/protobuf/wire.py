"""The parts of the wire format: varints, the integers they stand for, and passing over what nobody knows.

Offsets are into one bytes object that is never cut up; `end` is where the enclosing message stops.
Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from math import isfinite
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
DELIMITED: Final = 2
GROUP: Final = 3
END_GROUP: Final = 4
FIXED32: Final = 5

_MAX_NUMBER = 2**29 - 1
_double = struct.Struct("<d")


class MalformedMessage(ValueError):
    """The bytes are no message of this kind; the text says why."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned 64-bit value at `at`, and where it ends. Raises IndexError past the end of the data."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            # A tenth byte has room for one bit; more is dropped, as by every reader of 64-bit values.
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift >= 70:
            raise MalformedMessage("proto: integer overflow")


def read_double(data: bytes, at: int) -> tuple[float | int, int]:
    """The number at `at`, an integer if it is one, and where it ends. Raises IndexError past the end of the data."""
    if at + 8 > len(data):
        raise IndexError(at)
    (value,) = _double.unpack_from(data, at)
    if not isfinite(value):
        raise MalformedMessage(f"json: unsupported value: {value}")
    return (int(value) if value.is_integer() and abs(value) < 2**53 else value), at + 8


def int64_of(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def int32_of(value: int) -> int:
    """The low 32 bits as a signed number: negative ones come as ten bytes, sign-extended."""
    value &= 0xFFFF_FFFF
    return value - 2**32 if value >= 2**31 else value


def skip_field(data: bytes, at: int, end: int, tag: int) -> int:
    """Where the field ends whose tag was just read; groups are passed over by counting, not by descending."""
    groups = 0
    while True:
        if not 0 < tag >> 3 <= _MAX_NUMBER:
            raise MalformedMessage(f"proto: illegal tag {tag >> 3} (wire type {tag & 7})")
        match tag & 7:
            case 0:
                _, at = read_varint(data, at)
            case 1:
                at += 8
            case 2:
                size, at = read_varint(data, at)
                at += size
            case 3:
                groups += 1
            case 4:
                groups -= 1
                if groups < 0:
                    raise MalformedMessage("proto: wiretype end group for non-group")
            case 5:
                at += 4
            case wire_type:
                raise MalformedMessage(f"proto: illegal wireType {wire_type}")
        if at > end:
            raise MalformedMessage("unexpected EOF")
        if groups == 0:
            return at
        tag, at = read_varint(data, at)


def varint(value: int) -> bytes:
    """An unsigned integer of up to 64 bits."""
    if value < 0x80:
        return _SHORT[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SHORT = [bytes((value,)) for value in range(0x80)]
