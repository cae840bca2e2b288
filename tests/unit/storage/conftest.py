from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from timonel.storage.sqlite import SqliteStore, open_sqlite
from timonel.testing.clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def store(clock: VirtualClock) -> AsyncIterator[SqliteStore]:
    opened = await open_sqlite(":memory:", clock=clock)
    yield opened
    await opened.close()
