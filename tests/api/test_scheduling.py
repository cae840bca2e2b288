"""The scheduler against a real API server: bindings, conditions, events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from timonel.api.clock import SystemClock
from timonel.api.objects import find_by
from timonel.api.refs import EVENTS, NODES, PODS
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.scheduler.loop import Scheduler

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def scheduler(server) -> AsyncIterator[Scheduler]:
    clock = SystemClock()
    informers = Informers(server.client, clock=clock)
    recorder = EventRecorder(server.client, component="default-scheduler", clock=clock)
    scheduler = Scheduler(client=server.client, informers=informers, recorder=recorder, clock=clock)
    tasks = [asyncio.create_task(part.run()) for part in (informers, recorder, scheduler)]
    await scheduler.wait_ready()
    yield scheduler
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def pod(name: str, namespace: str, cpu: str = "100m", **spec):
    container = {"name": "main", "image": "nginx", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"containers": [container], **spec}}


async def add_node(server, name: str, cpu: str = "4") -> None:
    labels = {"kubernetes.io/hostname": name}
    await server.client.create(NODES, {"metadata": {"name": name, "labels": labels}})
    status = {"status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}, "capacity": {"cpu": cpu}}}
    await server.client.patch(NODES, name, status, type="merge", subresource="status")
    # Admission taints new nodes until the node controller has seen them ready; here nobody does.
    await server.client.patch(NODES, name, {"spec": {"taints": None}}, type="merge")


async def wait_for(server, namespace: str, count: int, seen) -> list:
    async with asyncio.timeout(20):
        listed = await server.client.list(PODS, namespace)
        version = listed["metadata"]["resourceVersion"]
        pods = {each["metadata"]["name"]: each for each in listed["items"]}
        watch = server.client.watch(PODS, namespace, resource_version=version)
        while sum(map(seen, pods.values())) < count:
            event = await anext(watch)
            if event.type != "BOOKMARK":
                pods[event.object["metadata"]["name"]] = event.object
        await watch.aclose()
    return list(pods.values())


def is_bound(pod) -> bool:
    return bool(pod["spec"].get("nodeName"))


async def test_pods_are_bound_spread_and_told_of(server, namespace, scheduler) -> None:
    for n in range(3):
        await add_node(server, f"bind-{n}")
    start = time.perf_counter()
    await asyncio.gather(*(server.client.create(PODS, pod(f"p{n}", namespace)) for n in range(60)))
    pods = await wait_for(server, namespace, 60, is_bound)
    assert time.perf_counter() - start < 20
    counts = [sum(each["spec"]["nodeName"] == f"bind-{n}" for each in pods) for n in range(3)]
    assert counts == [20, 20, 20]
    condition = find_by(pods[0]["status"]["conditions"], "type", "PodScheduled")
    assert condition["status"] == "True"
    async with asyncio.timeout(20):
        while True:
            events = (await server.client.list(EVENTS, namespace))["items"]
            if len([each for each in events if each["reason"] == "Scheduled"]) == 60:
                break
    event = find_by(events, "message", f"Successfully assigned {namespace}/p0 to {node_of(pods, 'p0')}")
    assert event["reportingComponent"] == "default-scheduler"
    assert event["involvedObject"]["name"] == "p0"


def node_of(pods, name: str) -> str:
    return next(each["spec"]["nodeName"] for each in pods if each["metadata"]["name"] == name)


async def test_a_pod_that_fits_nowhere_says_so_in_its_status_and_goes_when_a_node_comes(
    server, namespace, scheduler
) -> None:
    await server.client.create(PODS, pod("big", namespace, "100", nodeSelector={"size": "big"}))

    def refused(pod) -> bool:
        condition = find_by(pod["status"].get("conditions"), "type", "PodScheduled") or {}
        return condition.get("reason") == "Unschedulable"

    (big,) = await wait_for(server, namespace, 1, refused)
    message = find_by(big["status"]["conditions"], "type", "PodScheduled")["message"]
    assert "node(s) didn't match Pod's node affinity/selector" in message
    await add_node(server, "big-node", cpu="128")
    await server.client.patch(NODES, "big-node", {"metadata": {"labels": {"size": "big"}}}, type="merge")
    (big,) = await wait_for(server, namespace, 1, is_bound)
    assert big["spec"]["nodeName"] == "big-node"


async def test_gates(server, namespace, scheduler) -> None:
    await server.client.create(PODS, pod("gated", namespace, schedulingGates=[{"name": "example.com/wait"}]))
    gated = await server.client.get(PODS, "gated", namespace)
    condition = find_by(gated["status"]["conditions"], "type", "PodScheduled")
    assert (condition["reason"], condition["status"]) == ("SchedulingGated", "False")
    gated["spec"]["schedulingGates"] = []
    await server.client.update(PODS, gated)
    await wait_for(server, namespace, 1, is_bound)
