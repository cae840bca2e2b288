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
from timonel.simulation.nodes import LABEL, is_silent, new_hollow_node, node_name, ready_again, slim_node
from timonel.simulation.pods import HollowPods

log = logging.getLogger(__name__)


class HollowNodes:
    """`run` until cancelled. Informers and recorder are run by whoever made them.

    Nodes that were deleted come back when the process starts again, as a kubelet's would.
    """

    def __init__(
        self,
        *,
        config: HollowConfig,
        client: ApiClient,
        informers: Informers,
        recorder: EventRecorder,
        clock: Clock,
        port: int,
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._port = port
        self._ready = asyncio.Event()
        self._unready: set[str] = set()
        self._wake = asyncio.Event()
        self._nodes = informers.of(NODES, label_selector=f"{LABEL}=true", transform=slim_node)
        self._nodes.add_handler(on_add=self._look, on_update=lambda old, new: self._look(new))
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
        """Until every node is registered."""
        await self._ready.wait()

    async def _register(self) -> None:
        config = self._config
        names = {node_name(config, index): index for index in range(config.count)}
        missing = iter([index for name, index in names.items() if self._nodes.lister.get("", name) is None])

        async def some() -> None:
            for index in missing:
                await self._create(index)

        await asyncio.gather(*(some() for _ in range(config.writers)))
        log.info("hollow nodes registered count=%d", config.count)
        self._ready.set()

    async def _create(self, index: int) -> None:
        backoff = Backoff(first=0.2, limit=5.0)
        while True:
            node = new_hollow_node(self._config, index, self._port, self._clock.now())
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
        ready = find_by(node["status"]["conditions"], "type", "Ready")
        if (ready is None or ready["status"] != "True") and not is_silent(node):
            self._unready.add(name_of(node))
            self._wake.set()

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
