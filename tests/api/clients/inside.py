"""What tests of clients know of the server in their own process, and no client does."""

from __future__ import annotations

import asyncio

from timonel.api.refs import CONFIGMAPS
from timonel.testing.server import RunningServer


async def forget_config_maps(server: RunningServer) -> None:
    """As after five minutes: neither the store nor the ring of the cache has the changes until now."""
    revision = await server.store.current_revision()
    cache = server.api.registry.of(CONFIGMAPS).cache
    cache._floor = revision
    cache._ring.clear()
    await server.store.compact(revision)


async def wait_watched(server: RunningServer, before: set[object]) -> None:
    """Until a client has begun a watch; `before` is what `set(server.api.watches)` was."""
    while not server.api.watches - before:
        await asyncio.sleep(0)
