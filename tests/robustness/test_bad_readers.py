"""Clients that vanish, or do not read what they asked for."""

from __future__ import annotations

import asyncio
import tracemalloc

import orjson
import pytest

from tests.robustness.clients import CONFIG_MAPS
from timonel.apiserver import responses

MIB = 1024 * 1024
ANSWERED = 30 * MIB
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.server(watch_buffer_bytes=256 * 1024)
@pytest.mark.parametrize("upgrade", [(), UPGRADE], ids=["chunks", "websocket"])
async def test_a_watcher_that_does_not_read_is_cut_off_and_its_neighbour_misses_nothing(rough, upgrade):
    stalled = await rough.connect(buffer=4096)
    await stalled.send(rough.head("GET", f"{CONFIG_MAPS}?watch=true", *upgrade))
    neighbour = await rough.connect()
    await neighbour.send(rough.head("GET", f"{CONFIG_MAPS}?watch=true"))
    await rough.until(lambda: len(rough.api.watches) == 2)
    for line in (stalled, neighbour):
        await line.reader.readuntil(b"\r\n\r\n")
    largest = 0
    seen: list[str] = []

    async def read() -> None:
        buffered = b""
        while len(seen) < 60:
            buffered += await neighbour.reader.read(65536)
            while b"\n" in buffered:
                text, _, buffered = buffered.partition(b"\n")
                if text.startswith(b'{"type"'):
                    seen.append(orjson.loads(text)["object"]["metadata"]["name"])

    reading = asyncio.create_task(read())
    writer = await rough.connect()
    for number in range(60):
        await writer.send(rough.post(f"c{number}", 100_000))
        assert (await writer.answer())[0] == 201
        largest = max([largest, *(stream._transport.get_write_buffer_size() for stream in rough.api.watches)])
    async with asyncio.timeout(15):
        await reading
    assert seen == [f"c{number}" for number in range(60)] or "kube-root-ca.crt" in seen
    await rough.until(lambda: len(rough.api.watches) == 1)
    assert largest < MIB


@pytest.mark.parametrize("size", [100, 100_000])
async def test_answers_that_nobody_reads_do_not_pile_up(rough, monkeypatch, size):
    """Thousands of requests for little, hundreds for much: answers are made as they are read."""
    monkeypatch.setattr(responses, "_DRAIN_SECONDS", 0.5)
    line = await rough.connect()
    await line.send(rough.post("read-me", size))
    assert (await line.answer())[0] == 201
    tasks = asyncio.all_tasks()
    stalled = await rough.connect(buffer=4096)
    one = rough.head("GET", f"{CONFIG_MAPS}/read-me")
    tracemalloc.start()
    try:
        stalled.writer.write(one * (ANSWERED // (size + 500)))
        await rough.until(lambda: asyncio.all_tasks() - tasks)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        await rough.until(lambda: not asyncio.all_tasks() - tasks)  # it was hung up on
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < ANSWERED / 4


async def test_a_client_that_vanishes_while_its_write_is_under_way(rough):
    """Each was written or not, and nothing of the requests is left."""
    for number in range(30):
        line = await rough.connect()
        whole = rough.post(f"v{number}", 5000)
        await line.send(whole if number % 3 else whole[: len(whole) * number // 30])
        line.vanish()
    await rough.until(lambda: not rough.api.in_flight)
    listed = await rough.request("GET", CONFIG_MAPS)
    for item in orjson.loads(listed.partition(b"\r\n\r\n")[2])["items"]:
        if item["metadata"]["name"].startswith("v"):
            assert len(item["data"]["x"]) == 5000


async def test_a_client_that_vanishes_during_a_watch(rough):
    lines = [await rough.connect() for _ in range(20)]
    for line in lines:
        await line.send(rough.head("GET", "/api/v1/configmaps?watch=true"))
    await rough.until(lambda: len(rough.api.watches) == 20)
    for line in lines:
        line.vanish()
    await rough.until(lambda: not rough.api.watches)


async def test_a_client_that_ends_its_direction_only(rough):
    """TLS has no halves: an answer or the end, and nothing is left."""
    line = await rough.connect()
    await line.send(rough.head("GET", "/version"))
    line.writer.transport.get_extra_info("socket")
    line.writer.close()
    await rough.until(lambda: not rough.api.in_flight)


async def test_hundreds_of_idle_connections_cost_little_and_harm_nobody(rough):
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(300):
            line = await rough.connect()
            await line.send(rough.head("GET", "/healthz"))
            assert (await line.answer())[0] == 200
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # Both ends are in this process, and asyncio's TLS sets 256 KiB of addresses aside for each to read into.
    assert held / 300 < 2 * 256 * 1024 + 50_000
    assert (await rough.request("GET", "/version")).startswith(b"HTTP/1.1 200")
