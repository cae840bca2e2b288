"""A whole cluster in this process: the suite's server, the manager with its scheduler, and hollow nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from timonel.api.clock import SystemClock
from timonel.api.objects import Object, is_deleting
from timonel.api.refs import NODES, PODS, ResourceRef
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.lister import Lister
from timonel.controllers.manager import ControllerManager, ManagerConfig
from timonel.controllers.pods import is_ready
from timonel.scheduler.loop import Scheduler
from timonel.simulation.config import HollowConfig
from timonel.simulation.hollow import HollowNodes
from timonel.simulation.nodes import LABEL, slim_node
from timonel.testing.waiting import wait_until


class JumpingClock(SystemClock):
    """Its wall clock is ahead by `jumped`; what measures time is not."""

    jumped = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.jumped


class HollowCluster:
    """`client` may stand between controllers and server; nodes and scheduler speak to the server directly."""

    def __init__(self, server: Any, *, nodes: int = 3, client: Any = None, **settings: Any) -> None:
        self.server = server
        self.client = server.client
        self.controllers_client = client or server.client
        self.clock = JumpingClock()
        """The manager's."""
        self._config = HollowConfig(count=nodes, address="192.0.2.1", **settings)
        self.informers = Informers(server.client, clock=SystemClock())
        """What the test sees."""
        self.hollow_nodes: Lister
        """What the hollow kubelets see of their nodes."""
        self._manager: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        clock = SystemClock()
        recorder = EventRecorder(self.client, component="hollow-kubelet", clock=clock)
        hollow_informers = Informers(self.client, clock=clock)
        self.hollow_nodes = hollow_informers.of(NODES, label_selector=f"{LABEL}=true", transform=slim_node).lister
        nodes = HollowNodes(
            config=self._config, client=self.client, informers=hollow_informers, recorder=recorder, clock=clock
        )
        for part in (self.informers, hollow_informers, recorder, nodes):
            self._tasks.append(asyncio.create_task(part.run()))
        await self.start_manager()
        async with asyncio.timeout(20):
            await nodes.wait_ready()

    async def start_manager(self) -> None:
        clock = self.clock
        recorder = EventRecorder(self.client, component="default-scheduler", clock=clock)
        self.manager = ControllerManager(
            self.controllers_client,
            clock,
            ManagerConfig(leader_election=False),
            hosted=[
                lambda around: Scheduler(
                    client=self.client, informers=around.informers, recorder=recorder, clock=clock
                ),
                lambda around: recorder,
            ],
        )
        self._manager = asyncio.create_task(self.manager.run())
        async with asyncio.timeout(20):
            await self.manager.wait_ready()

    async def kill_manager(self) -> None:
        """At whatever it is waiting for; it gets no chance to finish anything."""
        assert self._manager is not None
        self._manager.cancel()
        await asyncio.gather(self._manager, return_exceptions=True)

    async def stop(self) -> None:
        await self.kill_manager()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def see(self, *refs: ResourceRef) -> None:
        """Makes the kinds known to `lister`."""
        for ref in refs:
            await self.informers.of(ref).wait_synced()

    def lister(self, ref: ResourceRef) -> Lister:
        return self.informers.of(ref).lister

    def get(self, ref: ResourceRef, name: str, namespace: str) -> Object:
        found = self.lister(ref).get(namespace, name)
        return found if found is not None else {"metadata": {}, "spec": {}, "status": {}}

    def pods(self, namespace: str) -> list[Object]:
        """Those that are not being deleted."""
        return [pod for pod in self.lister(PODS).list(namespace) if not is_deleting(pod)]

    def ready(self, namespace: str) -> list[Object]:
        return [pod for pod in self.pods(namespace) if is_ready(pod)]

    def images(self, namespace: str) -> list[str]:
        return sorted(pod["spec"]["containers"][0]["image"] for pod in self.ready(namespace))


async def reach(what: str, condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Fails with `what` when it does not become so."""
    await wait_until(condition, what, seconds=seconds)


def workload(kind: str, name: str, namespace: str, template: Object | None = None, **spec: Any) -> Object:
    """A Deployment, StatefulSet or DaemonSet whose pods are labelled app: NAME."""
    labels = {"app": name}
    pod_spec = {"containers": [{"name": "c", "image": "i:1"}], "terminationGracePeriodSeconds": 1}
    made = {"metadata": {"labels": labels}, "spec": pod_spec, **(template or {})}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": made, **spec},
    }


def image_patch(image: str) -> Object:
    """A strategic merge patch of a workload."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
