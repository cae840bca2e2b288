"""What the parser says of text that is no expression, as the parser generator does that upstream uses.

Tokens are listed in the order of the grammar.
"""

from __future__ import annotations

from collections.abc import Collection

from timonel.api.cel.lexer import BYTES, END, FLOAT, INT, NAME, QUOTED_NAME, STRING, UINT, Token

_ORDER = (
    END, "==", "!=", "in", "<", "<=", ">=", ">", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":",
    "+", "*", "/", "%", "true", "false", "null", FLOAT, INT, UINT, STRING, BYTES, NAME, QUOTED_NAME,
)  # fmt: skip
_PLAIN = frozenset({END, FLOAT, INT, UINT, STRING, BYTES, NAME, QUOTED_NAME})

MEMBER_STARTS = frozenset({"[", "{", "(", ".", "-", "true", "false", "null", FLOAT, INT, UINT, STRING, BYTES, NAME})
STARTS = MEMBER_STARTS | {"!"}
"""Tokens that begin an operand, without and with "!" before it."""

OPERATORS = frozenset({"==", "!=", "in", "<", "<=", ">=", ">", "&&", "||", "-", "+", "*", "/", "%", "?"})
"""Tokens that lead on from an operand."""


def expectation(kinds: Collection[str]) -> str:
    shown = [kind if kind in _PLAIN else f"'{kind}'" for kind in _ORDER if kind in kinds]
    return shown[0] if len(shown) == 1 else f"{{{', '.join(shown)}}}"


def extraneous(token: Token, kinds: Collection[str]) -> str:
    return f"Syntax error: extraneous input '{token.text}' expecting {expectation(kinds)}"


def mismatched(token: Token, kinds: Collection[str]) -> str:
    return f"Syntax error: mismatched input '{token.text}' expecting {expectation(kinds)}"


def missing(kind: str, token: Token) -> str:
    return f"Syntax error: missing {expectation([kind])} at '{token.text}'"


def not_viable(text: str, token: Token) -> str:
    """`text`: from the first token that did not fit to the end of `token`. Words of the language are no field names."""
    if text in (".true", ".false", ".null"):
        return f"Syntax error: mismatched input '{token.text}' expecting IDENTIFIER"
    return f"Syntax error: no viable alternative at input '{text}'"
