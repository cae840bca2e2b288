"""StatefulSets and DaemonSets against a real API server and scheduler, with a kubelet that only says what is expected.

What the server defaults, normalises and refuses is what a client in memory cannot show: above all, that a settled set
is not written again and again, and that a revision is recognised when it comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from timonel.api.clock import SystemClock, format_time
from timonel.api.errors import ApiError
from timonel.api.objects import Object, is_deleting, name_of, namespace_of, resource_version_of, uid_of
from timonel.api.refs import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.controllers.daemonset import DaemonSetController
from timonel.controllers.pods import is_ready
from timonel.controllers.slim import slim_pod
from timonel.controllers.statefulset import StatefulSetController
from timonel.scheduler.loop import Scheduler
from timonel.testing.waiting import stays, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
NODE_NAMES = ("sets-1", "sets-2", "sets-3")


class HollowKubelet:
    """Pods that are on a node run and are ready at once, and end at once when they are told to."""

    def __init__(self, client, informers: Informers) -> None:
        self._client = client
        self._queue: asyncio.Queue[Object] = asyncio.Queue()
        handle = self._queue.put_nowait
        informers.of(PODS).add_handler(on_add=handle, on_update=lambda old, new: handle(new))

    async def run(self) -> None:
        while True:
            pod = await self._queue.get()
            try:
                await self._attend(pod)
            except ApiError:
                pass  # it has changed meanwhile, and comes again

    async def _attend(self, pod: Object) -> None:
        where = name_of(pod), namespace_of(pod)
        if is_deleting(pod):
            await self._client.delete(PODS, *where, grace_period_seconds=0, uid=uid_of(pod))
        elif pod["spec"].get("nodeName") and not is_ready(pod):
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": format_time(SystemClock().now())}
            patch = {"metadata": {"uid": uid_of(pod)}, "status": {"phase": "Running", "conditions": [ready]}}
            await self._client.patch(PODS, where[0], patch, where[1], type="strategic", subresource="status")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def informers(server) -> AsyncIterator[Informers]:
    clock = SystemClock()
    informers = Informers(server.client, clock=clock)
    informers.of(PODS, transform=slim_pod)
    recorder = EventRecorder(server.client, component="test", clock=clock)
    parts = [
        cls(client=server.client, informers=informers, clock=clock, recorder=recorder)
        for cls in (StatefulSetController, DaemonSetController, Scheduler)
    ]
    kubelet = HollowKubelet(server.client, informers)
    tasks = [asyncio.create_task(part.run()) for part in (*parts, kubelet, recorder, informers)]
    await informers.wait_synced()
    for name in NODE_NAMES:
        await server.client.create(NODES, {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
        status = {"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}}
        await server.client.patch(NODES, name, status, type="merge", subresource="status")
        # Admission taints new nodes until the node controller has seen them ready; here nobody does.
        await server.client.patch(NODES, name, {"spec": {"taints": None}}, type="merge")
    yield informers
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def workload(kind: str, name: str, namespace: str, **spec) -> Object:
    labels = {"app": name}
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "0.01"}}}  # the server says 10m
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


async def roll(server, informers: Informers, ref, kind: str, namespace: str, **spec) -> None:
    """Out, on, back; quiet after each."""
    client = server.client
    lister, pods, revisions = (informers.of(each).lister for each in (ref, PODS, CONTROLLER_REVISIONS))
    await client.create(ref, workload(kind, "x", namespace, **spec))

    def images() -> list[str]:
        found = [pod for pod in pods.list(namespace) if is_ready(pod) and not is_deleting(pod)]
        return [pod["spec"]["containers"][0]["image"] for pod in found]

    def is_settled() -> bool:
        found = lister.get(namespace, "x")
        if found is None or found["status"].get("observedGeneration") != found["metadata"]["generation"]:
            return False
        status = found["status"]
        done = status.get("updatedReplicas") or status.get("updatedNumberScheduled")
        ready = status.get("availableReplicas") or status.get("numberAvailable")
        return done == ready == 3 and status.get("currentRevision") == status.get("updateRevision")

    async def settled(image: str, numbers: list[int]) -> None:
        await wait_until(lambda: images() == [image] * 3 and is_settled(), f"three pods of {image}")
        assert sorted(item["revision"] for item in revisions.list(namespace)) == numbers
        before = resource_version_of(await client.get(ref, "x", namespace))

        async def is_as_before() -> bool:
            return bool(resource_version_of(await client.get(ref, "x", namespace)) == before)

        await stays(is_as_before)

    await settled("i", [1])
    [first] = revisions.list(namespace)
    await client.patch(ref, "x", {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}},
                       namespace, type="strategic")  # fmt: skip
    await settled("j", [1, 2])
    await client.patch(ref, "x", first["data"], namespace, type="strategic")  # as `kubectl rollout undo` does
    await settled("i", [2, 3])


async def test_a_stateful_set_is_rolled_out_and_back(server, namespace, informers) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    # No volume is ever bound here, so the pods of a set with claims are not placed.
    lone = workload("StatefulSet", "claims", namespace, serviceName="", replicas=1, volumeClaimTemplates=[claim],
                    persistentVolumeClaimRetentionPolicy=policy)  # fmt: skip
    await server.client.create(STATEFUL_SETS, lone)
    claims = informers.of(PERSISTENT_VOLUME_CLAIMS).lister
    await wait_until(lambda: claims.get(namespace, "data-claims-0"), "the claim is there")
    found = claims.get(namespace, "data-claims-0")
    assert found is not None
    assert found["metadata"]["labels"] == {"app": "claims"}
    assert [owner["kind"] for owner in found["metadata"]["ownerReferences"]] == ["StatefulSet"]
    await server.client.patch(STATEFUL_SETS, "claims", {"spec": {"replicas": 0}}, namespace, type="merge")

    def owners() -> list[str]:
        claim = claims.get(namespace, "data-claims-0")
        return [owner["kind"] for owner in claim["metadata"]["ownerReferences"]] if claim else []

    await wait_until(lambda: owners() == ["Pod"], "the claim is its pod's")
    await server.client.delete(STATEFUL_SETS, "claims", namespace)
    await wait_until(lambda: not informers.of(PODS).lister.list(namespace), "its pod is gone")
    for revision in informers.of(CONTROLLER_REVISIONS).lister.list(namespace):
        await server.client.delete(CONTROLLER_REVISIONS, name_of(revision), namespace)
    await wait_until(lambda: not informers.of(CONTROLLER_REVISIONS).lister.list(namespace), "no revision")
    await roll(server, informers, STATEFUL_SETS, "StatefulSet", namespace, serviceName="x", replicas=3)


async def test_a_daemon_set_is_rolled_out_and_back(server, namespace, informers) -> None:
    await roll(server, informers, DAEMON_SETS, "DaemonSet", namespace)
    where = sorted(pod["spec"]["nodeName"] for pod in informers.of(PODS).lister.list(namespace))
    assert where == sorted(NODE_NAMES)


async def test_a_daemon_set_with_surge_is_rolled_out_and_back(server, namespace, informers) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await roll(server, informers, DAEMON_SETS, "DaemonSet", namespace, updateStrategy=strategy)
