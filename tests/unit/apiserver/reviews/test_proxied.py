"""pods/proxy, services/proxy, nodes/proxy and log, through a whole server to backends on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from timonel.apiserver.proxy import backends, locations

from .conftest import Server


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """An application on loopback, which proxying is allowed to for the test."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": "/there"})
        seen = {"method": request.method, "path": request.raw_path, "headers": dict(request.headers),
                "body": (await request.read()).decode()}  # fmt: skip
        return web.json_response(seen, headers={"X-App": "yes"})

    monkeypatch.setattr(backends, "pod_address", lambda pod: "127.0.0.1")
    monkeypatch.setattr(backends, "allowed_address", lambda text: text)
    server = web.ServerRunner(web.Server(answer))
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    yield server.addresses[0][1]
    await server.cleanup()


async def make_pod(server: Server, *, name: str = "p", namespace: str = "default", **spec: Any) -> None:
    path = f"/api/v1/namespaces/{namespace}"
    await server.ask("POST", f"{path}/serviceaccounts", {"metadata": {"name": "default"}})
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "x"}], **spec}}
    code, made = await server.ask("POST", f"{path}/pods", body)
    assert code == 201, made


PODS = "/api/v1/namespaces/default/pods"


async def test_requests_reach_the_pod_as_they_were_sent(server: Server, port: int) -> None:
    await make_pod(server)
    async with server.session.post(
        f"{PODS}/http:p:{port}/proxy/a%20b/?x=1&y",
        data="body", headers={"Authorization": "Bearer root", "X-Mine": "kept"},
    ) as response:  # fmt: skip
        seen = await response.json()
        assert (response.status, response.headers["X-App"]) == (200, "yes")
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/a%20b/?x=1&y", "body")
    assert seen["headers"]["X-Mine"] == "kept"
    assert "Authorization" not in seen["headers"]
    assert seen["headers"]["X-Forwarded-For"] == "127.0.0.1"


async def test_redirects_stay_below_the_proxy(server: Server, port: int) -> None:
    await make_pod(server)
    headers = {"Authorization": "Bearer root"}
    for path, code, location in (
        (f"{PODS}/p:{port}/proxy/moved", 302, f"{PODS}/p:{port}/proxy/there"),
        (f"{PODS}/p:{port}/proxy?x", 301, f"{PODS}/p:{port}/proxy/?x"),
    ):
        async with server.session.get(path, headers=headers, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (code, location)


async def test_names_that_look_like_the_subresource_do_not_confuse_the_proxy(server: Server, port: int) -> None:
    await server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "proxy"}})
    await make_pod(server, name="proxy", namespace="proxy")
    headers = {"Authorization": "Bearer root"}
    base = f"/api/v1/namespaces/proxy/pods/proxy:{port}/proxy"
    async with server.session.get(f"{base}/moved", headers=headers, allow_redirects=False) as response:
        assert response.headers["Location"] == f"{base}/there"
    async with server.session.get(f"{base}/a/proxy", headers=headers, allow_redirects=False) as response:
        assert (response.status, (await response.json())["path"]) == (200, "/a/proxy")


async def test_refusals(server: Server, port: int) -> None:
    await make_pod(server)
    code, status = await server.ask("GET", f"{PODS}/ftp:p:1/proxy/")
    assert (code, status["message"]) == (400, 'invalid pod request "ftp:p:1"')
    code, status = await server.ask("GET", f"{PODS}/none:1/proxy/")
    assert (code, status["message"]) == (404, 'pods "none" not found')
    code, status = await server.ask("GET", f"{PODS}/p:1/proxy/")
    assert code == 500
    assert "error dialing backend: dial tcp 127.0.0.1:1: connect: connection refused" in status["message"]
    code, status = await server.ask("GET", f"{PODS}/p:{port}/proxy/", token="ann")
    assert code == 403
    assert 'cannot get resource "pods/proxy"' in status["message"]


async def test_loopback_is_out_of_reach(server: Server) -> None:
    await make_pod(server)
    code, status = await server.ask("GET", f"{PODS}/p:80/proxy/")
    assert (code, status["message"]) == (400, "address not allowed")
    assert locations.allowed_address("10.244.0.5") == "10.244.0.5"


async def test_services(server: Server, port: int) -> None:
    service = {"metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80, "targetPort": port}]}}
    code, made = await server.ask("POST", "/api/v1/namespaces/default/services", service)
    assert code == 201, made
    path = "/api/v1/namespaces/default/services/web:http/proxy/hello"
    code, status = await server.ask("GET", path)
    assert (code, status["message"]) == (503, 'no endpoints available for service "web:http"')
    part = {
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": ["10.244.0.9"], "conditions": {"ready": False}}],
    }
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    code, made = await server.ask("POST", slices, part)
    assert code == 201, made
    assert (await server.ask("GET", path))[0] == 503


async def test_logs_of_pods_without_a_node_are_empty(server: Server) -> None:
    await make_pod(server)
    async with server.session.get(f"{PODS}/p/log", headers={"Authorization": "Bearer root"}) as response:
        assert (response.status, await response.read()) == (200, b"")
        assert response.content_type == "text/plain"
    code, status = await server.ask("GET", f"{PODS}/p/log?container=x")
    assert (code, status["message"]) == (400, "container x is not valid for pod p")


async def test_streams_need_a_node_and_an_upgrade(server: Server) -> None:
    await make_pod(server)
    code, status = await server.ask("POST", f"{PODS}/p/exec?command=ls&stdout=true")
    assert (code, status["message"]) == (400, "pod p does not have a host assigned")
    code, status = await server.ask("GET", "/api/v1/nodes/none/proxy/healthz")
    assert (code, status["message"]) == (404, 'nodes "none" not found')


async def test_a_websocket_is_a_get_but_needs_the_right_to_create(server: Server) -> None:
    await make_pod(server)
    group = "/apis/rbac.authorization.k8s.io/v1"
    rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods/exec"]}
    code, made = await server.ask("POST", f"{group}/clusterroles", {"metadata": {"name": "look"}, "rules": [rule]})
    assert code == 201, made
    binding = {
        "metadata": {"name": "look"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "look"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann"}],
    }
    code, made = await server.ask("POST", f"{group}/clusterrolebindings", binding)
    assert code == 201, made
    code, status = await server.ask("GET", f"{PODS}/p/exec?command=ls", token="ann")
    assert code == 403
    assert 'User "ann" cannot create resource "pods/exec"' in status["message"]
    code, status = await server.ask("GET", f"{PODS}/p/exec?command=ls")
    assert code == 400
