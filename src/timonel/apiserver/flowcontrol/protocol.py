"""What the server asks of priority and fairness, whichever keeps it: `control.FlowControl` or `max_in_flight`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from timonel.api.errors import TooManyRequests
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.flowcontrol.flow_stats import FlowStats
from timonel.apiserver.flowcontrol.queue_set import QueueSet
from timonel.apiserver.flowcontrol.tickets import Flow, Ticket
from timonel.apiserver.flowcontrol.work import WatchCounts
from timonel.apiserver.routing import Route

MESSAGE = "Too many requests, please try again later."


class Later(Protocol):
    """`loop.call_later`."""

    def __call__(self, delay: float, callback: Callable[[], object], /) -> Cancellable: ...


class Cancellable(Protocol):
    def cancel(self) -> None: ...


class Control(Protocol):
    """What the server asks: fair queues, or plain limits (`max_in_flight`)."""

    watches: WatchCounts

    def admit(self, route: Route, user: UserInfo) -> Ticket | None:
        """The request may go on. None: not at once, `wait`."""
        ...

    async def wait(self, route: Route, user: UserInfo) -> Ticket:
        """Until the request may go on. Raises Refused."""
        ...

    def leave(self, ticket: Ticket) -> None:
        """The request has ended, or a watch has begun. Again: nothing happens."""
        ...


class Refused(TooManyRequests):
    """`header`: lines for the answer's head, as those of any answer."""

    def __init__(self, seconds: int, header: bytes = b"") -> None:
        super().__init__(MESSAGE, retry_after_seconds=seconds)
        self.header = header


def untracked_ticket(user: UserInfo, route: Route) -> Ticket:
    """Of a request that is nobody's concern here."""
    ticket = Ticket(_NOBODY, _NOBODY.queue_set.plain, route, user, 0.0)
    ticket.is_done = True
    return ticket


_NOBODY = Flow(QueueSet("", now=0.0, exempt=True), FlowStats())
