"""Schedules of CronJobs: five cron fields or an "@hourly" and the like, in a time zone.

    parse_schedule("*/15 9-17 * * mon-fri", "Europe/Madrid").next_after(moment)   # the next start, in UTC

A schedule is run at every instant whose wall clock time in its zone fits all fields. So what falls into the hour that
daylight saving time skips is not run that day, and what falls into the hour that it repeats is run twice.
Sources: kubernetes.io/docs/concepts/workloads/controllers/cron-jobs "Schedule syntax", en.wikipedia.org/wiki/Cron;
error texts as clients of upstream see them.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from timonel.api.durations import InvalidDuration, parse_duration
from timonel.api.field_errors import quote

YEARS_AHEAD = 5
"""A schedule that fits no time for that long (February 30) fits none."""
_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11,
    "dec": 12,
}  # fmt: skip
_WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_NICKNAMES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_EVERY = "@every "
_ZONE_PREFIXES = ("TZ=", "CRON_TZ=")
_SECOND = timedelta(seconds=1)
_integer = re.compile(r"[+-]?[0-9]+").fullmatch


class InvalidSchedule(ValueError):
    """The message is upstream's."""


class UnknownTimeZone(ValueError):
    """The message is upstream's."""


class Schedule(Protocol):
    def next_after(self, moment: datetime) -> datetime | None:
        """The first start later than `moment` (aware), in UTC; None when there is none within five years."""
        ...


@dataclass(frozen=True, slots=True)
class Interval:
    """ "@every 1h30m": counted from the moment asked about, not from a wall clock. Whole seconds, at least one."""

    delay: timedelta

    def next_after(self, moment: datetime) -> datetime | None:
        return moment.astimezone(UTC).replace(microsecond=0) + self.delay


