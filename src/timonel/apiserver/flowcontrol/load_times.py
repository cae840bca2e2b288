"""How much time a level spent under which load: seats in use, seats asked for, requests running and waiting.

Upstream observes these at the end of every nanosecond, so the count of each histogram is nanoseconds. Here the time is
noted when the load changes, under what it was, and sorted into bounds when somebody asks or when it gets much.
"""

from __future__ import annotations

from timonel.api.buckets import Buckets

_REQUESTS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0)
_SEATS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_DEMAND = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0, 6.0)
_MOST_LOADS = 512
_ALONE = (1, 0, 1, 0)

Load = tuple[int, int, int, int]
"""Seats in use, seats waited for, requests running, requests waiting."""


class LoadTimes:
    """`demand`: of the nominal seats. `seats` and `running`: of the seats that the level may use now. `waiting`: of the
    places in queues. All are fractions.
    """

    def __init__(self, now: float) -> None:
        self.demand = Buckets(_DEMAND)
        self.seats = Buckets(_SEATS)
        self.running = Buckets(_REQUESTS)
        self.waiting = Buckets(_REQUESTS)
        self._nominal = self._limit = self._places = 1
        self._spans: dict[Load, float] = {}
        self.alone_seconds = 0.0
        """With one request and one seat, which is most of the time that is not idle."""
        self._sorted_at = now

    def note(self, load: Load, seconds: float) -> None:
        """0.15 µs."""
        spans = self._spans
        spans[load] = spans.get(load, 0.0) + seconds

    @property
    def is_much(self) -> bool:
        return len(self._spans) > _MOST_LOADS

    def measure_by(self, *, nominal: int, limit: int, places: int, now: float) -> None:
        """What loads are fractions of from now on; 0 is taken for 1."""
        self.sort(now)
        self._nominal, self._limit, self._places = max(1, nominal), max(1, limit), max(1, places)

    def sort(self, now: float) -> None:
        """Brings the histograms up to `now`, up to which everything has been noted; the rest was idle."""
        if self.alone_seconds:
            self.note(_ALONE, self.alone_seconds)
            self.alone_seconds = 0.0
        idle = now - self._sorted_at - sum(self._spans.values())
        self._sorted_at = now
        for (in_use, waited_for, running, waiting), seconds in (*self._spans.items(), ((0, 0, 0, 0), max(0.0, idle))):
            spent = round(seconds * 1e9)
            self.demand.observe_many((in_use + waited_for) / self._nominal, spent)
            self.seats.observe_many(in_use / self._limit, spent)
            self.running.observe_many(running / self._limit, spent)
            self.waiting.observe_many(waiting / self._places, spent)
        self._spans.clear()
