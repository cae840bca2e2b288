"""Events go when their time is over, whichever store they are in, and watchers see them go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from timonel.api.clock import SystemClock
from timonel.storage.etcd import EtcdConfig, open_etcd
from timonel.testing.server import start_api_server

EVENTS = "/api/v1/namespaces/default/events"


@pytest.mark.parametrize("backend", ["sqlite", "etcd"])
async def test_events_expire(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = None
    if backend == "etcd":
        new_config: Callable[[], EtcdConfig] = request.getfixturevalue("new_config")
        store = await open_etcd(new_config(), SystemClock())
    server = await start_api_server(tmp_path, store=store, event_ttl_seconds=1)
    try:
        event = {
            "metadata": {"name": "e", "namespace": "default"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        }
        status, made = await server.request("POST", EVENTS, event)
        assert status == 201
        path = f"{EVENTS}?watch=1&resourceVersion={made['metadata']['resourceVersion']}"
        watching = asyncio.create_task(server.watch(path, 1))
        assert (await server.request("GET", f"{EVENTS}/e"))[0] == 200
        (gone,) = await watching
        assert (gone["type"], gone["object"]["metadata"]["name"]) == ("DELETED", "e")
        assert int(gone["object"]["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
        assert (await server.request("GET", f"{EVENTS}/e"))[0] == 404
        _, listed = await server.request("GET", "/apis/events.k8s.io/v1/events")
        assert listed["items"] == []
    finally:
        await server.stop()
