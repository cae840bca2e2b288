"""How a server stops: not ready, watches ended, requests in flight answered, nothing left."""

from __future__ import annotations

import asyncio
import ssl

from tests.api.objects import config_map
from timonel.api.refs import SERVICES
from timonel.apiserver.subresources import HANDLERS
from timonel.testing.clock import settle
from timonel.testing.server import start_api_server


async def test_watches_end_and_nothing_is_left_running(tmp_path):
    before = asyncio.all_tasks()
    server = await start_api_server(tmp_path)
    path = "/api/v1/namespaces/default/configmaps"
    watching = asyncio.create_task(server.watch(f"{path}?watch=true&resourceVersion=1", 100))
    while not server.api.watches:
        await asyncio.sleep(0)
    await server.request("POST", path, config_map("last"))
    server.task.cancel()
    events = await watching
    assert events[-1]["object"]["metadata"]["name"] == "last"
    await server.stop()
    assert server.api.health.answer("/readyz", verbose=False, exclude=frozenset())[0] == 500
    assert asyncio.all_tasks() - before - {asyncio.current_task()} == set()


async def test_what_was_written_is_there_after_a_restart(tmp_path):
    store = str(tmp_path / "store.db")
    path = "/api/v1/namespaces/default/configmaps"
    first = await start_api_server(tmp_path, store_path=store)
    for name in ("a", "b", "c"):
        await first.request("POST", path, config_map(name))
    _, made = await first.request("GET", f"{path}/a")
    _, page = await first.request("GET", f"{path}?limit=1")
    await first.stop()
    second = await start_api_server(tmp_path, store_path=store)
    assert await second.request("GET", f"{path}/a") == (200, made)
    _, rest = await second.request("GET", f"{path}?continue={page['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["b", "c"]
    revision = page["metadata"]["resourceVersion"]
    await second.request("POST", path, config_map("d"))
    (event,) = await second.watch(f"{path}?watch=true&resourceVersion={revision}&fieldSelector=metadata.name%3Dd", 1)
    assert event["type"] == "ADDED"
    await second.stop()


async def test_a_unix_socket_serves_the_same(tmp_path):
    server = await start_api_server(tmp_path, unix_socket=tmp_path / "api.sock")
    context = ssl.create_default_context(cafile=str(server.ca))
    reader, writer = await asyncio.open_unix_connection(
        str(tmp_path / "api.sock"), ssl=context, server_hostname="localhost"
    )
    head = f"GET /version HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
    await writer.wait_closed()
    await server.stop()
    assert not (tmp_path / "api.sock").exists()


async def test_a_watcher_that_does_not_read_is_cut_off(tmp_path):
    """It would otherwise hold every event it is owed in the server's memory."""
    server = await start_api_server(tmp_path, watch_buffer_bytes=256 * 1024)
    context = ssl.create_default_context(cafile=str(server.ca))
    path = "/api/v1/namespaces/default/configmaps"
    _, writer = await asyncio.open_connection("127.0.0.1", server.api.port, ssl=context, limit=1024)
    writer.transport.pause_reading()
    head = f"GET {path}?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n\r\n"
    writer.write(head.encode())
    while not server.api.watches:
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await server.request("POST", path, config_map("a", x="0"))
        for number in range(1000):
            await server.request("PUT", f"{path}/a", config_map("a", x=str(number) * 100_000))
            if not server.api.watches:
                break
    assert not server.api.watches
    writer.transport.abort()
    await server.stop()


async def test_streams_that_would_not_end_do_not_keep_the_server_from_stopping(tmp_path, monkeypatch):
    """Somebody's `kubectl logs -f` must not cost the others the audit log's last lines."""
    streaming = asyncio.Event()

    async def never_ends(context):
        streaming.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await settle()  # as one that closes its own connections first

    monkeypatch.setitem(HANDLERS, ("", "pods", "log"), never_ends)
    audit_log = tmp_path / "audit.log"
    server = await start_api_server(tmp_path, audit_log=audit_log, shutdown_grace_seconds=600.0)
    following = asyncio.create_task(server.request("GET", "/api/v1/namespaces/default/pods/p/log?follow=true"))
    await streaming.wait()
    async with asyncio.timeout(30):
        server.task.cancel()
        await asyncio.gather(server.task, following, return_exceptions=True)
    assert b"/pods/p/log" in audit_log.read_bytes()
    await server.stop()


async def test_writes_in_flight_are_finished_and_heard_of(tmp_path, monkeypatch):
    """Each of these waits for the one before, and has to hear of its commit: node ports are one guarded object."""
    server = await start_api_server(tmp_path, shutdown_grace_seconds=600.0)
    may_commit, create = asyncio.Event(), server.store.create

    async def held_up(*args, **options):
        await may_commit.wait()
        return await create(*args, **options)

    monkeypatch.setattr(server.store, "create", held_up)
    path = "/api/v1/namespaces/default/services"
    specs = [{"type": "NodePort", "ports": [{"port": 80}]}] * 3
    bodies = [{"metadata": {"name": f"late-{number}"}, "spec": spec} for number, spec in enumerate(specs)]
    writes = [asyncio.create_task(server.request("POST", path, body)) for body in bodies]
    while server.api.changing < len(writes):
        await asyncio.sleep(0)
    await settle()
    server.task.cancel()
    while not server.api.is_stopping:
        await asyncio.sleep(0)
    await settle()
    may_commit.set()
    async with asyncio.timeout(30):
        assert [status for status, _ in await asyncio.gather(*writes)] == [201, 201, 201]
        await asyncio.gather(server.task, return_exceptions=True)
    services = server.api.registry.reader(SERVICES).list("default")
    assert {service["metadata"]["name"] for service in services} >= {body["metadata"]["name"] for body in bodies}
    await server.stop()


async def test_a_connection_is_not_used_again_once_the_server_stops(tmp_path, monkeypatch):
    server = await start_api_server(tmp_path, shutdown_grace_seconds=600.0)
    may_commit, create = asyncio.Event(), server.store.create

    async def held_up(*args, **options):
        await may_commit.wait()
        return await create(*args, **options)

    monkeypatch.setattr(server.store, "create", held_up)
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    url = f"{server.url}/api/v1/namespaces/default/configmaps"
    write = asyncio.create_task(server.http.post(url, json=config_map("late"), headers=headers))
    while not server.api.changing:
        await asyncio.sleep(0)
    server.task.cancel()
    while not server.api.is_stopping:
        await asyncio.sleep(0)
    may_commit.set()
    async with asyncio.timeout(30), await write as response:
        assert (response.status, response.headers["Connection"]) == (201, "close")
    await server.stop()
