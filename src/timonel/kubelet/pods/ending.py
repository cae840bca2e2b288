"""The end of a pod: everything stops in order and in time, and what it used is given back.

Each step can be repeated: what is done already is found done.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import Protocol

from timonel.api.errors import Conflict, NotFound
from timonel.api.objects import Object, is_deleting, name_of, namespace_of
from timonel.api.refs import PODS
from timonel.kubelet.containers.config import pod_log_dir
from timonel.kubelet.pods.services import PodServices
from timonel.kubelet.pods.spec import grace_seconds
from timonel.kubelet.pods.termination import Terminator
from timonel.kubelet.pods.view import PodView


class EndingPod(Protocol):
    """What the end asks of the pod's worker."""

    uid: str
    pod: Object
    wake: asyncio.Event
    orphan: bool
    is_deleted: bool
    grace_override: int | None
    """Seconds, instead of the pod's own grace period."""

    def pod_ip(self, view: PodView) -> str: ...

    def publish(self, view: PodView, *, ended: bool = False) -> None: ...

    def sync_probes(self, view: PodView, *, stopping: bool = False) -> None: ...


class PodEnding:
    def __init__(self, pod: EndingPod, services: PodServices, terminator: Terminator) -> None:
        self._pod = pod
        self._services = services
        self._terminator = terminator
        self._ending_since: float | None = None

    async def end(self) -> bool:
        """Stops everything, settles the status, gives back volumes and cgroup; False: look again soon."""
        services = self._services
        view = await services.reader.read(self._pod.uid)
        self._pod.sync_probes(view, stopping=True)
        if view.running:
            self._pod.publish(view)
            await self._stop(view)
            view = await services.reader.read(self._pod.uid)
            self._pod.publish(view)
            if view.running:
                return False
        services.probes.forget(self._pod.uid)
        for sandbox in view.sandboxes:
            if sandbox.ready:
                await services.runtime.stop_pod_sandbox(sandbox.id)
        view = await services.reader.read(self._pod.uid)
        self._pod.publish(view, ended=True)
        await services.volumes.unmount(self._pod.uid)
        services.objects.remove(self._pod.uid)
        return services.cgroups.remove_pod(self._pod.uid)

    def _grace(self) -> int:
        if self._pod.is_deleted and not self._pod.orphan and not is_deleting(self._pod.pod):
            return 1  # deleted with force: the object did not stay to say how long
        own = grace_seconds(self._pod.pod)
        override = self._pod.grace_override
        if override is None:
            return own
        return min(own, override) if is_deleting(self._pod.pod) else override

    async def _stop(self, view: PodView) -> None:
        """Ends containers within the grace period; begins again when that is made shorter meanwhile."""
        clock = self._services.clock
        if self._ending_since is None:
            self._ending_since = clock.monotonic()
        while True:
            grace = self._grace()
            left = max(0, grace - int(clock.monotonic() - self._ending_since)) if grace else 0
            stop = asyncio.ensure_future(
                self._terminator.stop_all(self._pod.pod, view.running, self._pod.pod_ip(view), left)
            )
            try:
                while not stop.done():
                    self._pod.wake.clear()
                    woken = asyncio.ensure_future(self._pod.wake.wait())
                    try:
                        await asyncio.wait((stop, woken), return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        woken.cancel()
                    if not stop.done() and self._grace() < grace:
                        break
                else:
                    stop.result()
                    return
            finally:
                if not stop.done():
                    stop.cancel()
                    await asyncio.wait((stop,))

    async def remove_containers(self) -> None:
        """With their sandboxes; the pod's status stays as it is."""
        services = self._services
        view = await services.reader.read(self._pod.uid)
        for sandbox in view.sandboxes:
            await services.runtime.remove_pod_sandbox(sandbox.id)
        for container in view.containers:
            await services.runtime.remove_container(container.id)

    async def clear_away(self) -> None:
        """Of a pod that is deleted: lets its API object go, then leaves nothing behind.

        In this order, since whoever waits for the pod waits for what it did and used, and that has ended by now; what
        is left in the runtime is removed behind it, also by the next kubelet if this one dies first.
        """
        services = self._services
        if not self._pod.is_deleted:
            await services.statuses.flush(self._pod.uid)
            try:
                await services.client.delete(
                    PODS, name_of(self._pod.pod), namespace_of(self._pod.pod), grace_period_seconds=0, uid=self._pod.uid
                )
            except (NotFound, Conflict):
                pass  # it is gone already, or another pod has its name
        await self.remove_containers()
        await asyncio.to_thread(shutil.rmtree, pod_log_dir(services.config, self._pod.pod), ignore_errors=True)
