"""Thresholds, delays and order of probes, in virtual time. Source: configuration/liveness-readiness-startup-probes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.kubelet.pods import SECOND, container, pod, sandbox
from timonel.api.objects import Object
from timonel.kubelet.pods.view import RUNNING, ContainerView, PodView, ProbeState, make_view
from timonel.kubelet.probes.actions import Outcome
from timonel.kubelet.probes.manager import Probes
from timonel.testing.clock import VirtualClock


class Asked:
    """Answers probes from a table and notes when each was asked, in seconds since the start."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.passes: dict[str, bool] = {}
        self.times: dict[str, list[float]] = {}
        self.takes_seconds = 0.0

    async def run(self, handler: Object, container: Object, container_id: str, pod_ip: str, timeout: float) -> Outcome:
        which = handler["tcpSocket"]["port"]
        self.times.setdefault(which, []).append(self.clock.monotonic())
        if self.takes_seconds:
            await self.clock.sleep(self.takes_seconds)
        return Outcome(self.passes.get(which, True), "why")


class Bench:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.asked = Asked(self.clock)
        self.told: list[tuple[str, str]] = []
        self.changes: list[str] = []
        self.probes = Probes(
            actions=self.asked,  # type: ignore[arg-type]
            clock=self.clock,
            tell=lambda pod, kind, container, event, reason, message: self.told.append((reason, message)),
            on_change=self.changes.append,
        )

    def view(self, *, age: float = 0) -> PodView:
        started = int((self.clock.now().timestamp() - age) * SECOND)
        return make_view([sandbox()], [ContainerView("id", "c", "s0", RUNNING, started_at=started)])

    def begin(self, age: float = 0, **probes: Any) -> None:
        self.pod = pod(container("c", **{f"{name}Probe": probe(name, **more) for name, more in probes.items()}))
        self.probes.sync(self.pod, self.view(age=age), "10.0.0.1")

    @property
    def state(self) -> ProbeState:
        return self.probes.results("uid-web").of("id")


def probe(name: str, **more: int) -> Object:
    return {"tcpSocket": {"port": name}, **more}


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.probes.forget("uid-web")
    await asyncio.sleep(0)


async def test_liveness_fails_after_its_threshold(bench: Bench) -> None:
    bench.asked.passes["liveness"] = False
    bench.begin(liveness={"periodSeconds": 5, "failureThreshold": 3, "initialDelaySeconds": 2})
    await bench.clock.advance(11)
    assert bench.state.liveness is True
    await bench.clock.advance(2)
    assert bench.state.liveness is False
    assert bench.asked.times["liveness"] == [2, 7, 12]
    assert bench.told == [("Unhealthy", "Liveness probe failed: why")] * 3
    assert bench.changes == ["uid-web"]


async def test_one_success_starts_the_count_again(bench: Bench) -> None:
    bench.asked.passes["liveness"] = False
    bench.begin(liveness={"periodSeconds": 5, "failureThreshold": 2})
    await bench.clock.advance(1)
    bench.asked.passes["liveness"] = True
    await bench.clock.advance(5)
    bench.asked.passes["liveness"] = False
    await bench.clock.advance(5)
    assert bench.state.liveness is True


async def test_readiness_needs_its_successes(bench: Bench) -> None:
    bench.begin(readiness={"periodSeconds": 5, "successThreshold": 2, "initialDelaySeconds": 1})
    await bench.clock.advance(2)
    assert bench.state.readiness is False
    await bench.clock.advance(5)
    assert bench.state.readiness is True


async def test_the_others_wait_for_startup(bench: Bench) -> None:
    bench.asked.passes["startup"] = False
    bench.begin(startup={"periodSeconds": 10, "failureThreshold": 3}, liveness={}, readiness={})
    await bench.clock.advance(15)
    assert set(bench.asked.times) == {"startup"}
    assert bench.state == ProbeState(startup=None, liveness=True, readiness=False)
    bench.asked.passes["startup"] = True
    await bench.clock.advance(10)
    assert bench.state == ProbeState(startup=True, liveness=True, readiness=True)


async def test_startup_fails_for_good(bench: Bench) -> None:
    bench.asked.passes["startup"] = False
    bench.begin(startup={"periodSeconds": 10, "failureThreshold": 2})
    await bench.clock.advance(30)
    assert bench.state.startup is False


async def test_a_program_that_listens_late_is_ready_soon_and_nobody_complains(bench: Bench) -> None:
    bench.asked.passes["readiness"] = False
    bench.begin(readiness={"periodSeconds": 10})
    await bench.clock.advance(0.15)
    bench.asked.passes["readiness"] = True
    await bench.clock.advance(0.2)
    assert bench.state.readiness is True
    assert bench.told == []


async def test_a_first_answer_is_not_asked_for_twice(bench: Bench) -> None:
    bench.begin(readiness={"periodSeconds": 10})
    await bench.clock.advance(9)
    assert len(bench.asked.times["readiness"]) == 1
    assert bench.state.readiness is True


async def test_what_is_slow_to_fail_counts_from_the_first(bench: Bench) -> None:
    """Quick first tries count for nothing; slow ones would put off the end of a program that hangs."""
    bench.asked.passes["startup"] = False
    bench.asked.takes_seconds = 5
    bench.begin(startup={"periodSeconds": 10, "failureThreshold": 2, "timeoutSeconds": 5})
    await bench.clock.advance(21)  # two attempts of five seconds and the period between them
    assert bench.state.startup is False
    assert [reason for reason, _ in bench.told] == ["Unhealthy", "Unhealthy"]


async def test_a_new_agent_spreads_its_first_probes(bench: Bench) -> None:
    bench.begin(age=1000, liveness={"periodSeconds": 10})
    await bench.clock.advance(0)
    await bench.clock.advance(10)
    first = bench.asked.times["liveness"][0]
    assert 0 < first < 10


async def test_only_readiness_goes_on_while_a_pod_ends(bench: Bench) -> None:
    bench.begin(liveness={"periodSeconds": 1}, readiness={"periodSeconds": 1})
    await bench.clock.advance(1)
    bench.probes.sync(bench.pod, bench.view(), "10.0.0.1", stopping=True)
    asked = len(bench.asked.times["liveness"])
    await bench.clock.advance(5)
    assert len(bench.asked.times["liveness"]) == asked
    bench.asked.passes["readiness"] = False
    await bench.clock.advance(5)
    assert bench.state.readiness is False
