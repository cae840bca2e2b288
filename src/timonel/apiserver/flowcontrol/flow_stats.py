"""Counts of one FlowSchema in one priority level, kept as plain numbers; `metrics` shows them when asked.

A request that gets a seat at once touches two of them, for it passes on every request's way.
"""

from __future__ import annotations

from timonel.api.buckets import Buckets

SECONDS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
QUICK_SECONDS = 0.005
LENGTHS = (0, 10, 25, 50, 100, 250, 500, 1000)
WIDTHS = (1, 2, 4, 8, 16, 32, 64, 100)
WATCHES = (0, 1, 10, 100, 1000, 10000)
"""Upper bounds of the buckets, upstream's."""


class FlowStats:
    """`started` counts every request that ever got a seat; see the properties for what follows from it."""

    __slots__ = (
        "durations", "ended", "executing_extra", "in_queue", "lengths", "not_accommodated", "quick", "quick_seconds",
        "refused_waits", "rejected", "seats_in_queue", "started", "waits", "watch_durations", "watches", "widths",
    )  # fmt: skip

    def __init__(self) -> None:
        self.started = 0
        """Requests that ever got a seat."""
        self.executing_extra = 0
        """Seats beyond one of each request that runs or echoes."""
        self.in_queue = 0
        self.seats_in_queue = 0
        self.durations = Buckets(SECONDS)
        self.watch_durations = Buckets(SECONDS)
        """Of the beginnings of watches."""
        self.waits = Buckets(SECONDS)
        """Of those that waited and then ran."""
        self.refused_waits = Buckets(SECONDS)
        self.lengths = Buckets(LENGTHS)
        """Of queues, as seen by those that waited."""
        self.widths = Buckets(WIDTHS)
        """Of requests wider than one seat."""
        self.watches = Buckets(WATCHES)
        self.rejected: dict[str, int] = {}
        self.not_accommodated = 0
        self.quick = 0
        self.quick_seconds = 0.0
        """Requests that took up to `QUICK_SECONDS`, watches not among them, and all their time."""
        self.ended = 0
        """The others that have ended."""

    @property
    def executing(self) -> int:
        return self.started - self.quick - self.ended

    @property
    def executing_seats(self) -> int:
        return self.executing + self.executing_extra

    @property
    def at_once(self) -> int:
        """Requests that got a seat without waiting."""
        return self.started - sum(self.waits.counts)

    def finished(self, seconds: float, is_watch: bool) -> None:
        self.ended += 1
        (self.watch_durations if is_watch else self.durations).observe(seconds)

    def started_wide(self, seats: int) -> None:
        self.executing_extra += seats - 1
        self.widths.observe(seats)

    def released_wide(self, seats: int) -> None:
        self.executing_extra -= seats - 1

    def echoes(self) -> None:
        """The request has ended, its seats stay taken for a while."""
        self.executing_extra += 1

    def echoed(self, seats: int) -> None:
        self.executing_extra -= seats

    def enqueued(self, seats: int, length: int) -> None:
        self.in_queue += 1
        self.seats_in_queue += seats
        self.lengths.observe(length)

    def dispatched(self, seats: int, waited: float) -> None:
        self.in_queue -= 1
        self.seats_in_queue -= seats
        self.started += 1
        self.waits.observe(waited)
        if seats != 1:
            self.started_wide(seats)

    def cancelled(self, seats: int, waited: float) -> None:
        self.in_queue -= 1
        self.seats_in_queue -= seats
        self.refused_waits.observe(waited)
        self.rejected["time-out"] = self.rejected.get("time-out", 0) + 1

    def refused(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
        self.refused_waits.observe(0.0)
