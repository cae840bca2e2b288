"""An operator written with kopf, on kinds that every cluster has, in a thread of its own as `kopf run` would be."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import threading
from collections.abc import AsyncIterator
from typing import Any

import kopf
import pytest
import pytest_asyncio

from tests.api.objects import config_map, deployment

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:kopf"),
    # It ends its event loop before all of its connections are closed.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"
MINE = {"operator": "mine"}


def operator(told: queue.Queue, server: str, ca: str, token: str) -> kopf.OperatorRegistry:
    """What people write in a file of their own, with decorators. `told` hears what the handlers were called with."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=server, ca_path=ca, token=token)

    @kopf.index("configmaps", registry=registry, id="by_color", labels={"indexed": kopf.PRESENT})
    def by_color(body: kopf.Body, name: str, **_: Any) -> dict[str, str]:
        return {body["data"]["color"]: name}

    @kopf.on.create("configmaps", registry=registry, id="created", labels=MINE)
    def created(name: str, patch: kopf.Patch, by_color: kopf.Index, **_: Any) -> None:
        patch.metadata.annotations["example.com/seen"] = "yes"
        told.put(("created", name, sorted(by_color)))

    @kopf.on.update("configmaps", registry=registry, id="updated", labels=MINE)
    def updated(name: str, diff: kopf.Diff, **_: Any) -> None:
        told.put(("updated", name, [tuple(item) for item in diff if item.field[0] == "data"]))

    @kopf.on.field("configmaps", registry=registry, id="colored", labels=MINE, field="data.color")
    def colored(old: Any, new: Any, **_: Any) -> None:
        told.put(("colored", old, new))

    @kopf.on.delete("configmaps", registry=registry, id="deleted", labels=MINE)
    def deleted(name: str, retry: int, **_: Any) -> None:
        if retry == 0:
            raise kopf.TemporaryError("not yet", delay=0.1)
        told.put(("deleted", name, retry))

    @kopf.on.event("services", registry=registry, id="heard")
    def heard(type: str | None, name: str, **_: Any) -> None:
        told.put(("heard", type, name))

    @kopf.on.create("apps", "v1", "deployments", registry=registry, id="deployed")
    def deployed(namespace: str, **_: Any) -> dict[str, Any]:
        told.put(("deployed", namespace))
        return {"by": "operator"}

    @kopf.daemon("apps", "v1", "deployments", registry=registry, id="beside", cancellation_timeout=1)
    async def beside(name: str, stopped: kopf.DaemonStopped, **_: Any) -> None:
        told.put(("daemon started", name))
        await stopped.wait()
        told.put(("daemon stopped", name))

    @kopf.timer("secrets", registry=registry, id="ticked", labels=MINE, interval=0.05)
    def ticked(name: str, patch: kopf.Patch, annotations: kopf.Annotations, **_: Any) -> None:
        count = int(annotations.get("count", "0")) + 1
        patch.metadata.annotations["count"] = str(count)
        if count == 3:
            told.put(("ticked", name))

    return registry


@pytest_asyncio.fixture(loop_scope="module")
async def told(server, namespace, caplog) -> AsyncIterator[queue.Queue]:
    caplog.set_level(logging.INFO, logger="kopf.objects")  # what it logs of an object, it posts as events
    heard: queue.Queue = queue.Queue()
    settings = kopf.OperatorSettings()
    settings.posting.enabled = settings.posting.loggers = True
    settings.networking.error_backoffs = [0.1]
    settings.process.ultimate_exiting_timeout = None
    ready, stop = threading.Event(), threading.Event()
    registry = operator(heard, server.url, str(server.ca), server.token)

    def program() -> None:
        kopf.run(registry=registry, settings=settings, namespaces=[namespace], standalone=True,
                 ready_flag=ready, stop_flag=stop)  # fmt: skip

    running = asyncio.create_task(asyncio.to_thread(program))
    assert await asyncio.to_thread(ready.wait, 20)
    yield heard
    stop.set()
    await running


async def next_of(told: queue.Queue) -> tuple:
    return await asyncio.to_thread(told.get, timeout=10)


async def metadata(server, path):
    status, obj = await server.request("GET", path)
    assert status == 200
    return obj["metadata"]


async def make(server, path, body, **metadata):
    body["metadata"].update(metadata)
    status, made = await server.request("POST", path, body)
    assert status == 201
    return made


