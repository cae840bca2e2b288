"""Whether a pattern is a regular expression of the RE2 language, which upstream uses: no look-around, no references.

Source: github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
import warnings

_perl_only = re.compile(r"(?<!\\)(?:\\\\)*(?P<what>\(\?(?:[=!>]|<[=!])|\\[1-9])").search
# Constructs that Python spells otherwise or lacks: replaced by something of the same shape, to check the rest.
_REPLACED = (
    (re.compile(r"\[:\^?[a-z]+:\]"), "a"),
    (re.compile(r"\\[pP](?:\{\^?\w+\}|\w)"), r"\\w"),
    (re.compile(r"\\z"), r"\\Z"),
    (re.compile(r"\(\?[imsU-]+\)"), ""),
    (re.compile(r"\(\?[imsU-]+:"), "(?:"),
    (re.compile(r"\(\?<(?=\w)"), "(?P<"),
    (re.compile(r"\\x\{[0-9a-fA-F]+\}"), "a"),
    (re.compile(r"\\Q.*?(?:\\E|$)", re.DOTALL), ""),
)


def pattern_problem(pattern: str) -> str:
    """What is wrong with it; "" when nothing is."""
    if found := _perl_only(pattern):
        return f"error parsing regexp: invalid or unsupported Perl syntax: `{found['what']}`"
    text = pattern
    for construct, like in _REPLACED:
        text = construct.sub(like, text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as "possible nested set", which is none here
            re.compile(text)
    except (re.error, OverflowError) as exc:
        return f"error parsing regexp: {exc}"
    return ""
