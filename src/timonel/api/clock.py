"""Time as an argument: components take a Clock, tests hand them `timonel.testing.clock.VirtualClock`."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall clock, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; for delays and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def format_time(moment: datetime) -> str:
    """metav1.Time on the wire: RFC 3339, UTC, whole seconds ("2026-01-02T03:04:05Z")."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return f"{_to_second(moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)}Z"


def format_micro_time(moment: datetime) -> str:
    """metav1.MicroTime on the wire: RFC 3339, UTC, six decimals ("2026-01-02T03:04:05.000006Z")."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    second = _to_second(moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    return f"{second}.{str(moment.microsecond).zfill(6)}Z"  # the format 06 takes twice as long


@lru_cache(maxsize=64)
def _to_second(year: int, month: int, day: int, hour: int, minute: int, second: int) -> str:
    """Most times are of the present second, and `isoformat` takes four times as long as finding that out."""
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"


def parse_time(text: str) -> datetime:
    """Inverse of both formats; raises ValueError for what RFC 3339 does not allow."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without a zone: {text!r}")
    return moment.astimezone(UTC)
