from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from timonel.api.clock import SystemClock
from timonel.api.objects import Object
from timonel.apiserver.config import ApiServerConfig
from timonel.apiserver.security import SecurityConfig
from timonel.apiserver.server import ApiServer
from timonel.cluster import pki
from timonel.storage.sqlite import open_sqlite

TOKENS = 'root,admin,1,"system:masters"\nann,ann,2,devs\n'


@dataclass
class Server:
    api: ApiServer
    session: aiohttp.ClientSession

    async def ask(
        self, method: str, path: str, body: Object | None = None, *, token: str = "root", **headers: str
    ) -> tuple[int, Any]:
        sent: Mapping[str, str] = {**({"Authorization": f"Bearer {token}"} if token else {}), **headers}
        async with self.session.request(method, path, json=body, headers=sent) as response:
            data: Any = await response.json(content_type=None)
            return response.status, data


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A whole API server over plain HTTP, with fixed tokens: "root" may everything, "ann" nothing."""
    made = pki.ensure_pki(tmp_path / "pki", service_address="10.96.0.1")
    (tmp_path / "tokens.csv").write_text(TOKENS)
    security = SecurityConfig(
        service_account_key_file=made.service_account_key,
        token_file=tmp_path / "tokens.csv",
        kubelet_ca_file=made.ca.cert,
        kubelet_client_cert_file=made.kubelet_client.cert,
        kubelet_client_key_file=made.kubelet_client.key,
    )
    clock = SystemClock()
    store = await open_sqlite(":memory:", clock=clock)
    api = ApiServer(
        config=ApiServerConfig(bind_address="127.0.0.1", port=0, security=security, shutdown_grace_seconds=1.0),
        store=store,
        clock=clock,
    )
    running = asyncio.create_task(api.run())
    ready = asyncio.create_task(api.wait_ready())
    await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{api.port}") as session:
        yield Server(api, session)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await store.close()
