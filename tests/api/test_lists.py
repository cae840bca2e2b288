"""Lists: selectors, pages, revisions. Rules quoted from kubernetes.io/docs/reference/using-api/api-concepts."""

from __future__ import annotations

import pytest

from tests.api.objects import config_map, pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def make(server, namespace, names, **labels):
    for name in names:
        body = config_map(name)
        body["metadata"]["labels"] = labels
        status, _ = await server.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)
        assert status == 201


def names(answer):
    return [item["metadata"]["name"] for item in answer["items"]]


async def test_a_list_is_sorted_and_says_its_kind(server, namespace):
    await make(server, namespace, ["b", "a", "c"])
    _, answer = await server.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")
    assert (answer["kind"], answer["apiVersion"]) == ("ConfigMapList", "v1")
    assert names(answer) == ["a", "b", "c"]
    assert answer["metadata"]["resourceVersion"].isdigit()


async def test_selectors(server, namespace):
    await make(server, namespace, ["a", "b"], app="x")
    await make(server, namespace, ["c"], app="y")
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for query, expected in (
        ("labelSelector=app%3Dx", ["a", "b"]),
        ("labelSelector=app!%3Dx", ["c"]),
        ("labelSelector=app%20in%20(y,z)", ["c"]),
        ("labelSelector=!app", []),
        ("fieldSelector=metadata.name%3Db", ["b"]),
        ("fieldSelector=metadata.name!%3Db", ["a", "c"]),
        ("fieldSelector=metadata.name%3Da&labelSelector=app%3Dy", []),
    ):
        assert names((await server.request("GET", f"{path}?{query}"))[1]) == expected


async def test_pods_by_node(server, namespace):
    bound = pod("bound")
    bound["spec"]["nodeName"] = "n1"
    for body in (bound, pod("free")):
        await server.request("POST", f"/api/v1/namespaces/{namespace}/pods", body)
    _, answer = await server.request("GET", f"/api/v1/namespaces/{namespace}/pods?fieldSelector=spec.nodeName%3Dn1")
    assert names(answer) == ["bound"]
    _, answer = await server.request("GET", f"/api/v1/namespaces/{namespace}/pods?fieldSelector=spec.nodeName%3D")
    assert names(answer) == ["free"]


async def test_pages_show_one_state(server, namespace):
    """ "This pattern … maintains a consistent view": what is created between two pages is on neither."""
    await make(server, namespace, ["a", "b", "c", "d", "e"])
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, first = await server.request("GET", f"{path}?limit=2")
    assert names(first) == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 3
    await make(server, namespace, ["bb"])
    await server.request("DELETE", f"{path}/c")
    _, second = await server.request("GET", f"{path}?limit=2&continue={first['metadata']['continue']}")
    assert names(second) == ["c", "d"]
    assert second["metadata"]["remainingItemCount"] == 1
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    _, third = await server.request("GET", f"{path}?limit=2&continue={second['metadata']['continue']}")
    assert names(third) == ["e"]
    assert "continue" not in third["metadata"]


async def test_a_limit_with_a_selector_gives_no_count(server, namespace):
    await make(server, namespace, ["a", "b", "c"], app="x")
    path = f"/api/v1/namespaces/{namespace}/configmaps?labelSelector=app%3Dx&limit=1"
    seen, token = [], ""
    for _ in range(3):
        _, page = await server.request("GET", f"{path}&continue={token}")
        assert "remainingItemCount" not in page["metadata"]
        seen += names(page)
        token = page["metadata"].get("continue", "")
    assert (seen, token) == (["a", "b", "c"], "")


async def test_a_list_at_an_exact_revision(server, namespace):
    await make(server, namespace, ["a"])
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, before = await server.request("GET", path)
    await make(server, namespace, ["b"])
    revision = before["metadata"]["resourceVersion"]
    _, exact = await server.request("GET", f"{path}?resourceVersion={revision}&resourceVersionMatch=Exact")
    assert names(exact) == ["a"]
    assert exact["metadata"]["resourceVersion"] == revision
    _, newer = await server.request("GET", f"{path}?resourceVersion={revision}&resourceVersionMatch=NotOlderThan")
    assert names(newer) == ["a", "b"]
    _, unset = await server.request("GET", f"{path}?resourceVersion=0")
    assert names(unset) == ["a", "b"]


async def test_a_token_of_a_compacted_revision_is_gone_and_offers_another(server, namespace):
    await make(server, namespace, ["a", "b", "c"])
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, first = await server.request("GET", f"{path}?limit=1")
    await make(server, namespace, ["d"])
    await server.store.compact(await server.store.current_revision())
    status, answer = await server.request("GET", f"{path}?limit=1&continue={first['metadata']['continue']}")
    assert (status, answer["reason"]) == (410, "Expired")
    assert answer["message"].startswith("The provided continue parameter is too old")
    _, rest = await server.request("GET", f"{path}?continue={answer['metadata']['continue']}")
    assert names(rest) == ["b", "c", "d"]


async def test_large_lists_are_compressed_for_those_who_take_it(server, namespace):
    for name in ("a", "b"):
        await server.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map(name, x="y" * 100_000))
    headers = {"Authorization": f"Bearer {server.token}", "Accept-Encoding": "gzip"}
    url = f"{server.url}/api/v1/namespaces/{namespace}/configmaps"
    async with server.http.get(url, headers=headers) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert len((await response.json())["items"]) == 2
    headers["Accept-Encoding"] = "identity"
    async with server.http.get(url, headers=headers) as response:
        assert "Content-Encoding" not in response.headers


async def test_events_are_one_collection_in_two_shapes(server, namespace):
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Because", "message": "it happened",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": namespace}, "type": "Normal", "count": 2,
        "source": {"component": "tester"}, "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    status, _ = await server.request("POST", f"/api/v1/namespaces/{namespace}/events", event)
    assert status == 201
    _, shaped = await server.request("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/e")
    assert shaped["apiVersion"] == "events.k8s.io/v1"
    assert (shaped["note"], shaped["regarding"]["name"], shaped["deprecatedCount"]) == ("it happened", "p", 2)
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    _, listed = await server.request("GET", f"{path}?fieldSelector=regarding.name%3Dp")
    assert [item["note"] for item in listed["items"]] == ["it happened"]
    _, listed = await server.request(
        "GET", f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3Dq"
    )
    assert listed["items"] == []


async def test_a_long_selector_is_read(server, namespace):
    values = ",".join(f"value-{number}" for number in range(3000))
    path = f"/api/v1/namespaces/{namespace}/configmaps?labelSelector=app%20in%20({values})"
    status, answer = await server.request("GET", path)
    assert (status, answer["items"]) == (200, [])
