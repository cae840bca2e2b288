"""A write that lost a race is made again; the client hears of it as of one write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from timonel.api.objects import Object, copy_object
from timonel.api.refs import CONFIGMAPS
from timonel.apiserver.registry.calls import own_call
from timonel.storage.protocol import Entry, RevisionMismatch
from timonel.testing.server import start_api_server


async def test_warnings_are_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await start_api_server(tmp_path)
    try:
        registry = server.api.registry.of(CONFIGMAPS)
        await server.api.registry.create(CONFIGMAPS, {"metadata": {"name": "a", "namespace": "default"}})
        update, lost = registry.cache.update, 0

        async def lose_twice(key: str, plain: bytes, expected: int, **options: Any) -> Any:
            nonlocal lost
            if lost < 2:
                lost += 1
                raise RevisionMismatch(key, Entry(key, plain, 1, expected + 1))
            return await update(key, plain, expected, **options)

        monkeypatch.setattr(registry.cache, "update", lose_twice)
        owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}

        def own_it_twice(live: Object) -> Object:
            changed = copy_object(live)
            changed["metadata"]["ownerReferences"] = [owner, owner]
            return changed

        call = own_call(registry.resource, "update", "default", "a")
        await registry.update("default", "a", own_it_twice, call, patching=True)
        assert lost == 2
        assert len(call.warnings) == 1
    finally:
        await server.stop()
