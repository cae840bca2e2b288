"""Watches: nothing lost, nothing twice, selectors as sets that objects enter and leave."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.objects import config_map
from timonel.api.refs import CONFIGMAPS
from timonel.testing.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def path_of(namespace):
    return f"/api/v1/namespaces/{namespace}/configmaps"


def told(events):
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


async def revision(server, namespace):
    return (await server.request("GET", path_of(namespace)))[1]["metadata"]["resourceVersion"]


async def test_changes_after_a_revision_come_in_order(server, namespace):
    path = path_of(namespace)
    start = await revision(server, namespace)
    await server.request("POST", path, config_map("a"))
    await server.request("PUT", f"{path}/a", config_map("a", x="1"))
    await server.request("POST", path, config_map("b"))
    _, gone = await server.request("DELETE", f"{path}/a")
    assert gone["status"] == "Success"
    events = await server.watch(f"{path}?watch=true&resourceVersion={start}", 4)
    assert told(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert revisions == sorted(set(revisions))
    assert revisions[0] > int(start)
    assert events[3]["object"]["data"] == {"x": "1"}


async def test_a_watch_without_revision_begins_with_what_there_is(server, namespace):
    path = path_of(namespace)
    await server.request("POST", path, config_map("a"))
    watching = asyncio.create_task(server.watch(f"{path}?watch=1", 2))
    while not server.api.watches:
        await asyncio.sleep(0)
    await server.request("POST", path, config_map("b"))
    assert told(await watching) == [("ADDED", "a"), ("ADDED", "b")]


async def test_an_object_enters_and_leaves_a_selector(server, namespace):
    path = path_of(namespace)
    start = await revision(server, namespace)
    one = config_map("a")
    for labels in ({}, {"app": "x"}, {"app": "x", "more": "1"}, {"app": "y"}, {"app": "x"}):
        one["metadata"]["labels"] = labels
        method, target = ("POST", path) if not labels else ("PUT", f"{path}/a")
        await server.request(method, target, one)
    await server.request("DELETE", f"{path}/a")
    events = await server.watch(f"{path}?watch=true&resourceVersion={start}&labelSelector=app%3Dx", 5)
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]


async def test_a_watch_of_one_object(server, namespace):
    path = path_of(namespace)
    start = await revision(server, namespace)
    for name in ("a", "b", "a2"):
        await server.request("POST", path, config_map(name))
    await server.request("DELETE", f"{path}/b")
    query = f"watch=true&resourceVersion={start}&fieldSelector=metadata.name%3Db"
    assert told(await server.watch(f"{path}?{query}", 2)) == [("ADDED", "b"), ("DELETED", "b")]
    old_form = f"/api/v1/watch/namespaces/{namespace}/configmaps/b?resourceVersion={start}"
    assert told(await server.watch(old_form, 2)) == [("ADDED", "b"), ("DELETED", "b")]


async def test_initial_events_end_with_a_bookmark_that_says_so(server, namespace):
    """ "The server … sends a synthetic Bookmark event with the annotation k8s.io/initial-events-end: true"."""
    path = path_of(namespace)
    await server.request("POST", path, config_map("a"))
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    added, bookmark = await server.watch(f"{path}?{query}", 2)
    assert told([added]) == [("ADDED", "a")]
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["kind"] == "ConfigMap"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(bookmark["object"]["metadata"]["resourceVersion"]) >= int(added["object"]["metadata"]["resourceVersion"])


async def test_bookmarks_tell_how_far_the_watch_is(server, namespace):
    path = path_of(namespace)
    start = await revision(server, namespace)
    watching = asyncio.create_task(
        server.watch(f"{path}?watch=true&resourceVersion={start}&allowWatchBookmarks=true", 1)
    )
    while not server.api.watches:
        await asyncio.sleep(0)
    await server.request("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"generateName": "other-"}})
    for stream in server.api.watches:
        stream.bookmark()
    (bookmark,) = await watching
    assert bookmark["type"] == "BOOKMARK"
    assert int(bookmark["object"]["metadata"]["resourceVersion"]) > int(start)


async def test_a_watch_ends_when_its_time_is_over(server, namespace):
    events = await server.watch(f"{path_of(namespace)}?watch=true&timeoutSeconds=1", 1)
    assert events == []


async def test_a_revision_that_is_no_longer_kept_is_an_error_event(server, namespace):
    path = path_of(namespace)
    start = await revision(server, namespace)
    for number in range(3):
        await server.request("POST", path, config_map(f"c{number}"))
    # Long enough for the cache's own ring to have forgotten the start.
    cache = server.api.registry.of(CONFIGMAPS).cache
    cache._floor = await server.store.current_revision()
    cache._ring.clear()
    await server.store.compact(await server.store.current_revision())
    (event,) = await server.watch(f"{path}?watch=true&resourceVersion={start}", 1)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert event["object"]["message"].startswith(f"too old resource version: {start} (")


async def test_tables_in_a_watch_send_their_columns_once(server, namespace):
    path = path_of(namespace)
    start = await revision(server, namespace)
    for name in ("a", "b"):
        await server.request("POST", path, config_map(name, x="1"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    first, second = await server.watch(f"{path}?watch=true&resourceVersion={start}", 2, accept=accept)
    assert first["object"]["kind"] == "Table"
    assert [column["name"] for column in first["object"]["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["object"]["columnDefinitions"] == []
    assert second["object"]["rows"][0]["cells"][:2] == ["b", 1]


async def test_a_client_that_leaves_leaves_no_watch_behind(server, namespace):
    watching = asyncio.create_task(server.watch(f"{path_of(namespace)}?watch=true", 1))
    while not server.api.watches:
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await wait_until(lambda: not server.api.watches)
