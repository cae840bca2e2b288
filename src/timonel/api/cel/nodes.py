"""The tree of an expression. The checker writes types and overloads into it; after that nothing changes it.

Offsets are places in the text, in code points: where an issue with the node is shown. What a macro made stands where
the macro's parenthesis does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from timonel.api.cel.types import ERROR, Type


@dataclass(slots=True, eq=False)
class Node:
    offset: int
    type: Type = field(default=ERROR, init=False)


@dataclass(slots=True, eq=False)
class Literal(Node):
    value: Any  # bool, int, UInt, float, str, bytes, None


@dataclass(slots=True, eq=False)
class Name(Node):
    name: str
    declared: bool = field(default=False, init=False)  # a variable of the environment, not of a macro
    means: Type | None = field(default=None, init=False)  # the type it names


@dataclass(slots=True, eq=False)
class Select(Node):
    operand: Node
    name: str
    test: bool = False  # has(operand.field)
    key: str = field(default="", init=False)  # the property's own name, where the field's is an escaped one


@dataclass(slots=True, eq=False)
class Call(Node):
    function: str
    target: Node | None
    args: list[Node]
    overloads: tuple[Any, ...] = field(default=(), init=False)  # what may be meant, of overloads.Overload

    @property
    def operands(self) -> list[Node]:
        return self.args if self.target is None else [self.target, *self.args]


@dataclass(slots=True, eq=False)
class ListNode(Node):
    items: list[Node]
    optional: frozenset[int] = frozenset()  # indexes of [?item]


@dataclass(slots=True, eq=False)
class Entry:
    offset: int
    key: Node
    value: Node
    optional: bool = False


@dataclass(slots=True, eq=False)
class MapNode(Node):
    entries: list[Entry]


@dataclass(slots=True, eq=False)
class FieldEntry:
    offset: int
    name: str
    value: Node
    optional: bool = False


@dataclass(slots=True, eq=False)
class StructNode(Node):
    name: str
    fields: list[FieldEntry]


@dataclass(slots=True, eq=False)
class Comprehension(Node):
    """Folds a range: `accumulator` starts as `initial`, becomes `step` while `condition` holds; the value is `result`.

    A binding of a value to a name is one over an empty range: the accumulator is the name.
    """

    range: Node
    variable: str
    second: str  # "" where there is one variable
    accumulator: str
    initial: Node
    condition: Node
    step: Node
    result: Node


def is_binding(node: Comprehension) -> bool:
    return (
        isinstance(node.range, ListNode)
        and not node.range.items
        and isinstance(node.condition, Literal)
        and node.condition.value is False
    )


def children(node: Node) -> list[Node]:
    """In the order in which they were written, or made."""
    if isinstance(node, Select):
        return [node.operand]
    if isinstance(node, Call):
        return node.operands
    if isinstance(node, ListNode):
        return node.items
    if isinstance(node, MapNode):
        return [part for entry in node.entries for part in (entry.key, entry.value)]
    if isinstance(node, StructNode):
        return [entry.value for entry in node.fields]
    if isinstance(node, Comprehension):
        return [node.range, node.initial, node.condition, node.step, node.result]
    return []


def walk(node: Node) -> list[Node]:
    """The node and all below it, parents first."""
    found, waiting = [], [node]
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting.extend(reversed(children(node)))
    return found


def duplicate(node: Node) -> Node:
    """The same expression once more, for a macro that needs it twice. Before the checker has seen it."""
    copy: Node
    if isinstance(node, Literal):
        copy = Literal(node.offset, node.value)
    elif isinstance(node, Name):
        copy = Name(node.offset, node.name)
    elif isinstance(node, Select):
        copy = Select(node.offset, duplicate(node.operand), node.name, node.test)
    elif isinstance(node, Call):
        target = None if node.target is None else duplicate(node.target)
        copy = Call(node.offset, node.function, target, [duplicate(arg) for arg in node.args])
    elif isinstance(node, ListNode):
        copy = ListNode(node.offset, [duplicate(item) for item in node.items], node.optional)
    elif isinstance(node, MapNode):
        entries = [Entry(e.offset, duplicate(e.key), duplicate(e.value), e.optional) for e in node.entries]
        copy = MapNode(node.offset, entries)
    elif isinstance(node, StructNode):
        fields = [FieldEntry(f.offset, f.name, duplicate(f.value), f.optional) for f in node.fields]
        copy = StructNode(node.offset, node.name, fields)
    elif isinstance(node, Comprehension):
        copy = Comprehension(
            node.offset, duplicate(node.range), node.variable, node.second, node.accumulator, duplicate(node.initial),
            duplicate(node.condition), duplicate(node.step), duplicate(node.result),
        )  # fmt: skip
    else:
        raise TypeError(type(node).__name__)
    return copy
