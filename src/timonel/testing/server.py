"""A real API server in the test's own process and loop: TLS, authentication, RBAC, an in-memory store.

server = await start_api_server(tmp_path)
status, body = await server.request("GET", "/api/v1/namespaces/default/configmaps")
await server.stop()
"""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from timonel.api.clock import Clock, SystemClock
from timonel.apiserver.admission.selection import AdmissionConfig
from timonel.apiserver.config import ApiServerConfig
from timonel.apiserver.security import SecurityConfig
from timonel.apiserver.server import ApiServer
from timonel.client.config import ClientConfig
from timonel.client.rest import Client
from timonel.cluster.pki import Pki, ensure_pki
from timonel.storage.protocol import Store
from timonel.storage.sqlite import open_sqlite

ADMIN_TOKEN = "test-admin-token"
ALICE_TOKEN = "test-alice-token"
_TOKENS = f'{ADMIN_TOKEN},admin,admin-uid,"system:masters"\n{ALICE_TOKEN},alice,alice-uid,"people"\n'


@dataclass(slots=True)
class RunningServer:
    """`token` belongs to an administrator; `alice_token` to a user without any rights of her own."""

    url: str
    ca: Path
    token: str
    alice_token: str
    api: ApiServer
    store: Store
    pki: Pki
    http: aiohttp.ClientSession
    client: Client
    task: asyncio.Task[None]

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> tuple[int, Any]:
        """Status code and decoded JSON (bytes if it is none). `body`: bytes as they are, anything else as JSON."""
        sent = {"Authorization": f"Bearer {self.token if token is None else token}", "Accept": "application/json"}
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        # aiohttp warns of large bodies as plain bytes.
        sending = io.BytesIO(data) if data is not None and len(data) > 1 << 20 else data
        async with self.http.request(method, self.url + path, data=sending, headers=sent) as response:
            content = await response.read()
            if response.content_type == "application/json":
                return response.status, orjson.loads(content)
            return response.status, content

    async def watch(self, path: str, count: int, *, accept: str = "application/json") -> list[Any]:
        """The first `count` events of a watch; `path` includes its query. Fails after ten seconds."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": accept}
        events: list[Any] = []
        async with asyncio.timeout(10), self.http.get(self.url + path, headers=headers) as response:
            if response.status != 200:
                raise AssertionError(f"{response.status}: {await response.text()}")
            while len(events) < count and (line := await response.content.readline()):
                events.append(orjson.loads(line))
            response.close()
        return events

    async def stop(self) -> None:
        await self.client.close()
        await self.http.close()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.store.close()


async def start_api_server(
    directory: Path,
    *,
    clock: Clock | None = None,
    store_path: str = ":memory:",
    store: Store | None = None,
    audit_log: Path | None = None,
    admission: AdmissionConfig | None = None,
    **settings: Any,
) -> RunningServer:
    """Starts one on a free port of 127.0.0.1. `settings` are fields of ApiServerConfig.

    `store` becomes the server's own, which closes it; without one it gets SQLite at `store_path`.
    """
    clock = clock or SystemClock()
    pki = ensure_pki(directory / "pki", service_address="10.96.0.1")
    tokens = directory / "tokens.csv"
    tokens.write_text(_TOKENS)
    security = SecurityConfig(
        service_account_key_file=pki.service_account_key, token_file=tokens, audit_log_file=audit_log,
        admission=admission or AdmissionConfig(),
    )  # fmt: skip
    config = ApiServerConfig(**{
        "bind_address": "127.0.0.1",
        "port": 0,
        "cert_file": pki.apiserver.cert,
        "key_file": pki.apiserver.key,
        "client_ca_file": pki.ca.cert,
        "security": security,
        "shutdown_grace_seconds": 2.0,
        **settings,
    })  # fmt: skip
    store = store or await open_sqlite(store_path, clock=clock)
    api = ApiServer(config=config, store=store, clock=clock)
    task = asyncio.create_task(api.run(), name="apiserver")
    ready = asyncio.create_task(api.wait_ready(), name="apiserver-ready")
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        ready.cancel()
        await store.close()
        task.result()
    url = f"https://127.0.0.1:{api.port}"
    context = ssl.create_default_context(cafile=str(pki.ca.cert))
    http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), auto_decompress=True)
    client = Client(ClientConfig(server=url, ca_file=str(pki.ca.cert), token=ADMIN_TOKEN))
    return RunningServer(url, pki.ca.cert, ADMIN_TOKEN, ALICE_TOKEN, api, store, pki, http, client, task)
