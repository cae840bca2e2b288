"""What one pod's odd object may break: itself, for a while; never the kubelet, and never silently."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod
from timonel.api.errors import Invalid
from timonel.api.objects import Object
from timonel.api.refs import CONFIGMAPS, PODS
from timonel.client.informer import Informer
from timonel.kubelet.objects import ReferencedObjects
from timonel.kubelet.pods.statuses import Statuses
from timonel.kubelet.tasks import Tasks
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient

C = container("c")


async def test_an_error_that_escapes_a_task_is_a_failure_of_the_whole() -> None:
    tasks = Tasks()
    others = tasks.start(asyncio.Event().wait(), name="other")  # type: ignore[arg-type]

    async def fail() -> None:
        raise LookupError("odd")

    tasks.start(fail(), name="odd")
    with pytest.raises(LookupError):
        await tasks.run()
    assert others.cancelled()
    late = tasks.start(asyncio.Event().wait(), name="late")  # type: ignore[arg-type]
    await settle()
    assert late.cancelled()


async def test_a_watch_that_broke_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    config_map = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "m", "namespace": "default"}}
    await client.create(CONFIGMAPS, config_map)
    whole, tries = Informer.run, 0

    async def run(informer: Informer) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise LookupError("odd")
        await whole(informer)

    monkeypatch.setattr(Informer, "run", run)
    objects = ReferencedObjects(client=client, clock=clock)
    objects.add(pod(C, volumes=[{"name": "v", "configMap": {"name": "m"}}]))
    await settle()
    assert not objects.is_known("configmap", "default", "m")
    await clock.advance(1)
    assert objects.get("configmap", "default", "m") is not None
    await objects.close()


async def test_that_an_object_is_absent_is_told_too() -> None:
    clock = VirtualClock()
    objects = ReferencedObjects(client=FakeClient(clock=clock), clock=clock)
    told: list[set[str]] = []
    objects.add_handler(lambda name, uids: told.append(uids))
    objects.add(pod(C, volumes=[{"name": "v", "configMap": {"name": "m", "optional": True}}]))
    await settle()
    assert told == [{"uid-web"}]
    await objects.close()


async def test_a_status_whose_write_broke_is_written_again() -> None:
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    made = await client.create(PODS, pod(C))
    whole = client.patch
    tries = 0

    async def patch(*args: Any, **more: Any) -> Object:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise LookupError("odd")
        return await whole(*args, **more)

    client.patch = patch  # type: ignore[method-assign]
    statuses = Statuses(client=client, clock=clock)
    statuses.set(made, {"phase": "Running"})
    await settle()
    await clock.advance(1)
    assert client.objects(PODS)[0]["status"]["phase"] == "Running"
    await statuses.close()


async def test_a_lost_task_of_a_part_ends_the_kubelet(tmp_path: Path) -> None:
    node = Node(tmp_path)

    async def fail() -> None:
        raise LookupError("odd")

    async with node.running() as kubelet:
        await kubelet.wait_ready()
        running = next(task for task in asyncio.all_tasks() if "Kubelet.run" in repr(task.get_coro()))
        kubelet.statuses._tasks.start(fail(), name="odd")
        with pytest.raises(ExceptionGroup) as caught:
            await running
    assert caught.group_contains(LookupError)


async def test_a_new_agent_warns_of_nothing_while_it_learns_of_objects(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(tmp_path)
    config_map = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "m", "namespace": "default"}}
    await node.client.create(CONFIGMAPS, config_map | {"data": {"key": "old"}})
    source = {"name": "m", "optional": True}
    async with node.running():
        await node.client.create(PODS, pod(C, volumes=[{"name": "v", "configMap": source}]))
        await node.until(lambda: node.status("web").get("phase") == "Running", seconds=5)
    file = next((tmp_path / "kubelet").rglob("v/key"))
    await node.client.delete(CONFIGMAPS, "m", "default")
    with caplog.at_level(logging.WARNING):
        async with node.running():
            # Deleted while there was no agent: an optional object's files follow all the same.
            await node.until(lambda: not file.exists(), seconds=5)
    assert "not known yet" not in caplog.text


async def test_a_status_that_the_api_calls_invalid_is_not_sent_again_as_it_is() -> None:
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    made = await client.create(PODS, pod(C))
    whole = client.patch
    tries = 0

    async def patch(*args: Any, **more: Any) -> Object:
        nonlocal tries
        tries += 1
        if args[2]["status"].get("phase") == "Odd":
            raise Invalid("phase: Unsupported value")
        return await whole(*args, **more)

    client.patch = patch  # type: ignore[method-assign]
    statuses = Statuses(client=client, clock=clock)
    statuses.set(made, {"phase": "Odd"})
    await statuses.flush(made["metadata"]["uid"])  # the end of a pod does not wait for it
    await clock.advance(600)
    statuses.set(made, {"phase": "Odd"})
    await settle()
    assert tries == 1
    statuses.set(made, {"phase": "Running"})
    await settle()
    assert client.objects(PODS)[0]["status"]["phase"] == "Running"
    await statuses.close()
