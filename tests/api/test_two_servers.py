"""Two servers on one etcd are one API: whatever one has acknowledged, the other knows when it is asked next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from timonel.api.clock import SystemClock
from timonel.storage.etcd import EtcdConfig, open_etcd
from timonel.testing.server import RunningServer, start_api_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

Pair = tuple[RunningServer, RunningServer]
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory, new_config: Callable[[], EtcdConfig]) -> AsyncIterator[Pair]:
    config = new_config()

    async def start(name: str) -> RunningServer:
        store = await open_etcd(config, SystemClock())
        return await start_api_server(tmp_path_factory.mktemp(name), store=store)

    # At once, on an empty store: both make the objects that every cluster starts with.
    servers = await asyncio.gather(start("one"), start("two"))
    yield servers[0], servers[1]
    for server in servers:
        await server.stop()


def config_map(name: str, n: int = 0) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": {"n": str(n)}}


async def test_what_one_has_acknowledged_the_other_serves(pair: Pair) -> None:
    one, two = pair
    for n in range(20):
        writer, reader = (one, two) if n % 2 else (two, one)
        path = f"{CONFIG_MAPS}/seen-{n}"
        assert (await reader.request("GET", path))[0] == 404
        status, created = await writer.request("POST", CONFIG_MAPS, config_map(f"seen-{n}"))
        assert status == 201
        assert await reader.request("GET", path) == (200, created)
        created["data"]["n"] = "changed elsewhere"
        status, updated = await reader.request("PUT", path, created)  # pins the revision that the other gave
        assert status == 200
        status, listed = await writer.request("GET", CONFIG_MAPS)
        assert updated["metadata"]["resourceVersion"] in [o["metadata"]["resourceVersion"] for o in listed["items"]]
        assert int(listed["metadata"]["resourceVersion"]) >= int(updated["metadata"]["resourceVersion"])
        assert (await writer.request("PUT", path, created))[0] == 409
        assert (await writer.request("DELETE", path))[0] == 200
        assert (await reader.request("GET", path))[0] == 404
        status, _ = await reader.request("POST", CONFIG_MAPS, config_map(f"seen-{n}"))
        assert status == 201  # the name is free again, everywhere


async def test_a_revision_from_one_is_not_too_large_for_the_other(pair: Pair) -> None:
    one, two = pair
    for n in range(10):
        _, created = await one.request("POST", CONFIG_MAPS, config_map(f"revision-{n}"))
        revision = created["metadata"]["resourceVersion"]
        status, listed = await two.request("GET", f"{CONFIG_MAPS}?resourceVersion={revision}")
        assert status == 200
        assert f"revision-{n}" in [item["metadata"]["name"] for item in listed["items"]]
    status, answer = await two.request("GET", f"{CONFIG_MAPS}?resourceVersion={int(revision) + 10**6}")
    assert (status, answer["details"]["causes"][0]["reason"]) == (504, "ResourceVersionTooLarge")


async def test_a_watch_resumes_at_the_other_server(pair: Pair) -> None:
    one, two = pair
    _, listed = await one.request("GET", CONFIG_MAPS)
    start = listed["metadata"]["resourceVersion"]
    expected = []
    for n in range(10):
        status, created = await (one if n % 2 else two).request("POST", CONFIG_MAPS, config_map(f"watched-{n}"))
        assert status == 201
        expected.append(("ADDED", created["metadata"]["resourceVersion"]))

    def brief(events: list[dict[str, dict[str, dict[str, str]]]]) -> list[tuple[object, str]]:
        return [(event["type"], event["object"]["metadata"]["resourceVersion"]) for event in events]

    first = brief(await one.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={start}", 4))
    rest = brief(await two.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={first[-1][1]}", 6))
    assert first + rest == expected


async def test_patches_through_both_servers_all_count(pair: Pair) -> None:
    await pair[0].request("POST", CONFIG_MAPS, config_map("counted"))
    merge = {"Content-Type": "application/merge-patch+json"}
    answers = await asyncio.gather(*(
        pair[n % 2].request("PATCH", f"{CONFIG_MAPS}/counted", {"data": {f"k{n}": "x"}}, headers=merge)
        for n in range(30)
    ))  # fmt: skip
    assert {status for status, _ in answers} == {200}
    _, found = await pair[1].request("GET", f"{CONFIG_MAPS}/counted")
    assert set(found["data"]) == {"n"} | {f"k{n}" for n in range(30)}
    assert len({answer["metadata"]["resourceVersion"] for _, answer in answers}) == 30
