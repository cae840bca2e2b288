"""What is wrong with a body that the schema cannot take: unknown fields, the first wrong type; in upstream's words."""

from __future__ import annotations

from typing import Any

from timonel.api.field_errors import quote

_MAX_FINDINGS = 100
"""Upstream stops collecting unknown fields here."""


class Findings:
    """What `explain` collects on its way down; `path` and `context` say where it is."""

    __slots__ = ("context", "error", "path", "struct", "unknown")

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.error: str | None = None
        self.path: list[str] = []
        """For unknown fields: "spec", "containers", "[0]"."""
        self.context: list[str] = []
        """For type errors: names of struct fields only."""
        self.struct = ""

    def add_unknown(self, name: str) -> None:
        where = ""
        for step in (*self.path, name):
            where += step if not where or (step[0:1] == "[" and step[-1:] == "]") else f".{step}"
        message = f"unknown field {quote(where)}"
        if message not in self.unknown and len(self.unknown) < _MAX_FINDINGS:
            self.unknown.append(message)

    def add_mismatch(self, value: Any, expected: str) -> None:
        shown = describe_value(value)
        if expected in ("int32", "int64") and shown == "number":
            shown = f"number {value!r}"
        target = f"value of type {expected}"
        if self.context:
            target = f"struct field {self.struct}.{'.'.join(self.context)} of type {expected}"
        self.add_error(f"json: cannot unmarshal {shown} into Go {target}")

    def add_error(self, message: str) -> None:
        if self.error is None:
            self.error = message


def describe_value(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