@dataclass(frozen=True, slots=True)
class CronFields:
    """Sorted values of each field. Weekdays count from 0, Sunday."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    """Day of month and weekday are both restricted: one of them has to fit, not both."""
    zone: tzinfo = field(default=UTC)

    def next_after(self, moment: datetime) -> datetime | None:
        moment = moment.astimezone(UTC)
        for day in self._days_from(moment.astimezone(self.zone).date()):
            if (found := self._first_of(day, moment)) is not None:
                return found
        return None

    def _days_from(self, first: date) -> Iterator[date]:
        year, month, last_year = first.year, first.month, first.year + YEARS_AHEAD
        while year <= min(last_year, 9998):
            if month in self.months:
                day = max(first, date(year, month, 1))
                while day.month == month:
                    if self._fits(day):
                        yield day
                    day += timedelta(days=1)
            year, month = (year + 1, 1) if month == 12 else (year, month + 1)

    def _fits(self, day: date) -> bool:
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_date or by_weekday if self.either_day else by_date and by_weekday

    def _first_of(self, day: date, moment: datetime) -> datetime | None:
        start = datetime(day.year, day.month, day.day, tzinfo=self.zone)
        changes = start.utcoffset() != (start + timedelta(days=1)).utcoffset()
        if not changes:
            return self._first_of_usual(start, moment)
        earliest: datetime | None = None
        for hour in self.hours:
            for minute in self.minutes:
                wall = start.replace(hour=hour, minute=minute)
                for fold in (0, 1):
                    instant = wall.replace(fold=fold).astimezone(UTC)
                    if instant <= moment or (earliest is not None and instant >= earliest):
                        continue
                    # A wall clock time that is skipped comes back as another one.
                    if instant.astimezone(self.zone).replace(tzinfo=None) != wall.replace(tzinfo=None):
                        continue
                    earliest = instant
        return earliest

    def _first_of_usual(self, start: datetime, moment: datetime) -> datetime | None:
        """Of a day without a change of the clock: only the hour asked about and the next one are looked at."""
        local = moment.astimezone(self.zone)
        begin = bisect_left(self.hours, local.hour) if local.date() == start.date() else 0
        for hour in self.hours[begin:]:
            past = local.date() == start.date() and hour == local.hour
            first = bisect_right(self.minutes, local.minute) if past else 0
            if first < len(self.minutes):
                return start.replace(hour=hour, minute=self.minutes[first]).astimezone(UTC)
        return None


def load_time_zone(name: str) -> tzinfo:
    """The zone of that name in the IANA database. Raises UnknownTimeZone."""
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as exc:
        raise UnknownTimeZone(f"unknown time zone {name}") from exc


@lru_cache(maxsize=1024)
def parse_schedule(text: str, time_zone: str = "") -> Schedule:
    """Reads `spec.schedule` in the zone `spec.timeZone`; "" is UTC. A zone in the text ("TZ=… ") comes first.

    Raises InvalidSchedule, and UnknownTimeZone for a bad `time_zone`.
    """
    if not text:
        raise InvalidSchedule("empty spec string")
    zone = load_time_zone(time_zone)
    if text.startswith(_ZONE_PREFIXES):
        prefix, space, rest = text.partition(" ")
        if not space:
            raise InvalidSchedule("invalid schedule format: nothing follows the time zone")
        name = prefix.partition("=")[2]
        try:
            zone = load_time_zone(name)
        except UnknownTimeZone as exc:
            raise InvalidSchedule(f"provided bad location {name}: {exc}") from exc
        text = rest.strip()
    if text.startswith("@"):
        if text.startswith(_EVERY):
            return _parse_interval(text)
        try:
            text = _NICKNAMES[text]
        except KeyError:
            raise InvalidSchedule(f"unrecognized descriptor: {text}") from None
    return _parse_fields(text, zone)


def _parse_interval(text: str) -> Interval:
    try:
        seconds = parse_duration(text.removeprefix(_EVERY))
    except InvalidDuration as exc:
        raise InvalidSchedule(f"failed to parse duration {text}: {exc}") from exc
    return Interval(max(_SECOND, timedelta(seconds=int(seconds))))


def _parse_fields(text: str, zone: tzinfo) -> CronFields:
    parts = text.split()
    if len(parts) != 5:
        raise InvalidSchedule(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
    minutes, _ = _parse_field(parts[0], 0, 59)
    hours, _ = _parse_field(parts[1], 0, 23)
    days, any_day = _parse_field(parts[2], 1, 31)
    months, _ = _parse_field(parts[3], 1, 12, _MONTHS)
    weekdays, any_weekday = _parse_field(parts[4], 0, 6, _WEEKDAYS)
    return CronFields(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(weekdays),
        either_day=not any_day and not any_weekday,
        zone=zone,
    )


def _parse_field(text: str, low: int, high: int, names: Mapping[str, int] | None = None) -> tuple[set[int], bool]:
    """The values of a list of ranges, and whether it says that any value will do."""
    values: set[int] = set()
    anything = False
    for expression in filter(None, text.split(",")):
        found, star = _parse_range(expression, low, high, names or {})
        values.update(found)
        anything = anything or star
    return values, anything


def _parse_range(text: str, low: int, high: int, names: Mapping[str, int]) -> tuple[range, bool]:
    """One of "*", "?", "N", "N-M", each with an optional "/step"; "N/step" goes on to the highest value."""
    bounds, *steps = text.split("/")
    first, *others = bounds.split("-")
    star = first in ("*", "?")
    if star:
        start, end = low, high
    else:
        start = end = _number(first, names)
        if len(others) == 1:
            end = _number(others[0], names)
        elif others:
            raise InvalidSchedule(f"too many hyphens: {text}")
    step = 1
    if len(steps) == 1:
        step = _number(steps[0], {})
        if not others:
            end = high
        star = star and step <= 1
    elif steps:
        raise InvalidSchedule(f"too many slashes: {text}")
    if start < low:
        raise InvalidSchedule(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise InvalidSchedule(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise InvalidSchedule(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise InvalidSchedule(f"step of range should be a positive number: {text}")
    return range(start, end + 1, step), star


def _number(text: str, names: Mapping[str, int]) -> int:
    named = names.get(text.lower())
    if named is not None:
        return named
    if not _integer(text):
        raise InvalidSchedule(f"failed to parse int from {text}: strconv.Atoi: parsing {quote(text)}: invalid syntax")
    # Digits without end are refused before they are read.
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        why = f"failed to parse int from {text}: strconv.Atoi: parsing {quote(text)}: value out of range"
        raise InvalidSchedule(why)
    number = int(text)
    if number < 0:
        raise InvalidSchedule(f"negative number ({number}) not allowed: {text}")
    return number
