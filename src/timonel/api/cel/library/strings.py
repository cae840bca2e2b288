"""Texts: search, parts, replacement, quoting. Places are counted in code points.

Source: github.com/google/cel-go/tree/master/ext#strings (version 2)
"""

from __future__ import annotations

from typing import Any

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.overloads import Overload, declare

_LONGEST = 32 * 1024 * 1024  # characters
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\",
    '"': '\\"',
}  # fmt: skip


def _out_of_range(index: int) -> EvaluationError:
    return EvaluationError(f"index out of range: {index}")


def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise _out_of_range(index)
    return text[index : index + 1]


def _index_of(text: str, part: str, offset: int = 0) -> int:
    if not part:
        return offset
    if offset < 0:
        raise _out_of_range(offset)
    return text.find(part, offset) if offset < len(text) else -1


def _last_index_of(text: str, part: str, offset: int | None = None) -> int:
    if not part:
        return len(text) if offset is None else offset
    if offset is None:
        return text.rfind(part)
    if offset < 0:
        raise _out_of_range(offset)
    return text.rfind(part, 0, offset + len(part)) if offset < len(text) else -1


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    # Costs are those of reading the text, however long the new one gets.
    found = text.count(old) if count < 0 else min(text.count(old), count)
    if len(text) + found * (len(new) - len(old)) > _LONGEST:
        raise EvaluationError(f"result of replace() is longer than {_LONGEST} characters")
    return text.replace(old, new, count)


def _split(text: str, separator: str, count: int = -1) -> list[str]:
    if count == 0:
        return []
    if not separator:
        chars = list(text)
        return chars if count < 0 or len(chars) <= count else [*chars[: count - 1], "".join(chars[count - 1 :])]
    return text.split(separator, count - 1 if count > 0 else -1)


def _substring(text: str, start: int, end: int | None = None) -> str:
    if end is not None and start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    for index in (start, len(text) if end is None else end):
        if not 0 <= index <= len(text):
            raise _out_of_range(index)
    return text[start:end]


def _join(items: list[Any], separator: str = "") -> str:
    for item in items:
        if not isinstance(item, str):
            raise EvaluationError(f"join: invalid input: {item}")
    return separator.join(items)


def quote(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(char, char) for char in text) + '"'


STRINGS: tuple[Overload, ...] = (
    declare("contains_string", "contains", "string.(string) -> bool", lambda text, part: part in text),
    declare("ends_with_string", "endsWith", "string.(string) -> bool", str.endswith),
    declare("starts_with_string", "startsWith", "string.(string) -> bool", str.startswith),
    declare("string_char_at_int", "charAt", "string.(int) -> string", _char_at),
    declare("string_index_of_string", "indexOf", "string.(string) -> int", _index_of),
    declare("string_index_of_string_int", "indexOf", "string.(string, int) -> int", _index_of),
    declare("string_last_index_of_string", "lastIndexOf", "string.(string) -> int", _last_index_of),
    declare("string_last_index_of_string_int", "lastIndexOf", "string.(string, int) -> int", _last_index_of),
    declare("string_lower_ascii", "lowerAscii", "string.() -> string", lambda text: text.translate(_LOWER)),
    declare("string_replace_string_string", "replace", "string.(string, string) -> string", _replace),
    declare("string_replace_string_string_int", "replace", "string.(string, string, int) -> string", _replace),
    declare("string_split_string", "split", "string.(string) -> list(string)", _split),
    declare("string_split_string_int", "split", "string.(string, int) -> list(string)", _split),
    declare("string_substring_int", "substring", "string.(int) -> string", _substring),
    declare("string_substring_int_int", "substring", "string.(int, int) -> string", _substring),
    declare("string_trim", "trim", "string.() -> string", lambda text: text.strip(_SPACE)),
    declare("string_upper_ascii", "upperAscii", "string.() -> string", lambda text: text.translate(_UPPER)),
    declare("strings_quote", "strings.quote", "(string) -> string", quote),
    declare("list_join", "join", "list(string).() -> string", _join),
    declare("list_join_string", "join", "list(string).(string) -> string", _join),
)
