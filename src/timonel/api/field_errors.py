"""Findings of validation, worded as upstream words them: a path into the object and what is wrong there.

    path = Path("spec") / "containers"          # spec.containers
    required(path[0] / "name")                  # spec.containers[0].name: Required value
    invalid(Path("data")["a key"], "x", "why")  # data[a key]: Invalid value: "x": why

Each constructor returns a `FieldError`; `errors.invalid` makes the 422 answer of a list of them.
Source: kubernetes.io/docs/reference/kubernetes-api/common-definitions/status (causes), API conventions "Validation".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from timonel.api.errors import FieldError


class Path:
    """Where in an object: `path / "field"`, `path[3]` for a list item, `path["key"]` for a map entry. Immutable."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def __truediv__(self, name: str) -> Path:
        return Path(f"{self._text}.{name}" if self._text else name)

    def __getitem__(self, subscript: int | str) -> Path:
        return Path(f"{self._text}[{subscript}]")

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Path({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class _Omitted:
    """Stands for a value that the message must not show."""


OMITTED: Final = _Omitted()


def required(path: Path, detail: str = "") -> FieldError:
    return _finding("FieldValueRequired", path, "Required value", detail)


def invalid(path: Path, value: Any, detail: str) -> FieldError:
    return _finding("FieldValueInvalid", path, _with_value("Invalid value", value), detail)


def type_invalid(path: Path, value: Any, detail: str) -> FieldError:
    return _finding("FieldValueTypeInvalid", path, _with_value("Invalid value", value), detail)


def not_supported(path: Path, value: Any, supported: Iterable[str]) -> FieldError:
    """`supported` is listed in the order given; where upstream has a set, sort it first."""
    listed = ", ".join(quote(item) for item in supported)
    detail = f"supported values: {listed}" if listed else ""
    return _finding("FieldValueNotSupported", path, _with_value("Unsupported value", value), detail)


def duplicate(path: Path, value: Any) -> FieldError:
    return _finding("FieldValueDuplicate", path, _with_value("Duplicate value", value))


def not_found(path: Path, value: Any) -> FieldError:
    return _finding("FieldValueNotFound", path, _with_value("Not found", value))


def forbidden(path: Path, detail: str) -> FieldError:
    return _finding("FieldValueForbidden", path, "Forbidden", detail)


def too_long(path: Path, max_length: int, *, characters: bool = False) -> FieldError:
    """The limit counts UTF-8 bytes, or with `characters` code points."""
    unit = "character" if characters else "byte"
    return _finding("FieldValueTooLong", path, "Too long", f"may not be more than {_count(max_length, unit)}")


def too_short(path: Path, min_length: int) -> FieldError:
    return _finding("FieldValueTooShort", path, "Too short", f"must be at least {_count(min_length, 'character')}")


def too_many(path: Path, actual: int, maximum: int) -> FieldError:
    return _finding(
        "FieldValueTooMany", path, _with_value("Too many", actual), f"must have at most {_count(maximum, 'item')}"
    )


def too_few(path: Path, actual: int, minimum: int) -> FieldError:
    return _finding(
        "FieldValueTooFew", path, _with_value("Too few", actual), f"must have at least {_count(minimum, 'item')}"
    )


def internal(path: Path, detail: str) -> FieldError:
    return _finding("InternalError", path, "Internal error", detail)


def quote(text: str) -> str:
    r"""A string in double quotes as Go prints it with %q: `"`, `\` and what cannot be printed are escaped."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_quoted_character(char) for char in text) + '"'


def go_value(value: Any) -> str:
    """A JSON value as Go prints it with %v: map[a:1 b:[x y]], keys sorted."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_value(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_value, value))}]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


def go_struct(value: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """An object as upstream's messages show its own structures: all `fields` (with their zero), names capitalised."""
    return {name[:1].upper() + name[1:]: value.get(name, zero) for name, zero in fields.items()}


def render_value(value: Any) -> str:
    """A value as messages show it: strings quoted, everything else as JSON (with Go's escapes for <, > and &)."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, (dict, list, tuple)):
        text = orjson.dumps(_as_ordered(value), option=orjson.OPT_NON_STR_KEYS).decode()
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    if value is None or isinstance(value, (bool, int, float)):
        return orjson.dumps(value).decode() if abs(value or 0) < 2**63 else str(value)
    return quote(str(value))


def _as_ordered(value: Any) -> Any:
    """A label selector with its parts and labels in upstream's order; anything else as it is."""
    if isinstance(value, dict):
        if value and value.keys() <= {"matchLabels", "matchExpressions"}:
            ordered: dict[str, Any] = {}
            if value.get("matchLabels"):
                ordered["matchLabels"] = dict(sorted(value["matchLabels"].items()))
            if value.get("matchExpressions"):
                ordered["matchExpressions"] = [
                    {name: item[name] for name in ("key", "operator", "values") if name in item}
                    for item in value["matchExpressions"]
                ]
            return ordered
        return {key: _as_ordered(item) for key, item in value.items()}
    return value


def _finding(reason: str, path: Path, message: str, detail: str = "") -> FieldError:
    return FieldError(reason, str(path), f"{message}: {detail}" if detail else message)


def _with_value(message: str, value: Any) -> str:
    return message if value is OMITTED else f"{message}: {render_value(value)}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip


def _quoted_character(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
