"""DELETE: at once, gracefully, with finalizers, of collections, of namespaces."""

from __future__ import annotations

import pytest

from tests.api.objects import config_map, deployment, pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_what_holds_nothing_back_is_gone_at_once(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, made = await server.request("POST", path, config_map("a"))
    status, answer = await server.request("DELETE", f"{path}/a")
    assert status == 200
    assert answer["status"] == "Success"
    assert answer["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    status, answer = await server.request("DELETE", f"{path}/a")
    assert (status, answer["message"]) == (404, 'configmaps "a" not found')


async def test_finalizers_keep_an_object_until_the_last_is_removed(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    held = config_map("a")
    held["metadata"]["finalizers"] = ["example.com/one"]
    await server.request("POST", path, held)
    status, marked = await server.request("DELETE", f"{path}/a")
    assert status == 200
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    more = {**marked, "metadata": {**marked["metadata"], "finalizers": ["example.com/one", "example.com/two"]}}
    status, answer = await server.request("PUT", f"{path}/a", more)
    assert status == 422
    assert "no new finalizers can be added if the object is being deleted" in answer["message"]
    merge = {"Content-Type": "application/merge-patch+json"}
    status, _ = await server.request("PATCH", f"{path}/a", {"metadata": {"finalizers": None}}, headers=merge)
    assert status == 200
    assert (await server.request("GET", f"{path}/a"))[0] == 404


@pytest.mark.parametrize(
    ("options", "finalizers"),
    [
        ({"propagationPolicy": "Foreground"}, ["foregroundDeletion"]),
        ({"propagationPolicy": "Orphan"}, ["orphan"]),
        ({"orphanDependents": True}, ["orphan"]),
    ],
)
async def test_policies_become_finalizers_for_the_garbage_collector(server, namespace, options, finalizers):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await server.request("POST", path, deployment("d"))
    _, marked = await server.request("DELETE", f"{path}/d", options)
    assert marked["metadata"]["finalizers"] == finalizers
    assert marked["metadata"]["generation"] == 2


async def test_options_may_come_in_the_query(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await server.request("POST", path, deployment("d"))
    _, marked = await server.request("DELETE", f"{path}/d?propagationPolicy=Foreground")
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]


async def test_options_that_contradict_each_other(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/a"
    status, answer = await server.request("DELETE", path, {"propagationPolicy": "Orphan", "orphanDependents": True})
    assert status == 422
    assert "orphanDependents and deletionPropagation cannot be both set" in answer["message"]
    status, _ = await server.request("DELETE", path, {"propagationPolicy": "Sometimes"})
    assert status == 422


async def test_preconditions(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, made = await server.request("POST", path, config_map("a"))
    status, answer = await server.request("DELETE", f"{path}/a", {"preconditions": {"uid": "other"}})
    assert status == 409
    assert answer["message"] == (
        f'Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (other) does not match the UID '
        f"in record ({made['metadata']['uid']}). The object might have been deleted and then recreated"
    )
    status, answer = await server.request("DELETE", f"{path}/a", {"preconditions": {"resourceVersion": "1"}})
    assert status == 409
    good = {"uid": made["metadata"]["uid"], "resourceVersion": made["metadata"]["resourceVersion"]}
    assert (await server.request("DELETE", f"{path}/a", {"preconditions": good}))[0] == 200


async def test_a_pod_on_a_node_has_its_grace_period(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    body = pod("p")
    body["spec"]["nodeName"] = "n1"
    await server.request("POST", path, body)
    status, marked = await server.request("DELETE", f"{path}/p")
    assert (status, marked["metadata"]["deletionGracePeriodSeconds"]) == (200, 30)
    _, again = await server.request("DELETE", f"{path}/p", {"gracePeriodSeconds": 60})
    assert again["metadata"]["deletionGracePeriodSeconds"] == 30
    _, shorter = await server.request("DELETE", f"{path}/p", {"gracePeriodSeconds": 5})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter["metadata"]["deletionTimestamp"] < marked["metadata"]["deletionTimestamp"]
    assert (await server.request("DELETE", f"{path}/p", {"gracePeriodSeconds": 0}))[0] == 200
    assert (await server.request("GET", f"{path}/p"))[0] == 404


async def test_a_pod_without_a_node_goes_at_once(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    await server.request("POST", path, pod("p"))
    status, answer = await server.request("DELETE", f"{path}/p")
    assert (status, answer["kind"]) == (200, "Pod")
    assert (await server.request("GET", f"{path}/p"))[0] == 404


async def test_a_collection_by_selector(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for name, app in (("a", "x"), ("b", "x"), ("c", "y")):
        body = config_map(name)
        body["metadata"]["labels"] = {"app": app}
        await server.request("POST", path, body)
    status, answer = await server.request("DELETE", f"{path}?labelSelector=app%3Dx")
    assert status == 200
    assert [item["metadata"]["name"] for item in answer["items"]] == ["a", "b"]
    _, left = await server.request("GET", path)
    assert [item["metadata"]["name"] for item in left["items"]] == ["c"]


async def test_a_namespace_is_marked_and_goes_with_its_last_finalizer(server, namespace):
    path = f"/api/v1/namespaces/{namespace}"
    _, before = await server.request("GET", path)
    assert before["spec"]["finalizers"] == ["kubernetes"]
    status, marked = await server.request("DELETE", path)
    assert (status, marked["status"]["phase"]) == (200, "Terminating")
    status, answer = await server.request("POST", f"{path}/configmaps", config_map("a"))
    assert status == 403
    assert "because it is being terminated" in answer["message"]
    marked["spec"]["finalizers"] = []
    assert (await server.request("PUT", f"{path}/finalize", marked))[0] == 200
    assert (await server.request("GET", path))[0] == 404


async def test_system_namespaces_stay(server):
    status, answer = await server.request("DELETE", "/api/v1/namespaces/kube-system")
    assert status == 403
    assert answer["message"] == 'namespaces "kube-system" is forbidden: this namespace may not be deleted'
