from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from timonel.kubelet.streaming.server import KubeletServer, KubeletServerConfig
from timonel.testing.clock import VirtualClock

from .fakes import Certificates, FakeBackend, FakeReviewer, FakeRuntime, Session, make_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@dataclass
class Node:
    server: KubeletServer
    backend: FakeBackend
    reviewer: FakeReviewer
    runtime: FakeRuntime
    client: aiohttp.ClientSession
    """Authenticated as admin, in system:masters."""
    url: str
    clock: VirtualClock
    folder: Path
    certificates: Certificates


@pytest.fixture
async def node(certificates: Certificates, tmp_path: Path) -> AsyncIterator[Node]:
    async def nothing(session: Session) -> None:
        return

    backend, reviewer, clock = FakeBackend(), FakeReviewer(), VirtualClock()
    cert, key = certificates.pair("server")
    config = KubeletServerConfig(cert, key, certificates.ca_file, address="127.0.0.1", port=0)
    server = KubeletServer(config=config, backend=backend, client=reviewer, clock=clock)
    async with FakeRuntime(nothing) as runtime:
        backend.url = runtime.url
        running = asyncio.create_task(server.run())
        await server.wait_ready()
        url = f"https://127.0.0.1:{server.port}"
        connector = aiohttp.TCPConnector(ssl=certificates.client_context("admin"))
        async with aiohttp.ClientSession(url, connector=connector) as client:
            yield Node(server, backend, reviewer, runtime, client, url, clock, tmp_path, certificates)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
