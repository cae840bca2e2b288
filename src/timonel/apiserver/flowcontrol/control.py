"""Every request passes here between "who asks" and "may they": a seat at once, a place in a queue, or 429.

The decisions are made by `levels`, `queue_set` and `turns`, which are pure; this module has the clock, the futures and
the event loop. `admit` is the common case and has no `await`: nobody waits, a seat is free, the turn of the event loop
has room. Otherwise `wait`.

Requests that end when their client wishes (logs, exec, attach, port-forward, proxy) hold no seat; a watch holds one
until it has sent what there is.
Source: kubernetes.io/docs/concepts/cluster-administration/flow-control, KEP-1040.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count

from timonel.api.clock import Clock
from timonel.api.durations import InvalidDuration, parse_duration
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.flowcontrol.levels import Levels
from timonel.apiserver.flowcontrol.protocol import Cancellable, Later, Refused, untracked_ticket
from timonel.apiserver.flowcontrol.queue_set import CANCELLED, TIME_OUT, QueueSet
from timonel.apiserver.flowcontrol.retry_after import RetryAfter
from timonel.apiserver.flowcontrol.tickets import Flow, Ticket
from timonel.apiserver.flowcontrol.turns import Turns
from timonel.apiserver.flowcontrol.work import ONE_SEAT, Stored, WatchCounts, Work, list_work, write_work
from timonel.apiserver.routing import STREAMS, Route

_REQUEST_SECONDS = 60.0
"""How long clients that do not say otherwise are taken to wait for an answer. A quarter of it may go by in a queue."""
_LONGEST_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.5
"""While requests wait, those whose time is over are looked for at least so often."""
_LISTS, _WRITES = frozenset({"list", "watch"}), frozenset({"create", "update", "patch", "delete"})
_REFUSED_PART = 4
"""One in so many of a turn's requests may be refusals: whoever ignores Retry-After must not fill turns with them."""


