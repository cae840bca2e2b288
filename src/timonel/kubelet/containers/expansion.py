"""`$(NAME)` references in commands, arguments, environment values and subPathExpr.

Source: kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables
"""

from __future__ import annotations

import re
from collections.abc import Callable

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """`$(A)` becomes A's value; an unknown name stays as it is written; `$$` is a literal dollar sign."""
    if "$" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return "$"
        value = lookup(match.group(1))
        return match.group(0) if value is None else value

    return _REFERENCE.sub(replace, text)
