"""What literals say before anything is evaluated: durations, times, patterns, templates, items of several types.

Runs on a tree that has passed the checker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from timonel.api.cel.issues import CompileError, EvaluationError, Issue
from timonel.api.cel.library.formatting import BadClause, clauses, wrong_operand
from timonel.api.cel.library.regexes import compile_pattern
from timonel.api.cel.nodes import Call, ListNode, Literal, MapNode, Name, Node, children, walk
from timonel.api.cel.planner import fits
from timonel.api.cel.types import Type
from timonel.api.cel.values import duration, parse_duration, parse_timestamp, timestamp, type_of

_CONVERSIONS = frozenset({"bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint"})
_UNDEFINED = frozenset({"duration", "timestamp"})


def plan_problem(root: Node) -> str:
    """Why the expression cannot be made ready for evaluation although it is one; "" when it can."""
    for node in walk(root):
        if isinstance(node, Name) and node.means is not None and node.name in _UNDEFINED:
            return f"reference to undefined type: {node.name}"
        if not isinstance(node, Call):
            continue
        literal = node.args[0] if node.args else None
        if not isinstance(literal, Literal):
            continue
        try:
            if node.function in ("find", "findAll") and isinstance(literal.value, str):
                compile_pattern(literal.value)
            elif node.function in _CONVERSIONS and node.target is None:
                _convert(node, literal.value)
        except EvaluationError as exc:
            return str(exc)
    return ""


def _convert(node: Call, value: object) -> None:
    for overload in node.overloads:
        if fits(overload.operands[0], value):
            overload.run(value)
            return
    raise EvaluationError(f"no such overload: {node.function}({type_of(value).declared()})")


def check_literals(text: str, root: Node) -> None:
    issues = [issue for node in walk(root) for issue in _of_calls(node)]
    issues += _mixed(root)
    if issues:
        raise CompileError(text, issues)


def _of_calls(node: Node) -> Iterator[Issue]:
    if not isinstance(node, Call):
        return
    if node.function in ("duration", "timestamp", "matches") and node.args:
        literal = node.args[0]
        if isinstance(literal, Literal) and not _is_valid(node.function, literal):
            yield Issue(literal.offset, f"invalid {node.function} argument")
    target = node.target
    if node.function == "format" and isinstance(target, Literal) and isinstance(target.value, str):
        arguments = node.args[0] if len(node.args) == 1 else None
        if isinstance(arguments, ListNode):
            yield from _of_template(node, target.value, arguments.items)


def _is_valid(function: str, literal: Literal) -> bool:
    value = literal.value
    if not isinstance(value, (str, int)):
        return False
    try:
        if function == "matches":
            compile_pattern(value)
        elif function == "duration":
            parse_duration(value) if isinstance(value, str) else duration(value)
        else:
            parse_timestamp(value) if isinstance(value, str) else timestamp(value * 10**9)
    except EvaluationError:
        return False
    return True


def _of_template(node: Call, template: str, operands: list[Node]) -> Iterator[Issue]:
    index = 0
    try:
        for _, letter, _ in clauses(template):
            if not letter:
                continue
            if index >= len(operands):
                yield Issue(node.offset, f"index {index} out of range")
                return
            if found := _wrong(letter, operands[index]):
                yield found
                return
            index += 1
    except BadClause as exc:
        yield Issue(node.offset, str(exc))
        return
    if len(operands) > index:
        message = f"too many arguments supplied to string.format (expected {index}, got {len(operands)})"
        yield Issue(node.offset, message)


def _wrong(letter: str, operand: Node) -> Issue | None:
    if operand.type.kind != "dyn" and (why := wrong_operand(letter, operand.type)):
        return Issue(operand.offset, why)
    if letter == "s" and isinstance(operand, (ListNode, MapNode)):
        return next((found for part in children(operand) if (found := _wrong(letter, part))), None)
    return None


def _mixed(root: Node) -> Iterator[Issue]:
    """Items whose types agree only because one is dyn; in a template's operands they may."""
    waiting = deque([root])
    lists: list[ListNode] = []
    maps: list[MapNode] = []
    while waiting:
        node = waiting.popleft()
        if isinstance(node, Call) and node.function == "format":
            waiting += [node.target] if node.target is not None else []
            continue
        if isinstance(node, ListNode):
            lists.append(node)
        elif isinstance(node, MapNode):
            maps.append(node)
        waiting += children(node)
    for one in lists:
        seen: Type | None = None
        for index, item in enumerate(one.items):
            found = item.type.params[0] if index in one.optional and item.type.params else item.type
            seen = seen or found
            if seen != found:
                yield Issue(item.offset, f"expected type '{seen}' but found '{found}'")
                break
    for entries in maps:
        if not entries.entries:
            continue
        first = entries.entries[0]
        key = first.key.type
        value = first.value.type.params[0] if first.optional and first.value.type.params else first.value.type
        for entry in entries.entries[1:]:
            found = entry.value.type
            found = found.params[0] if entry.optional and found.params else found
            for expected, actual, place in ((key, entry.key.type, entry.key), (value, found, entry.value)):
                if expected != actual:
                    yield Issue(place.offset, f"expected type '{expected}' but found '{actual}'")
