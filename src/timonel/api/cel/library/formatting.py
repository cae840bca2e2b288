"""Text from a template: "%s has %d".format([name, count]).

Source: github.com/google/cel-go/tree/master/ext#strings ("Format")
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.library.conversions import to_text
from timonel.api.cel.library.strings import quote
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.types import Type
from timonel.api.cel.values import Duration, Timestamp, UInt, type_of, whole_number

_CLAUSE = re.compile(r"(?:\.([0-9]*))?(.?)", re.DOTALL)
_PRECISION = 6
_MOST_PRECISE = 1100
"""Digits: no double has more."""
_STRING_KINDS = frozenset(
    ["list", "map", "int", "uint", "double", "bool", "string", "timestamp", "bytes", "duration", "type", "null"]
)
_KINDS: dict[str, tuple[frozenset[str], str]] = {
    "s": (
        _STRING_KINDS,
        "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and "
        "timestamps, was given {}",
    ),
    "d": (frozenset({"int", "uint"}), "decimal clause can only be used on integers, was given {}"),
    "f": (frozenset({"double", "string"}), "fixed-point clause can only be used on doubles, was given {}"),
    "e": (frozenset({"double", "string"}), "scientific clause can only be used on doubles, was given {}"),
    "b": (frozenset({"int", "uint", "bool"}), "only integers and bools can be formatted as binary, was given {}"),
    "o": (frozenset({"int", "uint"}), "octal clause can only be used on integers, was given {}"),
    "x": (
        frozenset({"int", "uint", "string", "bytes"}),
        "only integers, byte buffers, and strings can be formatted as hex, was given {}",
    ),
}


class BadClause(ValueError):
    """In the words of the issue."""


def clauses(template: str) -> Iterator[tuple[str, str, int]]:
    """Text before each clause, the clause's letter, and its precision; last, the rest with the letter "".

    Raises BadClause.
    """
    text, at = "", 0
    while (mark := template.find("%", at)) >= 0:
        text += template[at:mark]
        if template[mark + 1 : mark + 2] == "%":
            text, at = f"{text}%", mark + 2
            continue
        if mark + 1 >= len(template):
            raise BadClause("unexpected end of string")
        found = _CLAUSE.match(template, mark + 1)
        assert found is not None
        if not found[2]:
            why = "error while parsing precision: could not find end of precision specifier"
            raise BadClause(f"could not parse formatting clause: {why}")
        if found[2].lower() not in _KINDS or (found[2].isupper() and found[2] != "X"):
            raise BadClause(f'could not parse formatting clause: unrecognized formatting clause "{found[2]}"')
        if found[1] == "":
            why = 'error while converting precision to integer: strconv.Atoi: parsing "": invalid syntax'
            raise BadClause(f"could not parse formatting clause: error while parsing precision: {why}")
        if found[1] and whole_number(found[1]) > _MOST_PRECISE:
            raise BadClause(f"could not parse formatting clause: precision of more than {_MOST_PRECISE} digits")
        yield text, found[2], int(found[1]) if found[1] else _PRECISION
        text, at = "", found.end()
    yield text + template[at:], "", 0


def wrong_operand(letter: str, type_: Type) -> str:
    """What is wrong with an operand of the type; "" where nothing is."""
    kinds, message = _KINDS[letter.lower()]
    return "" if type_.kind in kinds else f"error during formatting: {message.format(type_name(type_))}"


def type_name(type_: Type) -> str:
    return type_.name or Type(type_.kind).declared()


def _format(template: str, operands: list[Any]) -> str:
    out: list[str] = []
    try:
        for index, (text, letter, precision) in enumerate(clauses(template)):
            out.append(text)
            if letter:
                if index >= len(operands):
                    raise EvaluationError(f"index {index} out of range")
                if why := wrong_operand(letter, type_of(operands[index])):
                    raise EvaluationError(why)
                out.append(_render(letter, operands[index], precision))
    except BadClause as exc:
        raise EvaluationError(str(exc)) from exc
    return "".join(out)


def _render(letter: str, value: Any, precision: int) -> str:
    if letter in "xX":
        text = value.hex() if isinstance(value, bytes) else value.encode().hex() if isinstance(value, str) else ""
        text = text or f"{value:x}"
        return text.upper() if letter == "X" else text
    if letter in "fe":
        return _render_double(letter, value, precision)
    renderers: dict[str, Callable[[Any], str]] = {
        "s": _plain,
        "d": lambda number: str(int(number)),
        "b": lambda number: f"{int(number):b}",
        "o": lambda number: f"{number:o}",
    }
    return renderers[letter](value)


def _render_double(letter: str, value: Any, precision: int) -> str:
    if isinstance(value, str):
        if value not in ("NaN", "Infinity", "-Infinity"):
            raise EvaluationError(f"error during formatting: {_KINDS[letter][1].format('string')}")
        value = float(value.replace("Infinity", "inf"))
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if letter == "f":
        return f"{value:.{precision}f}"
    # Upstream's library of languages takes no notice of the precision here.
    mantissa, _, exponent = f"{value:.{_PRECISION}e}".partition("e")
    power = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in f"{abs(int(exponent)):02d}")
    return f"{mantissa}×10{'⁻' if int(exponent) < 0 else ''}{power}"


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{', '.join(_inside(item) for item in value)}]"
    if isinstance(value, dict):
        for key in value:
            if isinstance(key, float):
                raise EvaluationError("error during formatting: no formatting function for map key of type double")
        return f"{{{', '.join(sorted(f'{_inside(key)}:{_inside(item)}' for key, item in value.items()))}}}"
    return type_name(value) if isinstance(value, Type) else to_text(value)


def _inside(value: Any) -> str:
    """Of a list or a map."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bytes):
        return f"b{quote(to_text(value))}"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.{_PRECISION}f}"
    if isinstance(value, (Timestamp, Duration)):
        kind = "timestamp" if isinstance(value, Timestamp) else "duration"
        return f"{kind}({quote(to_text(value))})"
    if isinstance(value, UInt):
        return str(int(value))
    return _plain(value)


FORMATTING: tuple[Overload, ...] = (declare("string_format", "format", "string.(list(dyn)) -> string", _format),)
