"""scale, binding, eviction."""

from __future__ import annotations

import pytest

from tests.api.objects import deployment, pod

pytestmark = pytest.mark.asyncio(loop_scope="module")

MERGE = {"Content-Type": "application/merge-patch+json"}


async def test_scale_is_a_view_of_replicas(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    _, made = await server.request("POST", path, deployment("d", replicas=2))
    _, scale = await server.request("GET", f"{path}/d/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 0, "selector": "app=d"}
    assert scale["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    scale["spec"]["replicas"] = 5
    status, scale = await server.request("PUT", f"{path}/d/scale", scale)
    assert (status, scale["spec"]) == (200, {"replicas": 5})
    _, made = await server.request("GET", f"{path}/d")
    assert (made["spec"]["replicas"], made["metadata"]["generation"]) == (5, 2)
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx"
    status, scale = await server.request("PATCH", f"{path}/d/scale", {"spec": {"replicas": 1}}, headers=MERGE)
    assert (status, scale["spec"]) == (200, {"replicas": 1})


async def test_scales_are_printed_as_rows(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await server.request("POST", path, deployment("printed", replicas=2))
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    _, table = await server.request("GET", f"{path}/printed/scale", headers=accept)
    assert table["kind"] == "Table"
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert table["rows"][0]["cells"][:3] == ["printed", 2, 0]


async def test_scales_that_are_refused(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await server.request("POST", path, deployment("d"))
    _, scale = await server.request("GET", f"{path}/d/scale")
    scale["spec"] = {"replicas": -1}
    status, answer = await server.request("PUT", f"{path}/d/scale", scale)
    assert status == 422
    assert "must be greater than or equal to 0" in answer["message"]
    scale["spec"] = {"replicas": 3}
    await server.request("PUT", f"{path}/d/scale", scale)
    status, answer = await server.request("PUT", f"{path}/d/scale", scale)
    assert (status, answer["reason"]) == (409, "Conflict")
    assert (await server.request("GET", f"{path}/none/scale"))[0] == 404


def binding(name, node):
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": node}}


async def test_a_pod_is_bound_once(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    await server.request("POST", path, pod("p"))
    status, answer = await server.request("POST", f"{path}/p/binding", binding("p", "n1"))
    assert (status, answer["status"]) == (201, "Success")
    _, bound = await server.request("GET", f"{path}/p")
    assert bound["spec"]["nodeName"] == "n1"
    scheduled = next(each for each in bound["status"]["conditions"] if each["type"] == "PodScheduled")
    assert scheduled["status"] == "True"
    status, answer = await server.request("POST", f"{path}/p/binding", binding("p", "n2"))
    assert status == 409
    assert answer["message"] == (
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"'
    )
    status, answer = await server.request("POST", f"{path}/p/binding", binding("p", ""))
    assert (status, answer["reason"]) == (422, "Invalid")
    assert (await server.request("POST", f"{path}/none/binding", binding("none", "n1")))[0] == 404


async def test_an_eviction_deletes_the_pod(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    body = pod("p")
    body["spec"]["nodeName"] = "n1"
    await server.request("POST", path, body)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"},
                "deleteOptions": {"gracePeriodSeconds": 7}}  # fmt: skip
    status, answer = await server.request("POST", f"{path}/p/eviction", eviction)
    assert (status, answer["status"]) == (201, "Success")
    _, marked = await server.request("GET", f"{path}/p")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 7
    eviction["metadata"]["name"] = "none"
    assert (await server.request("POST", f"{path}/none/eviction", eviction))[0] == 404
