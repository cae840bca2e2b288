"""A client that hangs up while its watch is being set up leaves nothing behind in the cache."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from timonel.api.refs import CONFIGMAPS
from timonel.apiserver.negotiation import Answer
from timonel.apiserver.routing import parse_route
from timonel.apiserver.watch import serve_watch
from timonel.testing.server import start_api_server


async def test_no_watcher_is_left(tmp_path: Path) -> None:
    server = await start_api_server(tmp_path)
    try:
        registry = server.api.registry.of(CONFIGMAPS)
        before = registry.cache.watchers
        context: Any = SimpleNamespace(
            server=server.api,
            route=parse_route("GET", "/api/v1/configmaps?watch=true"),
            answer=Answer(),
            request=SimpleNamespace(transport=None, protocol=None, headers={}),
            audit_id="",
        )
        with pytest.raises(ConnectionResetError):
            await serve_watch(context, registry)
        assert registry.cache.watchers == before
    finally:
        await server.stop()
