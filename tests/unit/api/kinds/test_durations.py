"""Ages as kubectl prints them: k8s.io/apimachinery duration.HumanDuration."""

from __future__ import annotations

import pytest

from timonel.api.kinds.columns import human_duration, since

from .samples import NOW, ago

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"), (-1, "0s"), (-0.5, "0s"), (0, "0s"), (0.9, "0s"), (1, "1s"), (119, "119s"),
        (120, "2m"), (121, "2m1s"), (9 * MINUTE + 59, "9m59s"), (10 * MINUTE, "10m"), (10 * MINUTE + 1, "10m"),
        (179 * MINUTE + 59, "179m"), (3 * HOUR, "3h"), (3 * HOUR + 20 * MINUTE, "3h20m"),
        (7 * HOUR + 59 * MINUTE, "7h59m"), (8 * HOUR, "8h"), (8 * HOUR + 30 * MINUTE, "8h"), (47 * HOUR, "47h"),
        (2 * DAY, "2d"), (2 * DAY + HOUR, "2d1h"), (7 * DAY + 23 * HOUR, "7d23h"), (8 * DAY, "8d"),
        (8 * DAY + 5 * HOUR, "8d"), (729 * DAY, "729d"), (2 * YEAR, "2y"), (2 * YEAR + DAY, "2y1d"),
        (7 * YEAR + 364 * DAY, "7y364d"), (8 * YEAR, "8y"), (8 * YEAR + 100 * DAY, "8y"),
    ],
)  # fmt: skip
def test_two_units_at_most(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_since_needs_a_time() -> None:
    assert since(None, NOW) == "<unknown>"
    assert since(ago(minutes=5), NOW) == "5m"
    assert since("2026-03-01T11:59:00.500000Z", NOW) == "59s"
