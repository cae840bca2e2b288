"""Types of a tree: resolves names and overloads, and says what does not fit.

Source: github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking. Lists and maps have items of one
type, as everywhere in Kubernetes.
"""

from __future__ import annotations

from timonel.api.cel import types
from timonel.api.cel.environment import Environment
from timonel.api.cel.issues import CompileError, Issue
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
    walk,
)
from timonel.api.cel.overloads import Overload
from timonel.api.cel.types import Type, is_dyn, is_dyn_or_error, is_optional
from timonel.api.cel.unification import Bindings, most_general, substitute
from timonel.api.cel.values import type_of

_LOGICAL = frozenset({"_&&_", "_||_"})


def check(text: str, root: Node, environment: Environment) -> Node:
    """The tree with types, names and overloads resolved; the root may be another. Raises CompileError."""
    checker = _Checker(environment)
    root = checker.check(root)
    if checker.issues:
        raise CompileError(text, checker.issues)
    for node in walk(root):
        node.type = checker.bindings.substitute(node.type, to_dyn=True)
    return root


def qualified_name(node: Node) -> str:
    """Of names joined by dots, "" of anything else."""
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Select) and not node.test:
        prefix = qualified_name(node.operand)
        return f"{prefix}.{node.name}" if prefix else ""
    return ""


