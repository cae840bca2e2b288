"""Requests as priority and fairness sees them: the queue they are in, the flow they belong to, where they have come."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.flowcontrol.flow_stats import FlowStats
from timonel.apiserver.flowcontrol.work import ONE_SEAT
from timonel.apiserver.routing import Route

if TYPE_CHECKING:
    from timonel.apiserver.flowcontrol.queue_set import QueueSet


class Queue:
    """Requests of the flows that were dealt this queue. `index` is -1 for the queue of a level without queues."""

    __slots__ = ("executing", "index", "next_r", "waiting", "waiting_charge", "waiting_seats")

    def __init__(self, index: int) -> None:
        self.index = index
        self.next_r = 0.0
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
    arrived: float | None = None
    """None: it did not wait."""
    arrived_r = 0.0
    work = ONE_SEAT
    is_waiting = False
    is_done = False
    is_watch = False

    def __init__(self, flow: Flow, queue: Queue, route: Route, user: UserInfo, now: float) -> None:
        self.flow = flow
        self.queue = queue
        self.route = route
        self.user = user
        self.started = now
