"""What can go wrong with an expression: at compilation, with places in its text, and at evaluation.

    CelError
    ├── CompileError      the text is not an expression of the expected type; `str()` shows every place
    └── EvaluationError   an operand, a key, a number was not as it has to be; && and || may absorb it
        └── CostExceeded  the budget is used up; nothing absorbs it

The texts are part of the API: clients see them in 422 answers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

_MOST_SHOWN = 100
_LONGEST_SHOWN = 16384  # characters of a line
NOWHERE = -1
"""Offset of an issue with the expression as a whole."""


class CelError(Exception):
    """Base of what this package raises."""


@dataclass(frozen=True, slots=True)
class Issue:
    offset: int  # in code points, from the beginning of the text; NOWHERE
    message: str


class CompileError(CelError):
    def __init__(self, text: str, issues: Iterable[Issue]) -> None:
        self.issues = tuple(issues)
        super().__init__(render_issues(text, self.issues))


class EvaluationError(CelError):
    """The message is upstream's where a user meets it often ("no such key: a"), else in its spirit."""

    cost = 0  # units that were used up, set where the evaluation ends


class CostExceeded(EvaluationError):
    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


def render_issues(text: str, issues: Sequence[Issue]) -> str:
    """Each with its line and a mark below it, in the order of the places."""
    lines = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines[:-1])]
    placed = sorted(
        ((*_place(text, starts, issue.offset), issue.message) for issue in issues[:_MOST_SHOWN]), key=lambda p: p[:2]
    )
    shown = [_render(lines, line, column, message) for line, column, message in placed]
    if len(issues) > _MOST_SHOWN:
        shown.append(f"{len(issues) - _MOST_SHOWN} more errors were truncated")
    return "\n".join(shown)


def _place(text: str, starts: list[int], offset: int) -> tuple[int, int]:
    """Line from 1 and column from 0; `starts`: offsets at which lines begin."""
    if offset == NOWHERE:
        return -1, -1
    if not text:
        return 1, -1  # upstream has no place in a text without characters
    line = bisect_right(starts, offset)
    return line, offset - starts[line - 1]


def _render(lines: list[str], line: int, column: int, message: str) -> str:
    head = f"ERROR: <input>:{line}:{column + 1}: {message}"
    if line < 1 or column < 0 or len(lines[line - 1]) > _LONGEST_SHOWN:
        return head
    snippet = lines[line - 1].replace("\t", " ")
    dots = "".join("." if char.isascii() else "．" for char in snippet[:column])
    at = snippet[column : column + 1]
    return f"{head}\n | {snippet}\n | {dots}{'^' if at.isascii() else '＾'}"
