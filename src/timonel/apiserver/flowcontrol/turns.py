"""Turns of the event loop: what keeps one user's thousand connections from being one long turn. Pure.

All requests of a server share one thread. Most of them never wait for anything, so they hold their seat for the tenth
of a millisecond in which nothing else could run anyway, and limits on seats alone would never bind: the queue would be
the event loop's own, first come, first served, however long. Therefore one turn of the loop begins only as many
requests as fit into `TURN_SECONDS`; the others wait in their level's fair queues, and the next turn begins with them:
levels in proportion to their limits, and within a level whose turn it is. A client that has no answer yet sends no
next request on that connection, so turns stay short, and a request of a level that asks for little waits about a turn.

Measured by bench/bench_overload.py: with a thousand connections of one user that never stop asking, a node waited
340 ms (median; p99 407) for an answer behind plain limits and 32 ms (p99 166) with turns, on two busy cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heapreplace

from timonel.apiserver.flowcontrol.queue_set import QueueSet
from timonel.apiserver.flowcontrol.tickets import Ticket

TURN_SECONDS = 0.010
"""How long a turn may take: what urgent requests wait for at worst, and long beside the 0.1 ms of one request."""
_FEWEST, _MOST = 8, 512
_FIRST = 64
_TELLING = 8
"""Fewer seats than this say nothing about what a seat costs."""
_WEIGHT = 0.2
"""Of the last turn in the running average."""


class Turns:
    """Counts seats. `left`: how many more may begin in this turn; below zero when levels used their allowance.

    `cpu`: seconds that this thread has run, for what other processes take is no reason to begin less.
    """

    def __init__(self, *, cpu: Callable[[], float]) -> None:
        self.quota = _FIRST
        self.left = _FIRST
        self.number = 0
        self.is_open = False
        """Whether a turn is going on; None has begun yet or the last has ended."""
        self._cpu = cpu
        self._stamp: float | None = None
        self._is_busy = False
        """Whether the last turn was long enough to learn from; only then it is worth while to look at the time."""
        self._seat_seconds = TURN_SECONDS / _FIRST
        self._lead = 0.0
        """How far the level that began last has come."""

    def begin(self) -> None:
        self.is_open = True
        self._stamp = self._cpu() if self._is_busy else None

    def end(self) -> None:
        """Learns from the turn that is over how many seats fit into one, and opens the next one's account."""
        used = self.quota - self.left
        self._is_busy = used >= _TELLING
        if self._is_busy and self._stamp is not None:
            self._seat_seconds += _WEIGHT * ((self._cpu() - self._stamp) / used - self._seat_seconds)
            self.quota = min(_MOST, max(_FEWEST, int(TURN_SECONDS / max(self._seat_seconds, 1e-6))))
        self.left = self.quota
        self.number += 1
        self.is_open = False

    def allows(self, level: QueueSet, all_seats: int) -> bool:
        """Whether a level where nobody waits may begin one more although the turn is full: a little is kept for each.

        Counts it as begun.
        """
        if level.turn != self.number:
            level.turn = self.number
            level.turn_used = 0
        if level.turn_used * 4 * all_seats >= self.quota * level.limit:
            return False
        level.turn_used += 1
        return True

    def dispatch(self, levels: Iterable[QueueSet], now: float) -> list[Ticket]:
        """Starts those whose turn has come, as many as the turn has room for."""
        waiting = [(max(level.lead, self._lead), order, level) for order, level in enumerate(levels) if level.waiting]
        started: list[Ticket] = []
        heapify(waiting)
        while waiting and self.left > 0:
            lead, order, level = waiting[0]
            ticket = level.dispatch(now)
            if ticket is None:
                heappop(waiting)
                continue
            started.append(ticket)
            self.left -= ticket.work.seats
            self._lead = lead
            level.lead = lead + ticket.work.seats / max(1, level.limit)
            heapreplace(waiting, (level.lead, order, level))
        return started
