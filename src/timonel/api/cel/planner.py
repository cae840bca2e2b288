"""A checked tree to one function that evaluates it.

Every node becomes a closure over those of its parts; variables live in numbered slots of a list, the frame, whose first
items are the cost so far and the limit. A node of a simple rule takes about 0.1 µs (tests/unit/api/cel/test_speed.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from timonel.api.cel import costs
from timonel.api.cel.costs import call_cost
from timonel.api.cel.issues import CostExceeded, EvaluationError
from timonel.api.cel.library.operators import find_any, index_any
from timonel.api.cel.nodes import (
    Call,
    Comprehension,
    ListNode,
    Literal,
    MapNode,
    Name,
    Node,
    Select,
    StructNode,
)
from timonel.api.cel.overloads import Overload, Run
from timonel.api.cel.types import Type
from timonel.api.cel.values import NOTHING, Opaque, Optional, StructValue, type_of

Frame = list[Any]
Step = Callable[[Frame], Any]
MISSING: Any = object()
"""In a slot that has no value."""
COST, LIMIT, FIRST_SLOT = 0, 1, 2

_NO_OVERLOAD = "no such overload"


class Planner:
    """`slots`: of the variables that the environment declares and the tree names."""

    def __init__(self) -> None:
        self.slots: dict[str, int] = {}
        self._scopes: list[dict[str, int]] = []
        self._bound: set[int] = set()  # slots of bindings
        self.size = FIRST_SLOT

    def plan(self, node: Node) -> Step:
        if isinstance(node, Literal):
            return _constant(node.value)
        if isinstance(node, Name):
            return self._name(node)
        if isinstance(node, Select):
            operand = self.plan(node.operand)
            key = node.key or node.name
            return _test(operand, key) if node.test else _select(operand, key)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, ListNode):
            return _list([self.plan(item) for item in node.items], node.optional)
        if isinstance(node, MapNode):
            return _map([(self.plan(e.key), self.plan(e.value), e.optional) for e in node.entries])
        if isinstance(node, StructNode):
            return _struct(node.name, [(f.name, self.plan(f.value), f.optional) for f in node.fields])
        assert isinstance(node, Comprehension)
        from timonel.api.cel.folds import plan_fold  # it plans parts in its turn

        return plan_fold(self, node)

    # Slots

    def new_slot(self) -> int:
        self.size += 1
        return self.size - 1

    def enter(self, **names: int) -> None:
        self._scopes.append(names)

    def enter_names(self, names: dict[str, int]) -> None:
        self._scopes.append(names)

    def leave(self) -> None:
        self._scopes.pop()

    def _name(self, node: Name) -> Step:
        if node.means is not None:
            return _constant(node.means)
        for scope in reversed(self._scopes):
            if node.name in scope and not node.declared:
                return _slot(scope[node.name])
        if node.name not in self.slots:
            self.slots[node.name] = self.new_slot()
        return _variable(self.slots[node.name], node.name)

    # Calls

    def _call(self, node: Call) -> Step:
        operands = [self.plan(operand) for operand in node.operands]
        special = _SPECIAL.get(node.function)
        if special is not None:
            return special(*operands)
        if node.function == "_?._":
            return _optional_select(operands[0], node.args[1].value)  # type: ignore[attr-defined]
        overloads = node.overloads
        only = overloads[0] if len(overloads) == 1 else None
        cost = call_cost(node.function, only.id if only else "")
        run: Run | None = None
        if only is not None and only.run is not None and _settled(node, only):
            run = only.run
        elif node.function in _INDEXING:
            run = _INDEXING[node.function]
        return _invoke(operands, run or _dispatch(overloads), cost)


def _settled(node: Call, overload: Overload) -> bool:
    """Whether nothing but the checker's choice is possible for the operands' values."""
    if overload.function in ("_==_", "_!=_"):
        return True
    return all(
        wanted.kind in ("param", "dyn") or operand.type.kind not in ("dyn", "any", "error")
        for operand, wanted in zip(node.operands, overload.operands, strict=True)
    )


def fits(wanted: Type, value: Any) -> bool:
    """Whether the value is one of the type; of lists and maps, whatever their items are."""
    kind = wanted.kind
    if kind in ("dyn", "any", "param"):
        return True
    if kind in ("list", "map"):
        return isinstance(value, list if kind == "list" else dict)
    if isinstance(value, Opaque):
        return value.cel_type == wanted
    if kind == "struct":
        return isinstance(value, dict)
    found = type_of(value)
    return found.kind == kind and found.name == wanted.name


def _dispatch(overloads: Sequence[Overload]) -> Run:
    """By the operands' types, which are remembered."""
    known: dict[tuple[type, ...], Run | None] = {}

    def choose(args: tuple[Any, ...]) -> Run | None:
        for overload in overloads:
            if len(args) == len(overload.operands) and all(map(fits, overload.operands, args)):
                return overload.run
        return None

    def run(*args: Any) -> Any:
        key = tuple(map(type, args))
        found = known.get(key, MISSING)
        if found is MISSING:
            found = choose(args)
            if not any(isinstance(arg, Opaque) for arg in args):
                known[key] = found
        if found is None:
            raise EvaluationError(_NO_OVERLOAD)
        return found(*args)

    return run


def _invoke(operands: list[Step], run: Run, cost: costs.CallCost) -> Step:
    if isinstance(cost, int):
        return _invoke_cheaply(operands, run, cost)
    price = cost

    def of_any(frame: Frame) -> Any:
        args = [operand(frame) for operand in operands]
        try:
            frame[0] += price(args)
        except (TypeError, AttributeError, LookupError):
            frame[0] += 1  # not of the types it is made for, which running it will tell
        if frame[0] > frame[1]:
            raise CostExceeded
        return run(*args)

    return of_any


