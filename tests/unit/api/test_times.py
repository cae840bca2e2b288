from datetime import UTC, datetime

import pytest

from timonel.api.clock import format_micro_time, format_time, parse_time
from timonel.api.times import TimeError, settle_micro_time, settle_time


def test_times_are_utc_and_whole_seconds() -> None:
    assert settle_time("2026-01-02T03:04:05Z") == "2026-01-02T03:04:05Z"
    assert settle_time("2026-01-02T03:04:05.999Z") == "2026-01-02T03:04:05Z"
    assert settle_time("2026-01-02T03:04:05.123456789+02:00") == "2026-01-02T01:04:05Z"


def test_micro_times_keep_six_decimals() -> None:
    assert settle_micro_time("2026-01-02T03:04:05.000006Z") == "2026-01-02T03:04:05.000006Z"
    assert settle_micro_time("2026-01-02T03:04:05.000006+01:00") == "2026-01-02T02:04:05.000006Z"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", 'parsing time "abc" as "2006-01-02T15:04:05Z07:00": cannot parse "abc" as "2006"'),
        ("2026-01-02", 'parsing time "2026-01-02" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T"'),
        ("2026-13-02T03:04:05Z", 'parsing time "2026-13-02T03:04:05Z": month out of range'),
        ("2026-02-30T03:04:05Z", 'parsing time "2026-02-30T03:04:05Z": day out of range'),
        ("2026-02-03T24:04:05Z", 'parsing time "2026-02-03T24:04:05Z": hour out of range'),
        ("2026-01-02T03:04:05Zx", 'parsing time "2026-01-02T03:04:05Zx": extra text: "x"'),
    ],
)
def test_reasons(text: str, message: str) -> None:
    with pytest.raises(TimeError) as caught:
        settle_time(text)
    assert str(caught.value) == message


def test_micro_time_must_have_its_decimals() -> None:
    with pytest.raises(TimeError, match=r'cannot parse "Z" as ".000000"'):
        settle_micro_time("2026-01-02T03:04:05Z")


def test_years_have_four_digits() -> None:
    early = datetime(1, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert format_time(early) == "0001-01-01T00:00:02Z"
    assert format_micro_time(early) == "0001-01-01T00:00:02.000000Z"
    assert parse_time(format_micro_time(early)) == early
