"""The check named etcd asks the store itself, whichever it is, and gives up after two seconds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from timonel.apiserver import health
from timonel.storage.protocol import StoreError
from timonel.storage.sqlite import open_sqlite
from timonel.testing.clock import VirtualClock
from timonel.testing.server import start_api_server


async def test_a_store_that_fails_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_FRESH_SECONDS", 0)
    store: Any = await open_sqlite(":memory:", clock=VirtualClock())
    server = await start_api_server(tmp_path, store=store)
    try:
        assert (await server.request("GET", "/readyz"))[0] == 200

        async def fail() -> None:
            raise StoreError("the disk is on fire")

        monkeypatch.setattr(store, "check", fail)
        status, text = await server.request("GET", "/readyz?verbose")
        assert status == 500
        assert b"[-]etcd failed: reason withheld\n[-]etcd-readiness failed" in text
        assert b"[+]informer-sync ok" in text
        assert (await server.request("GET", "/livez/etcd"))[1] == b"internal server error: the disk is on fire\n"
        assert (await server.request("GET", "/healthz"))[0] == 500
        assert (await server.request("GET", "/livez?exclude=etcd"))[0] == 200

        async def hang() -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(store, "check", hang)
        monkeypatch.setattr(health, "_TIMEOUT_SECONDS", 0.01)
        assert (await server.request("GET", "/livez/etcd"))[0] == 500
        monkeypatch.undo()
        assert (await server.request("GET", "/api/v1/namespaces"))[0] == 200  # reads go on all the while
    finally:
        await server.stop()
