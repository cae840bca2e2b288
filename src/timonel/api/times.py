"""Times on the wire: RFC 3339 in, one spelling out, and the reasons upstream gives when it cannot read one.

Source: kubernetes.io/docs/reference/using-api/api-concepts, RFC 3339; error texts as Go's time package words them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

from timonel.api.clock import format_micro_time, format_time
from timonel.api.field_errors import quote

_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_ZONE = r"(?:Z|[+-](?:[01]\d|2[0-4]):[0-5]\d)"
_plain = re.compile(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?{_ZONE}", re.ASCII).fullmatch
_micro = re.compile(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}{_ZONE}", re.ASCII).fullmatch
_PIECES = (
    ("2006", re.compile(r"\d{4}", re.ASCII)), ("-", re.compile("-")), ("01", re.compile(r"\d\d", re.ASCII)),
    ("-", re.compile("-")), ("02", re.compile(r"\d\d", re.ASCII)), ("T", re.compile("T")),
    ("15", re.compile(r"\d\d", re.ASCII)), (":", re.compile(":")), ("04", re.compile(r"\d\d", re.ASCII)),
    (":", re.compile(":")), ("05", re.compile(r"\d\d", re.ASCII)),
)  # fmt: skip
_RANGES = ((5, 1, 12, "month"), (8, 1, 31, "day"), (11, 0, 23, "hour"), (14, 0, 59, "minute"), (17, 0, 59, "second"))


class TimeError(ValueError):
    """The message is upstream's."""


def settle_time(text: str) -> str:
    """metav1.Time: UTC, whole seconds, the fraction dropped. Raises TimeError."""
    if len(text) == 20:
        return _settle_second(text)
    if not _plain(text):
        raise TimeError(_explain(text, _LAYOUT))
    return format_time(_read(text))


@lru_cache(maxsize=1024)
def _settle_second(text: str) -> str:
    """Times of 20 characters. Remembered, for those of a status are much the same; they become one in memory, too."""
    if not _plain(text):
        raise TimeError(_explain(text, _LAYOUT))
    if not text.endswith("Z"):
        return format_time(_read(text))
    _check(text)
    return text


def settle_micro_time(text: str) -> str:
    """metav1.MicroTime: UTC with six decimals, which the text must have. Raises TimeError."""
    if not _micro(text):
        raise TimeError(_explain(text, _MICRO_LAYOUT))
    if len(text) == 27:
        _check(text)
        return text
    return format_micro_time(_read(text))


def _check(text: str) -> None:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise TimeError(_out_of_range(text)) from None


def _read(text: str) -> datetime:
    body, zone = (text[:-1], "+00:00") if text.endswith("Z") else (text[:-6], text[-6:])
    try:
        return datetime.fromisoformat(f"{body[:19]}{body[19:26]}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise TimeError(_out_of_range(text)) from None


def _out_of_range(text: str) -> str:
    for start, low, high, unit in _RANGES:
        if not low <= int(text[start : start + 2]) <= high:
            return f"parsing time {quote(text)}: {unit} out of range"
    return f"parsing time {quote(text)}: day out of range"


def _explain(text: str, layout: str) -> str:
    position = 0
    for piece, pattern in _PIECES:
        match = pattern.match(text, position)
        if match is None:
            return _cannot(text, layout, text[position:], piece)
        position = match.end()
    if layout is _MICRO_LAYOUT:
        fraction = re.compile(r"\.\d{6}(?!\d)", re.ASCII).match(text, position)
        if fraction is None:
            return _cannot(text, layout, text[position:], ".000000")
        position = fraction.end()
    elif fraction := re.compile(r"[.,]\d+", re.ASCII).match(text, position):
        position = fraction.end()
    zone = re.compile(_ZONE, re.ASCII).match(text, position)
    if zone is None:
        return _cannot(text, layout, text[position:], "Z07:00")
    return f"parsing time {quote(text)}: extra text: {quote(text[zone.end() :])}"


def _cannot(text: str, layout: str, rest: str, piece: str) -> str:
    return f"parsing time {quote(text)} as {quote(layout)}: cannot parse {quote(rest)} as {quote(piece)}"
