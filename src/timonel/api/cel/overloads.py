"""Functions as they are declared: "list(A).indexOf(A) -> int" and what computes it.

A library is a tuple of overloads. `size` of operands, and what a call costs, are for `costs` and `estimates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from timonel.api.cel import types
from timonel.api.cel.types import Type

Run = Callable[..., Any]
"""Of the target, if any, and the arguments. Raises EvaluationError."""

Table = Mapping[str, tuple["Overload", ...]]

_SIMPLE = {
    "dyn": types.DYN,
    "bool": types.BOOL,
    "int": types.INT,
    "uint": types.UINT,
    "double": types.DOUBLE,
    "string": types.STRING,
    "bytes": types.BYTES,
    "duration": types.DURATION,
    "timestamp": types.TIMESTAMP,
    "null": types.NULL,
}
_OPAQUE = frozenset({"net.IP", "net.CIDR"})


@dataclass(frozen=True, slots=True)
class Overload:
    id: str
    function: str
    member: bool
    operands: tuple[Type, ...]  # the target first
    result: Type
    params: tuple[Type, ...]  # type parameters
    run: Run | None  # None: the planner knows how


def declare(id: str, function: str, signature: str, run: Run | None = None) -> Overload:
    """`signature`: "string.(string, int) -> bool" of a member function, "(A, list(A)) -> bool" of a global one."""
    left, _, result = signature.partition(" -> ")
    target, _, args = left.partition("(") if left.startswith("(") else _split_target(left)
    operands = [parse_type(part) for part in _split(args.removesuffix(")"))]
    if target:
        operands.insert(0, parse_type(target))
    letters = {type_ for operand in operands for type_ in _parameters(operand)} | set(_parameters(parse_type(result)))
    params = tuple(sorted(letters, key=lambda type_: type_.name))
    return Overload(id, function, bool(target), tuple(operands), parse_type(result), params, run)


def _split_target(left: str) -> tuple[str, str, str]:
    target, _, args = left.partition(".(")
    return target, "", args


def _split(text: str) -> list[str]:
    """At the commas that are in no parentheses."""
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and not depth:
            parts.append(text[start:index])
            start = index + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def parse_type(text: str) -> Type:
    """Such as "map(string, list(A))"; a single capital is a parameter, a name with a dot a struct."""
    head, paren, rest = text.partition("(")
    params = tuple(parse_type(part) for part in _split(rest[:-1])) if paren else ()
    if head == "list":
        return types.list_of(*params)
    if head == "map":
        return types.map_of(*params)
    if head == "optional":
        return types.optional_of(*params)
    if head == "type":
        return types.type_of_type(*params)
    if head in _SIMPLE:
        return _SIMPLE[head]
    if len(head) == 1:
        return types.parameter(head)
    return Type("opaque", head) if head in _OPAQUE else types.struct_of(head)


def _parameters(type_: Type) -> Iterable[Type]:
    if type_.kind == "param":
        yield type_
    for param in type_.params:
        yield from _parameters(param)


def table_of(*libraries: Iterable[Overload]) -> Table:
    """By name, in the order of declaration: the first that fits says the type of a result."""
    found: dict[str, list[Overload]] = {}
    for library in libraries:
        for overload in library:
            found.setdefault(overload.function, []).append(overload)
    return {name: tuple(overloads) for name, overloads in found.items()}
