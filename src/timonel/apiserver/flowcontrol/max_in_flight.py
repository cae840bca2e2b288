"""Plain limits instead of priority and fairness: so many reads and so many writes at once, and 429 above.

Source: kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver (`--max-requests-inflight`,
`--max-mutating-requests-inflight`, `--enable-priority-and-fairness=false`).
"""

from __future__ import annotations

from timonel.apiserver.authn.user import MASTERS_GROUP, UserInfo
from timonel.apiserver.flowcontrol.flow_stats import FlowStats
from timonel.apiserver.flowcontrol.protocol import Refused, untracked_ticket
from timonel.apiserver.flowcontrol.queue_set import QueueSet
from timonel.apiserver.flowcontrol.tickets import Flow, Ticket
from timonel.apiserver.flowcontrol.work import ONE_SEAT, WatchCounts
from timonel.apiserver.routing import STREAMS, Route

_RETRY_SECONDS = 1
_READS = frozenset({"get", "list"})


class MaxInFlight:
    """Implements `control.Control`. A limit of 0 is none."""

    def __init__(self, *, reads: int, writes: int) -> None:
        self.watches = WatchCounts()
        self._reads = _counter("reads", reads)
        self._writes = _counter("writes", writes)

    def admit(self, route: Route, user: UserInfo) -> Ticket | None:
        if route.verb == "watch" or route.subresource in STREAMS:
            return untracked_ticket(user, route)
        flow = self._reads if route.verb in _READS else self._writes
        ticket = flow.queue_set.begin(flow, ONE_SEAT, route, user, 0.0)
        if ticket is None and MASTERS_GROUP in user.groups:
            return untracked_ticket(user, route)
        return ticket

    async def wait(self, route: Route, user: UserInfo) -> Ticket:
        raise Refused(_RETRY_SECONDS)

    def leave(self, ticket: Ticket) -> None:
        if not ticket.is_done:
            ticket.flow.queue_set.finish(ticket, 0.0)

    @property
    def in_flight(self) -> tuple[int, int]:
        """Reads and writes."""
        return self._reads.queue_set.executing, self._writes.queue_set.executing


def _counter(name: str, limit: int) -> Flow:
    queue_set = QueueSet(name, now=0.0, exempt=not limit)
    if limit:
        queue_set.limit = limit
    return Flow(queue_set, FlowStats())
