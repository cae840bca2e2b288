"""Calls that are expanded before checking: has(), all(), map() and the like, into folds and bindings.

Source: github.com/google/cel-spec/blob/master/doc/langdef.md#macros; kubernetes.io/docs/reference/using-api/cel
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from timonel.api.cel.nodes import (
    Call,
    Comprehension,
    ListNode,
    Literal,
    MapNode,
    Name,
    Node,
    Select,
    duplicate,
)

ACCUMULATOR = "@result"
_OLD_ACCUMULATOR = "__result__"
_UNUSED = "#unused"
_SORT_INPUT = "@__sortBy_input__"

Expand = Callable[[int, "Node | None", list[Node]], Node]
"""Offset of the call's parenthesis, target, arguments."""

COPYING = frozenset({"optMap", "optFlatMap"})
"""Macros whose target is there twice afterwards: a chain of them doubles with each."""

Macros = Mapping[tuple[str, int, bool], Expand]
"""By name, number of arguments, and whether there is a target."""


class MacroError(ValueError):
    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


def _has(offset: int, target: Node | None, args: list[Node]) -> Node:
    argument = args[0]
    if not isinstance(argument, Select):
        raise MacroError(argument.offset, "invalid argument to has() macro")
    return Select(offset, argument.operand, argument.name, True)


def _one_name(argument: Node, message: str) -> str:
    if not isinstance(argument, Name):
        raise MacroError(argument.offset, message)
    if argument.name in (ACCUMULATOR, _OLD_ACCUMULATOR):
        raise MacroError(argument.offset, "iteration variable overwrites accumulator variable")
    return argument.name


def _names(args: list[Node]) -> tuple[str, str]:
    for argument in args[:2]:
        if not isinstance(argument, Name):
            raise MacroError(argument.offset, "argument must be a simple name")
    first, second = args[0], args[1]
    assert isinstance(first, Name)
    assert isinstance(second, Name)
    if first.name == second.name:
        raise MacroError(second.offset, f"duplicate variable name: {first.name}")
    message = "argument must be a simple name"
    return _one_name(first, message), _one_name(second, message)


