"""A list, and the events of a watch from its revision on, make what a later list shows; with selectors too."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = settings(
    max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
NAMES = st.sampled_from(["a", "b", "c"])
LABELS = st.sampled_from([None, "x", "y", "z"])
STEPS = st.lists(st.tuples(st.sampled_from(["write", "label", "delete"]), NAMES, LABELS), max_size=12)
# Each with a name and a label that it selects, to end the watch with.
SELECTORS = st.sampled_from([
    ("", "end", "x"),
    ("labelSelector=app%3Dx", "end", "x"),
    ("labelSelector=app%20in%20(x,y)", "end", "y"),
    ("labelSelector=!app", "end", None),
    ("labelSelector=app!%3Dx", "end", "z"),
    ("fieldSelector=metadata.name%3Da", "a", "y"),
    ("labelSelector=app&fieldSelector=metadata.name!%3Db", "end", "x"),
])  # fmt: skip


async def do(server, path: str, step: tuple[str, str, str | None], number: int) -> None:
    """Whatever it says, as far as there is something to do it to."""
    what, name, label = step
    if what == "delete":
        status, _ = await server.request("DELETE", f"{path}/{name}")
    elif what == "label":
        headers = {"Content-Type": "application/merge-patch+json"}
        patch = {"metadata": {"labels": {"app": label}}}
        status, _ = await server.request("PATCH", f"{path}/{name}", patch, headers=headers)
    else:
        labels = {} if label is None else {"app": label}
        body = {"metadata": {"name": name, "labels": labels}, "data": {"n": str(number)}}
        status, _ = await server.request("PUT", f"{path}/{name}", body)
        if status == 404:
            status, _ = await server.request("POST", path, body)
    assert status in (200, 201, 404)


async def list_of(server, path: str, selector: str) -> tuple[str, dict[str, Any]]:
    status, listed = await server.request("GET", f"{path}?{selector}")
    assert status == 200
    return listed["metadata"]["resourceVersion"], {each["metadata"]["name"]: each for each in listed["items"]}


async def follow(server, path: str, selector: str, since: str, until: str, objects: dict[str, Any]) -> None:
    """Applies events to `objects`, checking each against what is there, until the event of `until`."""
    headers = {"Authorization": f"Bearer {server.token}"}
    url = f"{server.url}{path}?watch=true&resourceVersion={since}&{selector}"
    async with asyncio.timeout(10), server.http.get(url, headers=headers) as response:
        assert response.status == 200
        last = int(since)
        async for line in response.content:
            event = orjson.loads(line)
            obj = event["object"]
            name, revision = obj["metadata"].get("name"), int(obj["metadata"]["resourceVersion"])
            assert revision > last
            last = revision
            if event["type"] == "ADDED":
                assert name not in objects
                objects[name] = obj
            elif event["type"] == "MODIFIED":
                assert name in objects
                objects[name] = obj
            elif event["type"] == "DELETED":
                del objects[name]
            if revision == int(until):
                response.close()
                return


async def test_a_list_and_its_watch_make_the_later_list(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    loop = asyncio.get_running_loop()
    numbers = count()

    async def example(before, after, ending):
        selector, name, label = ending
        for step in before:
            await do(server, path, step, next(numbers))
        since, followed = await list_of(server, path, selector)
        for step in after:
            await do(server, path, step, next(numbers))
        await do(server, path, ("write", name, label), next(numbers))
        _, later = await list_of(server, path, selector)
        await follow(server, path, selector, since, later[name]["metadata"]["resourceVersion"], followed)
        assert followed == later
        await server.request("DELETE", f"{path}/end")

    @SETTINGS
    @given(STEPS, STEPS, SELECTORS)
    def holds(before, after, ending):
        asyncio.run_coroutine_threadsafe(example(before, after, ending), loop).result(20)

    await asyncio.to_thread(holds)
