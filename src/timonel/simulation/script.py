"""What a container's command says about how long it would run and how it would end. Pure.

No program is run: of `sleep 5`, `sh -c 'sleep 2; exit 3'`, `true`, `false` and the like it can be told without.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

_SHELLS = {"sh", "bash", "ash", "dash"}
_NO_TIME = {"true", ":", "echo", "printf", "set", "trap"}
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


@dataclass(frozen=True, slots=True)
class Run:
    """How a container runs: for so many seconds (infinite: for ever), and then it exits with this code."""

    seconds: float = math.inf
    exit_code: int = 0


def parse_command(words: Sequence[str]) -> Run | None:
    """None when nothing can be told from the command: `nginx -g "daemon off;"`."""
    if not words:
        return None
    program = words[0].rpartition("/")[2]
    if program in _SHELLS and len(words) >= 3 and words[1].startswith("-") and words[1].endswith("c"):
        return _parse_script(words[2])
    return _parse_statements([("", list(words))])


def _parse_script(text: str) -> Run | None:
    statements: list[tuple[str, list[str]]] = []
    separator = ""
    for part in re.split(r"(;|&&|\n)", text):
        if part in (";", "&&", "\n"):
            separator = part
            continue
        try:
            words = shlex.split(part, comments=True)
        except ValueError:
            return None
        if words:
            statements.append((separator, words))
    return _parse_statements(statements) if statements else None


def _parse_statements(statements: list[tuple[str, list[str]]]) -> Run | None:
    seconds, code = 0.0, 0
    for separator, (program, *arguments) in statements:
        if separator == "&&" and code:
            continue
        program = program.rpartition("/")[2]
        if program == "exit" or (program == "exec" and not arguments):
            return Run(seconds, _exit_code(arguments, code))
        if program == "exec":
            program, *arguments = arguments
        if program == "sleep":
            slept = _sleep(arguments)
            if slept is None:
                return None
            seconds, code = seconds + slept, 0
        elif program in _NO_TIME:
            code = 0
        elif program == "false":
            code = 1
        else:
            return None
    return Run(seconds, 0 if math.isinf(seconds) else code)


def _exit_code(arguments: list[str], last: int) -> int:
    text = arguments[0] if arguments else str(last)
    return int(text) & 255 if text.isdigit() else 2


def _sleep(arguments: list[str]) -> float | None:
    """As sleep(1) adds them up; None when they are not durations."""
    total = 0.0
    for text in arguments:
        if text in ("inf", "infinity"):
            return math.inf
        match = _DURATION.fullmatch(text)
        if match is None:
            return None
        total += float(match[1]) * _UNITS[match[2]]
    return total if arguments else None
