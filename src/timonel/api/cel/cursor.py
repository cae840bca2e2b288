"""Where a parser is in its tokens, and what it says and skips where they do not fit.

Recovery is that of the parser generator upstream uses: one token too many is dropped, one missing is made up, and a
rule that fails is left at the next token that can follow it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from timonel.api.cel import syntax_errors as say
from timonel.api.cel.issues import Issue
from timonel.api.cel.lexer import END, Token
from timonel.api.cel.nodes import Literal, Node

_T = TypeVar("_T")
THEN = "?:"
"""Among what may follow: the expression stands between ? and :."""


class Failed(Exception):
    """A rule of the grammar did not fit; it is left, and parsing goes on where the text may fit again."""


class Cursor:
    def __init__(self, text: str, tokens: list[Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._at = 0
        self._after: list[frozenset[str]] = []  # what may follow the expressions around this place
        self._recovering = False  # after an issue, until a token fits again
        self.syntax: list[Issue] = []
        self.issues: list[Issue] = []

    # Tokens

    def _next(self, ahead: int = 0) -> Token:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._next()
        self._recovering = False
        self._drop()
        return token

    def _drop(self) -> None:
        if self._at < len(self._tokens) - 1:
            self._at += 1

    def _taken(self, kind: str) -> Token | None:
        return self._take() if self._next().kind == kind else None

    def _inside(self, follow: set[str], parse_part: Callable[[], _T]) -> _T:
        self._after.append(frozenset(follow))
        try:
            return parse_part()
        finally:
            self._after.pop()

    def _is_operand_of_choice(self) -> bool:
        """Between ? and :, where another ? needs parentheses."""
        return THEN in self._after[-1]

    # Issues

    def _say(self, token: Token, message: str) -> None:
        if not self._recovering:
            self.syntax.append(Issue(token.offset, message))
        self._recovering = True

    def _fail(self, token: Token, message: str) -> NoReturn:
        self._say(token, message)
        raise Failed

    def _skip(self, *more: str, operators: bool = True) -> Node:
        """To where the text may go on after a rule that failed; what stands for its node."""
        fits = frozenset(more).union(*self._after)
        if operators:
            fits |= say.OPERATORS
        start = self._next()
        while self._next().kind not in fits and self._next().kind != END:
            self._drop()
        return Literal(start.offset, None)

    def _expect(self, *kinds: str) -> Token:
        """One of the tokens that close a part; of several the first is returned in the end."""
        token = self._next()
        if token.kind in kinds:
            return self._take()
        if token.kind != END and self._next(1).kind in kinds:
            self._say(token, say.extraneous(token, kinds))
            self._drop()
            return self._take()
        if len(kinds) == 1 and kinds[0] != END and token.kind in self._goes_on_after(kinds[0]):
            self._say(token, say.missing(kinds[0], token))
            return token
        return self._fail(token, say.mismatched(token, kinds))

    def _goes_on_after(self, kind: str) -> frozenset[str]:
        if kind == ":":
            return say.STARTS
        question = frozenset() if self._is_operand_of_choice() else frozenset("?")
        return say.OPERATORS - {"?"} | {".", "["} | question | self._after[-1]

    def _begin(self, starts: frozenset[str] = say.STARTS) -> None:
        """One of the tokens has to come next."""
        token = self._next()
        if token.kind in starts:
            return
        if token.kind != END and self._next(1).kind in starts:
            self._say(token, say.extraneous(token, starts))
            self._drop()
            return
        self._fail(token, say.mismatched(token, starts))

    def _not_viable(self, first: Token, token: Token) -> NoReturn:
        """No way on from the first token, which is still the next one."""
        end = len(self._text) if token.kind == END else token.offset + len(token.text)
        self._fail(token, say.not_viable(self._text[first.offset : end].rstrip(), token))
