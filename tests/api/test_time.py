"""What time does to the server, with a clock that the test moves."""

from __future__ import annotations

import asyncio

from timonel.testing.clock import VirtualClock
from timonel.testing.server import start_api_server


async def test_events_go_after_an_hour(tmp_path):
    clock = VirtualClock()
    server = await start_api_server(tmp_path, clock=clock)
    path = "/api/v1/namespaces/default/events"
    involved = {"kind": "Pod", "name": "p", "namespace": "default"}
    event = {"metadata": {"name": "e"}, "involvedObject": involved, "reason": "R", "message": "m", "type": "Normal"}
    status, _ = await server.request("POST", path, event)
    assert status == 201
    await clock.advance(3500)
    assert (await server.request("GET", f"{path}/e"))[0] == 200
    async with asyncio.timeout(10):
        while (await server.request("GET", f"{path}/e"))[0] == 200:
            await clock.advance(60)
    assert clock.monotonic() < 3600 + 600
    await server.stop()


async def test_bookmarks_come_every_minute(tmp_path):
    clock = VirtualClock()
    server = await start_api_server(tmp_path, clock=clock)
    path = "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=1&allowWatchBookmarks=true"
    watching = asyncio.create_task(server.watch(path, 1))
    while not server.api.watches:
        await asyncio.sleep(0)
    before = await server.store.current_revision()
    await clock.advance(60)
    (bookmark,) = await watching
    assert bookmark["type"] == "BOOKMARK"
    revision = int(bookmark["object"]["metadata"]["resourceVersion"])
    assert before <= revision <= await server.store.current_revision()  # the server, too, writes now and then
    await server.stop()
