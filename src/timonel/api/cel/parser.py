"""Tokens to a tree, macros expanded.

Source: github.com/google/cel-spec/blob/master/doc/langdef.md#syntax, with optional parts
(a.?b, a[?0], [?a], {?'k': a}).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from timonel.api.cel import syntax_errors as say
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
from timonel.api.cel.macros import MacroError, Macros
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
)

_T = TypeVar("_T")
_LONGEST = 100_000  # code points
_DEEPEST = 250
_TOO_DEEP = f"expression recursion limit exceeded: {_DEEPEST}"
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


class _GaveUp(Exception):
    """After a syntax error that cannot be passed over."""


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
    except _GaveUp:
        pass
    except (_TooDeep, RecursionError):
        parser.syntax.append(Issue(NOWHERE, _TOO_DEEP))
    # Of a text with syntax errors nothing else is worth saying.
    issues += parser.syntax or (parser.issues if not issues else [])
    if issues or node is None:
        raise CompileError(text, issues)
    return node


class _Parser:
    def __init__(self, text: str, tokens: list[Token], macros: Macros) -> None:
        self._text = text
        self._tokens = tokens
        self._at = 0
        self._macros = macros
        self._depth = 0
        self._after: list[frozenset[str]] = []  # what may follow the expressions around this place
        self.syntax: list[Issue] = []
        self.issues: list[Issue] = []

    def whole(self) -> Node:
        node = self._inside({END}, self._expression)
        self._expect(END)
        return node

    # Tokens

    def _next(self, ahead: int = 0) -> Token:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != END:
            self._at += 1
        return token

    def _taken(self, kind: str) -> Token | None:
        return self._take() if self._next().kind == kind else None

    def _inside(self, follow: set[str], parse_part: Callable[[], _T]) -> _T:
        self._after.append(frozenset(follow))
        result = parse_part()
        self._after.pop()
        return result

    def _may_follow(self) -> frozenset[str]:
        """A whole operand here."""
        question = frozenset("?") if ":?" not in self._after[-1] else frozenset()
        return say.AFTER_OPERAND | question | (self._after[-1] - {":?"})

    def _expect(self, kind: str) -> Token:
        """The token that closes a part, or what is said instead."""
        token = self._next()
        if token.kind == kind:
            return self._take()
        if token.kind != END and self._next(1).kind == kind:
            self.syntax.append(Issue(token.offset, say.extraneous(token, {kind})))
            self._take()
            return self._take()
        if kind != END and self._after and token.kind in self._may_follow():
            self.syntax.append(Issue(token.offset, say.missing(kind, token)))
            return token
        expected = (say.AFTER_OPERAND | {kind} | ({"?"} if kind != ":?" else set())) | self._more(kind)
        self._give_up(token, say.mismatched(token, expected))

    @staticmethod
    def _more(kind: str) -> set[str]:
        return {","} if kind in (")", "]", "}") else set()

    def _give_up(self, token: Token, message: str) -> NoReturn:
        self.syntax.append(Issue(token.offset, message))
        raise _GaveUp

    def _begin(self, starts: frozenset[str] = say.STARTS) -> None:
        """An operand has to begin here."""
        token = self._next()
        if token.kind in starts:
            return
        if token.kind != END and self._next(1).kind in starts:
            self.syntax.append(Issue(token.offset, say.extraneous(token, starts)))
            self._take()
            return
        self._give_up(token, say.mismatched(token, starts))

    def _not_viable(self, first: Token, token: Token) -> NoReturn:
        end = len(self._text) if token.kind == END else token.offset + len(token.text)
        self._give_up(token, say.not_viable(self._text[first.offset : end].rstrip(), token))

    # Operators

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _TooDeep
        node = self._logical("||", "_||_", lambda: self._logical("&&", "_&&_", self._relation))
        if self._next().kind == "?" and ":?" not in self._after[-1]:
            mark = self._take()
            then = self._inside({":", ":?"}, lambda: self._logical("||", "_||_", self._conjunction))
            self._expect(":")
            otherwise = self._expression()
            node = self._call(mark.offset, "_?_:_", None, [node, then, otherwise])
        self._depth -= 1
        return node

    def _conjunction(self) -> Node:
        return self._logical("&&", "_&&_", self._relation)

    def _logical(self, mark: str, function: str, parse_term: Callable[[], Node]) -> Node:
        terms, places = [parse_term()], []
        while self._next().kind == mark:
            places.append(self._take().offset)
            terms.append(parse_term())
        return _balanced(function, terms, places, 0, len(places) - 1) if places else terms[0]

    def _relation(self) -> Node:
        return self._binary(0)

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        node, length = self._binary(level + 1), 0
        while function := _LEVELS[level].get(self._next().kind):
            length += 1
            if length > _DEEPEST:
                raise _TooDeep
            mark = self._take()
            node = self._call(mark.offset, function, None, [node, self._binary(level + 1)])
        return node

    def _unary(self) -> Node:
        self._begin()
        token = self._next()
        if token.kind == "!" or (token.kind == "-" and self._next(1).kind not in (INT, FLOAT)):
            count = 0
            while self._next().kind == token.kind and not (token.kind == "-" and count and self._is_negative()):
                self._take()
                count += 1
            if token.kind == "-" and self._next().kind not in say.MEMBER_STARTS:
                self._not_viable(token, self._next())
            self._begin(say.MEMBER_STARTS | {"!"} if token.kind == "!" else say.MEMBER_STARTS)
            node = self._member()
            function = "!_" if token.kind == "!" else "-_"
            return self._call(token.offset, function, None, [node]) if count % 2 else node
        return self._member()

    def _is_negative(self) -> bool:
        return False

    # Members

    def _member(self) -> Node:
        node, length = self._primary(), 0
        while self._next().kind in (".", "["):
            length += 1
            if length > _DEEPEST:
                raise _TooDeep
            mark = self._take()
            optional = self._taken("?") is not None
            if mark.kind == "[":
                index = self._inside({"]"}, self._expression)
                self._expect("]")
                node = self._call(mark.offset, "_[?_]" if optional else "_[_]", None, [node, index])
                continue
            token = self._take()
            if token.kind not in (NAME, QUOTED_NAME):
                self._not_viable(mark, token)
            if token.kind == QUOTED_NAME:
                self.issues.append(Issue(token.offset, "unsupported syntax: '`'"))
            if optional:
                node = Call(mark.offset, "_?._", None, [node, Literal(token.offset, token.text)])
            elif token.kind == NAME and (paren := self._taken("(")):
                node = self._call(paren.offset, token.text, node, self._arguments())
            else:
                node = Select(mark.offset, node, token.text)
        return node

    def _arguments(self) -> list[Node]:
        args: list[Node] = []
        if self._taken(")"):
            return args
        self._begin_or_close(")")
        while True:
            args.append(self._inside({")", ","}, self._expression))
            if not self._taken(","):
                break
        self._expect(")")
        return args

    def _begin_or_close(self, closing: str, *more: str) -> None:
        token, starts = self._next(), say.STARTS | {closing, *more}
        if token.kind not in starts:
            if token.kind != END and self._next(1).kind in starts:
                self.syntax.append(Issue(token.offset, say.extraneous(token, starts)))
                self._take()
                return
            self._give_up(token, say.mismatched(token, starts))

    def _primary(self) -> Node:
        token = self._take()
        if token.kind == "-":
            number = self._take()
            if number.kind not in (INT, FLOAT):
                self._not_viable(token, number)
            return self._literal(number, token)
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
            token = self._take()
            if token.kind != NAME:
                self._not_viable(first, token)
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

    def _list(self, mark: Token) -> Node:
        items: list[Node] = []
        optional: set[int] = set()
        if self._next().kind != "]":
            self._begin_or_close("]", "?", ",")
        while self._next().kind not in ("]", ","):
            if self._taken("?"):
                optional.add(len(items))
            items.append(self._inside({"]", ","}, self._expression))
            if not self._taken(","):
                break
        if not items:
            self._taken(",")
        self._expect("]")
        return ListNode(mark.offset, items, frozenset(optional))

    def _map(self, mark: Token) -> Node:
        entries: list[Entry] = []
        if self._next().kind != "}":
            self._begin_or_close("}", "?", ",")
        while self._next().kind not in ("}", ","):
            optional = self._taken("?") is not None
            key = self._inside({":"}, self._expression)
            colon = self._expect(":")
            value = self._inside({"}", ","}, self._expression)
            entries.append(Entry(colon.offset, key, value, optional))
            if not self._taken(","):
                break
        if not entries:
            self._taken(",")
        self._expect("}")
        return MapNode(mark.offset, entries)

    def _struct(self, name: str) -> Node:
        mark = self._take()
        fields: list[FieldEntry] = []
        while self._next().kind not in ("}", ","):
            optional = self._taken("?") is not None
            token = self._next()
            if token.kind not in (NAME, QUOTED_NAME):
                expected = {NAME, QUOTED_NAME} if fields or optional else {"}", ",", "?", NAME, QUOTED_NAME}
                self._give_up(token, say.mismatched(token, expected))
            self._take()
            if token.kind == QUOTED_NAME:
                self.issues.append(Issue(token.offset, "unsupported syntax: '`'"))
            colon = self._expect(":")
            value = self._inside({"}", ","}, self._expression)
            fields.append(FieldEntry(colon.offset, token.text, value, optional))
            if not self._taken(","):
                break
        if not fields:
            self._taken(",")
        self._expect("}")
        return StructNode(mark.offset, name, fields)

    def _call(self, offset: int, function: str, target: Node | None, args: list[Node]) -> Node:
        expand = self._macros.get((function, len(args), target is not None))
        if expand is not None:
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
