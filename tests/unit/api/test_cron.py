"""Schedules: syntax, and the next start in a time zone, through changes of daylight saving time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.api.cron import InvalidSchedule, UnknownTimeZone, load_time_zone, parse_schedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("* * * * *", "2026-03-01T12:00:00", "2026-03-01T12:01:00"),
        ("* * * * *", "2026-03-01T12:00:59.9", "2026-03-01T12:01:00"),
        ("*/15 * * * *", "2026-03-01T12:00:00", "2026-03-01T12:15:00"),
        ("*/15 * * * *", "2026-03-01T12:46:00", "2026-03-01T13:00:00"),
        ("5/20 * * * *", "2026-03-01T12:06:00", "2026-03-01T12:25:00"),
        ("5-10/2 * * * *", "2026-03-01T12:07:30", "2026-03-01T12:09:00"),
        ("0 9-17 * * MON-Fri", "2026-02-27T17:00:00", "2026-03-02T09:00:00"),
        ("0 0 1 jan,JUL *", "2026-03-01T00:00:00", "2026-07-01T00:00:00"),
        ("0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 12 ? * 0", "2026-03-02T00:00:00", "2026-03-08T12:00:00"),
        # Both days restricted: either will do. 2026-03-13 is a Friday, 2026-03-06 the first one.
        ("0 0 13 * fri", "2026-03-01T00:00:00", "2026-03-06T00:00:00"),
        ("0 0 13 * fri", "2026-03-06T00:00:00", "2026-03-13T00:00:00"),
        # A star with a step above 1 restricts, a plain one does not.
        ("0 0 */30 * fri", "2026-03-01T00:00:00", "2026-03-06T00:00:00"),
        ("0 0 */1 * fri", "2026-03-01T00:00:00", "2026-03-06T00:00:00"),
        ("0 0 */1 * fri", "2026-03-06T00:00:00", "2026-03-13T00:00:00"),
        ("@hourly", "2026-03-01T12:00:00", "2026-03-01T13:00:00"),
        ("@daily", "2026-03-01T12:00:00", "2026-03-02T00:00:00"),
        ("@midnight", "2026-03-01T12:00:00", "2026-03-02T00:00:00"),
        ("@weekly", "2026-03-02T12:00:00", "2026-03-08T00:00:00"),
        ("@monthly", "2026-03-01T12:00:00", "2026-04-01T00:00:00"),
        ("@yearly", "2026-03-01T12:00:00", "2027-01-01T00:00:00"),
        ("@annually", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("@every 1h30m", "2026-03-01T12:00:00.5", "2026-03-01T13:30:00"),
        ("@every 10ms", "2026-03-01T12:00:00", "2026-03-01T12:00:01"),
        ("TZ=Asia/Tokyo 0 9 * * *", "2026-03-01T12:00:00", "2026-03-02T00:00:00"),
        ("CRON_TZ=Asia/Tokyo  @daily", "2026-03-01T12:00:00", "2026-03-01T15:00:00"),
        ("  0   0\t* * * ", "2026-03-01T12:00:00", "2026-03-02T00:00:00"),
        ("0 0 31 12 *", "2026-12-31T00:00:00", "2027-12-31T00:00:00"),
    ],
)
def test_next_start(schedule: str, after: str, expected: str) -> None:
    assert parse_schedule(schedule).next_after(at(after)) == at(expected)


@pytest.mark.parametrize("schedule", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", ", * * * *"])
def test_no_start_within_five_years_is_none(schedule: str) -> None:
    assert parse_schedule(schedule).next_after(at("2026-03-01T00:00:00")) is None


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("0 0 0 * * *", "expected exactly 5 fields, found 6: [0 0 0 * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* 24 * * *", "end of range (24) above maximum (23): 24"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * 13 *", "end of range (13) above maximum (12): 13"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("*/-5 * * * *", "negative number (-5) not allowed: -5"),
        ("a * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'),
        ("* * * * Funday", 'failed to parse int from Funday: strconv.Atoi: parsing "Funday": invalid syntax'),
        ("-5 * * * *", 'failed to parse int from : strconv.Atoi: parsing "": invalid syntax'),
        ("@fortnightly", "unrecognized descriptor: @fortnightly"),
        ("@Daily", "unrecognized descriptor: @Daily"),
        ("@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'),
        ("@every 5", 'failed to parse duration @every 5: time: missing unit in duration "5"'),
        ("@every 5d", 'failed to parse duration @every 5d: time: unknown unit "d" in duration "5d"'),
        ("TZ=Mars/Olympus 0 0 * * *", "provided bad location Mars/Olympus: unknown time zone Mars/Olympus"),
    ],
)
def test_malformed(schedule: str, why: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        parse_schedule(schedule)
    assert str(caught.value) == why


def test_a_zone_and_nothing_else() -> None:
    with pytest.raises(InvalidSchedule, match=r"^invalid schedule format: "):
        parse_schedule("TZ=UTC")


def starts(schedule: str, zone: str, after: str, count: int) -> list[datetime]:
    found, moment = [], at(after)
    for _ in range(count):
        following = parse_schedule(schedule, zone).next_after(moment)
        assert following is not None
        found.append(following)
        moment = following
    return found


def test_time_zone_of_the_wall_clock() -> None:
    assert parse_schedule("30 8 * * *", "America/New_York").next_after(at("2026-01-10T00:00:00")) == at(
        "2026-01-10T13:30:00"
    )
    assert parse_schedule("30 8 * * *", "America/New_York").next_after(at("2026-07-10T00:00:00")) == at(
        "2026-07-10T12:30:00"
    )


def test_skipped_hour_is_not_run_that_day() -> None:
    # New York goes from 2:00 to 3:00 on 2026-03-08.
    assert starts("30 2 * * *", "America/New_York", "2026-03-07T00:00:00", 2) == [
        at("2026-03-07T07:30:00"), at("2026-03-09T06:30:00"),
    ]  # fmt: skip


def test_repeated_hour_is_run_twice() -> None:
    # New York goes from 2:00 back to 1:00 on 2026-11-01.
    assert starts("30 1 * * *", "America/New_York", "2026-11-01T00:00:00", 3) == [
        at("2026-11-01T05:30:00"), at("2026-11-01T06:30:00"), at("2026-11-02T06:30:00"),
    ]  # fmt: skip


def test_every_hour_stays_every_hour_through_changes() -> None:
    for day in ("2026-03-08", "2026-11-01"):
        found = starts("0 * * * *", "America/New_York", f"{day}T00:00:00", 30)
        gaps = {later - earlier for earlier, later in pairwise(found)}
        assert gaps == {timedelta(hours=1)}


def test_a_day_without_midnight() -> None:
    # São Paulo went from 0:00 to 1:00 on 2018-11-04.
    assert starts("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00", 1) == [at("2018-11-05T02:00:00")]
    assert starts("30 1 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00", 1) == [at("2018-11-04T03:30:00")]


def test_half_hour_changes() -> None:
    # Lord Howe Island goes from 2:00 to 2:30 on 2026-10-04.
    assert starts("15,45 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00", 2) == [
        at("2026-10-03T15:45:00"), at("2026-10-04T15:15:00"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["Mars/Olympus", "America", "../etc/passwd", "/etc/localtime", "a\0b"])
def test_unknown_zones(name: str) -> None:
    with pytest.raises(UnknownTimeZone) as caught:
        load_time_zone(name)
    assert str(caught.value) == f"unknown time zone {name}"


FIELD = st.sampled_from(["*", "*/7", "3", "1-5", "2,4", "5/2"])


@given(FIELD, FIELD, FIELD, FIELD, FIELD, st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
       st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]))  # fmt: skip
def test_starts_are_later_and_on_the_minute(
    minute: str, hour: str, day: str, month: str, weekday: str, moment: datetime, zone: str
) -> None:
    moment = moment.replace(tzinfo=UTC)
    following = parse_schedule(f"{minute} {hour} {day} {month} {weekday}", zone).next_after(moment)
    assert following is not None
    assert following > moment
    assert (following.second, following.microsecond) == (0, 0)
    # No start was passed over: asking a moment earlier finds the same one.
    assert parse_schedule(f"{minute} {hour} {day} {month} {weekday}", zone).next_after(
        following - timedelta(seconds=1)
    ) == following  # fmt: skip
