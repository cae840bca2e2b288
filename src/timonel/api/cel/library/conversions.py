"""Conversions between types: int("1"), string(1.5), timestamp("…"), type(x).

Source: github.com/google/cel-spec/blob/master/doc/langdef.md#type-conversions
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.values import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    Duration,
    Timestamp,
    UInt,
    duration,
    parse_duration,
    parse_timestamp,
    render_duration,
    render_timestamp,
    timestamp,
    type_of,
    whole_number,
)

_NANOS = 1_000_000_000
_PLAIN_BELOW = 6  # digits before the point
_INTEGER = re.compile(r"[+-]?[0-9]+")
_UNSIGNED = re.compile(r"[0-9]+")
_FLOAT = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?|nan)|[+-]?0[xX].*", re.IGNORECASE
)
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def _same(value: Any) -> Any:
    return value


def _not_a(text: str, kind: str) -> EvaluationError:
    return EvaluationError(f"type conversion error from 'string' to '{kind}'")


def _to_bool(text: str) -> bool:
    if text not in _BOOLS:
        raise _not_a(text, "bool")
    return _BOOLS[text]


def _fits(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return value


def _unsigned(value: int) -> UInt:
    if not 0 <= value <= UINT_MAX:
        raise EvaluationError("unsigned integer overflow")
    return UInt(value)


def _whole(convert: Callable[[int], Any]) -> Callable[[float], Any]:
    def run(value: float) -> Any:
        if math.isnan(value) or math.isinf(value):
            raise EvaluationError("integer overflow")
        return convert(math.trunc(value))

    return run


def _to_int(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise _not_a(text, "int")
    return _fits(whole_number(text))


def _to_uint(text: str) -> UInt:
    if not _UNSIGNED.fullmatch(text):
        raise _not_a(text, "uint")
    return _unsigned(whole_number(text))


def _to_double(text: str) -> float:
    try:
        if _FLOAT.fullmatch(text):
            return float.fromhex(text) if text.lstrip("+-")[:2] in ("0x", "0X") else float(text)
    except (ValueError, OverflowError):
        pass
    raise _not_a(text, "double")


def double_text(value: float) -> str:
    """The shortest text that reads the same; with an exponent below 1e-4 and from 1e6 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(exponent, int)
    minus, text, power = "-" * sign, "".join(map(str, digits)), exponent + len(digits) - 1
    if value == 0:
        return f"{minus}0"
    if not -4 <= power < _PLAIN_BELOW:
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        return f"{minus}{text[0]}{fraction}e{power:+03d}"
    return f"{minus}{abs(Decimal(repr(float(value)))):f}".removesuffix(".0")


def to_text(value: Any) -> str:
    """What string() makes of a value, of any type that it takes."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return double_text(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as exc:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from exc
    if isinstance(value, Timestamp):
        return render_timestamp(value)
    if isinstance(value, Duration):
        return render_duration(value)
    raise EvaluationError(f"type conversion error from '{type_of(value)}' to 'string'")


def _list(function: str, result: str, **runs: Callable[[Any], Any]) -> tuple[Overload, ...]:
    """One for each operand type: int64_to_string and the like."""
    names = {"int": "int64", "uint": "uint64"}
    return tuple(
        declare(f"{names.get(kind, kind)}_to_{names.get(result, result)}", function, f"({kind}) -> {result}", run)
        for kind, run in runs.items()
    )


CONVERSIONS: tuple[Overload, ...] = (
    declare("type", "type", "(A) -> type(A)", type_of),
    declare("to_dyn", "dyn", "(A) -> dyn", _same),
    *_list("bool", "bool", bool=_same, string=_to_bool),
    *_list("bytes", "bytes", bytes=_same, string=str.encode),
    *_list("double", "double", double=_same, int=float, string=_to_double, uint=float),
    *_list("duration", "duration", duration=_same, int=duration, string=parse_duration),
    *_list(
        "int", "int", int=_same, double=_whole(_fits), duration=lambda value: value.nanos, string=_to_int,
        timestamp=lambda value: value.nanos // _NANOS, uint=lambda value: _fits(int(value)),
    ),
    *_list(
        "string", "string", string=_same, bool=to_text, bytes=to_text, double=to_text, duration=to_text, int=to_text,
        timestamp=to_text, uint=to_text,
    ),
    *_list(
        "timestamp", "timestamp", timestamp=_same, int=lambda value: timestamp(value * _NANOS), string=parse_timestamp,
    ),
    *_list("uint", "uint", uint=_same, double=_whole(_unsigned), int=_unsigned, string=_to_uint),
)  # fmt: skip
