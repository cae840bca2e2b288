"""Folds over lists and maps, and bindings. The usual ones, all() and map() and the like, are loops of their own.

A loop that gathers a list or a map appends to one it made itself: a new one for each item would make it quadratic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from timonel.api.cel import costs
from timonel.api.cel.issues import CostExceeded, EvaluationError
from timonel.api.cel.macros import ACCUMULATOR
from timonel.api.cel.nodes import Call, Comprehension, ListNode, Literal, Name, Node, is_binding
from timonel.api.cel.planner import Planner
from timonel.api.cel.steps import NO_OVERLOAD, Bound, Frame, Step

_QUANTIFIED = 3  # reading the result twice and testing it
_APPENDED = 2  # reading the result and adding to it
_KEPT = 1  # reading the result


def plan_fold(planner: Planner, node: Comprehension) -> Step:
    if is_binding(node):
        return _plan_binding(planner, node)
    over = planner.plan(node.range)
    initial = planner.plan(node.initial)
    result_slot, first = planner.new_slot(), planner.new_slot()
    second = planner.new_slot() if node.second else 0
    names = {node.variable: first, **({node.second: second} if node.second else {})}
    planner.enter_names({node.accumulator: result_slot})
    planner.enter_names(names)
    step = _plan_quantifier(planner, node, over, first, second) or _plan_gathering(planner, node, over, first, second)
    condition, one = planner.plan(node.condition), planner.plan(node.step)
    planner.leave()
    result = planner.plan(node.result)
    planner.leave()
    if step is not None:
        return step

    def fold(frame: Frame) -> Any:
        items = _items(over(frame), frame, first, second)
        frame[result_slot] = initial(frame)
        for _ in items:
            if condition(frame) is not True:
                break
            frame[result_slot] = one(frame)
            if frame[0] > frame[1]:
                raise CostExceeded
        return result(frame)

    return fold


def _items(over: Any, frame: Frame, first: int, second: int) -> Iterator[None]:
    """Sets the variables for each item in its turn."""
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(over, dict):
        if not second:
            for frame[first] in list(over):
                yield
            return
        pairs = list(over.items())
    elif isinstance(over, list):
        if not second:
            for frame[first] in over:
                yield
            return
        pairs = enumerate(over)
    else:
        raise EvaluationError(NO_OVERLOAD)
    for frame[first], frame[second] in pairs:
        yield


def _plan_binding(planner: Planner, node: Comprehension) -> Step:
    value = planner.plan(node.initial)
    slot = planner.new_slot()
    planner.enter_names({node.accumulator: slot})
    result = planner.plan(node.result)
    planner.leave()

    def bind(frame: Frame) -> Any:
        frame[slot] = Bound(lambda: value(frame))
        return result(frame)

    return bind


def _plan_quantifier(planner: Planner, node: Comprehension, over: Step, first: int, second: int) -> Step | None:
    """all() ends at the first false, exists() at the first true; failures count only if none is found."""
    step = node.step
    if not (isinstance(step, Call) and step.function in ("_&&_", "_||_") and _is_result(step.args[0])):
        return None
    if not isinstance(node.initial, Literal) or not _is_result(node.result):
        return None
    decisive, other = step.function == "_||_", step.function == "_&&_"
    extra = _QUANTIFIED + decisive
    test = planner.plan(step.args[1])

    def quantify(frame: Frame) -> Any:
        failed: EvaluationError | None = None
        for _ in _items(over(frame), frame, first, second):
            frame[0] += extra
            try:
                value = test(frame)
                if value is decisive:
                    return decisive
                if value is not other and failed is None:
                    failed = EvaluationError(NO_OVERLOAD)
            except CostExceeded:
                raise
            except EvaluationError as exc:
                failed = failed or exc
            if frame[0] > frame[1]:
                raise CostExceeded
        frame[0] += 1
        if failed is not None:
            raise failed
        return other

    return quantify


def _is_result(node: Node | None) -> bool:
    return isinstance(node, Name) and node.name == ACCUMULATOR


def _plan_gathering(planner: Planner, node: Comprehension, over: Step, first: int, second: int) -> Step | None:
    """map(), filter() and the transformations: of items that pass a test, one addition each."""
    step, condition = node.step, node.condition
    if not (isinstance(condition, Literal) and condition.value is True and _is_result(node.result)):
        return None
    test: Step | None = None
    if isinstance(step, Call) and step.function == "_?_:_" and _is_result(step.args[2]):
        test = planner.plan(step.args[0])
        step = step.args[1]
    if not (isinstance(step, Call) and step.args and _is_result(step.args[0])):
        return None
    if step.function == "_+_" and isinstance(step.args[1], ListNode):
        addition = step.args[1]
        if len(addition.items) != 1 or addition.optional:
            return None
        return _gather_list(over, first, second, test, planner.plan(addition.items[0]))
    if step.function == "cel.@mapInsert":
        return _gather_map(over, first, second, test, [planner.plan(arg) for arg in step.args[1:]])
    return None


def _passes(test: Step | None, frame: Frame) -> bool:
    if test is None:
        return True
    value = test(frame)
    if value is not True and value is not False:
        raise EvaluationError(NO_OVERLOAD)
    return bool(value)


def _gather_list(over: Step, first: int, second: int, test: Step | None, item: Step) -> Step:
    def gather(frame: Frame) -> Any:
        out: list[Any] = []
        for _ in _items(over(frame), frame, first, second):
            frame[0] += _KEPT
            if _passes(test, frame):
                frame[0] += costs.LIST + _APPENDED - _KEPT
                out.append(item(frame))
            if frame[0] > frame[1]:
                raise CostExceeded
        frame[0] += 1
        return out

    return gather


def _gather_map(over: Step, first: int, second: int, test: Step | None, parts: list[Step]) -> Step:
    def entries(frame: Frame) -> Iterable[tuple[Any, Any]]:
        if len(parts) == 2:
            return [(parts[0](frame), parts[1](frame))]
        more = parts[0](frame)
        if not isinstance(more, dict):
            raise EvaluationError(NO_OVERLOAD)
        return more.items()

    def gather(frame: Frame) -> Any:
        out: dict[Any, Any] = {}
        for _ in _items(over(frame), frame, first, second):
            frame[0] += _KEPT
            if _passes(test, frame):
                frame[0] += _APPENDED - _KEPT
                for key, value in entries(frame):
                    if key in out:
                        raise EvaluationError(f"insert failed: key {key} already exists")
                    out[key] = value
            if frame[0] > frame[1]:
                raise CostExceeded
        frame[0] += 1
        return out

    return gather
