"""Events are written without anyone waiting; repeats are counted, floods are folded and cut."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from timonel.api.errors import Forbidden, ServiceUnavailable
from timonel.api.refs import EVENTS, PODS
from timonel.client.backoff import Backoff
from timonel.client.events import EventRecorder
from timonel.testing.clock import VirtualClock
from timonel.testing.fake_client import FakeClient

POD = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "ns", "uid": "u1"}}


@asynccontextmanager
async def recording(client, clock):
    recorder = EventRecorder(client, component="kubelet", host="n1", clock=clock)
    task = asyncio.create_task(recorder.run())
    yield recorder
    await clock.advance(120)
    await recorder.drain()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_event_has_the_documented_fields():
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    async with recording(client, clock) as recorder:
        recorder.event(POD, "Warning", "BackOff", "again", action="Pulling", field_path="spec.containers{web}")
    [event] = client.objects(EVENTS)
    assert event["metadata"]["namespace"] == "ns"
    assert event["metadata"]["name"].startswith("p.")
    assert event["involvedObject"] == {
        "kind": "Pod",
        "apiVersion": "v1",
        "namespace": "ns",
        "name": "p",
        "uid": "u1",
        "fieldPath": "spec.containers{web}",
    }
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "BackOff", "again")
    assert event["source"] == {"component": "kubelet", "host": "n1"}
    assert (event["count"], event["firstTimestamp"]) == (1, "2026-01-01T00:00:00Z")
    assert event["action"] == "Pulling"


async def test_repeats_raise_the_count():
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    async with recording(client, clock) as recorder:
        for _ in range(3):
            recorder.event(POD, "Warning", "BackOff", "again")
            await clock.advance(10)
    [event] = client.objects(EVENTS)
    assert event["count"] == 3
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"
    assert event["lastTimestamp"] == "2026-01-01T00:00:20Z"


async def test_tenth_similar_event_is_folded():
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    async with recording(client, clock) as recorder:
        for number in range(12):
            recorder.event(POD, "Normal", "Told", f"number {number}")
    messages = sorted(event["message"] for event in client.objects(EVENTS))
    assert len(messages) == 10
    assert messages[0] == "(combined from similar events): number 11"


async def test_flood_about_one_object_is_cut_to_twenty_five():
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    async with recording(client, clock) as recorder:
        for _ in range(100):
            recorder.event(POD, "Normal", "Told", "same")
        await clock.advance(1)
        assert client.objects(EVENTS)[0]["count"] == 25
        await clock.advance(600)
        recorder.event(POD, "Normal", "Told", "same")
    assert client.objects(EVENTS)[0]["count"] == 26


async def test_server_that_is_away_delays_and_refusal_drops():
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    client.fail(ServiceUnavailable("away"), ref=EVENTS, times=3)
    async with recording(client, clock) as recorder:
        recorder.event(POD, "Normal", "First", "x")
        await clock.advance(30)
        client.fail(Forbidden("namespace is being terminated"), ref=EVENTS)
        recorder.event(POD, "Normal", "Refused", "x")
        recorder.event(POD, "Normal", "Second", "x")
    assert sorted(event["reason"] for event in client.objects(EVENTS)) == ["First", "Second"]
    assert client.objects(PODS) == []


async def test_what_does_not_fit_is_dropped_and_told_once_in_ten_seconds(caplog):
    """Five thousand nodes that come at once are not five thousand lines of log."""
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    async with recording(client, clock) as recorder:
        for number in range(3000):
            pod = {**POD, "metadata": {**POD["metadata"], "name": f"p{number}", "uid": f"u{number}"}}
            recorder.event(pod, "Normal", "Told", "x")
        await clock.advance(11)
        recorder.event(POD, "Normal", "Later", "x")
    told = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
    assert told == [
        "events dropped, queue full component=kubelet count=1",
        "events dropped, queue full component=kubelet count=1999",
    ]
    assert len(client.objects(EVENTS)) == 1001


def test_a_backoff_without_delays_seeds_no_generator(monkeypatch):
    monkeypatch.setattr("random.Random", None)
    Backoff(first=1.0).reset()
