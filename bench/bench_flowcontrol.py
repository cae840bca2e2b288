"""What priority and fairness costs a request that finds a free seat, and what a full queue set costs one that waits.

    python -m bench.bench_flowcontrol

Budget: 2 % of a GET (bench_apiserver), which is 2.6 µs. No sockets; the figures are CPU time of one core.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import uvloop

from timonel.api.clock import SystemClock
from timonel.api.kinds.flowcontrol.mandatory import MANDATORY_FLOW_SCHEMAS, MANDATORY_PRIORITY_LEVELS
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.flowcontrol.control import FlowControl
from timonel.apiserver.flowcontrol.levels import Levels
from timonel.apiserver.flowcontrol.suggested import (
    SUGGESTED_FLOW_SCHEMAS,
    SUGGESTED_PRIORITY_LEVELS,
    bootstrap_object,
)
from timonel.apiserver.routing import parse_route

COUNT = 200_000
BUDGET_NANOSECONDS = 2600


def control() -> FlowControl:
    clock = SystemClock()
    levels = Levels(total=600, now=clock.monotonic())
    objects: list[list[Any]] = [
        [bootstrap_object(name, spec) for name, spec in specs.items()]
        for specs in (
            SUGGESTED_PRIORITY_LEVELS | MANDATORY_PRIORITY_LEVELS,
            SUGGESTED_FLOW_SCHEMAS | MANDATORY_FLOW_SCHEMAS,
        )
    ]
    levels.take(objects[0], objects[1], clock.monotonic())
    return FlowControl(levels=levels, clock=clock, stored=lambda group, resource: (500, 2000))


async def at_once(user: UserInfo, method: str, path: str) -> float:
    """Nanoseconds of admit and leave together."""
    flow_control = control()
    flow_control.turns.begin()  # one long turn: its end costs a call for each dozen requests, not for each
    routes = [parse_route(method, path) for _ in range(64)]
    started = time.process_time()
    for number in range(COUNT):
        flow_control.turns.left = 100
        ticket = flow_control.admit(routes[number & 63], user)
        assert ticket is not None
        flow_control.leave(ticket)
    return (time.process_time() - started) / COUNT * 1e9


async def waiting(count: int = 300) -> float:
    """Nanoseconds of a request that waits for its turn, with `count` others of its user."""
    flow_control = control()
    user = UserInfo("noisy", groups=("system:authenticated",))
    route = parse_route("GET", "/api/v1/namespaces/default/pods/web")
    rounds = 100

    async def request() -> None:
        ticket = flow_control.admit(route, user) or await flow_control.wait(route, user)
        flow_control.leave(ticket)

    started = time.process_time()
    for _ in range(rounds):
        await asyncio.gather(*(request() for _ in range(count)))
    return (time.process_time() - started) / (rounds * count) * 1e9


async def main() -> None:
    alice = UserInfo("alice", "uid", ("people", "system:authenticated"))
    node = UserInfo("system:node:node-1", "", ("system:nodes", "system:authenticated"))
    for what, user, method, path in (
        ("GET a pod, a person", alice, "GET", "/api/v1/namespaces/default/pods/web"),
        ("renew a lease, a node", node, "PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-1"),
        ("LIST pods, a person", alice, "GET", "/api/v1/namespaces/default/pods?limit=500"),
    ):
        figure = min([await at_once(user, method, path) for _ in range(3)])
        print(f"flow control, {what:31} {figure:10.0f} ns  budget {BUDGET_NANOSECONDS} ns")
    print(f"flow control, {'GET that waits a turn or more':31} {min([await waiting() for _ in range(3)]):10.0f} ns")


if __name__ == "__main__":
    uvloop.run(main())
