"""Regular expressions, of the RE2 language: the time they take grows with the text only.

The engine is google-re2, as no pattern that a user wrote may be able to stop the server; it is imported at the first
pattern.
Source: kubernetes.io/docs/reference/using-api/cel/#kubernetes-regex-library; github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.overloads import Overload, declare

_MOST_KEPT = 64
_LONGEST = 10_000
"""Characters: the engine's time to read a pattern can grow with their square."""
_CALLED = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "trailing \\": "trailing backslash at end of expression",
    "invalid named capture group": "invalid named capture",
}
"""What upstream's engine calls what this one finds."""


@lru_cache(maxsize=_MOST_KEPT)
def compile_pattern(pattern: str) -> Any:
    """Raises EvaluationError for what is no pattern."""
    if len(pattern) > _LONGEST:
        raise EvaluationError(f"error parsing regexp: expression is longer than {_LONGEST} characters")
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as exc:
        text = exc.args[0].decode(errors="replace") if exc.args and isinstance(exc.args[0], bytes) else str(exc)
        what, _, where = text.partition(": ")
        raise EvaluationError(f"error parsing regexp: {_CALLED.get(what, what)}: `{where}`") from exc


def _matches(text: str, pattern: str) -> bool:
    return compile_pattern(pattern).search(text) is not None


def _find(text: str, pattern: str) -> str:
    found = compile_pattern(pattern).search(text)
    return str(found[0]) if found else ""


def _find_all(text: str, pattern: str, most: int = -1) -> list[str]:
    found: list[str] = []
    end = -1
    for match in compile_pattern(pattern).finditer(text):
        if 0 <= most <= len(found):
            break
        if match.end() > match.start() or match.start() != end:  # nothing right after a match is none
            found.append(match[0])
        end = match.end()
    return found


REGEXES: tuple[Overload, ...] = (
    declare("matches", "matches", "(string, string) -> bool", _matches),
    declare("matches_string", "matches", "string.(string) -> bool", _matches),
    declare("string_find_string", "find", "string.(string) -> string", _find),
    declare("string_find_all_string", "findAll", "string.(string) -> list(string)", _find_all),
    declare("string_find_all_string_int", "findAll", "string.(string, int) -> list(string)", _find_all),
)
