"""What a priority level is busy with, over time: seats and requests now, their integrals, and the progress meter."""

from __future__ import annotations

from timonel.apiserver.flowcontrol.load_times import LoadTimes


class Meter:
    """Whoever changes a count calls `advance` before. Times are arguments, in seconds."""

    def __init__(self, *, now: float) -> None:
        self.in_use = 0
        """Seats, those of echoes included."""
        self.executing = 0
        """Requests, echoes not among them."""
        self.waiting = 0
        self.waiting_seats = 0
        self.peak = 0
        """Most seats that were in use or waited for."""
        self.area = 0.0
        self.square = 0.0
        """Integrals since `area_from`, seconds, of seats in use or waited for, and of their square."""
        self.area_from = now
        self.at = now
        """Up to when integrals and meter are worked out."""
        self.r = 0.0
        self.busy = 0
        """Queues with requests running or waiting."""
        self.times = LoadTimes(now)

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.in_use

    def advance(self, now: float) -> None:
        """Brings meter and integrals up to `now`; before every change of what they are made of."""
        elapsed = now - self.at
        if elapsed <= 0:
            return
        self.at = now
        in_use = self.in_use
        demand = in_use + self.waiting_seats
        if demand:
            area = demand * elapsed
            self.area += area
            self.square += demand * area
            if self.busy:
                self.r += in_use * elapsed / self.busy
            times = self.times
            times.note((in_use, self.waiting_seats, self.executing, self.waiting), elapsed)
            if times.is_much:
                times.sort(now)

    def begin_period(self, now: float) -> None:
        """Peak and integrals start anew."""
        self.area = self.square = 0.0
        self.area_from, self.peak = now, self.in_use + self.waiting_seats
