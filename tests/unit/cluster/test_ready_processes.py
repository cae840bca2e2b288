"""What every part does once it is ready."""

from __future__ import annotations

import gc

from timonel.cluster.process import notify_when


async def test_what_is_there_is_left_alone_by_the_cycle_collector() -> None:
    async def ready() -> None:
        return

    before = gc.get_freeze_count()
    try:
        await notify_when(ready)
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
