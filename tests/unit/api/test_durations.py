"""Durations as Go's time.ParseDuration documents them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from timonel.api.durations import InvalidDuration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", "0"), ("+0", "0"), ("1h30m", "5400"), ("300ms", "0.3"), ("-1.5h", "-5400"), ("2h45m", "9900"),
        (".5s", "0.5"), ("1.s", "1"), ("1us", "0.000001"), ("1µs", "0.000001"), ("1ns", "0.000000001"), ("1m1m", "120"),
    ],
)  # fmt: skip
def test_sound(text: str, seconds: str) -> None:
    assert parse_duration(text) == Decimal(seconds)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("s", 'time: invalid duration "s"'),
        (".s", 'time: invalid duration ".s"'),
        ("3", 'time: missing unit in duration "3"'),
        ("1h3", 'time: missing unit in duration "1h3"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("9999999999999999h", 'time: invalid duration "9999999999999999h"'),
    ],
)
def test_malformed(text: str, why: str) -> None:
    with pytest.raises(InvalidDuration) as caught:
        parse_duration(text)
    assert str(caught.value) == why


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.25, "250ms"), (1, "1s"), (15.02, "15.02s"), (15.0204, "15.02s"), (59.9999, "1m0s"), (90, "1m30s"),
        (3600, "1h0m0s"), (5400.5, "1h30m0.5s"), (-1.5, "-1.5s"),
    ],
)  # fmt: skip
def test_spelling(seconds: float, text: str) -> None:
    """As Duration.String() documents it, to the millisecond."""
    assert format_duration(seconds) == text
    assert float(parse_duration(text)) == pytest.approx(seconds, abs=0.0005)
