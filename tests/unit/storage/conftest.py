from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from timonel.storage.etcd import EtcdConfig, open_etcd
from timonel.storage.protocol import Store
from timonel.storage.sqlite import SqliteStore, open_sqlite
from timonel.testing.clock import VirtualClock

OpenStore = Callable[[], Awaitable[Store]]
"""Opens an empty store whose time stands still."""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def sqlite(clock: VirtualClock) -> AsyncIterator[SqliteStore]:
    opened = await open_sqlite(":memory:", clock=clock)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def open_etcd_store(new_config: Callable[[], EtcdConfig]) -> OpenStore:
    return lambda: open_etcd(new_config(), VirtualClock())


@pytest.fixture(scope="session", params=["sqlite", "etcd"])
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """What the protocol promises holds on every backend. Revisions are counted from where the store begins."""
    if request.param == "etcd":
        etcd: OpenStore = request.getfixturevalue("open_etcd_store")
        return etcd
    return lambda: open_sqlite(":memory:", clock=VirtualClock())


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[Store]:
    opened = await open_store()
    yield opened
    await opened.close()
