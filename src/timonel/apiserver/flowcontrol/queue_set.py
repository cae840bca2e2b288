"""The queues of one priority level: who runs, who waits, whose turn it is. Pure: time is an argument.

Fair queuing for server requests, after KEP-1040. Every queue has a mark, `next_r`: how many seat-seconds it has been
given, in terms of the progress meter `r` which says how many each busy queue should have been given by now. Whoever
waits in the queue whose mark would be lowest after its next request goes next. A request is charged an estimate when it
starts, and the truth when it ends. A queue that was idle starts at the meter: nobody saves up.

The meter runs at (seats in use) / (busy queues). KEP-1040 takes what could be in use; the two differ only where seats
stay empty although somebody waits, which here happens whenever the event loop is what is scarce (see `turns`), and
then only the truth keeps newcomers from starting far ahead of everybody.

A request that finds a free seat and nobody waiting costs a few additions, no scan: bench/bench_flowcontrol.py.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from timonel.apiserver.flowcontrol.flow_stats import FlowStats
from timonel.apiserver.flowcontrol.shuffle import deal_hand, flow_hash
from timonel.apiserver.flowcontrol.work import SERVICE_SECONDS, Work
from timonel.apiserver.routing import Route

CONCURRENCY_LIMIT, QUEUE_FULL, TIME_OUT, CANCELLED = "concurrency-limit", "queue-full", "time-out", "cancelled"
"""Reasons of refusal, as metrics name them."""


@dataclass(frozen=True, slots=True)
class Queuing:
    """`queues` 0: no request waits for a seat, what finds none is refused."""

    queues: int = 0
    hand_size: int = 1
    length_limit: int = 0


class Queue:
    """Requests of the flows that were dealt this queue. `index` is -1 for the queue of a level without queues."""

    __slots__ = ("executing", "index", "next_r", "seats", "waiting", "waiting_charge", "waiting_seats")

    def __init__(self, index: int) -> None:
        self.index = index
        self.next_r = 0.0
        self.seats = 0
        self.executing: set[Ticket] = set()
        self.waiting: deque[Ticket] = deque()
        self.waiting_seats = 0
        self.waiting_charge = 0.0


class Flow:
    """Requests that are one for the queues: same FlowSchema, same user or namespace, where the schema asks for that."""

    __slots__ = ("distinguisher", "hand", "header", "queue_set", "schema", "stats", "widest")

    def __init__(
        self,
        queue_set: QueueSet,
        stats: FlowStats,
        *,
        schema: str = "",
        distinguisher: str = "",
        header: bytes = b"",
        widest: int = 0,
    ) -> None:
        self.queue_set = queue_set
        self.stats = stats
        self.schema = schema
        self.distinguisher = distinguisher
        self.header = header
        """Lines of the answer's head that name schema and level."""
        self.widest = widest
        """Most seats of one request, see `limits.Limits`."""
        self.hand: tuple[int, ...] = ()
        """Indexes of its queues; empty until asked for."""


class Ticket:
    """One request between admission and its end. Not compared, not copied."""

    future: asyncio.Future[None] | None = None
    """Whoever waits for a waiting ticket."""
    initial_seats = 1
    echo_seconds = 0.0
    arrived_r = 0.0
    charge = SERVICE_SECONDS
    is_waiting = False
    is_done = False
    is_watch = False

    def __init__(self, flow: Flow, queue: Queue, route: Route, user: str, seats: int, now: float) -> None:
        self.flow = flow
        self.queue = queue
        self.route = route
        self.user = user
        self.seats = seats
        self.arrived = now
        self.started = now


