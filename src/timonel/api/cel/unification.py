"""Whether a value of one type can stand where another is declared, and what that says of type parameters.

Source: github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from timonel.api.cel import types
from timonel.api.cel.types import Type, is_dyn, is_dyn_or_error

_NULLABLE = frozenset({"opaque", "struct", "any", "duration", "timestamp"})
_NESTED = frozenset({"opaque", "list", "map"})


class Bindings:
    """What type parameters stand for so far.

    A trial that fails is undone, by a trail of what it changed: a copy for each trial would make an expression of many
    calls quadratic.
    """

    def __init__(self) -> None:
        self._types: dict[Type, Type] = {}
        self._trail: list[tuple[Type, Type | None]] = []

    def assign(self, left: Sequence[Type], right: Sequence[Type]) -> bool:
        """Whether each type on the left can be assigned the one on the right; if so, their parameters are bound."""
        self._trail.clear()
        if self._all_fit(left, right):
            return True
        for param, before in reversed(self._trail):
            if before is None:
                del self._types[param]
            else:
                self._types[param] = before
        return False

    def substitute(self, type_: Type, *, to_dyn: bool = False) -> Type:
        """With what its parameters stand for; those that stand for nothing stay, or become dyn."""
        return substitute(self._types, type_, to_dyn=to_dyn)

    def _bind(self, param: Type, value: Type) -> None:
        self._trail.append((param, self._types.get(param)))
        self._types[param] = value

    def _all_fit(self, left: Sequence[Type], right: Sequence[Type]) -> bool:
        return len(left) == len(right) and all(self._fits(a, b) for a, b in zip(left, right, strict=True))

    def _fits(self, left: Type, right: Type) -> bool:
        if right.kind == "param":
            fits, bound = self._binds(left, right)
            if fits or bound:
                return fits
        if left.kind == "param":
            return self._binds(right, left)[0]
        if is_dyn_or_error(left) or is_dyn_or_error(right):
            return True
        if left.kind == "null" or right.kind == "null":
            other = right if left.kind == "null" else left
            return other.kind == "null" or other.kind in _NULLABLE
        if left.kind in _NESTED:
            same = left.kind == right.kind and left.name == right.name
            return same and self._all_fit(left.params, right.params)
        if left.kind == "type":
            return right.kind == "type"
        return left == right

    def _binds(self, value: Type, param: Type) -> tuple[bool, bool]:
        """Whether the parameter can stand for the type, and whether it stood for one before."""
        if value == param:
            return True, True
        bound = self._types.get(param)
        if bound is not None:
            if value == bound:
                return True, True
            if self._fits(value, bound):
                general = most_general(value, bound)
                if not self._mentions(param, general):
                    self._bind(param, general)
                return True, True
            return False, True
        if self._mentions(param, value):
            return False, False
        self._bind(param, value)
        return True, False

    def _mentions(self, param: Type, within: Type) -> bool:
        if param == within:
            return True
        if within.kind == "param":
            bound = self._types.get(within)
            return bound is not None and self._mentions(param, bound)
        return any(self._mentions(param, part) for part in within.params)


def most_general(left: Type, right: Type) -> Type:
    return left if _at_most_as_specific(left, right) else right


def _at_most_as_specific(left: Type, right: Type) -> bool:
    if is_dyn(left) or left.kind == "param":
        return True
    if is_dyn(right) or right.kind == "param" or left.kind != right.kind:
        return False
    if left.kind in _NESTED:
        same = left.name == right.name and len(left.params) == len(right.params)
        return same and all(_at_most_as_specific(a, b) for a, b in zip(left.params, right.params, strict=True))
    return left.kind == "type" or left == right


def substitute(bindings: Mapping[Type, Type], type_: Type, *, to_dyn: bool = False) -> Type:
    """As `Bindings.substitute`."""
    if type_.kind == "param":
        bound = bindings.get(type_)
        if bound is not None:
            return substitute(bindings, bound, to_dyn=to_dyn)
        return types.DYN if to_dyn else type_
    if not type_.params:
        return type_
    params = tuple(substitute(bindings, param, to_dyn=to_dyn) for param in type_.params)
    return type_ if params == type_.params else types.composed(type_.kind, type_.name, params)