class _Checker:
    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._scopes: list[dict[str, Type]] = []
        self._fresh = 0
        self.bindings = Bindings()
        self.issues: list[Issue] = []

    def check(self, node: Node) -> Node:
        if isinstance(node, Literal):
            node.type = type_of(node.value)
        elif isinstance(node, Name):
            self._check_name(node)
        elif isinstance(node, Select):
            return self._check_select(node)
        elif isinstance(node, Call):
            self._check_call(node)
        elif isinstance(node, ListNode):
            self._check_list(node)
        elif isinstance(node, MapNode):
            self._check_map(node)
        elif isinstance(node, StructNode):
            self._check_struct(node)
        elif isinstance(node, Comprehension):
            self._check_comprehension(node)
        return node

    def _issue(self, offset: int, message: str) -> None:
        self.issues.append(Issue(offset, message))

    def _undeclared(self, node: Node, name: str) -> None:
        self._issue(node.offset, f"undeclared reference to '{name}' (in container '')")

    def _mismatch(self, offset: int, expected: Type, found: Type) -> None:
        self._issue(offset, f"expected type '{expected}' but found '{found}'")

    def _assign(self, left: Type, right: Type) -> bool:
        return self.bindings.assign((left,), (right,))

    def _variable(self) -> Type:
        self._fresh += 1
        return types.parameter(f"_var{self._fresh - 1}")

    def _now(self, type_: Type) -> Type:
        return self.bindings.substitute(type_)

    # Names

    def _resolve(self, name: str, node: Name) -> bool:
        name = name.removeprefix(".")
        for scope in reversed(self._scopes):
            if name in scope:
                node.name, node.type = name, scope[name]
                return True
        if (declared := self._environment.variables.get(name)) is not None:
            node.name, node.type, node.declared = name, declared, True
            return True
        means = types.NAMED_TYPES.get(name)
        if means is None and self._environment.find_struct(name) is not None:
            means = types.struct_of(name)
        if means is None:
            return False
        node.name, node.means, node.type = name, means, types.type_of_type(means)
        return True

    def _check_name(self, node: Name) -> None:
        if not self._resolve(node.name, node):
            node.type = types.ERROR
            self._undeclared(node, node.name)

    def _check_select(self, node: Select) -> Node:
        if name := qualified_name(node):
            whole = Name(node.offset, name)
            if self._resolve(name, whole):
                return whole
        node.operand = self.check(node.operand)
        result = self._field(node, node.operand, node.name)
        node.type = types.BOOL if node.test else self._now(result)
        return node

    def _field(self, node: Select | Call, operand: Node, name: str, *, optional: bool = False) -> Type:
        """Type of the operand's field; optional where the operand is, or where it is asked so."""
        target = self._now(operand.type)
        optional = optional or is_optional(target)
        if is_optional(target):
            target = target.params[0]
        result = types.DYN
        if target.kind == "map":
            result = target.params[1]
        elif target.kind == "struct":
            result = self._struct_field(node, node.offset, target.name, name)
        elif target.kind == "param":
            self._assign(types.DYN, target)
        elif not is_dyn_or_error(target):
            self._issue(node.offset, f"type '{target}' does not support field selection")
        return types.optional_of(result) if optional else result

    def _struct_field(self, node: Node, offset: int, struct: str, name: str) -> Type:
        found = self._environment.field_of(struct, name)
        if found is None:
            known = self._environment.find_struct(struct) is not None or struct in types.NAMED_TYPES
            what = f"undefined field '{name}'" if known else f"unexpected failed resolution of '{struct}'"
            self._issue(offset, what)
            return types.ERROR
        if isinstance(node, Select):
            node.key = found.key
        return found.type

    # Calls

    def _check_call(self, node: Call) -> None:
        if node.function == "_?._":
            node.args[0] = self.check(node.args[0])
            field = node.args[1]
            assert isinstance(field, Literal)
            field.type = types.STRING
            node.type = self._now(self._field(node, node.args[0], field.value, optional=True))
            if found := self._key_of(node.args[0].type, field.value):
                field.value = found
            return
        node.args = [self.check(arg) for arg in node.args]
        functions = self._environment.functions
        if node.target is not None:
            prefix = qualified_name(node.target)
            if prefix and f"{prefix.removeprefix('.')}.{node.function}" in functions:
                node.function, node.target = f"{prefix.removeprefix('.')}.{node.function}", None
            else:
                node.target = self.check(node.target)
        name = node.function.removeprefix(".") if node.target is None else node.function
        if name not in functions:
            self._undeclared(node, node.function)
            node.type = types.ERROR
            return
        node.function = name
        self._choose(node, functions[name])

    def _key_of(self, type_: Type, name: str) -> str:
        type_ = self._now(type_)
        type_ = type_.params[0] if is_optional(type_) else type_
        found = self._environment.field_of(type_.name, name) if type_.kind == "struct" else None
        return found.key if found else ""

    def _choose(self, node: Call, overloads: tuple[Overload, ...]) -> None:
        """Those that fit the operands; of more than one, the result is of their common type."""
        operands = [operand.type for operand in node.operands]
        if node.function in _LOGICAL:
            self._choose_logical(node, overloads)
            return
        result: Type | None = None
        for overload in overloads:
            if overload.member != (node.target is not None):
                continue
            fresh = {param: self._variable() for param in overload.params}
            wanted = [substitute(fresh, operand) for operand in overload.operands]
            if not self.bindings.assign(operands, wanted):
                continue
            node.overloads += (overload,)
            own = self._now(substitute(fresh, overload.result))
            if result is None:
                result = own
            elif not is_dyn(result) and own != result:
                result = types.DYN
        if result is None:
            shown = [str(self.bindings.substitute(operand, to_dyn=True)) for operand in operands]
            target = f"{shown.pop(0)}." if node.target is not None else ""
            signature = f"{target}({', '.join(shown)})"
            message = f"found no matching overload for '{node.function}' applied to '{signature}'"
            self._issue(node.offset, message)
        node.type = types.ERROR if result is None else result

    def _choose_logical(self, node: Call, overloads: tuple[Overload, ...]) -> None:
        node.overloads = overloads
        node.type = types.BOOL
        for arg in node.args:
            if not self._assign(arg.type, types.BOOL):
                self._mismatch(arg.offset, types.BOOL, arg.type)
                node.type = types.ERROR

    # Aggregates

    def _join(self, node: Node, before: Type | None, type_: Type) -> Type:
        if before is None:
            return type_
        if self._assign(before, type_):
            return most_general(before, type_)
        self._mismatch(node.offset, before, type_)
        return types.ERROR

    def _unwrapped(self, node: Node, *, optional: bool) -> Type:
        if not optional:
            return node.type
        if is_optional(node.type):
            return node.type.params[0]
        if not is_dyn(node.type):
            self._mismatch(node.offset, types.optional_of(node.type), node.type)
        return node.type

    def _check_list(self, node: ListNode) -> None:
        item_type: Type | None = None
        for index, item in enumerate(node.items):
            node.items[index] = item = self.check(item)
            item_type = self._join(item, item_type, self._unwrapped(item, optional=index in node.optional))
        node.type = types.list_of(item_type or self._variable())

    def _check_map(self, node: MapNode) -> None:
        key_type: Type | None = None
        value_type: Type | None = None
        for entry in node.entries:
            entry.key = self.check(entry.key)
            key_type = self._join(entry.key, key_type, entry.key.type)
            entry.value = self.check(entry.value)
            value_type = self._join(entry.value, value_type, self._unwrapped(entry.value, optional=entry.optional))
        node.type = types.map_of(key_type or self._variable(), value_type or self._variable())

    def _check_struct(self, node: StructNode) -> None:
        name = Name(node.offset, node.name)
        if not self._resolve(node.name, name):
            self._undeclared(node, node.name)
            node.type = types.ERROR
            return
        node.name, node.type = name.name, types.ERROR
        if name.means is None:
            self._issue(node.offset, f"'{name.type.declared()}' is not a type")
        elif name.means.kind != "struct":
            self._issue(node.offset, f"'{name.means.declared()}' is not a message type")
        else:
            node.type = name.means
        for entry in node.fields:
            entry.value = self.check(entry.value)
            wanted = self._struct_field(node, entry.offset, node.name, entry.name)
            found = self._unwrapped(entry.value, optional=entry.optional)
            if not self._assign(wanted, found):
                message = f"expected type of field '{entry.name}' is '{wanted}' but provided type is '{found}'"
                self._issue(entry.offset, message)

    # Folds

    def _check_comprehension(self, node: Comprehension) -> None:
        node.range = self.check(node.range)
        node.initial = self.check(node.initial)
        first, second = self._iterated(node)
        accumulated = node.initial.type
        self._scopes.append({node.accumulator: accumulated})
        self._scopes.append({node.variable: first, **({node.second: second} if node.second else {})})
        node.condition = self.check(node.condition)
        self._assert(node.condition, types.BOOL)
        node.step = self.check(node.step)
        self._assert(node.step, accumulated)
        self._scopes.pop()
        node.result = self.check(node.result)
        self._scopes.pop()
        node.type = self._now(node.result.type)

    def _iterated(self, node: Comprehension) -> tuple[Type, Type]:
        """Types of the variables."""
        over = self._now(node.range.type)
        if over.kind == "list":
            return (types.INT, over.params[0]) if node.second else (over.params[0], types.DYN)
        if over.kind == "map":
            return over.params[0], over.params[1]
        if over.kind in ("param", "dyn", "error"):
            self._assign(types.DYN, over)
            return types.DYN, types.DYN
        why = "cannot be range of a comprehension (must be list, map, or dynamic)"
        self._issue(node.range.offset, f"expression of type '{over}' {why}")
        return types.ERROR, types.ERROR

    def _assert(self, node: Node, wanted: Type) -> None:
        if not self._assign(wanted, node.type):
            self._mismatch(node.offset, wanted, node.type)