async def until(server, path, holds):
    """Follows one object by watch until `holds` says so of it; the object then, or the last one if it was deleted."""
    collection, _, name = path.rpartition("/")
    headers = {"Authorization": f"Bearer {server.token}"}
    query = f"watch=true&fieldSelector=metadata.name%3D{name}"
    async with asyncio.timeout(10), server.http.get(f"{server.url}{collection}?{query}", headers=headers) as response:
        async for line in response.content:
            event = json.loads(line)
            if holds(event["type"], event["object"]):
                response.close()
                return event["object"]
    raise AssertionError(f"the watch of {path} ended")


async def test_the_life_of_an_object_in_handlers(server, namespace, told):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await make(server, path, config_map("palette", color="blue"), labels={"indexed": "yes"})
    made = await make(server, path, config_map("a", color="red"), labels=MINE)
    calls = [await next_of(told), await next_of(told)]
    assert ("created", "a", ["blue"]) in calls
    assert ("colored", None, "red") in calls
    done = await until(server, f"{path}/a", lambda _, each: "kopf.zalando.org/last-handled-configuration"
                       in each["metadata"].get("annotations", {}))  # fmt: skip
    assert done["metadata"]["finalizers"] == [FINALIZER]
    assert done["metadata"]["annotations"]["example.com/seen"] == "yes"
    assert done["metadata"]["uid"] == made["metadata"]["uid"]

    change = {"data": {"color": "green"}}
    headers = {"Content-Type": "application/merge-patch+json"}
    assert (await server.request("PATCH", f"{path}/a", change, headers=headers))[0] == 200
    calls = [await next_of(told), await next_of(told)]
    assert ("colored", "red", "green") in calls
    assert ("updated", "a", [("change", ("data", "color"), "red", "green")]) in calls

    status, waiting = await server.request("DELETE", f"{path}/a")
    assert status == 200
    assert waiting["metadata"]["deletionTimestamp"]
    assert await next_of(told) == ("deleted", "a", 1)
    while (await server.request("GET", f"{path}/a"))[0] == 200:
        pass
    assert told.empty()


async def test_what_it_posts_as_events(server, namespace, told):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = await make(server, path, config_map("a", color="red"), labels=MINE)
    await next_of(told)
    await next_of(told)
    headers = {"Authorization": f"Bearer {server.token}"}
    query = f"watch=true&fieldSelector=involvedObject.uid%3D{made['metadata']['uid']}"
    url = f"{server.url}/api/v1/namespaces/{namespace}/events?{query}"
    messages = []
    async with asyncio.timeout(10), server.http.get(url, headers=headers) as response:
        async for line in response.content:
            event = json.loads(line)["object"]
            assert event["involvedObject"]["kind"] == "ConfigMap"
            assert (event["type"], event["reason"]) == ("Normal", "Logging")
            messages.append(event["message"])
            if "Creation is processed" in event["message"]:
                break
        response.close()
    assert "Handler 'created' succeeded." in messages
    assert messages[-1] == "Creation is processed: 2 succeeded; 0 failed."


async def test_daemons_live_as_long_as_their_objects(server, namespace, told):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await make(server, path, deployment("web"))
    calls = {await next_of(told), await next_of(told)}
    assert calls == {("deployed", namespace), ("daemon started", "web")}
    # The result of a handler goes to the status, which a deployment's definition has no room for.
    assert "deployed" not in (await server.request("GET", f"{path}/web"))[1]["status"]
    await until(server, f"{path}/web", lambda _, each: each["metadata"].get("finalizers") == [FINALIZER])
    await server.request("DELETE", f"{path}/web?propagationPolicy=Background")
    assert await next_of(told) == ("daemon stopped", "web")
    while (await server.request("GET", f"{path}/web"))[0] == 200:
        pass


async def test_timers_and_plain_events(server, namespace, told):
    await make(server, f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": "s"}}, labels=MINE)
    assert await next_of(told) == ("ticked", "s")
    path = f"/api/v1/namespaces/{namespace}/services"
    await make(server, path, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
    assert await next_of(told) == ("heard", "ADDED", "web")
    await server.request("DELETE", f"{path}/web")
    assert await next_of(told) == ("heard", "DELETED", "web")
