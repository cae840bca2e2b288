"""The scheduler's metrics have upstream's names and labels, and hold what happened.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.scheduler.objects import node, pod
from tests.unit.scheduler.test_loop import World, running
from timonel.api.refs import EVENTS, NODES
from timonel.scheduler.metrics import SchedulerCollector


def samples(world: World) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    registry = CollectorRegistry()
    registry.register(SchedulerCollector(lambda: world.scheduler))
    text = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(**values: str) -> frozenset[tuple[str, str]]:
    return frozenset(values.items())


MINE = {"profile": "default-scheduler"}


async def test_attempts_pending_pods_and_why_they_wait() -> None:
    async with running(node("node-1", cpu="1")) as world:
        await world.create(pod("small", "100m"))
        await world.create(pod("big", "2"))
        await world.create(pod("gated", schedulingGates=[{"name": "wait"}]))
        found = samples(world)
        for result, count in {"scheduled": 1, "unschedulable": 1, "error": 0}.items():
            assert found["scheduler_schedule_attempts_total", labels(result=result, **MINE)] == count
            assert found["scheduler_scheduling_attempt_duration_seconds_count", labels(result=result, **MINE)] == count
        assert found["scheduler_pending_pods", labels(queue="unschedulable")] == 1
        assert found["scheduler_pending_pods", labels(queue="gated")] == 1
        assert found["scheduler_pending_pods", labels(queue="active")] == 0
        assert found["scheduler_unschedulable_pods", labels(plugin="NodeResourcesFit", **MINE)] == 1
        bind = labels(extension_point="Bind", status="Success", **MINE)
        assert found["scheduler_framework_extension_point_duration_seconds_count", bind] == 1
        assert found["scheduler_cache_size", labels(type="nodes")] == 1
        assert found["scheduler_cache_size", labels(type="pods")] == 1


async def test_incoming_pods_are_told_by_what_brought_them() -> None:
    async with running(node("node-1", cpu="1")) as world:
        await world.create(pod("big", "2"))
        await world.client.create(NODES, node("node-2", cpu="1"))
        await world.settle()
        found = samples(world)
        incoming = {
            (dict(key[1])["queue"], dict(key[1])["event"]): value
            for key, value in found.items()
            if key[0] == "scheduler_queue_incoming_pods_total"
        }
        assert incoming["active", "UnschedulablePodAdd"] == 1
        assert incoming["unschedulable", "ScheduleAttemptFailure"] >= 1


async def test_preemption_counts_searches_and_victims() -> None:
    crowd = [pod(f"low-{number}", "1", on="node-1", priority=0) for number in range(2)]
    async with running(node("node-1", cpu="2"), *crowd) as world:
        await world.create(pod("high", "2", priority=10))
        found = samples(world)
        assert found["scheduler_preemption_attempts_total", labels()] >= 1
        assert found["scheduler_preemption_victims_count", labels()] == 1
        assert found["scheduler_preemption_victims_sum", labels()] == 2


async def test_plugins_are_timed_for_one_pod_in_ten() -> None:
    async with running(*(node(f"node-{number}") for number in range(2))) as world:
        for number in range(20):
            await world.create(pod(f"p{number}"))
        found = samples(world)
        key = labels(plugin="NodeResourcesFit", extension_point="Filter", **MINE)
        assert found["scheduler_plugin_evaluation_total", key] == 2
        timed = labels(plugin="NodeResourcesFit", extension_point="Score", status="Success")
        assert found["scheduler_plugin_execution_duration_seconds_count", timed] == 2


async def test_events_come_from_the_profile() -> None:
    async with running(node("node-1")) as world:
        await world.create(pod("x"))
        (event,) = world.client.objects(EVENTS)
        assert event["reportingComponent"] == "default-scheduler"


def test_nothing_is_told_while_another_manager_leads() -> None:
    registry = CollectorRegistry()
    registry.register(SchedulerCollector(lambda: None))
    assert generate_latest(registry) == b""
