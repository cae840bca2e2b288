"""What the nodes of a tree do when they are evaluated: each a closure over those of its parts.

A step gets the frame: a list with the cost so far, the limit, and a slot for each variable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timonel.api.cel import costs
from timonel.api.cel.issues import CostExceeded, EvaluationError
from timonel.api.cel.values import NOTHING, Optional, StructValue

Frame = list[Any]
Step = Callable[[Frame], Any]
COST, LIMIT, FIRST_SLOT = 0, 1, 2
MISSING: Any = object()
"""In a slot that has no value."""
NO_OVERLOAD = "no such overload"


def constant(value: Any) -> Step:
    return lambda frame: value


def slot(index: int) -> Step:
    def read(frame: Frame) -> Any:
        frame[0] += 1
        value = frame[index]
        return value() if type(value) is Bound else value

    return read


class Bound:
    """A value that a name stands for, computed when the name is first read."""

    __slots__ = ("_compute", "_done", "_value")

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute = compute
        self._done = False
        self._value: Any = None

    def __call__(self) -> Any:
        if not self._done:
            self._value = self._compute()
            self._done = True
        return self._value


def variable(index: int, name: str) -> Step:
    def read(frame: Frame) -> Any:
        frame[0] += 1
        value = frame[index]
        if value is MISSING:
            raise EvaluationError(f"no such attribute(s): {name}")
        return value

    return read


# Fields


def select(operand: Step, key: str) -> Step:
    def read(frame: Frame) -> Any:
        frame[0] += 1
        value = operand(frame)
        try:
            return value[key]
        except KeyError:
            raise EvaluationError(f"no such key: {key}") from None
        except TypeError:
            if type(value) is Optional:
                return within(value, key)
            raise EvaluationError(NO_OVERLOAD) from None

    return read


def within(value: Optional, key: str) -> Optional:
    if not value.present:
        return NOTHING
    inner = value.value
    if not isinstance(inner, dict):
        raise EvaluationError(NO_OVERLOAD)
    return Optional(inner[key], True) if key in inner else NOTHING


def optional_select(operand: Step, key: str) -> Step:
    def read(frame: Frame) -> Any:
        frame[0] += 1
        value = operand(frame)
        return within(value if type(value) is Optional else Optional(value, True), key)

    return read


def test(operand: Step, key: str) -> Step:
    def read(frame: Frame) -> Any:
        value = operand(frame)
        if type(value) is Optional:
            value = value.value if value.present else {}
        if not isinstance(value, dict):
            raise EvaluationError(NO_OVERLOAD)
        return key in value

    return read


# Aggregates


def list_step(items: list[Step], optional: frozenset[int]) -> Step:
    def plain(frame: Frame) -> Any:
        frame[0] += costs.LIST
        return [item(frame) for item in items]

    def with_optional(frame: Frame) -> Any:
        frame[0] += costs.LIST
        out = []
        for index, item in enumerate(items):
            value = item(frame)
            if index not in optional:
                out.append(value)
            elif expect_optional(value).present:
                out.append(value.value)
        return out

    return with_optional if optional else plain


def expect_optional(value: Any) -> Optional:
    if type(value) is not Optional:
        raise EvaluationError(f"cannot initialize optional list element from non-optional value {value}")
    return value


def map_step(entries: list[tuple[Step, Step, bool]]) -> Step:
    def build(frame: Frame) -> Any:
        frame[0] += costs.MAP
        out: dict[Any, Any] = {}
        for plan_key, plan_value, optional in entries:
            key, value = plan_key(frame), plan_value(frame)
            if optional:
                if not expect_optional(value).present:
                    continue
                value = value.value
            try:
                out[key] = value
            except TypeError:
                raise EvaluationError("unsupported key type") from None
        return out

    return build


def struct(name: str, fields: list[tuple[str, Step, bool]]) -> Step:
    def build(frame: Frame) -> Any:
        frame[0] += costs.STRUCT
        out = {}
        for field, plan_value, optional in fields:
            value = plan_value(frame)
            if optional:
                if not expect_optional(value).present:
                    continue
                value = value.value
            out[field] = value
        return StructValue(name, out)

    return build


# Operators that need not evaluate every operand


def decided(left: Step, right: Step, decisive: bool) -> Step:
    """&& with `decisive` False, || with True: one decisive operand is enough, whatever became of the other."""
    other = not decisive

    def decide(frame: Frame) -> Any:
        failed: EvaluationError | None = None
        try:
            value = left(frame)
            if value is decisive:
                return decisive
            if value is not other:
                failed = EvaluationError(NO_OVERLOAD)
        except CostExceeded:
            raise
        except EvaluationError as exc:
            failed = exc
        value = right(frame)
        if value is decisive:
            return decisive
        if failed is not None:
            raise failed
        if value is not other:
            raise EvaluationError(NO_OVERLOAD)
        return other

    return decide


def conditional(test: Step, then: Step, otherwise: Step, then_free: bool, otherwise_free: bool) -> Step:
    """`…_free`: reading the variable that the branch is costs nothing, as upstream does not count it."""

    def choose(frame: Frame) -> Any:
        value = test(frame)
        if value is True:
            frame[0] -= then_free
            return then(frame)
        if value is False:
            frame[0] -= otherwise_free
            return otherwise(frame)
        raise EvaluationError(NO_OVERLOAD)

    return choose


def not_step(operand: Step) -> Step:
    def negate(frame: Frame) -> Any:
        frame[0] += 1
        value = operand(frame)
        if value is True:
            return False
        if value is False:
            return True
        raise EvaluationError(NO_OVERLOAD)

    return negate


def not_false(operand: Step) -> Step:
    def test(frame: Frame) -> Any:
        frame[0] += 1
        try:
            return operand(frame) is not False
        except CostExceeded:
            raise
        except EvaluationError:
            return True

    return test


def or_else(optional: Step, otherwise: Step) -> Step:
    def choose(frame: Frame) -> Any:
        value = expect_optional(optional(frame))
        return value if value.present else otherwise(frame)

    return choose


def or_value(optional: Step, otherwise: Step) -> Step:
    def choose(frame: Frame) -> Any:
        value = expect_optional(optional(frame))
        return value.value if value.present else otherwise(frame)

    return choose
