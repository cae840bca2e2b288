"""A checked tree to one function that evaluates it.

Every node becomes a closure over those of its parts; variables live in numbered slots of a list, the frame, whose first
items are the cost so far and the limit. A node of a simple rule takes about 0.1 µs (tests/unit/api/cel/test_speed.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from timonel.api.cel import costs, steps
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
from timonel.api.cel.steps import FIRST_SLOT, MISSING, NO_OVERLOAD, Frame, Step
from timonel.api.cel.types import Type
from timonel.api.cel.values import Opaque, type_of


class Planner:
    """`slots`: of the variables that the environment declares and the tree names."""

    def __init__(self) -> None:
        self.slots: dict[str, int] = {}
        self._scopes: list[dict[str, int]] = []
        self._bound: set[int] = set()  # slots of bindings
        self.size = FIRST_SLOT

    def plan(self, node: Node) -> Step:
        if isinstance(node, Literal):
            return steps.constant(node.value)
        if isinstance(node, Name):
            return self._name(node)
        if isinstance(node, Select):
            operand = self.plan(node.operand)
            key = node.key or node.name
            return steps.test(operand, key) if node.test else steps.select(operand, key)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, ListNode):
            return steps.list_step([self.plan(item) for item in node.items], node.optional)
        if isinstance(node, MapNode):
            return steps.map_step([(self.plan(e.key), self.plan(e.value), e.optional) for e in node.entries])
        if isinstance(node, StructNode):
            return steps.struct(node.name, [(f.name, self.plan(f.value), f.optional) for f in node.fields])
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
            return steps.constant(node.means)
        for scope in reversed(self._scopes):
            if node.name in scope and not node.declared:
                return steps.slot(scope[node.name])
        if node.name not in self.slots:
            self.slots[node.name] = self.new_slot()
        return steps.variable(self.slots[node.name], node.name)

    # Calls

    def _call(self, node: Call) -> Step:
        operands = [self.plan(operand) for operand in node.operands]
        special = _SPECIAL.get(node.function)
        if node.function == "_?_:_":
            test, then, otherwise = operands
            free = [_is_attribute(arg) for arg in node.args]
            return steps.conditional(test, then, otherwise, free[1], free[2])
        if special is not None:
            return special(*operands)
        if node.function == "_?._":
            return steps.optional_select(operands[0], node.args[1].value)  # type: ignore[attr-defined]
        overloads = node.overloads
        only = overloads[0] if len(overloads) == 1 else None
        cost = call_cost(node.function, only.id if only else "")
        run: Run | None = None
        if only is not None and only.run is not None and _settled(node, only):
            run = only.run
        elif node.function in _INDEXING:
            run = _INDEXING[node.function]
        return _invoke(operands, run or _dispatch(overloads), cost)


def _is_attribute(node: Node) -> bool:
    """A variable, or fields of one."""
    while isinstance(node, Select) and not node.test:
        node = node.operand
    return isinstance(node, Name) and node.means is None


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
            raise EvaluationError(NO_OVERLOAD)
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


_INDEXING: dict[str, Run] = {"_[_]": index_any, "_[?_]": find_any}
"""Where only the value tells whether it is a list, a map, or an optional one."""

_SPECIAL: dict[str, Callable[..., Step]] = {
    "_&&_": lambda left, right: steps.decided(left, right, False),
    "_||_": lambda left, right: steps.decided(left, right, True),
    "!_": steps.not_step,
    "@not_strictly_false": steps.not_false,
    "or": steps.or_else,
    "orValue": steps.or_value,
}
