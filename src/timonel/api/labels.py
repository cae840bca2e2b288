"""Label selectors: the text form of URLs and kubectl, and the LabelSelector object of specs.

Source: kubernetes.io/docs/concepts/overview/working-with-objects/labels. Matching costs one dict look-up a requirement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from timonel.api.errors import FieldError, join_errors
from timonel.api.field_errors import Path, invalid, not_supported, quote
from timonel.api.names import validate_label_value, validate_qualified_name


class InvalidSelector(ValueError):
    """The message is upstream's; the server answers 400 with it."""


_OPERATORS = ("in", "notin", "=", "==", "!=", "gt", "lt", "exists", "!")
_BINARY_OPERATORS = _OPERATORS[:7]
_INT64 = re.compile(r"[+-]?[0-9]{1,19}").fullmatch


@dataclass(frozen=True, slots=True)
class Requirement:
    """`operator` is one of in, notin, =, ==, !=, gt, lt, exists and ! (does not exist)."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "=" | "==" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "gt" | "lt":
                if value is None or not _INT64(value):
                    return False
                bound = int(self.values[0])
                return int(value) > bound if self.operator == "gt" else int(value) < bound
        raise AssertionError(self.operator)

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
        return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class Selector:
    """All of `requirements` must hold; none of them matches everything, unless `nothing` is set. Hashable."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        labels = labels or {}
        for requirement in self.requirements:  # noqa: SIM110 — twice as fast as all() with a generator
            if not requirement.matches(labels):
                return False
        return True

    @property
    def everything(self) -> bool:
        return not self.requirements and not self.nothing

    def exact_value(self, key: str) -> str | None:
        """The one value that the label `key` must have, if the selector says so: for look-ups in an index."""
        for requirement in self.requirements:
            if requirement.key == key:
                exact = requirement.operator in ("=", "==", "in") and len(requirement.values) == 1
                return requirement.values[0] if exact else None
        return None

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def parse_label_selector(text: str) -> Selector:
    """The text form: "a=b,c in (d,e),!f,g>1". Raises InvalidSelector."""
    return _selector(_Parser(text).parse()) if text else EVERYTHING


def selector_from_map(labels: Mapping[str, str] | None) -> Selector:
    """Every label must have its value; no labels matches everything. Not checked: for selectors already accepted."""
    if not labels:
        return EVERYTHING
    return _selector(Requirement(key, "=", (value,)) for key, value in labels.items())


_OBJECT_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def selector_from_object(selector: Mapping[str, Any] | None) -> Selector:
    """meta/v1 LabelSelector: none matches nothing, an empty one everything. Raises InvalidSelector."""
    if selector is None:
        return NOTHING
    requirements = [make_requirement(key, "=", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        name = expression.get("operator") or ""
        operator = _OBJECT_OPERATORS.get(name)
        if operator is None:
            raise InvalidSelector(f"{quote(name)} is not a valid label selector operator")
        requirements.append(make_requirement(expression.get("key") or "", operator, expression.get("values") or ()))
    return _selector(requirements)


def make_requirement(key: str, operator: str, values: Iterable[str] = ()) -> Requirement:
    """A checked Requirement; raises InvalidSelector with upstream's findings."""
    values = tuple(values)
    path = Path("values")
    found: list[FieldError] = []
    if wrong := validate_qualified_name(key):
        found.append(invalid(Path("key"), key, "; ".join(wrong)))
    match operator:
        case "in" | "notin":
            if not values:
                found.append(invalid(path, values, "for 'in', 'notin' operators, values set can't be empty"))
        case "=" | "==" | "!=":
            if len(values) != 1:
                found.append(invalid(path, values, "exact-match compatibility requires one single value"))
        case "exists" | "!":
            if values:
                found.append(invalid(path, values, "values set must be empty for exists and does not exist"))
        case "gt" | "lt":
            if len(values) != 1:
                found.append(invalid(path, values, "for 'Gt', 'Lt' operators, exactly one value is required"))
            found += [
                invalid(path[index], value, "for 'Gt', 'Lt' operators, the value must be an integer")
                for index, value in enumerate(values)
                if not _INT64(value)
            ]
        case _:
            found.append(not_supported(Path("operator"), operator, _OPERATORS))
    for index, value in enumerate(values):
        if wrong := validate_label_value(value):
            found.append(invalid(path[index][key], value, "; ".join(wrong)))
    if found:
        raise InvalidSelector(join_errors(found))
    return Requirement(key, operator, values)


def _selector(requirements: Iterable[Requirement]) -> Selector:
    return Selector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


_tokens = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^=!(),<> \t\r\n\0]+)")
_SYMBOLS = frozenset({"==", "!=", "=", "!", "(", ")", ",", "<", ">"})
_END = ""


class _Parser:
    """Recursive descent over the tokens of a selector. "in" and "notin" are operators only after a key."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens.findall(text)
        self._next = 0

    def parse(self) -> list[Requirement]:
        requirements = []
        while (token := self._peek()) != _END:
            if token in _SYMBOLS and token != "!":
                raise InvalidSelector(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except InvalidSelector as exc:
                raise InvalidSelector(f"unable to parse requirement: {exc}") from None
            token = self._take()
            if token == _END:
                break
            if token != ",":
                raise InvalidSelector(f"found '{token}', expected: ',' or 'end of string'")
            following = self._peek()
            if following == _END or (following in _SYMBOLS and following != "!"):
                raise InvalidSelector(f"found '{following}', expected: identifier after ','")
        return requirements

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else _END

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    def _requirement(self) -> Requirement:
        key = self._take()
        negated = key == "!"
        if negated:
            key = self._take()
        if key == _END or key in _SYMBOLS:
            raise InvalidSelector(f"found '{key}', expected: identifier")
        if wrong := validate_qualified_name(key):
            raise InvalidSelector(str(invalid(Path("<nil>"), key, "; ".join(wrong))))
        if negated:
            return Requirement(key, "!")
        if self._peek() in (_END, ","):
            return Requirement(key, "exists")
        operator = self._take()
        if operator in ("in", "notin"):
            return make_requirement(key, operator, sorted(self._value_set()))
        operator = {">": "gt", "<": "lt"}.get(operator, operator)
        if operator not in _BINARY_OPERATORS:
            raise InvalidSelector(f"found '{operator}', expected: {', '.join(_BINARY_OPERATORS)}")
        return make_requirement(key, operator, (self._exact_value(),))

    def _exact_value(self) -> str:
        if self._peek() in (_END, ","):
            return ""
        value = self._take()
        if value in _SYMBOLS:
            raise InvalidSelector(f"found '{value}', expected: identifier")
        return value

    def _value_set(self) -> set[str]:
        """Values in parentheses; between two commas, and beside a parenthesis, stands the empty value."""
        opening = self._take()
        if opening != "(":
            raise InvalidSelector(f"found '{opening}' expected: '('")
        values: set[str] = set()
        after_value = False
        while (token := self._take()) != ")":
            if token == ",":
                if not after_value:
                    values.add("")
                after_value = False
            elif after_value:
                raise InvalidSelector(f"found '{token}', expected: ',' or ')'")
            elif token == _END or token in _SYMBOLS:
                raise InvalidSelector(f"found '{token}', expected: ',', ')' or identifier")
            else:
                values.add(token)
                after_value = True
        if not after_value:
            values.add("")
        return values
