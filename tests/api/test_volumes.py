"""Claims from the first pod to the end, by the controllers and the scheduler against a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest_asyncio

from timonel.api.clock import SystemClock, format_time
from timonel.api.objects import Object, annotations_of, get_path
from timonel.api.refs import (
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    ResourceRef,
)
from timonel.api.volumes import LOCAL_DIRECTORY, LOCAL_FINALIZER, SELECTED_NODE
from timonel.client.events import EventRecorder
from timonel.controllers.manager import ControllerManager, ManagerConfig, Surroundings
from timonel.scheduler.loop import Scheduler
from timonel.testing.server import start_api_server

CLOCK = SystemClock()
PATIENCE_SECONDS = 20.0


class World:
    def __init__(self, server: Any, manager: ControllerManager) -> None:
        self.client = server.client
        self._informers = manager.informers
        self._changed = asyncio.Event()
        for ref in (PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, NODES, VOLUME_ATTACHMENTS, STORAGE_CLASSES):
            wake: Callable[..., None] = lambda *objects: self._changed.set()  # noqa: E731
            self._informers.of(ref).add_handler(on_add=wake, on_update=wake, on_delete=wake)

    def see(self, ref: ResourceRef, name: str, *path: str) -> Any:
        namespace = "default" if ref.namespaced else ""
        return get_path(self._informers.of(ref).lister.get(namespace, name), *path)

    def all(self, ref: ResourceRef) -> list[Object]:
        return self._informers.of(ref).lister.list()

    async def until(self, what: str, holds: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (found := holds()):
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"never: {what}") from None

    async def add_node(self, name: str) -> None:
        metadata = {
            "name": name,
            "labels": {"kubernetes.io/hostname": name},
            "annotations": {LOCAL_DIRECTORY: f"/var/volumes/{name}"},
        }
        made = await self.client.create(NODES, {"metadata": metadata})
        now = format_time(CLOCK.now())
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}
        status = {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}, "conditions": [ready]}
        await self.client.update(NODES, made | {"status": status}, subresource="status")

    async def end(self, pod: str) -> None:
        """What the kubelet does last."""
        await self.client.delete(PODS, pod, "default", grace_period_seconds=0)


@asynccontextmanager
async def working(server: Any) -> AsyncIterator[World]:
    recorder = EventRecorder(server.client, component="default-scheduler", clock=CLOCK)

    def scheduler(around: Surroundings) -> Scheduler:
        return Scheduler(client=server.client, informers=around.informers, recorder=recorder, clock=CLOCK)

    config = ManagerConfig(leader_election=False)
    manager = ControllerManager(server.client, CLOCK, config, hosted=[scheduler])
    tasks = [asyncio.create_task(part.run()) for part in (manager, recorder)]
    await asyncio.wait_for(manager.wait_ready(), PATIENCE_SECONDS)
    try:
        yield World(server, manager)
        assert not tasks[0].done()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest_asyncio.fixture
async def world(tmp_path: Any) -> AsyncIterator[World]:
    server = await start_api_server(tmp_path)
    async with working(server) as made:
        await made.add_node("n1")
        await made.until("default class", lambda: made.see(STORAGE_CLASSES, "timonel-local"))
        yield made
    await server.stop()


def claim(name: str, **spec: Any) -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def pod(name: str, **volume: Any) -> Object:
    spec = {
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "volumes": [{"name": "data", **volume}],
    }
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def using(name: str, of: str) -> Object:
    return pod(name, persistentVolumeClaim={"claimName": of})


async def test_a_claim_without_class_gets_a_directory_where_its_pod_goes(world: World) -> None:
    client = world.client
    await client.create(PERSISTENT_VOLUME_CLAIMS, claim("data"), "default")
    await client.create(PODS, using("web", "data"), "default")
    assert await world.until("placed", lambda: world.see(PODS, "web", "spec", "nodeName")) == "n1"
    bound = world.see(PERSISTENT_VOLUME_CLAIMS, "data")
    assert bound["spec"]["storageClassName"] == "timonel-local"
    assert annotations_of(bound)[SELECTED_NODE] == "n1"
    await world.until("bound", lambda: world.see(PERSISTENT_VOLUME_CLAIMS, "data", "status", "phase") == "Bound")
    name = bound["spec"]["volumeName"]
    made = await client.get(PERSISTENT_VOLUMES, name)
    assert made["spec"]["local"]["path"] == f"/var/volumes/n1/{name}"
    assert made["spec"]["claimRef"]["uid"] == bound["metadata"]["uid"]

    grow = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    await client.patch(PERSISTENT_VOLUME_CLAIMS, "data", grow, "default", type="merge")
    await world.until(
        "grown",
        lambda: world.see(PERSISTENT_VOLUME_CLAIMS, "data", "status", "capacity", "storage") == "2Gi",
    )

    await client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
    await world.until(
        "claim protected", lambda: world.see(PERSISTENT_VOLUME_CLAIMS, "data", "metadata", "deletionTimestamp")
    )
    await world.end("web")
    await world.until("claim gone", lambda: world.see(PERSISTENT_VOLUME_CLAIMS, "data") is None)
    await world.until(
        "volume left to the agent",
        lambda: world.see(PERSISTENT_VOLUMES, name, "metadata", "finalizers") == [LOCAL_FINALIZER],
    )
    release = {"metadata": {"finalizers": []}}
    await client.patch(PERSISTENT_VOLUMES, name, release, type="merge")
    await world.until("volume gone", lambda: world.see(PERSISTENT_VOLUMES, name) is None)


async def test_volumes_made_by_hand(world: World) -> None:
    """By name from the claim's side, by claimRef from the volume's; released, and used again."""
    client = world.client

    def by_hand(name: str, **spec: Any) -> Object:
        spec = {
            "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "hostPath": {"path": f"/srv/{name}"}, **spec,
        }  # fmt: skip
        return {"metadata": {"name": name}, "spec": spec}

    reserved = {"claimRef": {"namespace": "default", "name": "mine"}}
    for volume in (by_hand("first"), by_hand("second", **reserved), by_hand("third")):
        await client.create(PERSISTENT_VOLUMES, volume)
    await client.create(PERSISTENT_VOLUME_CLAIMS, claim("named", storageClassName="", volumeName="third"), "default")
    await client.create(PERSISTENT_VOLUME_CLAIMS, claim("mine", storageClassName=""), "default")
    for name, volume_name in (("named", "third"), ("mine", "second")):
        await world.until(
            f"{name} bound",
            lambda: world.see(PERSISTENT_VOLUME_CLAIMS, name, "status", "phase") == "Bound",  # noqa: B023
        )
        assert world.see(PERSISTENT_VOLUME_CLAIMS, name, "spec", "volumeName") == volume_name
        assert world.see(PERSISTENT_VOLUME_CLAIMS, name, "status", "capacity") == {"storage": "5Gi"}
    assert world.see(PERSISTENT_VOLUMES, "first", "status", "phase") == "Available"
    await client.delete(PERSISTENT_VOLUME_CLAIMS, "named", "default")
    await world.until("released", lambda: world.see(PERSISTENT_VOLUMES, "third", "status", "phase") == "Released")
    await client.patch(PERSISTENT_VOLUMES, "third", {"spec": {"claimRef": None}}, type="merge")
    await world.until("free again", lambda: world.see(PERSISTENT_VOLUMES, "third", "status", "phase") == "Available")


async def test_an_ephemeral_volume_comes_and_goes_with_its_pod(world: World) -> None:
    template = {"spec": claim("unused")["spec"]}
    await world.client.create(PODS, pod("web", ephemeral={"volumeClaimTemplate": template}), "default")
    await world.until("placed", lambda: world.see(PODS, "web", "spec", "nodeName"))
    await world.until("bound", lambda: world.see(PERSISTENT_VOLUME_CLAIMS, "web-data", "status", "phase") == "Bound")
    await world.end("web")
    await world.until("claim gone", lambda: world.see(PERSISTENT_VOLUME_CLAIMS, "web-data") is None)


async def test_a_csi_volume_is_attached(world: World) -> None:
    client = world.client
    source = {"driver": "d.example.com", "volumeHandle": "h"}
    spec = {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "", "csi": source,
    }  # fmt: skip
    await client.create(PERSISTENT_VOLUMES, {"metadata": {"name": "disk"}, "spec": spec})
    await client.create(PERSISTENT_VOLUME_CLAIMS, claim("data", storageClassName=""), "default")
    await client.create(PODS, using("web", "data"), "default")
    (made,) = await world.until("asked for", lambda: world.all(VOLUME_ATTACHMENTS))
    assert (made["spec"]["nodeName"], made["spec"]["attacher"]) == ("n1", "d.example.com")
    attached = made | {"status": {"attached": True}}
    await client.update(VOLUME_ATTACHMENTS, attached, subresource="status")
    said = [{"name": "kubernetes.io/csi/d.example.com^h", "devicePath": ""}]
    await world.until("told", lambda: world.see(NODES, "n1", "status", "volumesAttached") == said)
    await world.end("web")
    await world.until("detached", lambda: not world.all(VOLUME_ATTACHMENTS))


async def test_many_claims_and_pods_at_once(world: World) -> None:
    """Forty pods, each with a claim of its own: all placed, no volume shared, nothing left over."""
    names = [f"p{number}" for number in range(40)]
    for name in names:
        await world.client.create(PERSISTENT_VOLUME_CLAIMS, claim(name), "default")
    for name in names:
        spec = using(name, name)
        await world.client.create(PODS, spec, "default")
    await world.until("all placed", lambda: all(world.see(PODS, name, "spec", "nodeName") for name in names))
    await world.until(
        "all bound",
        lambda: all(world.see(PERSISTENT_VOLUME_CLAIMS, name, "status", "phase") == "Bound" for name in names),
    )
    volumes = [world.see(PERSISTENT_VOLUME_CLAIMS, name, "spec", "volumeName") for name in names]
    assert len(set(volumes)) == len(names) == len(world.all(PERSISTENT_VOLUMES))
