"""Which starts of a schedule are due, and how many were missed. Pure.

Source: kubernetes.io/docs/concepts/workloads/controllers/cron-jobs "CronJob limitations".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from timonel.api.cron import Interval, Schedule

MANY = 100
"""More starts than this since the last one are told of: a clock was wrong, or nobody looked for long."""
_FIRST_LOOK_BACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Starts:
    latest: datetime | None = None
    """The last one that is due; those before it are not made up for."""
    many: bool = False
    """More than MANY are due."""
    following: datetime | None = None
    """The first one that is not due yet; None: there is none within five years."""


def find_starts(schedule: Schedule, since: datetime, now: datetime) -> Starts:
    """Starts later than `since` and not later than `now`. Costs at most about MANY look-ups, however long that was."""
    if isinstance(schedule, Interval):
        return _starts_of_interval(schedule, since, now)
    latest: datetime | None = None
    following = schedule.next_after(since)
    for _ in range(MANY + 1):
        if following is None or following > now:
            return Starts(latest, False, following)
        latest, following = following, schedule.next_after(following)
    assert latest is not None
    # Too many to go through: the last one is looked for from now backwards, in steps that double.
    back = _FIRST_LOOK_BACK
    while now - back > latest:
        found = schedule.next_after(now - back)
        if found is not None and found <= now:
            latest = found
            break
        back *= 2
    while (following := schedule.next_after(latest)) is not None and following <= now:
        latest = following
    return Starts(latest, True, following)


def _starts_of_interval(schedule: Interval, since: datetime, now: datetime) -> Starts:
    """Counted from the last start, wherever that was."""
    since = since.astimezone(UTC).replace(microsecond=0)
    due = max(0, (now - since) // schedule.delay)
    following = since + schedule.delay * (due + 1)
    return Starts(since + schedule.delay * due if due else None, due > MANY, following)
