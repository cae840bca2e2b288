"""The suite's server: in this process, over real HTTPS. One per module, each test in a namespace of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.read_only import watching_live_objects
from timonel.api.clock import SystemClock
from timonel.storage.etcd import open_etcd
from timonel.testing.server import RunningServer, start_api_server


@pytest.fixture(scope="session", autouse=True)
def live_objects() -> Iterator[None]:
    yield from watching_live_objects()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "etcd"])
async def server(request, tmp_path_factory) -> AsyncIterator[RunningServer]:
    """Clients cannot tell on which store it is."""
    store = None
    if request.param == "etcd":
        store = await open_etcd(request.getfixturevalue("new_config")(), SystemClock())
    running = await start_api_server(tmp_path_factory.mktemp("server"), store=store)
    yield running
    await running.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def namespace(server: RunningServer) -> str:
    """A fresh one, with the service account that pods need."""
    name = f"ns-{uuid.uuid4().hex[:8]}"
    status, _ = await server.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert status == 201
    account = {"metadata": {"name": "default"}}
    status, _ = await server.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)
    assert status == 201
    return name
