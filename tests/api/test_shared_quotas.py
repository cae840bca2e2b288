"""Two servers on one store share quotas: together they let through what the quota allows, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.api.quotas import config_map, limit, run_controllers, stop, used
from timonel.api.clock import SystemClock
from timonel.storage.etcd import EtcdConfig, open_etcd
from timonel.testing.server import RunningServer, start_api_server


async def test_two_servers_never_exceed_together(tmp_path: Path, new_config: Callable[[], EtcdConfig]) -> None:
    config = new_config()

    async def start(name: str) -> RunningServer:
        store = await open_etcd(config, SystemClock())
        return await start_api_server(tmp_path / name, store=store)

    servers = await asyncio.gather(start("quota-one"), start("quota-two"))
    task = await run_controllers(servers[0])
    try:
        await limit(servers[0], "default", {"count/configmaps": "10"})
        path = "/api/v1/namespaces/default/configmaps"
        answers = await asyncio.gather(
            *(servers[n % 2].request("POST", path, config_map(f"m-{n}")) for n in range(100))
        )
        assert [status for status, _ in answers].count(201) == 10
        assert {status for status, _ in answers} == {201, 403}
        await used(servers[1], "default", {"count/configmaps": "10"})
    finally:
        await stop(task)
        for server in servers:
            await server.stop()
