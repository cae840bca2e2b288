"""metrics.k8s.io as `kubectl top` and autoscalers ask for it, from kubelets that tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from timonel.api.objects import Object, name_of
from timonel.apiserver.resource_metrics.collector import CollectorConfig, ResourceMetricsCollector
from timonel.testing.server import RunningServer, start_api_server

GROUP = "/apis/metrics.k8s.io/v1beta1"
TABLE = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}


def page(seconds: float) -> str:
    """Of a node that has used 20 % of a core since the beginning; its pod half of that."""
    moment = 1767225600000 + int(seconds * 1000)
    labels = '{container="main",namespace="default",pod="web"}'
    return (
        f"node_cpu_usage_seconds_total {seconds / 5} {moment}\nnode_memory_working_set_bytes 1048576 {moment}\n"
        f"container_cpu_usage_seconds_total{labels} {seconds / 10} {moment}\n"
        f"container_memory_working_set_bytes{labels} 524288 {moment}\n"
        f"container_start_time_seconds{labels} 1767225500\n"
    )


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    running = await start_api_server(tmp_path)
    looks = iter(range(100, 10_000, 15))
    collector = ResourceMetricsCollector(
        nodes=lambda: [{"metadata": {"name": "n1"}}],
        fetch=_telling(lambda node: page(next(looks))),
        clock=running.api.clock,
        config=CollectorConfig(first_seconds=0.0),
    )
    running.api.resource_metrics = collector
    task = asyncio.create_task(collector.run())
    for path, obj in (
        ("/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1", "labels": {"zone": "a"}}}),
        ("/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "silent"}}),
        ("/api/v1/namespaces/default/serviceaccounts", _named("ServiceAccount", "default")),
        ("/api/v1/namespaces/default/pods", _pod("web", app="web")),
        ("/api/v1/namespaces/default/pods", _pod("new", app="web")),
    ):
        status, body = await running.request("POST", path, obj)
        assert status in (201, 409), body
    yield running
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await running.stop()


def _telling(tell: Callable[[Object], str]) -> Callable[[Object], object]:
    async def fetch(node: Object) -> str:
        return tell(node)

    return fetch


def _named(kind: str, name: str) -> Object:
    return {"kind": kind, "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}}


def _pod(name: str, **labels: str) -> Object:
    made = _named("Pod", name)
    made["metadata"]["labels"] = labels
    return made | {"spec": {"containers": [{"name": "main", "image": "x"}]}}


async def test_nodes(server: RunningServer) -> None:
    status, body = await server.request("GET", f"{GROUP}/nodes")
    assert status == 200
    assert (body["kind"], body["apiVersion"]) == ("NodeMetricsList", "metrics.k8s.io/v1beta1")
    (node,) = body["items"]
    created = datetime.fromisoformat(node["metadata"].pop("creationTimestamp"))
    assert abs((datetime.now(UTC) - created).total_seconds()) < 60
    assert node == {
        "kind": "NodeMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {"name": "n1", "labels": {"zone": "a"}},
        "timestamp": "2026-01-01T00:01:55Z",
        "window": "15s",
        "usage": {"cpu": "200m", "memory": "1Mi"},
    }


async def test_pods(server: RunningServer) -> None:
    status, body = await server.request("GET", f"{GROUP}/namespaces/default/pods/web")
    assert (status, body["kind"], body["window"]) == (200, "PodMetrics", "15s")
    assert body["containers"] == [{"name": "main", "usage": {"cpu": "100m", "memory": "512Ki"}}]
    assert body["metadata"]["labels"] == {"app": "web"}


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("pods", ["web"]),
        ("namespaces/default/pods?labelSelector=app%3Dweb", ["web"]),
        ("namespaces/default/pods?labelSelector=app%3Dother", []),
        ("namespaces/default/pods?fieldSelector=metadata.name%3Dweb", ["web"]),
        ("namespaces/kube-system/pods", []),
        ("nodes?labelSelector=zone%3Da", ["n1"]),
        ("nodes?labelSelector=zone%3Db", []),
    ],
)
async def test_selectors(server: RunningServer, path: str, names: list[str]) -> None:
    """Pods without figures are left out."""
    status, body = await server.request("GET", f"{GROUP}/{path}")
    assert (status, [name_of(item) for item in body["items"]]) == (200, names)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("namespaces/default/pods/new", 'podmetrics.metrics.k8s.io "default/new" not found'),
        ("namespaces/default/pods/none", 'podmetrics.metrics.k8s.io "default/none" not found'),
        ("nodes/silent", 'nodemetrics.metrics.k8s.io "silent" not found'),
    ],
)
async def test_what_there_are_no_figures_of_is_not_found(server: RunningServer, path: str, message: str) -> None:
    status, body = await server.request("GET", f"{GROUP}/{path}")
    assert (status, body["message"]) == (404, message)


async def test_tables(server: RunningServer) -> None:
    status, body = await server.request("GET", f"{GROUP}/nodes", headers=TABLE)
    assert (status, body["kind"]) == (200, "Table")
    assert [column["name"] for column in body["columnDefinitions"]] == ["Name", "CPU", "Memory", "Window"]
    assert body["rows"][0]["cells"] == ["n1", "200m", "1Mi", "15s"]


async def test_the_group_can_be_found(server: RunningServer) -> None:
    _, groups = await server.request("GET", "/apis")
    assert groups["groups"][-1]["name"] == "metrics.k8s.io"  # last, so that "pods" stay pods
    _, found = await server.request("GET", GROUP)
    assert [(each["name"], each["kind"], each["namespaced"], each["verbs"]) for each in found["resources"]] == [
        ("nodes", "NodeMetrics", False, ["get", "list"]),
        ("pods", "PodMetrics", True, ["get", "list"]),
    ]
    status, service = await server.request("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io")
    assert (status, service["status"]["conditions"][0]["status"]) == (200, "True")
    status, document = await server.request("GET", f"/openapi/v3{GROUP}")
    assert "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics" in document["components"]["schemas"]


async def test_people_who_may_view_may_see(server: RunningServer) -> None:
    status, _ = await server.request("GET", f"{GROUP}/namespaces/default/pods", token=server.alice_token)
    assert status == 403
    binding = {
        "kind": "RoleBinding",
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": "alice", "namespace": "default"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    assert (await server.request("POST", path, binding))[0] == 201
    status, body = await server.request("GET", f"{GROUP}/namespaces/default/pods", token=server.alice_token)
    assert (status, len(body["items"])) == (200, 1)
    status, _ = await server.request("DELETE", f"{GROUP}/namespaces/default/pods/web")
    assert status == 405