def _invoke_cheaply(operands: list[Step], run: Run, cost: int) -> Step:
    if len(operands) == 1:
        (only,) = operands

        def of_one(frame: Frame) -> Any:
            frame[0] += cost
            return run(only(frame))

        return of_one
    if len(operands) == 2:
        first, second = operands

        def of_two(frame: Frame) -> Any:
            frame[0] += cost
            return run(first(frame), second(frame))

        return of_two

    def of_any(frame: Frame) -> Any:
        frame[0] += cost
        return run(*[operand(frame) for operand in operands])

    return of_any


# Leaves


def _constant(value: Any) -> Step:
    return lambda frame: value


def _slot(index: int) -> Step:
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


def _variable(index: int, name: str) -> Step:
    def read(frame: Frame) -> Any:
        frame[0] += 1
        value = frame[index]
        if value is MISSING:
            raise EvaluationError(f"no such attribute(s): {name}")
        return value

    return read


# Fields


def _select(operand: Step, key: str) -> Step:
    def read(frame: Frame) -> Any:
        frame[0] += 1
        value = operand(frame)
        try:
            return value[key]
        except KeyError:
            raise EvaluationError(f"no such key: {key}") from None
        except TypeError:
            if type(value) is Optional:
                return _within(value, key)
            raise EvaluationError(_NO_OVERLOAD) from None

    return read


def _within(value: Optional, key: str) -> Optional:
    if not value.present:
        return NOTHING
    inner = value.value
    if not isinstance(inner, dict):
        raise EvaluationError(_NO_OVERLOAD)
    return Optional(inner[key], True) if key in inner else NOTHING


def _optional_select(operand: Step, key: str) -> Step:
    def read(frame: Frame) -> Any:
        frame[0] += 1
        value = operand(frame)
        return _within(value if type(value) is Optional else Optional(value, True), key)

    return read


def _test(operand: Step, key: str) -> Step:
    def read(frame: Frame) -> Any:
        value = operand(frame)
        if type(value) is Optional:
            value = value.value if value.present else {}
        if not isinstance(value, dict):
            raise EvaluationError(_NO_OVERLOAD)
        return key in value

    return read


# Aggregates


def _list(items: list[Step], optional: frozenset[int]) -> Step:
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
            elif _optional(value).present:
                out.append(value.value)
        return out

    return with_optional if optional else plain


def _optional(value: Any) -> Optional:
    if type(value) is not Optional:
        raise EvaluationError(f"cannot initialize optional list element from non-optional value {value}")
    return value


def _map(entries: list[tuple[Step, Step, bool]]) -> Step:
    def build(frame: Frame) -> Any:
        frame[0] += costs.MAP
        out: dict[Any, Any] = {}
        for plan_key, plan_value, optional in entries:
            key, value = plan_key(frame), plan_value(frame)
            if optional:
                if not _optional(value).present:
                    continue
                value = value.value
            try:
                out[key] = value
            except TypeError:
                raise EvaluationError("unsupported key type") from None
        return out

    return build


def _struct(name: str, fields: list[tuple[str, Step, bool]]) -> Step:
    def build(frame: Frame) -> Any:
        frame[0] += costs.STRUCT
        out = {}
        for field, plan_value, optional in fields:
            value = plan_value(frame)
            if optional:
                if not _optional(value).present:
                    continue
                value = value.value
            out[field] = value
        return StructValue(name, out)

    return build


# Operators that need not evaluate every operand


def _decided(left: Step, right: Step, decisive: bool) -> Step:
    """&& with `decisive` False, || with True: one decisive operand is enough, whatever became of the other."""
    other = not decisive

    def decide(frame: Frame) -> Any:
        failed: EvaluationError | None = None
        try:
            value = left(frame)
            if value is decisive:
                return decisive
            if value is not other:
                failed = EvaluationError(_NO_OVERLOAD)
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
            raise EvaluationError(_NO_OVERLOAD)
        return other

    return decide


def _conditional(test: Step, then: Step, otherwise: Step) -> Step:
    def choose(frame: Frame) -> Any:
        value = test(frame)
        if value is True:
            return then(frame)
        if value is False:
            return otherwise(frame)
        raise EvaluationError(_NO_OVERLOAD)

    return choose


def _not(operand: Step) -> Step:
    def negate(frame: Frame) -> Any:
        frame[0] += 1
        value = operand(frame)
        if value is True:
            return False
        if value is False:
            return True
        raise EvaluationError(_NO_OVERLOAD)

    return negate


def _not_false(operand: Step) -> Step:
    def test(frame: Frame) -> Any:
        frame[0] += 1
        try:
            return operand(frame) is not False
        except CostExceeded:
            raise
        except EvaluationError:
            return True

    return test


def _or_else(optional: Step, otherwise: Step) -> Step:
    def choose(frame: Frame) -> Any:
        value = _optional(optional(frame))
        return value if value.present else otherwise(frame)

    return choose


def _or_value(optional: Step, otherwise: Step) -> Step:
    def choose(frame: Frame) -> Any:
        value = _optional(optional(frame))
        return value.value if value.present else otherwise(frame)

    return choose


_INDEXING: dict[str, Run] = {"_[_]": index_any, "_[?_]": find_any}
"""Where only the value tells whether it is a list, a map, or an optional one."""

_SPECIAL: dict[str, Callable[..., Step]] = {
    "_&&_": lambda left, right: _decided(left, right, False),
    "_||_": lambda left, right: _decided(left, right, True),
    "_?_:_": _conditional,
    "!_": _not,
    "@not_strictly_false": _not_false,
    "or": _or_else,
    "orValue": _or_value,
}