class FlowControl:
    """Implements `Control`. `stored` tells how much a list of some resource would read."""

    def __init__(
        self,
        *,
        levels: Levels,
        clock: Clock,
        stored: Stored,
        later: Later | None = None,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self.levels = levels
        self.turns = Turns(cpu=cpu)
        self.watches = WatchCounts()
        self._now = clock.monotonic
        self._stored = stored
        self._given_later = later
        self._refusals: deque[asyncio.Future[None]] = deque()
        self._refused_in_turn = 0
        self._deadlines: list[tuple[float, int, Ticket]] = []
        self._order = count()
        self._is_expiring = False

    # The way in

    def admit(self, route: Route, user: UserInfo) -> Ticket | None:
        if route.subresource in STREAMS:
            return untracked_ticket(user, route)
        flow = self.levels.flow_of(route, user)
        queue_set = flow.queue_set
        verb = route.verb
        work = ONE_SEAT if verb == "get" else self._work(route, flow)
        now = self._now()
        turns = self.turns
        if not turns.is_open:
            turns.begin()
            asyncio.get_running_loop().call_soon(self._end_turn)
        if turns.left <= 0 and not queue_set.exempt and not turns.allows(queue_set, self.levels.total):
            return None
        ticket = queue_set.begin(flow, work, route, user, now)
        if ticket is not None:
            turns.left -= work.seats
            if verb == "watch":
                ticket.is_watch = True
        return ticket

    async def wait(self, route: Route, user: UserInfo) -> Ticket:
        flow = self.levels.flow_of(route, user)
        queue_set = flow.queue_set
        now = self._now()
        held = self.turns.left <= 0 or queue_set.waiting > 0
        found = queue_set.enqueue(flow, self._work(route, flow), route, user, now, held=held)
        if isinstance(found, str):
            await self._refuse(flow)
        assert isinstance(found, Ticket)
        found.is_watch = route.verb == "watch"
        future = found.future = asyncio.get_running_loop().create_future()
        if self.turns.left > 0:
            self._dispatch(queue_set, now)
        self._expire_later(found, now + _wait_seconds(route))
        try:
            await future
        except asyncio.CancelledError:
            if found.is_waiting:
                queue_set.cancel(found, self._now(), CANCELLED)
                self._dispatch(queue_set, self._now())
            else:
                self.leave(found)
            raise
        if found.is_done:
            await self._refuse(flow)
        return found

    # The way out

    def leave(self, ticket: Ticket) -> None:
        if ticket.is_done:
            return
        queue_set = ticket.flow.queue_set
        now = self._now()
        echo = queue_set.finish(ticket, now)
        if echo:
            self._later(echo, lambda: self._release(ticket))
        elif queue_set.waiting:
            self._dispatch(queue_set, now)

    def adjust(self) -> None:
        """To be called once a period (`limits.PERIOD_SECONDS`)."""
        now = self._now()
        self.levels.adjust(now)
        self.dispatch_all(now)

    def dispatch_all(self, now: float) -> None:
        """After limits or queues have changed."""
        for queue_set in self.levels.queue_sets:
            self._dispatch(queue_set, now)

    # Inside

    def _work(self, route: Route, flow: Flow) -> Work:
        verb = route.verb
        if verb in _LISTS:
            if not route.resource:
                return ONE_SEAT
            return list_work(route, self._stored(route.group, route.resource), flow.widest)
        if verb in _WRITES and route.subresource != "token":
            watches = self.watches.of(route)
            flow.stats.watches.observe(watches)
            return write_work(watches, flow.widest)
        return ONE_SEAT

    def _dispatch(self, queue_set: QueueSet, now: float) -> None:
        turns = self.turns
        while queue_set.waiting:
            ticket = queue_set.dispatch(now) if turns.left > 0 else None
            if ticket is None:
                return
            self._go_on()
            turns.left -= ticket.work.seats
            _wake(ticket)

    def _end_turn(self) -> None:
        now = self._now()
        turns = self.turns
        turns.end()
        self._refused_in_turn = 0
        started = turns.dispatch(self.levels.queue_sets, now)
        for ticket in started:
            _wake(ticket)
        refused = self._let_refusals_go()
        if started or refused:
            self._go_on()

    def _go_on(self) -> None:
        if not self.turns.is_open:
            self.turns.begin()
            asyncio.get_running_loop().call_soon(self._end_turn)

    def _let_refusals_go(self) -> bool:
        refusals, most = self._refusals, max(1, self.turns.quota // _REFUSED_PART)
        while refusals and self._refused_in_turn < most:
            future = refusals.popleft()
            if not future.done():
                self._refused_in_turn += 1
                self.turns.left -= 1
                future.set_result(None)
        return self._refused_in_turn > 0

    async def _refuse(self, flow: Flow) -> None:
        """Raises Refused: at once, or when those who were refused before have been told."""
        level = self.levels.by_name.get(flow.queue_set.name)
        retry_after = RetryAfter() if level is None else level.retry_after  # None: it went when its queues were empty
        now = self._now()
        retry_after.refused(int(now))
        future = asyncio.get_running_loop().create_future()
        self._refusals.append(future)
        self._let_refusals_go()
        self._go_on()
        await future
        raise Refused(retry_after.seconds, flow.header)

    def _expire_later(self, ticket: Ticket, deadline: float) -> None:
        """One timer for all: of those that wait, nearly all are gone before their time is over."""
        heappush(self._deadlines, (deadline, next(self._order), ticket))
        if not self._is_expiring:
            self._is_expiring = True
            self._later(min(deadline - self._now(), _LOOK_SECONDS), self._expire)

    def _expire(self) -> None:
        now = self._now()
        deadlines = self._deadlines
        while deadlines and (deadlines[0][0] <= now or not deadlines[0][2].is_waiting):
            ticket = heappop(deadlines)[2]
            if ticket.is_waiting and ticket.future is not None and not ticket.future.done():
                ticket.flow.queue_set.cancel(ticket, now, TIME_OUT)
                ticket.future.set_result(None)
                self._dispatch(ticket.flow.queue_set, now)
        self._is_expiring = bool(deadlines)
        if deadlines:
            self._later(min(deadlines[0][0] - now, _LOOK_SECONDS), self._expire)

    def _release(self, ticket: Ticket) -> None:
        now = self._now()
        queue_set = ticket.flow.queue_set
        queue_set.release(ticket, now)
        self._dispatch(queue_set, now)

    def _later(self, seconds: float, callback: Callable[[], object]) -> Cancellable:
        if self._given_later is not None:
            return self._given_later(seconds, callback)
        return asyncio.get_running_loop().call_later(seconds, callback)


def _wake(ticket: Ticket) -> None:
    """Whoever awaits it may have been cancelled in this very turn; it then sees that its ticket runs, and leaves."""
    future = ticket.future
    if future is not None and not future.done():
        future.set_result(None)


def _wait_seconds(route: Route) -> float:
    """A quarter of the time the client gives the request, at most a minute."""
    seconds = _REQUEST_SECONDS
    if route.query and route.verb != "watch" and (text := route.text("timeout")):
        with suppress(InvalidDuration):  # refused later, by somebody who says why
            given = float(parse_duration(text))
            seconds = given if 0 < given < _REQUEST_SECONDS else _REQUEST_SECONDS
    return min(seconds / 4, _LONGEST_WAIT_SECONDS)