class QueueSet:
    """One level. `limit`: how many seats it may use now. `exempt`: no limit at all, only counted."""

    def __init__(self, name: str, *, now: float, exempt: bool = False) -> None:
        self.name = name
        self.exempt = exempt
        self.queuing = Queuing()
        self.limit = 0
        self.queues: list[Queue] = []
        self.plain = Queue(-1)
        """Of an exempt level or one without queues."""
        self.in_use = 0
        """Seats, those of echoes included."""
        self.executing = 0
        """Requests."""
        self.waiting = 0
        self.waiting_seats = 0
        self.demand = 0
        """Seats in use or waited for."""
        self.peak = 0
        self.area = 0.0
        self.square = 0.0
        """Integrals of demand and of its square since `area_from`, seconds."""
        self.area_from = now
        self.at = now
        """Up to when integrals and meter are worked out."""
        self.r = 0.0
        self.busy = 0
        """Queues with requests running or waiting."""
        self._dealt = 0
        self._robin = 0
        self.dispatch_r = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        """At the last dispatch from a queue: the meter, the queue's mark, least and most of all waiting queues' marks,
        and of these less what is estimated to be running."""
        self.turn = self.turn_used = 0
        self.lead = 0.0
        """Of the event loop's turns, see `turns`: what this level began in which, and how far it has come."""
        self.dispatched = 0
        self.rejected = 0
        self.timed_out = 0
        self.cancelled = 0

    # Configuration

    def configure(self, queuing: Queuing) -> None:
        """New queues begin at once; surplus ones take no new requests and go when they are empty."""
        if queuing == self.queuing:
            return
        self.queuing = queuing
        for index in range(len(self.queues), queuing.queues):
            self.queues.append(Queue(index))
        self._drop_surplus()

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.executing

    # A request's way

    def begin(self, flow: Flow, work: Work, route: Route, user: str, now: float) -> Ticket | None:
        """A seat at once, for the common case: nobody waits and there is one. None: ask `enqueue`."""
        seats = work.seats
        in_use = self.in_use + seats
        if (self.waiting or in_use > self.limit) and not self.exempt:
            return None
        if self.demand:
            self.advance(now)
        else:
            self.at = now
        if self.queues and not self.exempt:
            hand = flow.hand or self._hand(flow)
            queue = self.queues[hand[self._dealt % len(hand)]]
            self._dealt += 1
        else:
            queue = self.plain
        ticket = Ticket(flow, queue, route, user, seats, now)
        charge = SERVICE_SECONDS
        if seats != 1 or work.final_seats:
            charge = self._describe(ticket, work)
        if queue.executing:
            queue.next_r += charge
        else:
            self.busy += 1
            queue.next_r = self.r + charge
        queue.executing.add(ticket)
        queue.seats += seats
        self.in_use = self.demand = in_use
        if in_use > self.peak:
            self.peak = in_use
        self.executing += 1
        self.dispatched += 1
        stats = flow.stats
        stats.started += 1
        if seats != 1:
            stats.started_wide(seats)
        return ticket

    def enqueue(self, flow: Flow, work: Work, route: Route, user: str, now: float, *, held: bool) -> Ticket | str:
        """A waiting ticket, which `dispatch` starts when its turn has come, or the reason why it is refused.

        `held`: requests wait although seats are free, for the event loop is busy.
        """
        self.advance(now)
        seats = work.seats
        stats = flow.stats
        if not self.queuing.queues:
            if self.demand and self.demand + seats > self.limit:
                return self._refuse(stats, CONCURRENCY_LIMIT)
            queue = self.plain
        else:
            queue = self._choose(flow)
            if len(queue.waiting) >= self.queuing.length_limit and (held or self.in_use >= self.limit):
                return self._refuse(stats, QUEUE_FULL)
        ticket = Ticket(flow, queue, route, user, seats, now)
        self._describe(ticket, work)
        ticket.is_waiting = True
        ticket.arrived_r = self.r
        if not queue.executing and not queue.waiting:
            self.busy += 1
            queue.next_r = self.r
        queue.waiting.append(ticket)
        queue.waiting_seats += seats
        queue.waiting_charge += ticket.charge
        self.waiting += 1
        self.waiting_seats += seats
        self._note_demand()
        self._bound(queue)
        stats.enqueued(seats, len(queue.waiting))
        return ticket

    def dispatch(self, now: float) -> Ticket | None:
        """Starts the request whose turn it is, if there is one and it has a seat."""
        if not self.waiting or (self.in_use >= self.limit and self.queuing.queues):
            return None
        self.advance(now)
        queue = self._next_queue()
        ticket = queue.waiting[0]
        if not self._fits(ticket.seats):
            ticket.flow.stats.not_accommodated += 1
            return None
        queue.waiting.popleft()
        self._leave_queue(ticket)
        if queue.index >= 0:
            self._robin = queue.index
        ticket.started = now
        queue.next_r += ticket.charge
        queue.executing.add(ticket)
        queue.seats += ticket.seats
        self.in_use += ticket.seats
        self.executing += 1
        self.dispatched += 1
        self._note_demand()
        self._bound(queue)
        ticket.flow.stats.dispatched(ticket.seats, now - ticket.arrived)
        return ticket

    def finish(self, ticket: Ticket, now: float) -> float:
        """Ends a running request. Answers for how many seconds more its seats stay taken; then call `release`."""
        if self.demand:
            self.advance(now)
        ticket.is_done = True
        queue = ticket.queue
        queue.executing.discard(ticket)
        self.executing -= 1
        lasted = now - ticket.started
        flow = ticket.flow
        flow.stats.finished(lasted, ticket.is_watch)
        queue.next_r += ticket.initial_seats * (lasted - SERVICE_SECONDS)
        if queue.waiting:
            self._bound(queue)
        elif not queue.executing:
            self.busy -= 1
        if ticket.echo_seconds:
            flow.stats.echoes()
            return ticket.echo_seconds
        seats = ticket.seats
        queue.seats -= seats
        self.in_use -= seats
        self.demand -= seats
        if seats != 1:
            flow.stats.released_wide(seats)
        if len(self.queues) > self.queuing.queues:
            self._drop_surplus()
        return 0.0

    def release(self, ticket: Ticket, now: float) -> None:
        """Frees the seats of a request that had an echo."""
        self.advance(now)
        ticket.queue.seats -= ticket.seats
        self.in_use -= ticket.seats
        self.demand -= ticket.seats
        ticket.flow.stats.echoed(ticket.seats)
        self._drop_surplus()

    def cancel(self, ticket: Ticket, now: float, reason: str) -> None:
        """Takes a waiting request out of its queue: it waited too long, or its client has gone."""
        self.advance(now)
        queue = ticket.queue
        queue.waiting.remove(ticket)
        self._leave_queue(ticket)
        ticket.is_done = True
        if not queue.waiting and not queue.executing:
            self.busy -= 1
        self._note_demand()
        self._bound(queue)
        self.cancelled += 1
        if reason == TIME_OUT:
            self.timed_out += 1
        self.rejected += 1
        ticket.flow.stats.cancelled(ticket.seats, now - ticket.arrived)
        self._drop_surplus()

    # What is to be seen

    def tickets(self) -> Iterator[Ticket]:
        """Running and waiting, queue by queue."""
        for queue in (self.plain, *self.queues):
            yield from queue.executing
            yield from queue.waiting

    def advance(self, now: float) -> None:
        """Brings meter and integrals up to `now`; before every change of what they are made of."""
        elapsed = now - self.at
        if elapsed <= 0:
            return
        self.at = now
        demand = self.demand
        if demand:
            area = demand * elapsed
            self.area += area
            self.square += demand * area
            if self.busy:
                self.r += self.in_use * elapsed / self.busy

    # Inside

    def _hand(self, flow: Flow) -> tuple[int, ...]:
        queuing = self.queuing
        if queuing.queues > 1:
            entropy = flow_hash(flow.schema, flow.distinguisher)
            flow.hand = deal_hand(entropy, queues=queuing.queues, hand_size=queuing.hand_size)
        else:
            flow.hand = (0,)
        return flow.hand

    def _choose(self, flow: Flow) -> Queue:
        """Of the flow's queues the one with the least work waiting; the first look goes round."""
        hand = flow.hand or self._hand(flow)
        first = self._dealt % len(hand)
        self._dealt += 1
        queues = self.queues
        return min((queues[index] for index in (*hand[first:], *hand[:first])), key=_waiting_charge)

    def _refuse(self, stats: FlowStats, reason: str) -> str:
        self.rejected += 1
        stats.refused(reason)
        return reason

    def _describe(self, ticket: Ticket, work: Work) -> float:
        """Fills in what is not one plain seat. An echo wider than the level becomes narrower and longer."""
        if work.final_seats > self.limit and not self.exempt:
            work = work.within(max(1, self.limit))
        ticket.initial_seats = work.initial_seats
        ticket.echo_seconds = work.echo_seconds
        ticket.charge = work.charge
        return ticket.charge

    def _fits(self, seats: int) -> bool:
        if self.exempt:
            return True
        if seats > self.limit:
            return not self.executing  # wider than the level will ever be: alone, then
        return self.in_use + seats <= self.limit

    def _next_queue(self) -> Queue:
        """Of the queues where somebody waits, the one that would be furthest behind with its next request done."""
        if self.plain.waiting:
            return self.plain
        queues, count = self.queues, len(self.queues)
        best: Queue | None = None
        best_finish = least = most = least_less = most_less = 0.0
        for step in range(1, count + 1):
            queue = queues[(self._robin + step) % count]
            if not queue.waiting:
                continue
            mark = queue.next_r
            less = mark - queue.seats * SERVICE_SECONDS
            finish = mark + queue.waiting[0].charge
            if best is None:
                best, best_finish = queue, finish
                least = most = mark
                least_less = most_less = less
                continue
            if finish < best_finish:
                best, best_finish = queue, finish
            least, most = min(least, mark), max(most, mark)
            least_less, most_less = min(least_less, less), max(most_less, less)
        assert best is not None
        self.dispatch_r = (self.r, best.next_r, least, most, least_less, most_less)
        return best

    def _bound(self, queue: Queue) -> None:
        """Whoever waits was not here before it came: a queue that used less than it might cannot claim it later."""
        if queue.waiting and queue.next_r < queue.waiting[0].arrived_r:
            queue.next_r = queue.waiting[0].arrived_r

    def _leave_queue(self, ticket: Ticket) -> None:
        ticket.is_waiting = False
        queue = ticket.queue
        queue.waiting_seats -= ticket.seats
        queue.waiting_charge = queue.waiting_charge - ticket.charge if queue.waiting else 0.0
        self.waiting -= 1
        self.waiting_seats -= ticket.seats

    def _note_demand(self) -> None:
        self.demand = self.in_use + self.waiting_seats
        if self.demand > self.peak:
            self.peak = self.demand

    def _drop_surplus(self) -> None:
        """From the end, so that no queue changes its number."""
        queues = self.queues
        while len(queues) > self.queuing.queues:
            last = queues[-1]
            if last.executing or last.waiting or last.seats:
                return
            queues.pop()


def _waiting_charge(queue: Queue) -> float:
    return queue.waiting_charge
