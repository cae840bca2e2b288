"""Under overload, in virtual time: whoever asks for little waits about a turn, whatever others ask for."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.flowcontrol.control import FlowControl
from timonel.apiserver.flowcontrol.max_in_flight import MaxInFlight
from timonel.apiserver.flowcontrol.protocol import Refused
from timonel.apiserver.flowcontrol.tickets import Ticket
from timonel.apiserver.routing import Route, parse_route
from timonel.testing.clock import VirtualClock, settle

from .worlds import default_levels

AUTHENTICATED = "system:authenticated"
NOISY = UserInfo("noisy", groups=(AUTHENTICATED,))
NODE = UserInfo("system:node:node-1", groups=("system:nodes", AUTHENTICATED))
MANAGER = UserInfo("system:kube-controller-manager", groups=(AUTHENTICATED,))
MASTER = UserInfo("root", groups=("system:masters", AUTHENTICATED))
GET = parse_route("GET", "/api/v1/namespaces/default/pods/web")
LEASE = parse_route("PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/timonel")
HEARTBEAT = parse_route("PATCH", "/api/v1/nodes/node-1/status")
REQUEST_SECONDS = 0.0001


class World:
    """One event loop whose requests take a tenth of a millisecond each and never wait for anything by themselves."""

    def __init__(self, total: int = 600) -> None:
        self.clock = VirtualClock()
        self.levels = default_levels(total)
        self.control = FlowControl(
            levels=self.levels,
            clock=self.clock,
            stored=lambda group, resource: None,
            later=self.later,
            cpu=self.clock.monotonic,
        )
        self.log: list[str] = []
        self.refused = 0
        self.tasks: list[asyncio.Task[None]] = []

    def later(self, delay: float, callback: object) -> asyncio.Task[None]:
        async def wait() -> None:
            await self.clock.sleep(delay)
            assert callable(callback)
            callback()

        return asyncio.create_task(wait())

    def ask(self, user: UserInfo, route: Route = GET, *, times: int = 1) -> asyncio.Task[None]:
        task = asyncio.create_task(self._requests(user, route, times))
        self.tasks.append(task)
        return task

    async def _requests(self, user: UserInfo, route: Route, times: int) -> None:
        for _ in range(times):
            try:
                ticket = self.control.admit(route, user) or await self.control.wait(route, user)
            except Refused:
                self.refused += 1
                continue
            self.clock._elapsed += REQUEST_SECONDS
            self.log.append(user.name)
            self.control.leave(ticket)

    async def finish(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.mark.parametrize(("user", "route"), [(NODE, HEARTBEAT), (MANAGER, LEASE), (MASTER, GET)])
async def test_system_traffic_passes_a_thousand_connections(user: UserInfo, route: Route) -> None:
    world = World()
    for _ in range(2000):
        world.ask(NOISY, times=20)
    for _ in range(20):  # let it get loud
        await asyncio.sleep(0)
    waited = []
    for _ in range(50):
        before = len(world.log)
        await world.ask(user, route)
        waited.append(len(world.log) - before)
    # Of the noise, no more than two turns' worth went before it: a turn is 10 ms, a request 0.1 ms.
    assert max(waited) <= 2 * world.control.turns.quota
    assert world.log.count("noisy") > 500  # which goes on
    assert world.refused > 0
    await world.finish()


async def test_turns_learn_how_much_fits_into_them() -> None:
    world = World()
    for _ in range(300):
        world.ask(NOISY, times=40)
    for _ in range(100):
        await asyncio.sleep(0)
    # 10 ms at 0.1 ms each; refusals cost nothing here but are counted, so that it is a little more.
    assert 90 <= world.control.turns.quota <= 140
    await world.finish()


async def test_two_users_of_one_level_get_the_same() -> None:
    world = World()
    other = UserInfo("other", groups=(AUTHENTICATED,))
    for _ in range(1000):
        world.ask(NOISY, times=50)
    for _ in range(100):
        world.ask(other, times=50)
    for _ in range(20):
        await asyncio.sleep(0)
    world.log.clear()
    for _ in range(60):
        await asyncio.sleep(0)
    assert world.log.count("other") / world.log.count("noisy") == pytest.approx(1, abs=0.35)
    await world.finish()


async def test_levels_share_turns_by_their_limits() -> None:
    world = World()
    pod = UserInfo("system:serviceaccount:default:app", groups=("system:serviceaccounts", AUTHENTICATED))
    for user in (NOISY, pod):
        for _ in range(290):
            world.ask(user, times=60)
    for _ in range(20):
        await asyncio.sleep(0)
    world.log.clear()
    for _ in range(60):
        await asyncio.sleep(0)
    limits = {name: level.queue_set.limit for name, level in world.levels.by_name.items()}
    expected = limits["global-default"] / limits["workload-low"]
    assert world.log.count("noisy") / world.log.count(pod.name) == pytest.approx(expected, rel=0.2)
    await world.finish()


async def test_a_quiet_server_makes_nobody_wait_and_does_not_spin() -> None:
    world = World()
    for _ in range(30):
        ticket = world.control.admit(GET, NOISY)
        assert isinstance(ticket, Ticket)
        world.control.leave(ticket)
    await settle()
    assert not world.control.turns.is_open


async def hold(world: World, user: UserInfo, count: int) -> list[Ticket]:
    """Requests that got a seat and keep it, as those that wait for the store."""
    tickets = []
    for _ in range(count):
        ticket = world.control.admit(GET, user)
        assert ticket is not None
        tickets.append(ticket)
        await settle(3)
    return tickets


async def test_a_request_waits_a_quarter_of_its_time_for_a_seat() -> None:
    world = World()
    limit = world.levels.by_name["global-default"].queue_set.limit
    await hold(world, NOISY, limit)
    for route, seconds in ((GET, 15.0), (parse_route("GET", "/api/v1/pods?timeout=8s"), 2.0)):
        assert world.control.admit(route, NOISY) is None
        waiting = asyncio.create_task(world.control.wait(route, NOISY))
        await world.clock.advance(seconds - 0.1)
        assert not waiting.done()
        await world.clock.advance(0.2)
        with pytest.raises(Refused) as refused:
            await waiting
        assert refused.value.message == "Too many requests, please try again later."
        assert refused.value.reason == "TooManyRequests"
        assert refused.value.retry_after_seconds == 1
    stats = world.levels.by_name["global-default"].stats["global-default"]
    assert stats.rejected == {"time-out": 2}


async def test_a_freed_seat_goes_to_who_waits() -> None:
    world = World()
    limit = world.levels.by_name["global-default"].queue_set.limit
    tickets = await hold(world, NOISY, limit)
    waiting = asyncio.create_task(world.control.wait(GET, NOISY))
    await settle()
    assert not waiting.done()
    world.control.leave(tickets[0])
    world.control.leave(tickets[0])  # as a watch does that has begun, and then ends
    await settle()
    assert waiting.done()
    assert world.levels.by_name["global-default"].queue_set.in_use == limit


async def test_clients_that_go_leave_nothing_behind() -> None:
    world = World()
    queue_set = world.levels.by_name["global-default"].queue_set
    tickets = await hold(world, NOISY, queue_set.limit)
    gone = [asyncio.create_task(world.control.wait(GET, NOISY)) for _ in range(3)]
    await settle()
    gone[0].cancel()
    await settle()
    world.control.leave(tickets.pop())  # and in the same moment the next one's client goes
    gone[1].cancel()
    await settle()
    assert gone[2].done()
    tickets.append(gone[2].result())
    for ticket in tickets:
        world.control.leave(ticket)
    assert queue_set.is_idle
    for task in gone[:2]:
        with suppress(asyncio.CancelledError):
            await task


async def test_streams_hold_no_seat() -> None:
    world = World()
    for path in ("pods/web/log", "pods/web/exec", "pods/web/portforward", "services/web/proxy"):
        ticket = world.control.admit(parse_route("GET", f"/api/v1/namespaces/default/{path}"), NOISY)
        assert ticket is not None
        assert ticket.is_done
    assert all(level.queue_set.is_idle for level in world.levels.by_name.values())


async def test_borrowed_seats_let_waiting_requests_go() -> None:
    world = World()
    queue_set = world.levels.by_name["global-default"].queue_set
    first = queue_set.limit
    await hold(world, NOISY, first)
    waiting = [asyncio.create_task(world.control.wait(GET, NOISY)) for _ in range(100)]
    await world.clock.advance(9)
    assert not any(task.done() for task in waiting)
    world.control.adjust()
    await settle()
    assert queue_set.limit > first
    assert sum(task.done() for task in waiting) == min(100, queue_set.limit - first)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_plain_limits() -> None:
    control = MaxInFlight(reads=2, writes=1)
    held = [control.admit(GET, NOISY), control.admit(GET, NOISY)]
    assert control.admit(GET, NOISY) is None
    assert control.admit(GET, MASTER) is not None
    assert control.admit(parse_route("GET", "/api/v1/pods?watch=true"), NOISY) is not None
    assert control.admit(LEASE, NOISY) is not None
    assert control.admit(LEASE, NOISY) is None
    with pytest.raises(Refused) as refused:
        await control.wait(GET, NOISY)
    assert refused.value.retry_after_seconds == 1
    assert held[0] is not None
    control.leave(held[0])
    assert control.admit(GET, NOISY) is not None
    assert MaxInFlight(reads=0, writes=0).admit(GET, NOISY) is not None


async def test_whoever_waited_in_a_level_that_goes_is_told_so() -> None:
    world = World()
    user = UserInfo("system:serviceaccount:default:app", groups=("system:serviceaccounts", AUTHENTICATED))
    flow = world.levels.flow_of(GET, user)
    flow.queue_set.limit = 0  # every seat is lent
    waiting = asyncio.create_task(world.control.wait(GET, user))
    await asyncio.sleep(0)
    world.levels.take((), (), 1.0)
    world.clock._elapsed = 60.0
    world.control._expire()  # its time is over, and before it hears of that the level goes
    world.control.adjust()
    assert flow.queue_set.name not in world.levels.by_name
    with pytest.raises(Refused):
        await waiting
    await world.finish()
