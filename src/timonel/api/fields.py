"""Field selectors: "status.phase!=Running,spec.nodeName=node-1".

Which fields a kind has is the business of its row (`Resource.selectable_fields`).
Source: kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class InvalidFieldSelector(ValueError):
    """The message is upstream's; the server answers 400 with it."""


class FieldRequirement(NamedTuple):
    path: str
    operator: str
    """"=" or "!="."""
    value: str


@dataclass(frozen=True, slots=True)
class FieldSelector:
    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, values: Callable[[str], str] | Mapping[str, str]) -> bool:
        """`values` gives the object's value of a path; a missing one counts as ""."""
        for path, operator, value in self.requirements:
            actual = values(path) if callable(values) else values.get(path, "")
            if (actual == value) != (operator == "="):
                return False
        return True

    def exact_value(self, path: str) -> str | None:
        """The one value that `path` must have, if the selector says so: for look-ups in an index or by name."""
        return next((r.value for r in self.requirements if r.path == path and r.operator == "="), None)

    def __str__(self) -> str:
        return ",".join(f"{path}{operator}{_escape(value)}" for path, operator, value in self.requirements)


def parse_field_selector(text: str) -> FieldSelector:
    """Terms joined by commas; "\\\\", "\\," and "\\=" escape in values. Raises InvalidFieldSelector."""
    requirements = []
    for term in sorted(_split_terms(text)):
        if not term:
            continue
        for index, char in enumerate(term):
            operator = term[index : index + 2]
            if operator in ("!=", "=="):
                break
            if char == "=":
                operator = "="
                break
        else:
            raise InvalidFieldSelector(f"invalid selector: '{text}'; can't understand '{term}'")
        value = _unescape(term[index + len(operator) :])
        requirements.append(FieldRequirement(term[:index], "!=" if operator == "!=" else "=", value))
    return FieldSelector(tuple(requirements))


def _split_terms(text: str) -> list[str]:
    if "\\" not in text:
        return text.split(",")
    terms, start, escaped = [], 0, False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            terms.append(text[start:index])
            start = index + 1
    terms.append(text[start:])
    return terms


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def _unescape(value: str) -> str:
    plain, chars = [], iter(value)
    for char in chars:
        if char == "\\":
            escaped = next(chars, "")
            if escaped not in ("\\", ",", "="):
                raise InvalidFieldSelector(f"invalid field selector: invalid escape sequence: \\{escaped}")
            plain.append(escaped)
        elif char in ",=":
            # Upstream prints the character's number here.
            raise InvalidFieldSelector(f"invalid field selector: unescaped character in value: {ord(char)}")
        else:
            plain.append(char)
    return "".join(plain)
