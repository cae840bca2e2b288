"""Leases of hollow nodes: so many a second, in turns, made good for as long as a turn needs.

A kubelet renews its lease every ten seconds, which for five thousand nodes would be five hundred writes a second. The
node controller takes a lease at its word: a node whose lease is good for longer may be silent for longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from timonel.api.objects import Object, name_of, resource_version_of, uid_of
from timonel.api.refs import LEASES, NODES
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.simulation.config import LEASE_SECONDS, HollowConfig, lease_seconds
from timonel.simulation.nodes import LABEL, LEASE_NAMESPACE, is_silent, lease_of, slim_node

log = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_FIRST_SECONDS = LEASE_SECONDS / 2
"""New nodes have their lease after so long at the latest, well before the node controller misses it."""
_PARALLEL = 16
"""As many as register nodes: on a server with more to do than it can, leases keep up with the nodes they are for."""


class Heartbeats:
    """Renews until cancelled. What each lease's version is, is kept: a renewal is one write and no read."""

    def __init__(self, *, config: HollowConfig, client: ApiClient, informers: Informers, clock: Clock) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._versions: dict[str, str] = {}
        self._turn: deque[str] = deque()
        """Nodes with a lease, the next to be renewed first."""
        self._new: deque[str] = deque()
        self._nodes = informers.of(NODES, label_selector=f"{LABEL}=true", transform=slim_node)
        self._nodes.add_handler(on_add=lambda node: self._new.append(name_of(node)))

    async def run(self) -> None:
        await self._nodes.wait_synced()
        while True:
            started = self._clock.monotonic()
            await self.tick()
            await self._clock.sleep(max(0.0, started + _TICK_SECONDS - self._clock.monotonic()))

    async def tick(self) -> None:
        """One second's share of the renewals."""
        count = len(self._nodes.lister)
        duration = lease_seconds(count, self._config.leases_per_second)
        due = [self._turn.popleft() for _ in range(min(len(self._turn), -(-4 * count // duration)))]
        new = max(round(self._config.leases_per_second), -(-count // int(_FIRST_SECONDS)))
        due += [self._new.popleft() for _ in range(min(len(self._new), new))]
        work = iter(due)

        async def renew_some() -> None:
            for name in work:
                await self._renew(name, duration)

        await asyncio.gather(*(renew_some() for _ in range(min(_PARALLEL, len(due)))))

    async def _renew(self, name: str, duration: int) -> None:
        node = self._nodes.lister.get("", name)
        if node is None:
            self._versions.pop(name, None)
            return
        self._turn.append(name)
        if is_silent(node):
            return
        try:
            self._versions[name] = await self._put(node, name, duration)
        except (ApiError, OSError) as error:
            log.info("lease of a hollow node not renewed node=%s error=%s", name, error)

    async def _put(self, node: Object, name: str, duration: int) -> str:
        """The lease's new version."""
        lease = lease_of(name, uid_of(node), duration, self._clock.now(), self._versions.get(name, ""))
        try:
            if name in self._versions:
                return resource_version_of(await self._client.update(LEASES, lease))
            return resource_version_of(await self._client.create(LEASES, lease))
        except (AlreadyExists, Conflict, NotFound):
            # It is from before a restart, or somebody else wrote or deleted it.
            self._versions.pop(name, None)
        try:
            present = await self._client.get(LEASES, name, LEASE_NAMESPACE)
        except NotFound:
            lease["metadata"].pop("resourceVersion", None)
            return resource_version_of(await self._client.create(LEASES, lease))
        lease["metadata"]["resourceVersion"] = resource_version_of(present)
        return resource_version_of(await self._client.update(LEASES, lease))
