"""How long requests may take."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.objects import config_map
from timonel.testing.server import start_api_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("text", ["x", "5", "1h1", "9999999999h", "1d"])
async def test_a_timeout_that_is_no_duration(server, text):
    status, answer = await server.request("GET", f"/api/v1/configmaps?timeout={text}")
    assert (status, answer["reason"]) == (400, "BadRequest")
    assert answer["message"].startswith("invalid timeout specified in the request URL - time: ")


@pytest.mark.parametrize("text", ["", "0", "5s", "-5s", "1.5h2m"])
async def test_a_timeout_that_is_one(server, text):
    assert (await server.request("GET", f"/api/v1/configmaps?timeout={text}"))[0] == 200


async def test_watches_do_not_look_at_it(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("a"))
    assert await server.watch(f"{path}?watch=true&timeout=x", 1)


async def test_what_takes_too_long_is_a_504(server, namespace, monkeypatch):
    never = asyncio.Event()

    async def wait(request):
        await never.wait()

    monkeypatch.setattr(server.api.authenticator, "authenticate", wait)
    status, answer = await server.request("GET", "/api/v1/configmaps?timeout=20ms")
    assert status == 504
    assert answer == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Timeout", "details": {},
        "message": "Timeout: request did not complete within the allotted timeout", "code": 504,
    }  # fmt: skip


async def test_the_servers_own_limit(tmp_path, monkeypatch):
    running = await start_api_server(tmp_path, request_timeout_seconds=0.02)
    try:

        async def wait(request):
            await asyncio.Event().wait()

        monkeypatch.setattr(running.api.authenticator, "authenticate", wait)
        assert (await running.request("GET", "/api/v1/configmaps?timeout=1h"))[0] == 504
        assert (await running.request("GET", "/api/v1/configmaps"))[0] == 504
    finally:
        await running.stop()
