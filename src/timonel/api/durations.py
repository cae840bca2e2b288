"""Lengths of time as people write them: "1h30m", "300ms", "-1.5h".

Source: pkg.go.dev/time "ParseDuration", whose syntax Kubernetes has wherever a duration is a text.
"""

from __future__ import annotations

import re
from decimal import Decimal

from timonel.api.field_errors import quote

_UNITS = {
    "ns": Decimal("1e-9"), "us": Decimal("1e-6"), "µs": Decimal("1e-6"), "μs": Decimal("1e-6"), "ms": Decimal("1e-3"),
    "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600),
}  # fmt: skip
_LONGEST = Decimal(2**63) / Decimal(10**9)  # seconds: 64 bits of nanoseconds
_part = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")


class InvalidDuration(ValueError):
    """The message is Go's."""


def parse_duration(text: str) -> Decimal:
    """Seconds, exactly: "1h30m" -> 5400, "1.5ms" -> 0.0015. Raises InvalidDuration."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return Decimal(0)
    if not rest or len(rest) > 1000:
        raise InvalidDuration(f"time: invalid duration {quote(text)}")
    total, position = Decimal(0), 0
    while position < len(rest):
        match = _part.match(rest, position)
        assert match is not None  # every group may be empty
        whole, fraction, unit = match.groups()
        if not whole and not fraction:
            raise InvalidDuration(f"time: invalid duration {quote(text)}")
        if not unit:
            raise InvalidDuration(f"time: missing unit in duration {quote(text)}")
        if unit not in _UNITS:
            raise InvalidDuration(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        total += Decimal(f"{whole or 0}.{fraction or 0}") * _UNITS[unit]
        position = match.end()
    if total >= _LONGEST:
        raise InvalidDuration(f"time: invalid duration {quote(text)}")
    return -total if text.startswith("-") else total


def format_duration(seconds: float) -> str:
    """As Go spells it, to the thousandth of a second: 15.02 -> "15.02s", 90 -> "1m30s", 0.25 -> "250ms".

    Source: pkg.go.dev/time "Duration.String"
    """
    millis = round(abs(seconds) * 1000)
    sign = "-" if seconds < 0 and millis else ""
    if 0 < millis < 1000:
        return f"{sign}{millis}ms"
    minutes, rest = divmod(millis, 60_000)
    shown = f"{rest // 1000}.{rest % 1000:03}".rstrip("0").rstrip(".")
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{shown}s"
    return f"{sign}{minutes}m{shown}s" if minutes else f"{sign}{shown}s"
