"""An informer never loses an event, whatever the connection does."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from timonel.api.errors import ServiceUnavailable
from timonel.api.labels import parse_label_selector
from timonel.api.objects import name_of
from timonel.api.refs import CONFIGMAPS, PODS
from timonel.client.informer import Informers
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient


def configmap(name, namespace="default", data=None, labels=None):
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "data": data or {},
    }


class Told:
    def __init__(self, informer):
        self.events = []
        informer.add_handler(
            on_add=lambda obj: self.events.append(("add", name_of(obj))),
            on_update=lambda old, new: self.events.append(("update", name_of(new), old["data"], new["data"])),
            on_delete=lambda obj: self.events.append(("delete", name_of(obj))),
        )

    def take(self):
        taken, self.events = self.events, []
        return taken


@asynccontextmanager
async def running(informers):
    task = asyncio.create_task(informers.run())
    await settle()
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_lists_then_follows_changes():
    clock = VirtualClock()
    client = FakeClient(configmap("a", data={"k": "1"}), clock=clock)
    informers = Informers(client, clock=clock)
    told = Told(informers.of(CONFIGMAPS))
    async with running(informers):
        await informers.wait_synced()
        assert told.take() == [("add", "a")]
        await client.create(CONFIGMAPS, configmap("b"))
        client.change(CONFIGMAPS, "a", "default", lambda obj: obj.update(data={"k": "2"}))
        await client.delete(CONFIGMAPS, "b", "default")
        await settle()
        assert told.take() == [("add", "b"), ("update", "a", {"k": "1"}, {"k": "2"}), ("delete", "b")]
        assert informers.of(CONFIGMAPS).lister.get("default", "b") is None


async def test_broken_watch_resumes_without_listing_again():
    clock = VirtualClock()
    client = FakeClient(configmap("a"), clock=clock)
    informers = Informers(client, clock=clock)
    told = Told(informers.of(CONFIGMAPS))
    async with running(informers):
        told.take()
        client.disconnect()
        client.fail(ServiceUnavailable("away"), verb="watch", times=3)
        await client.create(CONFIGMAPS, configmap("b"))
        await client.delete(CONFIGMAPS, "a", "default")
        await clock.advance(30)
        assert told.take() == [("add", "b"), ("delete", "a")]
        assert [verb for verb, _ in client.reads].count("list") == 1


async def test_expired_version_is_told_as_a_difference():
    clock = VirtualClock()
    client = FakeClient(configmap("gone"), configmap("same"), configmap("new", data={"k": "1"}), clock=clock)
    informers = Informers(client, clock=clock)
    told = Told(informers.of(CONFIGMAPS))
    async with running(informers):
        told.take()
        client.fail(ServiceUnavailable("away"), verb="watch", times=2)
        client.disconnect()
        client.remove(CONFIGMAPS, "gone", "default")
        client.add(configmap("fresh"))
        client.change(CONFIGMAPS, "new", "default", lambda obj: obj.update(data={"k": "2"}))
        client.expire_history()
        await clock.advance(60)
        assert sorted(told.take()) == [
            ("add", "fresh"),
            ("delete", "gone"),
            ("update", "new", {"k": "1"}, {"k": "2"}),
        ]


async def test_replaced_object_is_told_as_delete_and_add():
    clock = VirtualClock()
    client = FakeClient(configmap("a"), clock=clock)
    informers = Informers(client, clock=clock)
    told = Told(informers.of(CONFIGMAPS))
    async with running(informers):
        told.take()
        client.disconnect()
        client.remove(CONFIGMAPS, "a", "default")
        client.add(configmap("a"))
        client.expire_history()
        await clock.advance(60)
        assert told.take() == [("delete", "a"), ("add", "a")]


async def test_large_kinds_are_listed_in_chunks():
    clock = VirtualClock()
    client = FakeClient(*[configmap(f"c{n:04}") for n in range(1201)], clock=clock)
    informers = Informers(client, clock=clock)
    informer = informers.of(CONFIGMAPS)
    async with running(informers):
        await informer.wait_synced()
        assert len(informer.lister) == 1201
        assert client.reads.count(("list", CONFIGMAPS)) == 3


async def test_server_that_is_away_at_first_only_delays():
    clock = VirtualClock()
    client = FakeClient(configmap("a"), clock=clock)
    client.fail(ServiceUnavailable("starting"), times=5)
    informers = Informers(client, clock=clock)
    informer = informers.of(CONFIGMAPS)
    async with running(informers):
        assert not informer.has_synced
        await clock.advance(60)
        assert informer.has_synced


async def test_idle_informer_asks_nothing():
    clock = VirtualClock()
    client = FakeClient(configmap("a"), clock=clock)
    informers = Informers(client, clock=clock)
    informers.of(CONFIGMAPS)
    async with running(informers):
        before = len(client.reads)
        await clock.advance(3600)
        assert len(client.reads) == before


async def test_late_handler_and_late_index_see_what_is_there():
    clock = VirtualClock()
    client = FakeClient(configmap("a", labels={"app": "x"}), configmap("b", "other"), clock=clock)
    informers = Informers(client, clock=clock)
    informer = informers.of(CONFIGMAPS)
    async with running(informers):
        informer.add_index("app", lambda obj: [obj["metadata"].get("labels", {}).get("app")])
        assert Told(informer).take() == [("add", "a"), ("add", "b")]
        assert [name_of(obj) for obj in informer.lister.by_index("app", "x")] == ["a"]
        client.change(CONFIGMAPS, "a", "default", lambda obj: obj["metadata"].update(labels={"app": "y"}))
        await settle()
        assert informer.lister.by_index("app", "x") == []
        assert [name_of(obj) for obj in informer.lister.list("default", parse_label_selector("app=y"))] == ["a"]


async def test_shared_informer_is_the_same_and_slim():
    client = FakeClient()
    informers = Informers(client)
    full = informers.of(PODS)
    assert informers.of(PODS) is full
    assert informers.of(PODS, metadata_only=True) is full
    assert informers.of(PODS, field_selector="spec.nodeName=a") is not full
    clock = VirtualClock()
    obj = configmap("a", data={"large": "x"})
    obj["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    client = FakeClient(obj, clock=clock)
    informers = Informers(client, clock=clock)
    slim, meta = informers.of(CONFIGMAPS, namespace="default"), informers.of(CONFIGMAPS, metadata_only=True)
    async with running(informers):
        assert "managedFields" not in slim.lister.get("default", "a")["metadata"]
        assert "data" not in meta.lister.get("default", "a")


async def test_failing_handler_does_not_stop_the_others(caplog):
    clock = VirtualClock()
    client = FakeClient(configmap("a"), clock=clock)
    informers = Informers(client, clock=clock)
    informer = informers.of(CONFIGMAPS)
    informer.add_handler(on_add=lambda obj: obj["no such field"])
    told = Told(informer)
    async with running(informers):
        assert told.take() == [("add", "a")]
    assert "handler failed resource=configmaps object=default/a" in caplog.text
