"""Parts of timestamps, in a zone, and of durations.

Source: github.com/google/cel-spec/blob/master/doc/langdef.md#timezones
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.overloads import Overload, declare
from timonel.api.cel.values import Duration, Timestamp

_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)")


def _zone(name: str) -> tzinfo:
    if found := _OFFSET.fullmatch(name):
        minutes = int(found[2]) * 60 + int(found[3])
        if minutes >= 24 * 60:
            raise EvaluationError(f"unknown time zone {name}")
        return timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes))
    try:
        return UTC if name in ("", "UTC") else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise EvaluationError(f"unknown time zone {name}") from exc


def _part(id: str, function: str, read: Callable[[datetime], int]) -> tuple[Overload, ...]:
    def run(value: Timestamp, zone: str = "UTC") -> int:
        try:
            return read(value.datetime().astimezone(_zone(zone)))
        except OverflowError as exc:
            raise EvaluationError("timestamp overflow") from exc

    return (
        declare(id, function, "timestamp.() -> int", run),
        declare(f"{id}_with_tz", function, "timestamp.(string) -> int", run),
    )


def _length(function: str, unit: int, id: str) -> Overload:
    def run(value: Duration) -> int:
        whole = abs(value.nanos) // unit
        return -whole if value.nanos < 0 else whole

    return declare(id, function, "duration.() -> int", run)


TIMES: tuple[Overload, ...] = (
    *_part("timestamp_to_year", "getFullYear", lambda time: time.year),
    *_part("timestamp_to_month", "getMonth", lambda time: time.month - 1),
    *_part("timestamp_to_day_of_year", "getDayOfYear", lambda time: time.timetuple().tm_yday - 1),
    *_part("timestamp_to_day_of_month", "getDayOfMonth", lambda time: time.day - 1),
    *_part("timestamp_to_day_of_month_1_based", "getDate", lambda time: time.day),
    *_part("timestamp_to_day_of_week", "getDayOfWeek", lambda time: time.isoweekday() % 7),
    *_part("timestamp_to_hours", "getHours", lambda time: time.hour),
    *_part("timestamp_to_minutes", "getMinutes", lambda time: time.minute),
    *_part("timestamp_to_seconds", "getSeconds", lambda time: time.second),
    *_part("timestamp_to_milliseconds", "getMilliseconds", lambda time: time.microsecond // 1000),
    _length("getHours", 3600 * 10**9, "duration_to_hours"),
    _length("getMinutes", 60 * 10**9, "duration_to_minutes"),
    _length("getSeconds", 10**9, "duration_to_seconds"),
    _length("getMilliseconds", 10**6, "duration_to_milliseconds"),
)
