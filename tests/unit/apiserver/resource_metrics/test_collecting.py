"""When kubelets are asked, and what becomes of those that do not answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from timonel.api.errors import ServiceUnavailable
from timonel.api.objects import Object, name_of
from timonel.apiserver.resource_metrics.collector import ResourceMetricsCollector, Usages
from timonel.testing.clock import VirtualClock, settle


class Cluster:
    """Nodes that each use half a core, and run a pod that uses a tenth."""

    def __init__(self, *names: str) -> None:
        self.clock = VirtualClock()
        self.names = list(names)
        self.away: set[str] = set()
        self.silent: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.closed = 0
        self.collector = ResourceMetricsCollector(
            nodes=lambda: [{"metadata": {"name": name}} for name in self.names],
            fetch=self.fetch,
            clock=self.clock,
            close=self.close,
        )

    async def fetch(self, node: Object) -> str:
        name = name_of(node)
        self.asked[name] += 1
        if name in self.silent:
            await self.clock.sleep(10)
            raise TimeoutError
        if name in self.away:
            raise ConnectionRefusedError
        now = self.clock.now().timestamp()
        moment = int(now * 1000)
        labels = f'{{container="c",namespace="default",pod="on-{name}"}}'
        return (
            f"node_cpu_usage_seconds_total {now / 2} {moment}\nnode_memory_working_set_bytes 1000 {moment}\n"
            f"container_cpu_usage_seconds_total{labels} {now / 10} {moment}\n"
            f"container_memory_working_set_bytes{labels} 500 {moment}\n"
            f"container_start_time_seconds{labels} 1000\n"
        )

    async def close(self) -> None:
        self.closed += 1

    async def first(self) -> Usages:
        """The first answer, however long it takes."""
        asking = asyncio.create_task(self.collector.usages())
        for _ in range(20):
            await self.clock.advance(1)
            if asking.done():
                break
        return await asking


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster("n1", "n2")
    task = asyncio.create_task(made.collector.run())
    await settle()
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_nothing_is_asked_of_kubelets_while_nobody_asks_here(cluster: Cluster) -> None:
    await cluster.clock.advance(3600)
    assert not cluster.asked


async def test_the_first_answer_takes_two_looks(cluster: Cluster) -> None:
    asking = asyncio.create_task(cluster.collector.usages())
    await cluster.clock.advance(1.9)
    assert not asking.done()
    await cluster.clock.advance(0.2)
    usages = await asking
    assert cluster.asked == {"n1": 2, "n2": 2}
    assert (usages.nodes["n1"].cores, usages.nodes["n1"].window) == (0.5, 2.0)
    usage = usages.pods["default", "on-n2"]["c"]
    assert (round(usage.cores, 6), usage.memory_bytes) == (0.1, 500)


async def test_later_answers_come_at_once_and_are_of_a_quarter_minute(cluster: Cluster) -> None:
    await cluster.first()
    await cluster.clock.advance(16)
    usages = await cluster.collector.usages()
    assert usages.nodes["n1"].window == 15.0
    assert cluster.asked["n1"] == 3


async def test_kubelets_are_left_alone_some_time_after_the_last_question(cluster: Cluster) -> None:
    await cluster.first()
    await cluster.clock.advance(200)
    asked = cluster.asked["n1"]
    assert asked <= 2 + 9
    assert cluster.closed == 1
    await cluster.clock.advance(3600)
    assert cluster.asked["n1"] == asked
    assert (await cluster.first()).nodes["n1"].window == 2.0


async def test_a_node_that_refuses_has_no_figures(cluster: Cluster) -> None:
    cluster.away.add("n2")
    assert set((await cluster.first()).nodes) == {"n1"}
    cluster.away.clear()
    await cluster.clock.advance(31)
    assert set((await cluster.collector.usages()).nodes) == {"n1", "n2"}


async def test_figures_of_a_node_that_goes_away_vanish_and_come_back(cluster: Cluster) -> None:
    await cluster.first()
    cluster.away.add("n2")
    await cluster.clock.advance(16)
    usages = await cluster.collector.usages()
    assert (set(usages.nodes), set(usages.pods)) == ({"n1"}, {("default", "on-n1")})
    cluster.away.clear()
    await cluster.clock.advance(15)
    assert (await cluster.collector.usages()).nodes["n2"].window == 30.0


async def test_after_a_long_absence_two_new_looks_are_needed(cluster: Cluster) -> None:
    await cluster.first()
    cluster.away.add("n2")
    for _ in range(5):
        await cluster.clock.advance(15)
        await cluster.collector.usages()
    cluster.away.clear()
    await cluster.clock.advance(15)
    assert set((await cluster.collector.usages()).nodes) == {"n1"}
    await cluster.clock.advance(15)
    assert (await cluster.collector.usages()).nodes["n2"].window == 15.0


async def test_nobody_waits_long_for_a_silent_node(cluster: Cluster) -> None:
    cluster.silent.add("n2")
    before = cluster.clock.monotonic()
    assert set((await cluster.first()).nodes) == {"n1"}
    assert cluster.clock.monotonic() - before <= 3 + 2 + 3


async def test_nodes_that_are_gone_are_forgotten(cluster: Cluster) -> None:
    await cluster.first()
    cluster.names.remove("n2")
    await cluster.clock.advance(16)
    assert set((await cluster.collector.usages()).nodes) == {"n1"}


async def test_a_cluster_without_nodes_has_no_figures() -> None:
    empty = Cluster()
    task = asyncio.create_task(empty.collector.run())
    assert await empty.first() == Usages()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_nobody_waits_for_a_server_that_stops() -> None:
    made = Cluster("n1")
    task = asyncio.create_task(made.collector.run())
    asking = asyncio.create_task(made.collector.usages())
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(ServiceUnavailable):
        await asking
