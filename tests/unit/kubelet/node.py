"""A whole kubelet over fakes: the API in memory, a runtime in memory, cgroups in a temporary folder, virtual time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from timonel.api.objects import Object, find_by
from timonel.api.refs import EVENTS, PODS
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.kubelet.cgroups.manager import Cgroups
from timonel.kubelet.config import KubeletConfig
from timonel.kubelet.eviction.manager import Figures
from timonel.kubelet.eviction.pressure import Observations
from timonel.kubelet.eviction.usage import PodUse
from timonel.kubelet.kubelet import Kubelet
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient
from timonel.testing.fake_runtime import FakeRuntime

_PATIENCE_SECONDS = 10.0
"""Of real time, before something is said not to happen."""


class FakeSnapshots:
    """Layers of images in folders, by key; implements `Snapshots`."""

    def __init__(self) -> None:
        self.views: dict[str, str] = {}

    async def view(self, chain_id: str, key: str) -> tuple[str, ...]:
        self.views.setdefault(key, chain_id)
        return (f"/layers/{chain_id}",)

    async def remove(self, key: str) -> None:
        self.views.pop(key, None)


class NoFigures:
    """A node that runs short of nothing; implements `Figures`."""

    async def observe(self) -> Observations:
        return {}

    async def image_disk(self) -> tuple[int, int]:
        return 1, 1

    async def images_apart(self) -> bool:
        return False

    async def uses(self, pods: Iterable[Object], *, disk: bool) -> dict[str, PodUse]:
        return {}


class Node:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.client = FakeClient(clock=self.clock)
        self.runtime = FakeRuntime(clock=self.clock, images=("busybox:latest",))
        self.snapshots = FakeSnapshots()
        self.figures: Figures | None = NoFigures()
        """None: of the machine that the test runs on."""
        for controller in ("cpu", "cpuacct", "memory", "pids"):
            (folder / "cgroup" / controller).mkdir(parents=True)
        self.config = KubeletConfig(
            node_name="n1",
            node_ips=("192.0.2.1",),
            root_dir=str(folder / "kubelet"),
            volumes_dir=str(folder / "volumes"),
            pod_logs_dir=str(folder / "logs"),
            cgroup_root="/t/node",
            cgroup_mount=str(folder / "cgroup"),
            static_pod_path=str(folder / "manifests"),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Kubelet]:
        """One life of the agent; leaving it is its death."""
        informers = Informers(self.client, clock=self.clock)
        recorder = EventRecorder(self.client, component="kubelet", host="n1", clock=self.clock)
        kubelet = Kubelet(
            config=self.config,
            client=self.client,
            informers=informers,
            runtime=self.runtime,
            events=self.runtime,
            recorder=recorder,
            clock=self.clock,
            cgroups=Cgroups(root=self.config.cgroup_root, mount=self.config.cgroup_mount),
            snapshots=self.snapshots,
            figures=self.figures,
        )
        tasks = [asyncio.create_task(work) for work in (informers.run(), recorder.run(), kubelet.run())]
        try:
            yield kubelet
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def get(self, name: str) -> Object | None:
        return next((pod for pod in self.client.objects(PODS) if pod["metadata"]["name"] == name), None)

    def status(self, name: str) -> Object:
        return (self.get(name) or {}).get("status") or {}

    def is_ready(self, name: str) -> bool:
        return (find_by(self.status(name).get("conditions"), "type", "Ready") or {}).get("status") == "True"

    def container(self, name: str, index: int = 0) -> Object:
        found: Object = self.status(name)["containerStatuses"][index]
        return found

    def events(self, name: str) -> list[tuple[str, str]]:
        found = [event for event in self.client.objects(EVENTS) if event["involvedObject"]["name"] == name]
        return [(event["reason"], event["message"]) for event in found]

    async def until(self, true: Callable[[], object], *, seconds: float = 0) -> None:
        """Lets everything run until it is so, moving the clock at most `seconds` meanwhile."""
        left = seconds
        # Threads and sockets know no virtual time, and on a busy machine they take theirs.
        patience = time.monotonic() + _PATIENCE_SECONDS
        while left > 0 or time.monotonic() < patience:
            await settle(10)
            if true():
                return
            await asyncio.sleep(0.001)
            if left > 0:
                step = min(0.25, left)
                left -= step
                await self.clock.advance(step)
        raise AssertionError(f"not so within {seconds} virtual seconds")
