"""The queues of one priority level: who runs, who waits, whose turn it is. Pure: time is an argument.

Fair queuing for server requests, after KEP-1040. Every queue has a mark, `next_r`: how many seat-seconds it has been
given, in terms of the progress meter `r` which says how many each busy queue should have been given by now. Whoever
waits in the queue whose mark would be lowest after its next request goes next. A request is charged an estimate when it
starts, and the truth when it ends. A queue that was idle starts at the meter: nobody saves up.

The meter runs at (seats in use) / (busy queues). KEP-1040 takes what could be in use; the two differ only where seats
stay empty although somebody waits, which here happens whenever the event loop is what is scarce (see `turns`), and
then only the truth keeps newcomers from starting far ahead of everybody.

A request that finds a free seat and nobody waiting costs a few additions, and one that is alone in its level not even
a queue until another comes: bench/bench_flowcontrol.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.flowcontrol.dealing import Dealer, Marks, Queuing, pick_queue
from timonel.apiserver.flowcontrol.flow_stats import QUICK_SECONDS, FlowStats
from timonel.apiserver.flowcontrol.meter import Meter
from timonel.apiserver.flowcontrol.tickets import Flow, Queue, Ticket
from timonel.apiserver.flowcontrol.work import ONE_SEAT, SERVICE_SECONDS, Work
from timonel.apiserver.routing import Route

CONCURRENCY_LIMIT, QUEUE_FULL, TIME_OUT, CANCELLED = "concurrency-limit", "queue-full", "time-out", "cancelled"
"""Reasons of refusal, as metrics name them."""


class QueueSet(Meter):
    """One level. `limit`: how many seats it may use now. `exempt`: no limit at all, only counted."""

    def __init__(self, name: str, *, now: float, exempt: bool = False) -> None:
        super().__init__(now=now)
        self.name = name
        self.exempt = exempt
        self.limit = sys.maxsize if exempt else 0
        self.dealer = Dealer(exempt=exempt)
        self.alone: Ticket | None = None
        """The only request of the level, when it has been so from its start: it is in no queue yet."""
        self._robin = 0
        self._pending: set[Queue] = set()
        """Queues where somebody waits."""
        self.dispatch_r: Marks = (0.0, 0.0, 0.0, 0.0)
        """At the last dispatch."""
        self.turn = self.turn_used = 0
        self.lead = 0.0
        """Of the event loop's turns, see `turns`: what this level began in which, and how far it has come."""
        self.timed_out = 0
        self.cancelled = 0

    # Configuration

    def configure(self, queuing: Queuing) -> None:
        if queuing != self.dealer.queuing:
            self._seat_alone()  # its flow was dealt queues of before
            self.dealer.configure(queuing)

    @property
    def queues(self) -> list[Queue]:
        return self.dealer.queues

    @property
    def plain(self) -> Queue:
        return self.dealer.plain

    # A request's way

    def begin(self, flow: Flow, work: Work, route: Route, user: UserInfo, now: float) -> Ticket | None:
        """A seat at once, for the common case: nobody waits and there is one. None: ask `enqueue`."""
        seats = work.seats
        in_use = self.in_use
        if self.waiting or in_use + seats > self.limit:
            return None
        ticket = Ticket(flow, self.dealer.plain, route, user, now)
        if work is not ONE_SEAT:
            self._describe(ticket, work)
        if in_use:
            if self.alone is not None:
                self._seat_alone()
            self.advance(now)
            self._seat(ticket, self.dealer.next_of(flow))
            self.in_use = in_use = in_use + seats
        else:
            self.alone = ticket
            self.at = now
            self.in_use = in_use = seats
        self.executing += 1
        if in_use > self.peak:
            self.peak = in_use
        flow.stats.started += 1
        return ticket

    def enqueue(self, flow: Flow, work: Work, route: Route, user: UserInfo, now: float, *, held: bool) -> Ticket | str:
        """A waiting ticket, which `dispatch` starts when its turn has come, or the reason why it is refused.

        `held`: requests wait although seats are free, for the event loop is busy.
        """
        if self.alone is not None:
            self._seat_alone()
        self.advance(now)
        seats = work.seats
        stats = flow.stats
        queuing = self.dealer.queuing
        if not queuing.queues:
            taken = self.in_use + self.waiting_seats
            if taken and taken + seats > self.limit:
                return self._refuse(stats, CONCURRENCY_LIMIT)
            queue = self.dealer.plain
        else:
            queue = self.dealer.shortest_of(flow)
            if len(queue.waiting) >= queuing.length_limit and (held or self.in_use >= self.limit):
                return self._refuse(stats, QUEUE_FULL)
        ticket = Ticket(flow, queue, route, user, now)
        ticket.arrived = now
        if work is not ONE_SEAT:
            self._describe(ticket, work)
            work = ticket.work
            seats = work.seats
        ticket.arrived_r = self.r
        ticket.is_waiting = True
        if not queue.executing and not queue.waiting:
            self.busy += 1
            queue.next_r = self.r
        queue.waiting.append(ticket)
        self._pending.add(queue)
        queue.waiting_seats += seats
        queue.waiting_charge += work.charge
        self.waiting += 1
        self.waiting_seats += seats
        self.peak = max(self.peak, self.in_use + self.waiting_seats)
        self._bound(queue)
        stats.enqueued(seats, len(queue.waiting))
        return ticket

    def dispatch(self, now: float) -> Ticket | None:
        """Starts the request whose turn it is, if there is one and it has a seat."""
        if not self.waiting or (self.in_use >= self.limit and self.dealer.queuing.queues):
            return None
        self.advance(now)
        queue, self.dispatch_r = pick_queue(self._pending, r=self.r, count=max(1, len(self.queues)), last=self._robin)
        ticket = queue.waiting[0]
        seats = ticket.work.seats
        if not self._fits(seats):
            ticket.flow.stats.not_accommodated += 1
            return None
        queue.waiting.popleft()
        self._left_queue(ticket)
        if queue.index >= 0:
            self._robin = queue.index
        ticket.started = now
        queue.next_r += ticket.work.charge
        queue.executing.add(ticket)
        self.executing += 1
        self.in_use += seats
        self._bound(queue)
        ticket.flow.stats.dispatched(seats, now - (ticket.arrived or now))
        return ticket

    def finish(self, ticket: Ticket, now: float) -> float:
        """Ends a running request. Answers for how many seconds more its seats stay taken; then call `release`."""
        ticket.is_done = True
        started = ticket.started
        lasted = now - started
        work = ticket.work
        flow = ticket.flow
        stats = flow.stats
        if lasted <= QUICK_SECONDS and not ticket.is_watch:
            stats.quick += 1
            stats.quick_seconds += lasted
        else:
            stats.finished(lasted, ticket.is_watch)
        if self.alone is ticket:
            self.alone = None
            if work is ONE_SEAT and self.at == started:
                self.in_use = self.executing = 0
                self.at = now
                self.times.alone_seconds += lasted
                self.area += lasted
                self.square += lasted
                return 0.0
            self.advance(now)
            self.executing -= 1
        else:
            self.advance(now)
            self.executing -= 1
            queue = ticket.queue
            queue.executing.discard(ticket)
            if queue.executing or queue.waiting:
                queue.next_r += work.initial_seats * (lasted - SERVICE_SECONDS)
                self._bound(queue)
            else:
                self.busy -= 1
        if work.echo_seconds:
            stats.echoes()
            return work.echo_seconds
        self.in_use -= work.seats
        if work.seats != 1:
            stats.released_wide(work.seats)
        dealer = self.dealer
        if len(dealer.queues) > dealer.queuing.queues:
            dealer.drop_surplus()
        return 0.0

    def release(self, ticket: Ticket, now: float) -> None:
        """Frees the seats of a request that had an echo."""
        self.advance(now)
        self.in_use -= ticket.work.seats
        ticket.flow.stats.echoed(ticket.work.seats)

    def cancel(self, ticket: Ticket, now: float, reason: str) -> None:
        """Takes a waiting request out of its queue: it waited too long, or its client has gone."""
        self.advance(now)
        queue = ticket.queue
        queue.waiting.remove(ticket)
        self._left_queue(ticket)
        ticket.is_done = True
        if not queue.waiting and not queue.executing:
            self.busy -= 1
        self._bound(queue)
        self.cancelled += 1
        if reason == TIME_OUT:
            self.timed_out += 1
        ticket.flow.stats.cancelled(ticket.work.seats, now - (ticket.arrived or now))
        self.dealer.drop_surplus()

    # What is to be seen

    def tickets(self) -> Iterator[Ticket]:
        """Running and waiting, queue by queue."""
        if self.alone is not None:
            yield self.alone
        for queue in (self.plain, *self.queues):
            yield from queue.executing
            yield from queue.waiting

    # Inside

    def _seat_alone(self) -> None:
        """Somebody comes: the one who was alone gets its queue, as if it had had it from its start."""
        ticket, self.alone = self.alone, None
        if ticket is not None:
            self._seat(ticket, self.dealer.next_of(ticket.flow))

    def _seat(self, ticket: Ticket, queue: Queue) -> None:
        ticket.queue = queue
        if not queue.executing:
            self.busy += 1
            queue.next_r = self.r
        queue.next_r += ticket.work.charge
        queue.executing.add(ticket)

    def _refuse(self, stats: FlowStats, reason: str) -> str:
        stats.refused(reason)
        return reason

    def _describe(self, ticket: Ticket, work: Work) -> None:
        """Notes what is not one plain seat. An echo wider than the level becomes narrower and longer."""
        ticket.work = work.within(max(1, self.limit))
        if work.seats != 1 and ticket.arrived is None:
            ticket.flow.stats.started_wide(work.seats)

    def _fits(self, seats: int) -> bool:
        if seats > self.limit:
            return not self.in_use  # wider than the level will ever be: alone, then
        return self.in_use + seats <= self.limit

    def _bound(self, queue: Queue) -> None:
        """Whoever waits was not here before it came: a queue that used less than it might cannot claim it later."""
        if queue.waiting and queue.next_r < queue.waiting[0].arrived_r:
            queue.next_r = queue.waiting[0].arrived_r

    def _left_queue(self, ticket: Ticket) -> None:
        ticket.is_waiting = False
        queue, work = ticket.queue, ticket.work
        queue.waiting_seats -= work.seats
        queue.waiting_charge = queue.waiting_charge - work.charge if queue.waiting else 0.0
        self.waiting -= 1
        self.waiting_seats -= work.seats
        if not queue.waiting:
            self._pending.discard(queue)
