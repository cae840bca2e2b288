"""Programs of kr8s: its async API in the server's loop, its sync one in a thread."""

from __future__ import annotations

import asyncio

import kr8s
import pytest
import pytest_asyncio
from kr8s.asyncio.objects import ConfigMap, Deployment, Namespace, Node, Pod, Service
from kr8s.objects import ConfigMap as SyncConfigMap

from tests.api.clients.inside import wait_watched
from tests.api.objects import config_map, deployment, pod, service

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(30),
    # When refused it logs in again, and forgets to close the connection it had.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    # It says so of every version that is newer than itself.
    pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported:UserWarning"),
]


@pytest_asyncio.fixture(loop_scope="module")
async def api(admin, namespace):
    api = await kr8s.asyncio.api(kubeconfig=admin, namespace=namespace)
    yield api
    await api._session.aclose()


async def test_who_am_i_and_what_is_there(api):
    assert await api.whoami() == "admin"
    assert (await api.version())["major"] == "1"
    assert await api.lookup_kind("deploy") == ("deployment.apps/v1", "deployments", True)
    assert await api.lookup_kind("nodes") == ("node/v1", "nodes", False)
    with pytest.raises(ValueError, match="not found"):
        await api.lookup_kind("gizmos")
    names = {resource["name"] for resource in await api.api_resources()}
    assert names >= {"pods", "services", "cronjobs", "ingresses", "events"}


async def test_an_object_lives(api, namespace):
    one = await ConfigMap({**config_map("a", k="v"), "metadata": {"name": "a", "namespace": namespace}}, api=api)
    assert not await one.exists()
    await one.create()
    assert await one.exists()
    assert one.metadata.uid
    await one.patch({"data": {"k": "w", "more": "1"}})
    await one.patch([{"op": "remove", "path": "/data/more"}], type="json")
    assert one.data == {"k": "w"}
    await one.label({"app": "x"})
    await one.annotate(note="n")
    again = await ConfigMap.get("a", namespace=namespace, api=api)
    assert (again.labels, again.annotations) == ({"app": "x"}, {"note": "n"})
    await one.remove_label("app")
    await again.refresh()
    assert again.labels == {}
    await one.delete(propagation_policy="Background")
    await one.wait("delete", timeout=10)
    assert not await one.exists()
    with pytest.raises(kr8s.NotFoundError):
        await again.refresh()


async def test_lists_and_selectors(api, namespace):
    for number in range(3):
        body = pod(f"p{number}", namespace=namespace, labels={"app": "even" if number % 2 == 0 else "odd"})
        body["spec"]["nodeName"] = f"n{number}"
        await (await Pod(body, api=api)).create()

    async def names(**selectors):
        return [each.name async for each in api.get("pods", namespace=namespace, **selectors)]

    assert await names() == ["p0", "p1", "p2"]
    assert await names(label_selector={"app": "even"}) == ["p0", "p2"]
    assert await names(label_selector="app notin (even)") == ["p1"]
    assert await names(field_selector={"spec.nodeName": "n2"}) == ["p2"]
    assert [each.name async for each in api.get("pods", "p1", "p2", namespace=namespace)] == ["p1", "p2"]
    everywhere = [each.name async for each in api.get("pods", namespace=kr8s.ALL, label_selector="app=odd")]
    assert "p1" in everywhere
    tables = [each async for each in api.get("pods", namespace=namespace, as_object=kr8s.asyncio.objects.Table)]
    assert [column["name"] for column in tables[0].column_definitions][:3] == ["Name", "Ready", "Status"]
    assert [row["cells"][0] for row in tables[0].rows] == ["p0", "p1", "p2"]


async def test_lists_longer_than_a_page(api, namespace, server):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    async with asyncio.TaskGroup() as group:
        for number in range(130):
            group.create_task(server.request("POST", path, config_map(f"c{number:03}")))
    names = [each.name async for each in api.get("configmaps", namespace=namespace)]
    assert names == [f"c{number:03}" for number in range(130)]


async def test_waiting_for_a_condition(api, namespace, server):
    web = await Deployment({**deployment("web"), "metadata": {"name": "web", "namespace": namespace}}, api=api)
    await web.create()
    before = set(server.api.watches)
    waiting = asyncio.create_task(web.wait("condition=Available", timeout=10))
    await wait_watched(server, before)
    status = {"conditions": [{"type": "Available", "status": "True"}], "replicas": 1, "readyReplicas": 1}
    other = await Deployment.get("web", namespace=namespace, api=api)
    await other.patch({"status": status}, subresource="status")
    await waiting
    assert web.status.readyReplicas == 1
    await web.wait("jsonpath='{.status.replicas}'=1", timeout=10)
    await web.scale(3)
    assert web.replicas == 3


async def test_a_watch(api, namespace):
    start = (await Namespace.get(namespace, api=api)).metadata.resourceVersion
    one = await Service({**service("a"), "metadata": {"name": "a", "namespace": namespace}}, api=api)
    await one.create()
    told = []
    async for event, each in api.watch("services", namespace=namespace, since=start):
        told.append((event, each.name))
        if event == "ADDED":
            await one.patch({"metadata": {"labels": {"app": "x"}}})
        elif event == "MODIFIED":
            assert each.labels == {"app": "x"}
            await one.delete()
        else:
            break
    assert told == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_owners_and_nodes(api, namespace):
    owner = await ConfigMap({**config_map("owner"), "metadata": {"name": "owner", "namespace": namespace}}, api=api)
    await owner.create()
    child = await ConfigMap({**config_map("child"), "metadata": {"name": "child", "namespace": namespace}}, api=api)
    await child.create()
    await owner.adopt(child)
    await child.refresh()
    assert [reference.uid for reference in child.metadata.ownerReferences] == [owner.metadata.uid]
    node = await Node({"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"kr8s-{namespace}"}}, api=api)
    await node.create()
    await node.cordon()
    assert node.unschedulable
    await node.taint(key="k", value="v", effect="NoSchedule")
    assert {"key": "k", "value": "v", "effect": "NoSchedule"} in [dict(taint) for taint in node.taints]
    await node.uncordon()
    await node.delete()


async def test_refusals(viewer, namespace):
    api = await kr8s.asyncio.api(kubeconfig=viewer, namespace=namespace)
    assert [each async for each in api.get("configmaps", namespace=namespace)] == []
    one = await ConfigMap({**config_map("a"), "metadata": {"name": "a", "namespace": namespace}}, api=api)
    with pytest.raises(kr8s.ServerError) as refused:
        await one.create()
    assert refused.value.response.status_code == 403
    assert refused.value.status["reason"] == "Forbidden"
    await api._session.aclose()


async def test_the_sync_api(editor, namespace):
    def program():
        api = kr8s.api(kubeconfig=editor, namespace=namespace)
        one = SyncConfigMap({**config_map("a", k="v"), "metadata": {"name": "a", "namespace": namespace}}, api=api)
        one.create()
        one.patch({"data": {"k": "w"}})
        assert [each.data.k for each in api.get("cm", namespace=namespace)] == ["w"]
        one.delete()
        one.wait("delete", timeout=10)

    await asyncio.to_thread(program)
