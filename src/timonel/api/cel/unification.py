"""Whether a value of one type can stand where another is declared, and what that says of type parameters.

Source: github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking
"""

from __future__ import annotations

from collections.abc import Sequence

from timonel.api.cel import types
from timonel.api.cel.types import Type, is_dyn, is_dyn_or_error

Bindings = dict[Type, Type]
"""What type parameters stand for."""

_NULLABLE = frozenset({"opaque", "struct", "any", "duration", "timestamp"})
_NESTED = frozenset({"opaque", "list", "map"})


def assign(bindings: Bindings, left: Sequence[Type], right: Sequence[Type]) -> Bindings | None:
    """The bindings with which each type on the left can be assigned the one on the right; None where none can."""
    trial = dict(bindings)
    return trial if _all_fit(trial, left, right) else None


def _all_fit(bindings: Bindings, left: Sequence[Type], right: Sequence[Type]) -> bool:
    return len(left) == len(right) and all(_fits(bindings, a, b) for a, b in zip(left, right, strict=True))


def _fits(bindings: Bindings, left: Type, right: Type) -> bool:
    if right.kind == "param":
        fits, bound = _binds(bindings, left, right)
        if fits or bound:
            return fits
    if left.kind == "param":
        return _binds(bindings, right, left)[0]
    if is_dyn_or_error(left) or is_dyn_or_error(right):
        return True
    if left.kind == "null" or right.kind == "null":
        other = right if left.kind == "null" else left
        return other.kind == "null" or other.kind in _NULLABLE
    if left.kind in _NESTED:
        same = left.kind == right.kind and left.name == right.name
        return same and _all_fit(bindings, left.params, right.params)
    if left.kind == "type":
        return right.kind == "type"
    return left == right


def _binds(bindings: Bindings, value: Type, param: Type) -> tuple[bool, bool]:
    """Whether the parameter can stand for the type, and whether it stood for one before."""
    if value == param:
        return True, True
    bound = bindings.get(param)
    if bound is not None:
        if value == bound:
            return True, True
        if _fits(bindings, value, bound):
            general = most_general(value, bound)
            if not _mentions(bindings, param, general):
                bindings[param] = general
            return True, True
        return False, True
    if _mentions(bindings, param, value):
        return False, False
    bindings[param] = value
    return True, False


def _mentions(bindings: Bindings, param: Type, within: Type) -> bool:
    if param == within:
        return True
    if within.kind == "param":
        bound = bindings.get(within)
        return bound is not None and _mentions(bindings, param, bound)
    return any(_mentions(bindings, param, part) for part in within.params)


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


def substitute(bindings: Bindings, type_: Type, *, to_dyn: bool = False) -> Type:
    """With what its parameters stand for; those that stand for nothing stay, or become dyn."""
    if type_.kind == "param":
        bound = bindings.get(type_)
        if bound is not None:
            return substitute(bindings, bound, to_dyn=to_dyn)
        return types.DYN if to_dyn else type_
    if not type_.params:
        return type_
    params = tuple(substitute(bindings, param, to_dyn=to_dyn) for param in type_.params)
    return type_ if params == type_.params else Type(type_.kind, type_.name, params)
