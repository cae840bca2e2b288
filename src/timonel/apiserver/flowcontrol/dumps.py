"""/debug/api_priority_and_fairness/: levels, queues and requests as tables for people.

Source: kubernetes.io/docs/reference/debug-cluster/flow-control.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from timonel.api.clock import Clock
from timonel.apiserver.flowcontrol.levels import Levels
from timonel.apiserver.flowcontrol.queue_set import QueueSet
from timonel.apiserver.flowcontrol.tickets import Ticket

_LEVELS = (
    "PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests",
    "DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests",
)  # fmt: skip
_QUEUES = (
    "PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR",
    "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum",
)  # fmt: skip
_REQUESTS = (
    "PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime",
    "InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime",
)  # fmt: skip
"""The seventh letter that is missing is missing upstream, and in the scripts that read it."""
_DETAILS = ("UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource")
_LEAST_WIDTH = 8

Row = tuple[str, ...]


def dump_levels(levels: Levels) -> str:
    rows: list[Row] = []
    for name, level in sorted(levels.by_name.items()):
        queues = level.queue_set
        stats = level.stats.values()
        rows.append((
            name,
            str(sum(1 for queue in queues.queues if queue.waiting)),
            _bool(queues.is_idle),
            _bool(level.is_leaving),
            str(queues.waiting),
            str(queues.executing),
            str(sum(each.started for each in stats)),
            str(sum(sum(each.rejected.values()) for each in stats)),
            str(queues.timed_out),
            str(queues.cancelled),
        ))  # fmt: skip
    return _table((_LEVELS, *rows))


def dump_queues(levels: Levels) -> str:
    rows: list[Row] = []
    for level in levels.by_name.values():
        for queue in level.queue_set.queues:
            rows.append((
                level.name,
                str(queue.index),
                str(len(queue.waiting)),
                str(len(queue.executing)),
                str(sum(ticket.work.seats for ticket in queue.executing)),
                f"{queue.next_r:.8f}ss",
                str(sum(ticket.work.initial_seats for ticket in queue.waiting)),
                str(queue.waiting_seats),
                f"{queue.waiting_charge:.8f}ss",
            ))  # fmt: skip
    return _table((_QUEUES, *rows))


def dump_requests(levels: Levels, clock: Clock, *, details: bool) -> str:
    """Those that run have no index in a queue, which is shown as -1."""
    elapsed, now = clock.monotonic(), clock.now()

    def moment(at: float) -> str:
        return (now - timedelta(seconds=elapsed - at)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    rows: list[Row] = [(*_REQUESTS, *_DETAILS) if details else _REQUESTS]
    for level in levels.by_name.values():
        rows += (_request(level.queue_set, ticket, moment, details) for ticket in level.queue_set.tickets())
    return _table(rows)


def _request(queues: QueueSet, ticket: Ticket, moment: Callable[[float], str], details: bool) -> Row:
    flow, work, route = ticket.flow, ticket.work, ticket.route
    row = (
        queues.name,
        flow.schema,
        str(ticket.queue.index),
        str(ticket.queue.waiting.index(ticket)) if ticket.is_waiting else "-1",
        flow.distinguisher,
        moment(ticket.started if ticket.arrived is None else ticket.arrived),
        str(work.initial_seats),
        str(work.final_seats),
        f"{work.echo_seconds:g}s",
        # Go's zero time: it has not started.
        "0001-01-01T00:00:00Z" if ticket.is_waiting else moment(ticket.started),
    )
    if not details:
        return row
    version = f"{route.group}/{route.version}" if route.group else route.version
    return (
        *row, ticket.user.name, route.verb, route.path, route.namespace, route.name, version, route.resource,
        route.subresource,
    )  # fmt: skip


def _table(rows: Iterable[Row]) -> str:
    """Columns aligned, a comma after each but the last."""
    lines = [[f"{cell}," for cell in row[:-1]] + [row[-1]] for row in rows]
    widths = [max(len(line[index]) for line in lines) + 1 for index in range(len(lines[0]))]
    aligned = [
        "".join(cell.ljust(max(width, _LEAST_WIDTH)) for cell, width in zip(line[:-1], widths, strict=False)) + line[-1]
        for line in lines
    ]
    return "\n".join(aligned) + "\n"


def _bool(value: bool) -> str:
    return "true" if value else "false"