class _Fold:
    """Makes the parts of one fold, all at one place."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def call(self, function: str, *args: Node) -> Node:
        return Call(self._offset, function, None, list(args))

    def value(self, value: object) -> Node:
        return Literal(self._offset, value)

    def result(self) -> Node:
        return Name(self._offset, ACCUMULATOR)

    def list(self, *items: Node) -> Node:
        return ListNode(self._offset, list(items))

    def over(
        self, target: Node | None, names: tuple[str, str], initial: Node, condition: Node, step: Node, result: Node
    ) -> Node:
        assert target is not None
        first, second = names
        return Comprehension(
            self._offset, target, first, second, ACCUMULATOR, initial, condition, step, result
        )  # fmt: skip

    def quantifier(self, kind: str, target: Node | None, names: tuple[str, str], test: Node) -> Node:
        initial: Node
        if kind == "all":
            initial, condition = self.value(True), self.call("@not_strictly_false", self.result())
            step, result = self.call("_&&_", self.result(), test), self.result()
        elif kind == "exists":
            initial = self.value(False)
            condition = self.call("@not_strictly_false", self.call("!_", self.result()))
            step, result = self.call("_||_", self.result(), test), self.result()
        else:
            initial, condition = self.value(0), self.value(True)
            step = self.call("_?_:_", test, self.call("_+_", self.result(), self.value(1)), self.result())
            result = self.call("_==_", self.result(), self.value(1))
        return self.over(target, names, initial, condition, step, result)

    def collect(
        self, target: Node | None, names: tuple[str, str], initial: Node, step: Node, test: Node | None
    ) -> Node:
        if test is not None:
            step = self.call("_?_:_", test, step, self.result())
        return self.over(target, names, initial, self.value(True), step, self.result())


def _quantifier(kind: str) -> Expand:
    def expand(offset: int, target: Node | None, args: list[Node]) -> Node:
        name = _one_name(args[0], "argument must be a simple name")
        return _Fold(offset).quantifier(kind, target, (name, ""), args[1])

    return expand


def _quantifier_of_two(kind: str) -> Expand:
    def expand(offset: int, target: Node | None, args: list[Node]) -> Node:
        return _Fold(offset).quantifier(kind, target, _names(args), args[2])

    return expand


def _map(offset: int, target: Node | None, args: list[Node]) -> Node:
    names = (_one_name(args[0], "argument is not an identifier"), "")
    fold, test = _Fold(offset), args[1] if len(args) == 3 else None
    step = fold.call("_+_", fold.result(), fold.list(args[-1]))
    return fold.collect(target, names, fold.list(), step, test)


def _filter(offset: int, target: Node | None, args: list[Node]) -> Node:
    names = (_one_name(args[0], "argument is not an identifier"), "")
    fold = _Fold(offset)
    step = fold.call("_+_", fold.result(), fold.list(args[0]))
    return fold.collect(target, names, fold.list(), step, args[1])


def _transform_list(offset: int, target: Node | None, args: list[Node]) -> Node:
    fold, test = _Fold(offset), args[2] if len(args) == 4 else None
    step = fold.call("_+_", fold.result(), fold.list(args[-1]))
    return fold.collect(target, _names(args), fold.list(), step, test)


def _transform_map(offset: int, target: Node | None, args: list[Node]) -> Node:
    names = _names(args)
    fold, test = _Fold(offset), args[2] if len(args) == 4 else None
    step = fold.call("cel.@mapInsert", fold.result(), Name(offset, names[0]), args[-1])
    return fold.collect(target, names, MapNode(offset, []), step, test)


def _transform_entry(offset: int, target: Node | None, args: list[Node]) -> Node:
    names = _names(args)
    fold, test = _Fold(offset), args[2] if len(args) == 4 else None
    step = fold.call("cel.@mapInsert", fold.result(), args[-1])
    return fold.collect(target, names, MapNode(offset, []), step, test)


def bind(offset: int, name: str, value: Node, result: Node) -> Node:
    """`result` where `name` is `value`."""
    return Comprehension(
        offset, ListNode(offset, []), _UNUSED, "", name, value, Literal(offset, False), Name(offset, name), result
    )


def _optional_map(flat: bool) -> Expand:
    called = "optFlatMap()" if flat else "optMap()"

    def expand(offset: int, target: Node | None, args: list[Node]) -> Node:
        assert target is not None
        if not isinstance(args[0], Name):
            raise MacroError(args[0].offset, f"{called} variable name must be a simple identifier")
        bound = bind(offset, args[0].name, Call(offset, "value", duplicate(target), []), args[1])
        present = bound if flat else Call(offset, "optional.of", None, [bound])
        absent = Call(offset, "optional.none", None, [])
        return Call(offset, "_?_:_", None, [Call(offset, "hasValue", target, []), present, absent])

    return expand


def _sort_by(offset: int, target: Node | None, args: list[Node]) -> Node:
    if isinstance(target, (Literal, MapNode)) or target is None:
        why = "sortBy can only be applied to a list, identifier, comprehension, call or select expression"
        raise MacroError(offset if target is None else target.offset, why)
    keys = _map(offset, Name(offset, _SORT_INPUT), args)
    ordered = Call(offset, "@sortByAssociatedKeys", Name(offset, _SORT_INPUT), [keys])
    return bind(offset, _SORT_INPUT, target, ordered)


STANDARD: Macros = {
    ("has", 1, False): _has,
    ("all", 2, True): _quantifier("all"),
    ("exists", 2, True): _quantifier("exists"),
    ("exists_one", 2, True): _quantifier("one"),
    ("existsOne", 2, True): _quantifier("one"),
    ("map", 2, True): _map,
    ("map", 3, True): _map,
    ("filter", 2, True): _filter,
    ("all", 3, True): _quantifier_of_two("all"),
    ("exists", 3, True): _quantifier_of_two("exists"),
    ("exists_one", 3, True): _quantifier_of_two("one"),
    ("existsOne", 3, True): _quantifier_of_two("one"),
    ("transformList", 3, True): _transform_list,
    ("transformList", 4, True): _transform_list,
    ("transformMap", 3, True): _transform_map,
    ("transformMap", 4, True): _transform_map,
    ("transformMapEntry", 3, True): _transform_entry,
    ("transformMapEntry", 4, True): _transform_entry,
    ("optMap", 2, True): _optional_map(False),
    ("optFlatMap", 2, True): _optional_map(True),
    ("sortBy", 2, True): _sort_by,
}


def _bind(offset: int, target: Node | None, args: list[Node]) -> Node:
    if not isinstance(target, Name) or target.name != "cel":
        return Call(offset, "bind", target, args)
    if not isinstance(args[0], Name):
        raise MacroError(args[0].offset, "cel.bind() variable names must be simple identifiers")
    return bind(offset, args[0].name, args[1], args[2])


BINDINGS: Macros = {("bind", 3, True): _bind}
"""cel.bind(name, value, expression), which not every environment has."""
