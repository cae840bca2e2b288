"""The hollow nodes of one process: registers them, keeps them alive, runs their pods, answers for them."""

from __future__ import annotations

import asyncio
import logging

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, ApiError, NotFound
from timonel.api.objects import Object, find_by, name_of
from timonel.api.refs import NODES
from timonel.client.backoff import Backoff
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.simulation.config import HollowConfig
from timonel.simulation.heartbeats import Heartbeats
from timonel.simulation.nodes import (
    LABEL,
    NOT_READY,
    has_taint,
    is_own_name,
    is_silent,
    new_hollow_node,
    node_name,
    ready_again,
    slim_node,
)
from timonel.simulation.pods import HollowPods

log = logging.getLogger(__name__)


class HollowNodes:
    """`run` until cancelled. Informers and recorder are run by whoever made them.

    Nodes that were deleted come back when the process starts again, as a kubelet's would; nodes of its names beyond the
    count are removed.
    """

    def __init__(
        self,
        *,
        config: HollowConfig,
        client: ApiClient,
        informers: Informers,
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._ready = asyncio.Event()
        self._registered = False
        self._unready: set[str] = set()
        self._wake = asyncio.Event()
        self._nodes = informers.of(NODES, label_selector=f"{LABEL}=true", transform=slim_node)
        self._usable: set[str] = set()
        self._nodes.add_handler(
            on_add=self._look,
            on_update=lambda old, new: self._look(new),
            on_delete=lambda node: self._usable.discard(name_of(node)),
        )
        parts = {"config": config, "client": client, "informers": informers, "clock": clock}
        self._heartbeats = Heartbeats(**parts)  # type: ignore[arg-type]
        self.pods = HollowPods(**parts, recorder=recorder)  # type: ignore[arg-type]

    async def run(self) -> None:
        await self._nodes.wait_synced()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._register(), name="hollow nodes")
            group.create_task(self._keep_ready(), name="hollow node statuses")
            group.create_task(self._heartbeats.run(), name="hollow leases")
            group.create_task(self.pods.run(), name="hollow pods")

    async def wait_ready(self) -> None:
        """Until every node is registered, has its pod network, and pods may be scheduled onto it."""
        await self._ready.wait()

    async def _register(self) -> None:
        config = self._config
        wanted = {node_name(config, index): index for index in range(config.count)}
        present = {name_of(node) for node in self._nodes.lister.list()}
        work = [self._create(index) for name, index in wanted.items() if name not in present]
        work += [self._remove(name) for name in present - wanted.keys() if is_own_name(config, name)]
        waiting = iter(work)

        async def some() -> None:
            for each in waiting:
                await each

        await asyncio.gather(*(some() for _ in range(config.writers)))
        log.info("hollow nodes registered count=%d", config.count)
        self._registered = True
        self._judge()

    async def _remove(self, name: str) -> None:
        try:
            await self._client.delete(NODES, name)
        except NotFound:
            return
        except (ApiError, OSError) as error:
            log.warning("surplus hollow node not removed node=%s error=%s", name, error)

    async def _create(self, index: int) -> None:
        backoff = Backoff(first=0.2, limit=5.0)
        while True:
            node = new_hollow_node(self._config, index, self._clock.now())
            try:
                await self._client.create(NODES, node)
                return
            except AlreadyExists:
                return
            except (ApiError, OSError) as error:
                log.info("hollow node not registered node=%s error=%s", name_of(node), error)
                await self._clock.sleep(backoff.next_delay())

    # What others say of a node that is well

    def _look(self, node: Object) -> None:
        if node["spec"].get("podCIDR") and not has_taint(node, NOT_READY):
            self._usable.add(name_of(node))
            self._judge()
        ready = find_by(node["status"]["conditions"], "type", "Ready")
        if (ready is None or ready["status"] != "True") and not is_silent(node):
            self._unready.add(name_of(node))
            self._wake.set()

    def _judge(self) -> None:
        if self._registered and len(self._usable) >= self._config.count:
            self._ready.set()

    async def _keep_ready(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unready:
                batch = [self._unready.pop() for _ in range(min(len(self._unready), self._config.writers))]
                await asyncio.gather(*map(self._say_ready, batch))

    async def _say_ready(self, name: str) -> None:
        try:
            node = await self._client.get(NODES, name)
            await self._client.patch(
                NODES, name, ready_again(node, self._clock.now()), type="strategic", subresource="status"
            )
        except NotFound:
            return
        except (ApiError, OSError) as error:
            log.info("hollow node not called ready again node=%s error=%s", name, error)
            self._unready.add(name)
            await self._clock.sleep(1.0)
