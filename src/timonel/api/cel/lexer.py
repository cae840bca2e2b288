"""Text to tokens.

Source: github.com/google/cel-spec/blob/master/doc/langdef.md#syntax; what is shown of characters that begin no token
follows the parser generator upstream uses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from timonel.api.cel.issues import Issue

END = "<EOF>"
NAME = "IDENTIFIER"
QUOTED_NAME = "ESC_IDENTIFIER"
FLOAT, INT, UINT = "NUM_FLOAT", "NUM_INT", "NUM_UINT"
STRING, BYTES = "STRING", "BYTES"

_ESCAPE = r"""\\(?:[abfnrtv"'\\?`]|[0-3][0-7]{2}|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"""
_STRING = (
    rf'(?:[rR]"""(?s:.)*?"""|[rR]\'\'\'(?s:.)*?\'\'\'|"""(?:{_ESCAPE}|[^\\])*?"""|\'\'\'(?:{_ESCAPE}|[^\\])*?\'\'\''
    rf'|[rR]"[^"\n\r]*"|[rR]\'[^\'\n\r]*\'|"(?:{_ESCAPE}|[^\\"\n\r])*"|\'(?:{_ESCAPE}|[^\\\'\n\r])*\')'
)
_TOKEN = re.compile(
    rf"(?P<space>[\t \r\n\f]+|//[^\n]*)|(?P<{BYTES}>[bB]{_STRING})|(?P<{STRING}>{_STRING})"
    rf"|(?P<{FLOAT}>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)"
    rf"|(?P<{UINT}>0x[0-9a-fA-F]+[uU]|\d+[uU])|(?P<{INT}>0x[0-9a-fA-F]+|\d+)"
    rf"|(?P<{NAME}>[A-Za-z_][A-Za-z0-9_]*)|(?P<{QUOTED_NAME}>`[A-Za-z0-9_./ -]+`)"
    r"|(?P<mark>==|!=|<=|>=|&&|\|\||[<>\[\]{}().,!?:+*/%-])",
    re.ASCII,
)
_WORDS = frozenset({"true", "false", "null", "in"})
_HALF_ESCAPE = r"(?:\\(?:[xX][0-9a-fA-F]?|u[0-9a-fA-F]{0,3}|U[0-9a-fA-F]{0,7}|[0-3][0-7]?)?)?"
_UNFINISHED = re.compile(
    rf'[bB]?(?:[rR]"[^"\n\r]*|[rR]\'[^\'\n\r]*|"(?:{_ESCAPE}|[^\\"\n\r])*{_HALF_ESCAPE}'
    rf"|'(?:{_ESCAPE}|[^\\'\n\r])*{_HALF_ESCAPE})|`[A-Za-z0-9_./ -]*|[&|=]"
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # the mark itself, a word, or one of the names above
    text: str
    offset: int  # in code points


def tokenize(text: str) -> tuple[list[Token], list[Issue]]:
    """Ends with a token of kind END. What begins no token is skipped, with an issue."""
    tokens: list[Token] = []
    issues: list[Issue] = []
    offset = 0
    match = _TOKEN.match
    while offset < len(text):
        found = match(text, offset)
        if found is None:
            begun = _UNFINISHED.match(text, offset)
            end = (begun.end() if begun else offset) + 1
            issues.append(Issue(offset, f"Syntax error: token recognition error at: '{text[offset:end]}'"))
            offset = end
            continue
        kind, part = found.lastgroup or "", found[0]
        if kind == "mark" or part in _WORDS:
            kind = part
        if kind != "space":
            tokens.append(Token(kind, part, offset))
        offset = found.end()
    tokens.append(Token(END, END, len(text)))
    return tokens, issues
