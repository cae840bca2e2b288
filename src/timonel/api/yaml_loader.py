"""YAML bodies as JSON values: what a manifest may hold, read by YAML 1.1's rules as Kubernetes tools read it.

Built from libyaml's events, which come one by one: PyYAML's own way from nodes recurses in C, and a body of nothing but
brackets crashes the process. Beside its safe loader, dates and base-60 numbers stay text, keys become text, repeated
keys are reported, and aliases, which are copies here, cannot blow a small body up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import orjson
import yaml

from timonel.api.field_errors import quote

_MAX_VALUES = 1_000_000
"""Values after aliases are followed: far beyond any object, far below what fills the memory."""

_TAG = "tag:yaml.org,2002:"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_is_int = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)").fullmatch
_is_float = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
).fullmatch


class YamlError(ValueError):
    pass


def load_yaml(body: bytes, max_depth: int) -> tuple[Any, list[str]]:
    """The value of the first document and, as one message, the keys set twice. Raises YamlError or yaml.YAMLError."""
    builder = _Builder(yaml.parse(body, Loader=yaml.CSafeLoader), max_depth)
    try:
        value = builder.document()
    except (ValueError, OverflowError) as exc:
        raise YamlError(str(exc)) from None
    repeated = builder.repeated
    return value, ["yaml: unmarshal errors:\n" + "\n".join(repeated)] if repeated else []


class _Builder:
    def __init__(self, events: Iterator[yaml.Event], max_depth: int) -> None:
        self._events = events
        self._room = max_depth
        self._values = 0
        self._anchors: dict[str, tuple[Any, int]] = {}
        """Values by anchor, with how many values they consist of."""
        self.repeated: list[str] = []

    def document(self) -> Any:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                # What follows the first document is not looked at.
                return self._value(next(self._events))
        return None

    def _value(self, event: yaml.Event) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor or "")
        assert isinstance(event, (yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent))
        before = self._values
        self._count(1)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        else:
            if self._room == 0:
                raise YamlError("yaml: exceeded max depth")
            self._room -= 1
            value = self._mapping() if isinstance(event, yaml.MappingStartEvent) else self._sequence()
            self._room += 1
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._values - before)
        return value

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > _MAX_VALUES:
            raise YamlError("yaml: document contains excessive aliasing")

    def _alias(self, anchor: str) -> Any:
        if anchor not in self._anchors:  # also while the anchored value is still being read
            raise YamlError(f"yaml: unknown anchor '{anchor}' referenced")
        value, size = self._anchors[anchor]
        self._count(size)
        return orjson.loads(orjson.dumps(value))

    def _sequence(self) -> list[Any]:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event))
        return items

    def _mapping(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                self._merge(merged, self._value(next(self._events)))
                continue
            key = _key_text(self._value(event))
            if key in made:
                line = event.start_mark.line + 1 if event.start_mark else 0
                self.repeated.append(f"  line {line}: key {quote(key)} already set in map")
            made[key] = self._value(next(self._events))
        return {**merged, **made} if merged else made

    def _merge(self, merged: dict[str, Any], source: Any) -> None:
        for mapping in source if isinstance(source, list) else [source]:
            if not isinstance(mapping, dict):
                raise YamlError("yaml: map merge requires map or sequence of maps as the value")
            for key, value in mapping.items():
                merged.setdefault(key, value)


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if event.tag is None or event.tag == "!":
        return _plain(text) if event.implicit[0] else text
    match event.tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool" | "int" | "float":
            return _plain(text)
        case "binary":
            return "".join(text.split())
    return text


def _plain(text: str) -> Any:
    """A scalar without quotes, by what it looks like."""
    if text in _NULLS:
        return None
    first = text[0]
    if first in "yYnNtTfFoO":
        return True if text in _TRUE else False if text in _FALSE else text
    if first not in "-+.0123456789":
        return text
    if _is_int(text):
        return _integer(text)
    if _is_float(text):
        number = _float(text)
        if not math.isfinite(number):
            raise YamlError(f"json: unsupported value: {text}")
        return number
    return text


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, (int, float)):
        return f"{key:g}" if isinstance(key, float) else str(key)
    if key is None:
        return "null"
    raise YamlError(f"unsupported map key of type: {type(key).__name__}")


def _integer(text: str) -> int | float:
    digits = text.replace("_", "").lower()
    sign, digits = (-1, digits[1:]) if digits.startswith("-") else (1, digits.lstrip("+"))
    for prefix, base in (("0b", 2), ("0o", 8), ("0x", 16)):
        if digits.startswith(prefix):
            number = int(digits[2:], base)
            break
    else:
        octal = len(digits) > 1 and digits.startswith("0") and all(digit in "01234567" for digit in digits)
        number = int(digits, 8 if octal else 10)
    # Beyond 64 bits JSON readers fall back to floating point.
    return sign * number if number < 2**63 else float(sign * number)


def _float(text: str) -> float:
    text = text.replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))
