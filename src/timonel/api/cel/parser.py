"""Tokens to a tree, macros expanded.

Source: github.com/google/cel-spec/blob/master/doc/langdef.md#syntax, with optional parts
(a.?b, a[?0], [?a], {?'k': a}).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from timonel.api.cel import syntax_errors as say
from timonel.api.cel.cursor import THEN, Cursor, Failed
from timonel.api.cel.issues import NOWHERE, CompileError, Issue
from timonel.api.cel.lexer import BYTES, END, FLOAT, INT, NAME, QUOTED_NAME, STRING, UINT, Token, tokenize
from timonel.api.cel.literals import (
    BadLiteral,
    bytes_literal,
    float_literal,
    int_literal,
    string_literal,
    uint_literal,
)
from timonel.api.cel.macros import COPYING, MacroError, Macros
from timonel.api.cel.nodes import (
    Call,
    Entry,
    FieldEntry,
    ListNode,
    Literal,
    MapNode,
    Name,
    Node,
    Select,
    StructNode,
    walk,
)

_T = TypeVar("_T")
_LONGEST = 100_000  # code points
_DEEPEST = 250
_TOO_DEEP = f"expression recursion limit exceeded: {_DEEPEST}"
_TOO_LONG = "max recursion depth exceeded"
_MOST_COPIED = 10_000
_TOO_LARGE = f"macros copy more than {_MOST_COPIED} parts of the expression"
_RELATIONS = {"<": "_<_", "<=": "_<=_", ">=": "_>=_", ">": "_>_", "==": "_==_", "!=": "_!=_", "in": "@in"}
_SUMS = {"+": "_+_", "-": "_-_"}
_PRODUCTS = {"*": "_*_", "/": "_/_", "%": "_%_"}
_LEVELS = (_RELATIONS, _SUMS, _PRODUCTS)
_RESERVED = frozenset(
    """
    as break const continue else false for function if import in let loop package
    namespace null return true var void while
    """.split()  # noqa: SIM905
)
_LITERALS: dict[str, Callable[[str], Any]] = {
    INT: int_literal,
    UINT: uint_literal,
    FLOAT: float_literal,
    STRING: string_literal,
    BYTES: lambda text: bytes_literal(text[1:]),
}
_WORDS = {"true": True, "false": False, "null": None}


def too_deep(text: str) -> CompileError:
    return CompileError(text, [Issue(NOWHERE, _TOO_DEEP)])


class _TooDeep(Exception):
    pass


def parse(text: str, macros: Macros) -> Node:
    """Raises CompileError with every issue that was found."""
    if len(text) > _LONGEST:
        message = f"expression code point size exceeds limit: size: {len(text)}, limit {_LONGEST}"
        raise CompileError(text, [Issue(NOWHERE, message)])
    tokens, issues = tokenize(text)
    parser = _Parser(text, tokens, macros)
    node: Node | None = None
    try:
        node = parser.whole()
    except _TooDeep as exc:
        parser.syntax.append(Issue(NOWHERE, str(exc)))
    except RecursionError:
        parser.syntax.append(Issue(NOWHERE, _TOO_DEEP))
    # Of a text with syntax errors nothing else is worth saying.
    issues += parser.syntax or (parser.issues if not issues else [])
    if issues or node is None:
        raise CompileError(text, issues)
    return node


class _Parser(Cursor):
    def __init__(self, text: str, tokens: list[Token], macros: Macros) -> None:
        super().__init__(text, tokens)
        self._macros = macros
        self._depth = 0
        self._copied = 0

    def whole(self) -> Node:
        node = self._inside({END}, self._expression)
        with suppress(Failed):
            self._expect(END)
        return node

    # Operators

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _TooDeep(_TOO_DEEP)
        node = self._logical("||", "_||_", self._conjunction)
        if self._next().kind == "?" and not self._is_operand_of_choice():
            mark = self._take()
            try:
                then = self._inside({":", THEN}, lambda: self._logical("||", "_||_", self._conjunction))
                self._expect(":")
                otherwise = self._expression()
                node = self._call(mark.offset, "_?_:_", None, [node, then, otherwise])
            except Failed:
                node = self._skip(operators=False)
        self._depth -= 1
        return node

    def _conjunction(self) -> Node:
        return self._logical("&&", "_&&_", lambda: self._binary(0))

    def _logical(self, mark: str, function: str, parse_term: Callable[[], Node]) -> Node:
        terms, places = [parse_term()], []
        while self._next().kind == mark:
            places.append(self._take().offset)
            terms.append(parse_term())
        return _balanced(function, terms, places, 0, len(places) - 1) if places else terms[0]

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        node, length = self._binary(level + 1), 0
        while function := _LEVELS[level].get(self._next().kind):
            length += 1
            if length > _DEEPEST:
                raise _TooDeep(_TOO_LONG)
            mark = self._take()
            node = self._call(mark.offset, function, None, [node, self._binary(level + 1)])
        return node

    def _unary(self) -> Node:
        try:
            self._begin()
            token = self._next()
            if token.kind == "!":
                return self._negated(token)
            if token.kind == "-" and self._next(1).kind not in (INT, FLOAT):
                return self._minus(token)
        except Failed:
            return self._skip()
        return self._member()

    def _negated(self, mark: Token) -> Node:
        count = 0
        while self._taken("!"):
            count += 1
        token = self._next()
        if token.kind not in say.MEMBER_STARTS:
            self._fail(token, say.extraneous(token, say.STARTS))
        node = self._member()
        return self._call(mark.offset, "!_", None, [node]) if count % 2 else node

    def _minus(self, mark: Token) -> Node:
        count = 1
        while self._next(count).kind == "-":
            count += 1
        after = self._next(count)
        if after.kind not in say.MEMBER_STARTS:
            self._not_viable(mark, after)
        for _ in range(count):
            self._take()
        node = self._member()
        return self._call(mark.offset, "-_", None, [node]) if count % 2 else node

    # Members

    def _member(self) -> Node:
        try:
            node, length = self._primary(), 0
            while self._next().kind in (".", "["):
                length += 1
                if length > _DEEPEST:
                    raise _TooDeep(_TOO_LONG)
                node = self._index(node) if self._next().kind == "[" else self._field(node)
        except Failed:
            node = self._skip()
        return node

    def _index(self, node: Node) -> Node:
        mark = self._take()
        self._begin(say.STARTS | {"?"})
        optional = self._taken("?") is not None
        index = self._inside({"]"}, self._expression)
        self._expect("]")
        return self._call(mark.offset, "_[?_]" if optional else "_[_]", None, [node, index])

    def _field(self, node: Node) -> Node:
        optional = self._next(1).kind == "?"
        token = self._next(1 + optional)
        if token.kind not in (NAME, QUOTED_NAME):
            self._not_viable(self._next(), token)
        mark = self._take()
        for _ in range(1 + optional):
            self._take()
        if token.kind == QUOTED_NAME:
            self.issues.append(Issue(token.offset, "unsupported syntax: '`'"))
        if optional:
            return Call(mark.offset, "_?._", None, [node, Literal(token.offset, token.text)])
        if token.kind == NAME and (paren := self._taken("(")):
            return self._call(paren.offset, token.text, node, self._arguments())
        return Select(mark.offset, node, token.text)

    def _arguments(self) -> list[Node]:
        self._begin(say.STARTS | {")"})
        args: list[Node] = []
        if self._taken(")"):
            return args
        while True:
            args.append(self._inside({")", ","}, self._expression))
            if not self._taken(","):
                break
        self._expect(")")
        return args

    def _primary(self) -> Node:
        try:
            return self._primary_part()
        except Failed:
            return self._skip(".", "[")

    def _primary_part(self) -> Node:
        if self._next().kind == "-" and self._next(1).kind not in (INT, FLOAT):
            self._not_viable(self._next(), self._next(1))
        token = self._take()
        if token.kind == "-":
            return self._literal(self._take(), token)
        if token.kind in _LITERALS:
            return self._literal(token, None)
        if token.kind in _WORDS:
            return Literal(token.offset, _WORDS[token.kind])
        if token.kind == "(":
            node = self._inside({")"}, self._expression)
            self._expect(")")
            return node
        if token.kind == "[":
            return self._list(token)
        if token.kind == "{":
            return self._map(token)
        return self._named(token)

    def _literal(self, token: Token, sign: Token | None) -> Node:
        offset = (sign or token).offset
        try:
            value = _LITERALS[token.kind](("-" if sign else "") + token.text)
        except BadLiteral as exc:
            self.issues.append(Issue(offset, str(exc)))
            value = None
        return Literal(offset, value)

    def _named(self, token: Token) -> Node:
        first = token
        if token.kind == ".":
            token = self._next()
            if token.kind != NAME:
                self._not_viable(first, token)
            self._take()
        name = "." * (first is not token) + token.text
        length = 0
        while self._next(length).kind == "." and self._next(length + 1).kind == NAME:
            length += 2
        if self._next(length).kind == "{":
            name += "".join(self._take().text for _ in range(length))
            return self._struct(name)
        if token.text in _RESERVED:
            self.issues.append(Issue(first.offset, f"reserved identifier: {token.text}"))
        if paren := self._taken("("):
            return self._call(paren.offset, name, None, self._arguments())
        return Name(token.offset, name)

    # Aggregates

    def _close(self, kind: str, *, empty: bool) -> None:
        """After items, or where there were none; one comma may come before."""
        if empty:
            self._taken(",")
            self._expect(kind)
        elif self._expect(kind, ",").kind == ",":
            self._expect(kind)

    def _another(self, kind: str) -> bool:
        """Whether a comma is followed by one more item."""
        if self._next().kind != "," or self._next(1).kind in (kind, ","):
            return False
        self._take()
        return True

    def _list(self, mark: Token) -> Node:
        items: list[Node] = []
        optional: set[int] = set()
        self._begin(say.STARTS | {"]", "?", ","})
        if self._next().kind in ("]", ","):
            self._close("]", empty=True)
            return ListNode(mark.offset, items)
        while True:
            if self._taken("?"):
                optional.add(len(items))
            items.append(self._inside({"]", ","}, self._expression))
            if not self._another("]"):
                break
        self._close("]", empty=False)
        return ListNode(mark.offset, items, frozenset(optional))

    def _map(self, mark: Token) -> Node:
        entries: list[Entry] = []
        self._begin(say.STARTS | {"}", "?", ","})
        if self._next().kind in ("}", ","):
            self._close("}", empty=True)
            return MapNode(mark.offset, entries)
        while True:
            optional = self._taken("?") is not None
            key = self._inside({":"}, self._expression)
            colon = self._expect(":")
            value = self._inside({"}", ","}, self._expression)
            entries.append(Entry(colon.offset, key, value, optional))
            if not self._another("}"):
                break
        self._close("}", empty=False)
        return MapNode(mark.offset, entries)

    def _struct(self, name: str) -> Node:
        mark = self._take()
        fields: list[FieldEntry] = []
        self._begin(frozenset({"}", "?", ",", NAME, QUOTED_NAME}))
        if self._next().kind in ("}", ","):
            self._close("}", empty=True)
            return StructNode(mark.offset, name, fields)
        while True:
            optional = self._taken("?") is not None
            token = self._expect(NAME, QUOTED_NAME)
            if token.kind == QUOTED_NAME:
                self.issues.append(Issue(token.offset, "unsupported syntax: '`'"))
            colon = self._expect(":")
            value = self._inside({"}", ","}, self._expression)
            fields.append(FieldEntry(colon.offset, token.text, value, optional))
            if not self._another("}"):
                break
        self._close("}", empty=False)
        return StructNode(mark.offset, name, fields)

    def _call(self, offset: int, function: str, target: Node | None, args: list[Node]) -> Node:
        expand = self._macros.get((function, len(args), target is not None))
        if expand is not None:
            if function in COPYING and target is not None:
                self._copied += len(walk(target))
                if self._copied > _MOST_COPIED:
                    raise _TooDeep(_TOO_LARGE)
            try:
                expanded = expand(offset, target, args)
            except MacroError as exc:
                self.issues.append(Issue(exc.offset, str(exc)))
                return Literal(exc.offset, None)
            return expanded
        return Call(offset, function, target, args)


def _balanced(function: str, terms: list[Node], places: list[int], low: int, high: int) -> Node:
    """A tree of least depth, for long chains of && and ||."""
    middle = (low + high + 1) // 2
    left = terms[middle] if middle == low else _balanced(function, terms, places, low, middle - 1)
    right = terms[middle + 1] if middle == high else _balanced(function, terms, places, middle + 1, high)
    return Call(places[middle], function, None, [left, right])
