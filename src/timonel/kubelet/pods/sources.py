"""Where pods come from: the API, and files of the node. Hands each to the workers, and shows static ones in the API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from timonel.api.clock import Clock
from timonel.api.objects import Object, ObjectKey, uid_of
from timonel.client.informer import Informer
from timonel.client.protocol import ApiClient
from timonel.kubelet.config import KubeletConfig
from timonel.kubelet.pods.statuses import Statuses
from timonel.kubelet.pods.workers import PodWorkers
from timonel.kubelet.static.folder import StaticPods
from timonel.kubelet.static.mirrors import Mirrors, is_mirror

log = logging.getLogger(__name__)


class PodSources:
    """`pods` are those of this node in the API, `services` every Service; `node` is the Node object, if it is known."""

    def __init__(
        self,
        *,
        config: KubeletConfig,
        client: ApiClient,
        clock: Clock,
        pods: Informer,
        services: Informer,
        workers: PodWorkers,
        statuses: Statuses,
        node: Callable[[], Object | None],
    ) -> None:
        self._pods = pods
        self._services = services
        self._workers = workers
        self._mirrors = Mirrors(
            client=client, clock=clock, static=lambda: self._static.pods, node=node, shown=statuses.show_by
        )
        self._static = StaticPods(
            path=config.static_pod_path,
            node_name=config.node_name,
            clock=clock,
            check_seconds=config.static_pod_check_seconds,
            start=workers.add,
            end=workers.end_static,
            running=self._runs,
            changed=self._mirrors.poke,
        )

    async def look(self) -> None:
        """Static pods, before the workers begin: what runs of them is not to be taken for somebody's remains."""
        self._workers.knows_all = False
        await self._static.look()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._static.run(), name="static pods")
            group.create_task(self._follow_api(), name="pods of the API")

    async def _follow_api(self) -> None:
        await self._pods.wait_synced()
        # Without the services an environment would lack variables for good, so the first container waits for them.
        await self._services.wait_synced()
        self._pods.add_handler(on_add=self._added, on_update=self._updated, on_delete=self._deleted)
        log.info("pods known count=%d", len(self._pods.lister.list()))
        await self._workers.learnt_all()
        await self._mirrors.run()

    def _added(self, pod: Object) -> None:
        if is_mirror(pod):
            self._mirrors.observe(pod)
        else:
            self._workers.add(pod)

    def _updated(self, old: Object, new: Object) -> None:
        if is_mirror(old) or is_mirror(new):
            if uid_of(old) != uid_of(new):
                self._deleted(old)
            self._added(new)
        else:
            self._workers.update(old, new)

    def _deleted(self, pod: Object) -> None:
        if is_mirror(pod):
            self._mirrors.forget(pod)
        else:
            self._workers.delete(pod)

    def _runs(self, key: ObjectKey) -> bool:
        """Whether a pod of that name has not given back yet what it uses."""
        worker = self._workers.find(*key)
        return worker is not None and not worker.gone
