"""What an expression costs at most, known before it is evaluated from how large its values can be.

The estimate decides which rules a CustomResourceDefinition may have, so it is upstream's, number for number.
Source: kubernetes.io/docs/reference/using-api/cel/#resource-constraints;
github.com/google/cel-go/blob/master/checker/cost.go
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from timonel.api.cel import costs
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
    is_binding,
)
from timonel.api.cel.sizes import MOST, NONE, ONE, UNKNOWN, Range, exactly
from timonel.api.cel.types import Type, is_optional

Path = tuple[str, ...]
"""From a variable on: names of fields, "@items", "@keys", "@values"."""

SizeOf = Callable[[Path, Type], "Range | None"]
"""What is declared of the size of the value at a path."""

_SCALARS = frozenset({"bool", "double", "duration", "int", "timestamp", "uint"})
_NOTHING_YET = Range(MOST, 0)
_RESULTS = ("@result", "__result__")


@dataclass(frozen=True, slots=True)
class Entry:
    """Sizes of the keys, or indexes, and of the values of a container."""

    kind: str  # list, map
    key: Range
    value: Range

    def __or__(self, other: Entry) -> Entry:
        return Entry(self.kind, self.key | other.key, self.value | other.value)


@dataclass(frozen=True, slots=True)
class _Local:
    path: Path
    size: Range | None
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Operand:
    """Of a call: what its cost may depend on."""

    path: Path
    type: Type
    node: Node | None
    size: Range | None


def estimate_cost(root: Node, size_of: SizeOf) -> Range:
    """Of a checked tree."""
    return Estimator(size_of).cost(root)


class Estimator:
    def __init__(self, size_of: SizeOf) -> None:
        self.size_of = size_of
        self._paths: dict[int, Path] = {}
        self._sizes: dict[int, Range] = {}
        self._entries: dict[int, Entry] = {}
        self._locals: dict[str, list[_Local]] = {}

    def cost(self, node: Node) -> Range:
        if isinstance(node, Name):
            local = self._local(node.name)
            self._paths[id(node)] = local.path if local else (node.name,)
            return ONE
        if isinstance(node, Select):
            return self._select(node)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, ListNode):
            return self._list(node)
        if isinstance(node, MapNode):
            return self._map(node)
        if isinstance(node, StructNode):
            return sum((self.cost(field.value) for field in node.fields), exactly(costs.STRUCT))
        if isinstance(node, Comprehension):
            return self._binding(node) if is_binding(node) else self._fold(node)
        return NONE

    # What is known of a node

    def _local(self, name: str) -> _Local | None:
        found = self._locals.get(name)
        return found[-1] if found else None

    def path(self, node: Node) -> Path:
        if isinstance(node, Name) and (local := self._local(node.name)):
            return local.path
        return self._paths.get(id(node), ())

    def size(self, node: Node) -> Range | None:
        if (known := self._sizes.get(id(node))) is not None:
            return known
        if (written := _written_size(node)) is not None:
            return written
        if (declared := self.size_of(self.path(node), node.type)) is not None:
            self._sizes[id(node)] = declared
            return declared
        if _is_scalar(node.type):
            return ONE
        local = self._local(node.name) if isinstance(node, Name) else None
        return local.size if local else None

    def size_or_unknown(self, node: Node) -> Range:
        return self.size(node) or UNKNOWN

    def entry(self, node: Node) -> Entry | None:
        if (known := self._entries.get(id(node))) is not None:
            return known
        local = self._local(node.name) if isinstance(node, Name) else None
        return local.entry if local else None

    def note(self, node: Node, size: Range | None, entry: Entry | None = None) -> None:
        if size is not None:
            self._sizes[id(node)] = size
        if entry is not None:
            self._entries[id(node)] = entry

    # Nodes

    def _select(self, node: Select) -> Range:
        cost = self.cost(node.operand)
        if node.test:
            return cost
        if node.operand.type.kind in ("map", "struct", "param"):
            cost += ONE
        self._paths[id(node)] = (*self.path(node.operand), node.name)
        return cost

    def _list(self, node: ListNode) -> Range:
        cost, sizes = exactly(costs.LIST), _NOTHING_YET if node.items else Range(0, 0)
        for item in node.items:
            cost += self.cost(item)
            sizes |= self.size_or_unknown(item)
        self.note(node, None, Entry("list", ONE, sizes))
        return cost

    def _map(self, node: MapNode) -> Range:
        cost = exactly(costs.MAP)
        keys = values = _NOTHING_YET if node.entries else Range(0, 0)
        for entry in node.entries:
            cost += self.cost(entry.key) + self.cost(entry.value)
            keys |= self.size_or_unknown(entry.key)
            values |= self.size_or_unknown(entry.value)
        self.note(node, None, Entry("map", keys, values))
        return cost

    def _push(self, name: str, local: _Local) -> None:
        self._locals.setdefault(name, []).append(local)

    def _push_item(self, name: str, over: Node, part: str) -> None:
        """`part`: "key", "value", or "" for what a fold over one variable goes through."""
        entry, path = self.entry(over), self.path(over)
        kind = entry.kind if entry else over.type.kind
        if not part:
            part = "value" if kind == "list" else "key"
        step = {"key": "@indices", "value": "@items"} if kind == "list" else {"key": "@keys", "value": "@values"}
        size = None if entry is None else entry.key if part == "key" else entry.value
        self._push(name, _Local((*path, step[part]), size, None))

    def _fold(self, node: Comprehension) -> Range:
        cost = self.cost(node.range) + self.cost(node.initial)
        initial = node.initial
        self._push(node.accumulator, _Local(self.path(initial), self.size(initial), self.entry(initial)))
        self._push_item(node.variable, node.range, "key" if node.second else "")
        if node.second:
            self._push_item(node.second, node.range, "value")
        each = self.cost(node.condition)
        each = self.cost(node.step) + each
        self._locals[node.variable].pop()
        if node.second:
            self._locals[node.second].pop()
        cost += self.cost(node.result)
        self._locals[node.accumulator].pop()
        count = self.size_or_unknown(node.range)
        if isinstance(initial, Literal):
            self.note(node, self.size(initial))
        elif isinstance(initial, (ListNode, MapNode)):
            self.note(node, count, self.entry(node.step))
        return cost + count * each

    def _binding(self, node: Comprehension) -> Range:
        cost = self.cost(node.range) + self.cost(node.initial)
        initial = node.initial
        self._push(node.accumulator, _Local(self.path(initial), self.size(initial), self.entry(initial)))
        cost += self.cost(node.result)
        size, entry = self.size(node.result), self.entry(node.result)
        self._locals[node.accumulator].pop()
        self.note(node, size, entry)
        return cost

    # Calls

    def operand(self, node: Node) -> Operand:
        path = self.path(node)
        return Operand(() if path and path[0] in _RESULTS else path, node.type, node, self.size(node))

    def _call(self, node: Call) -> Range:
        from timonel.api.cel.call_estimates import estimate_call  # it looks at operands through this class

        if node.function == "dyn":
            cost = self.cost(node.args[0])
            self.note(node, self.size(node.args[0]), self.entry(node.args[0]))
            return cost + ONE
        if node.function == "_?._":
            # Costed as a call of two operands.
            pass
        args = [self.cost(arg) for arg in node.args]
        target = NONE if node.target is None else self.cost(node.target)
        overloads = [overload.id for overload in node.overloads] or ["select_optional_field"]
        total: Range | None = None
        size: Range | None = None
        for overload in overloads:
            found = estimate_call(self, node, overload, args)
            total = found.cost if total is None else total | found.cost
            if found.size is not None:
                size = found.size if size is None else size | found.size
            if overload in ("index_list", "index_map"):
                entry = self.entry(node.args[0])
                size = entry.value if entry else None
                step = "@items" if overload == "index_list" else "@values"
                self._paths[id(node)] = (*self.path(node.args[0]), step)
            if size is None:
                size = self.size(node)
        self.note(node, size)
        return target + (total or NONE)


def _written_size(node: Node) -> Range | None:
    if isinstance(node, Literal):
        if isinstance(node.value, (str, bytes)):
            return exactly(len(node.value))
        return ONE
    if isinstance(node, ListNode):
        return exactly(len(node.items))
    return exactly(len(node.entries)) if isinstance(node, MapNode) else None


def _is_scalar(type_: Type) -> bool:
    return type_.kind in _SCALARS or (is_optional(type_) and _is_scalar(type_.params[0]))
