"""Single controllers running against the fake client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from timonel.client.controller import Controller
from timonel.testing.clock import settle


@asynccontextmanager
async def running(*controllers: Controller) -> AsyncIterator[None]:
    """Each with its informers, until the block ends."""
    tasks = [asyncio.create_task(controller.run()) for controller in controllers]
    sets = {id(controller.informers): controller.informers for controller in controllers}
    tasks += [asyncio.create_task(informers.run()) for informers in sets.values()]
    await settle(200)
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
