"""Semantic versions.

Source: kubernetes.io/docs/reference/using-api/cel/#kubernetes-semver-library; semver.org
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.types import Type, struct_of
from timonel.api.cel.values import Opaque, whole_number

SEMVER = struct_of("kubernetes.Semver")
_NUMBER = r"(0|[1-9][0-9]*)"
_PART = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_PART}(?:\.{_PART})*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
_LARGEST = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Semver(Opaque):
    numbers: tuple[int, int, int]
    pre: tuple[str, ...] = ()  # such as alpha, 1
    cel_type: Type = SEMVER

    def _key(self) -> tuple[Any, ...]:
        parts = tuple((0, len(part), part) if part.isdigit() else (1, 0, part) for part in self.pre)
        return self.numbers, not self.pre, parts  # a version comes after its own pre-releases

    def compare(self, other: Semver) -> int:
        return (self._key() > other._key()) - (self._key() < other._key())


def parse_semver(text: str, normalize: bool = False) -> Semver:
    """`normalize`: without a leading v, and with missing numbers and leading zeros put right."""
    found = _VERSION.fullmatch(_normalized(text) if normalize else text)
    if found is None or any(whole_number(number) > _LARGEST for number in found.groups()[:3]):
        raise EvaluationError("No Major.Minor.Patch elements found" if text.count(".") < 2 else "invalid semver")
    return Semver((int(found[1]), int(found[2]), int(found[3])), tuple((found[4] or "").split(".")) if found[4] else ())


def _normalized(text: str) -> str:
    parts = text.removeprefix("v").split(".", 2)
    for index, part in enumerate(parts):
        if len(part) > 1:
            part = part.lstrip("0")
            parts[index] = part if part[:1].isdigit() else f"0{part}"
    if len(parts) < 3 and not any(mark in parts[-1] for mark in "+-"):
        parts += ["0"] * (3 - len(parts))
    return ".".join(parts)


def _is_semver(text: str, normalize: bool = False) -> bool:
    try:
        parse_semver(text, normalize)
    except EvaluationError:
        return False
    return True


def _number(index: int) -> Callable[[Semver], int]:
    return lambda version: version.numbers[index]


_BOTH = "kubernetes.Semver.(kubernetes.Semver) -> "

SEMVERS: tuple[Overload, ...] = (
    declare("string_to_semver", "semver", "(string) -> kubernetes.Semver", parse_semver),
    declare("string_bool_to_semver", "semver", "(string, bool) -> kubernetes.Semver", parse_semver),
    declare("is_semver_string", "isSemver", "(string) -> bool", _is_semver),
    declare("is_semver_string_bool", "isSemver", "(string, bool) -> bool", _is_semver),
    declare(
        "semver_is_greater_than", "isGreaterThan", f"{_BOTH}bool", lambda left, right: left.compare(right) > 0,
    ),
    declare("semver_is_less_than", "isLessThan", f"{_BOTH}bool", lambda left, right: left.compare(right) < 0),
    declare("semver_compare_to", "compareTo", f"{_BOTH}int", Semver.compare),
    declare("semver_major", "major", "kubernetes.Semver.() -> int", _number(0)),
    declare("semver_minor", "minor", "kubernetes.Semver.() -> int", _number(1)),
    declare("semver_patch", "patch", "kubernetes.Semver.() -> int", _number(2)),
)  # fmt: skip
