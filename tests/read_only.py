"""Live objects are read-only: a write shares with them what it leaves alone, and may change none of it in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from timonel.apiserver.registry.resource_registry import ResourceRegistry
from timonel.apiserver.registry.written import Written
from timonel.storage.cached_object import CachedObject


def watching_live_objects() -> Iterator[None]:
    """For a fixture: the updates of all servers in this process are looked at."""
    update_live = ResourceRegistry._update_live

    async def watched(self: ResourceRegistry, live: CachedObject, *args: Any, **options: Any) -> Written:
        obj = live.obj
        before = orjson.dumps(obj)
        try:
            return await update_live(self, live, *args, **options)
        finally:
            assert orjson.dumps(obj) == before, f"an update changed the live object {live.key}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResourceRegistry, "_update_live", watched)
        yield
