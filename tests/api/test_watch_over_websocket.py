"""Watches of clients that cannot read a chunked answer as it comes: browsers."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from aiohttp import WSMsgType

from tests.api.objects import config_map
from timonel.api.protobuf import decode_protobuf
from timonel.apiserver.watch_streams import WebSocketStream
from timonel.testing.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def connect(server, path, **headers):
    sent = {"Authorization": f"Bearer {server.token}", "Origin": "http://localhost", **headers}
    return server.http.ws_connect(server.url.replace("https", "wss") + path, headers=sent)


async def test_each_event_is_a_text_message(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("a"))
    async with asyncio.timeout(10), connect(server, f"{path}?watch=true") as socket:
        await server.request("POST", path, config_map("large", x="y" * 100_000))
        names = []
        while "large" not in names:
            message = await socket.receive()
            assert message.type == WSMsgType.TEXT
            event = orjson.loads(message.data)
            assert event["type"] == "ADDED"
            names.append(event["object"]["metadata"]["name"])
        assert "a" in names


async def test_what_happens_during_the_handshake_is_told_once(server, namespace, monkeypatch):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    upgrade = WebSocketStream.upgrade

    async def slow(self, *, audit_id):
        await server.request("POST", path, config_map("meanwhile"))
        await upgrade(self, audit_id=audit_id)

    monkeypatch.setattr(WebSocketStream, "upgrade", slow)
    async with asyncio.timeout(10), connect(server, f"{path}?watch=true") as socket:
        await server.request("POST", path, config_map("z-last"))
        names = []
        while "z-last" not in names:
            names.append(orjson.loads((await socket.receive()).data)["object"]["metadata"]["name"])
        assert names.count("meanwhile") == 1


async def test_protobuf_comes_as_binary_messages(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("a"))
    accept = {"Accept": "application/vnd.kubernetes.protobuf;stream=watch"}
    async with asyncio.timeout(10), connect(server, f"{path}?watch=true", **accept) as socket:
        message = await socket.receive()
        assert message.type == WSMsgType.BINARY
        assert decode_protobuf(message.data[message.data.index(b"k8s\0") :])["metadata"]["name"]


async def test_the_server_says_goodbye_when_the_time_is_over(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=true&timeoutSeconds=1&resourceVersion="
    _, listed = await server.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")
    async with asyncio.timeout(10), connect(server, path + listed["metadata"]["resourceVersion"]) as socket:
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1000)


async def test_the_watch_ends_with_its_client(server, namespace):
    watches = server.api.watches
    before = len(watches)
    tasks = len(asyncio.all_tasks())
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=true"
    async with asyncio.timeout(10):
        async with connect(server, path):
            while len(watches) == before:
                await asyncio.sleep(0)
        await wait_until(lambda: len(watches) <= before and len(asyncio.all_tasks()) <= tasks)


async def test_pings_are_answered(server, namespace):
    async with asyncio.timeout(10), connect(server, f"/api/v1/namespaces/{namespace}/configmaps?watch=true") as socket:
        await socket.ping(b"x")
        await server.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map("a"))
        while orjson.loads((await socket.receive()).data)["object"]["metadata"]["name"] != "a":
            pass


async def test_who_may_not_gets_a_status(server):
    url = f"{server.url}/api/v1/configmaps?watch=true"
    headers = {"Authorization": f"Bearer {server.alice_token}", "Connection": "Upgrade", "Upgrade": "websocket",
               "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    async with server.http.get(url, headers=headers) as response:
        assert response.status == 403
        assert (await response.json())["reason"] == "Forbidden"


async def test_a_broken_handshake_is_a_bad_request(server):
    headers = {"Authorization": f"Bearer {server.token}", "Connection": "Upgrade", "Upgrade": "websocket"}
    async with server.http.get(f"{server.url}/api/v1/configmaps?watch=true", headers=headers) as response:
        assert response.status == 400
        assert (await response.json())["kind"] == "Status"
