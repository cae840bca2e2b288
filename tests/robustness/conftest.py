"""A server in this process, over real TLS, that is left as it was found: no task, connection or watch more.

`quiet` checks that, and that nobody logged an error or a traceback.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.robustness.clients import Rough
from timonel.testing.server import start_api_server
from timonel.testing.waiting import wait_until


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "server(**limits): fields of the configuration of the server under test")


@pytest_asyncio.fixture
async def rough(request, tmp_path) -> AsyncIterator[Rough]:
    """`@pytest.mark.server(field=value)` gives the server other limits."""
    marker = request.node.get_closest_marker("server")
    running = await start_api_server(tmp_path, **(marker.kwargs if marker else {}))
    client = Rough(running)
    assert (await client.request("GET", "/healthz")).startswith(b"HTTP/1.1 200")
    tasks = asyncio.all_tasks()
    try:
        yield client
        await client.close()

        def is_quiet() -> bool:
            gc.collect()
            return not (running.api.in_flight or running.api.watches or left_over(tasks))

        try:
            await wait_until(is_quiet, seconds=10)
        except AssertionError:
            raise AssertionError(f"left: {running.api.in_flight} requests, {left_over(tasks)}") from None
        # Neighbours are served as before.
        assert (await client.request("GET", "/healthz")).startswith(b"HTTP/1.1 200")
    finally:
        await client.close()
        await running.stop()


def left_over(known: set[asyncio.Task[object]]) -> set[asyncio.Task[object]]:
    """Tasks that a test has left; what sets fixtures up and takes them down is a task of its own each time."""
    return {task for task in asyncio.all_tasks() - known if task is not asyncio.current_task()}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO)
    yield
    for record in caplog.get_records("call"):
        assert record.levelno < logging.ERROR, record.getMessage()
        assert not record.exc_info, record.getMessage()
