"""Levels, flows and a control with virtual time for these tests."""

from __future__ import annotations

from typing import Any

from timonel.api.kinds.flowcontrol.mandatory import MANDATORY_FLOW_SCHEMAS, MANDATORY_PRIORITY_LEVELS
from timonel.api.objects import Object
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.flowcontrol.dealing import Queuing
from timonel.apiserver.flowcontrol.flow_stats import FlowStats
from timonel.apiserver.flowcontrol.levels import Levels
from timonel.apiserver.flowcontrol.queue_set import QueueSet
from timonel.apiserver.flowcontrol.suggested import (
    SUGGESTED_FLOW_SCHEMAS,
    SUGGESTED_PRIORITY_LEVELS,
    bootstrap_object,
)
from timonel.apiserver.flowcontrol.tickets import Flow, Ticket
from timonel.apiserver.flowcontrol.work import ONE_SEAT, Work
from timonel.apiserver.routing import Route, parse_route

USER = UserInfo("alice", groups=("people", "system:authenticated"))
GET = parse_route("GET", "/api/v1/namespaces/default/pods/web")


def default_objects() -> tuple[list[Object], list[Object]]:
    """Levels and schemas."""
    levels = SUGGESTED_PRIORITY_LEVELS | MANDATORY_PRIORITY_LEVELS
    schemas = SUGGESTED_FLOW_SCHEMAS | MANDATORY_FLOW_SCHEMAS
    return (
        [bootstrap_object(name, spec) for name, spec in levels.items()],
        [bootstrap_object(name, spec) for name, spec in schemas.items()],
    )


def default_levels(total: int = 600) -> Levels:
    levels = Levels(total=total, now=0.0)
    levels.take(*default_objects(), 0.0)
    return levels


def level(limit: int, *, queues: int = 64, hand_size: int = 6, length_limit: int = 50) -> QueueSet:
    made = QueueSet("level", now=0.0)
    made.configure(Queuing(queues, hand_size, length_limit) if queues else Queuing())
    made.limit = limit
    return made


def flow(queue_set: QueueSet, name: str, **more: Any) -> Flow:
    return Flow(queue_set, FlowStats(), schema="schema", distinguisher=name, **more)


class Crowd:
    """Drives one level in virtual time: every request takes as long as it is told, and is asked for again at once."""

    def __init__(self, queue_set: QueueSet) -> None:
        self.queue_set = queue_set
        self.now = 0.0
        self.running: list[tuple[float, int, Ticket]] = []
        self.lasting: dict[Ticket, float] = {}
        self.served: dict[str, float] = {}
        """Seat-seconds by flow."""
        self.waited: dict[str, list[float]] = {}
        self.refused = 0

    def ask(self, asking: Flow, seconds: float, work: Work = ONE_SEAT, route: Route = GET) -> Ticket | None:
        ticket: Ticket | str | None = self.queue_set.begin(asking, work, route, USER, self.now)
        if ticket is None:
            ticket = self.queue_set.enqueue(asking, work, route, USER, self.now, held=False)
        if isinstance(ticket, str):
            self.refused += 1
            return None
        self.lasting[ticket] = seconds
        if not ticket.is_waiting:
            self._run(ticket)
        self.dispatch()
        return ticket

    def dispatch(self) -> None:
        while (ticket := self.queue_set.dispatch(self.now)) is not None:
            self._run(ticket)

    def step(self) -> Ticket:
        """Until the next request has ended; answers which."""
        self.running.sort(key=lambda item: item[:2])
        self.now, _, ticket = self.running.pop(0)
        echo = self.queue_set.finish(ticket, self.now)
        assert not echo
        seconds = self.now - ticket.started
        name = ticket.flow.distinguisher
        self.served[name] = self.served.get(name, 0.0) + seconds * ticket.work.seats
        self.dispatch()
        return ticket

    def _run(self, ticket: Ticket) -> None:
        self.waited.setdefault(ticket.flow.distinguisher, []).append(
            self.now - (self.now if ticket.arrived is None else ticket.arrived)
        )
        self.running.append((self.now + self.lasting.pop(ticket), len(self.waited), ticket))
