"""What is not understood, not allowed or not there: always a Status, never a traceback."""

from __future__ import annotations

import asyncio
import ssl

import orjson
import pytest

from tests.api.objects import config_map

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "EOF"),
        (b"{", "unexpected end"),
        (b'{"metadata": {"name": "a"', ""),
        (b"[1]", "cannot unmarshal array"),
        (b'"text"', "cannot unmarshal string"),
        (b"[" * 5000, ""),
        (b'{"a":' * 5000, ""),
        (b"\xff\xfe", ""),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":5}}', "cannot unmarshal number"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":"x"}', "cannot unmarshal string"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"x":1}}', "cannot unmarshal number"),
        (b'{"kind":7}', "cannot unmarshal"),
    ],
)
async def test_bodies_that_are_no_object_of_the_kind(server, namespace, body, text):
    status, answer = await server.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)
    assert status == 400
    assert answer["kind"] == "Status"
    assert answer["reason"] == "BadRequest"
    assert "Traceback" not in answer["message"]


async def test_a_body_of_another_kind_or_version(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    status, answer = await server.request("POST", path, {"kind": "Secret", "apiVersion": "v1"})
    assert status == 400
    assert answer["message"].startswith('Secret in version "v1" cannot be handled as a ConfigMap')
    status, answer = await server.request("POST", path, {"kind": "ConfigMap", "apiVersion": "apps/v1"})
    assert status == 400
    assert 'no kind "ConfigMap" is registered for version "apps/v1"' in answer["message"]
    path = f"/api/v1/namespaces/{namespace}/events"
    status, answer = await server.request("POST", path, {"kind": "Event", "apiVersion": "events.k8s.io/v1"})
    assert status == 400
    assert answer["message"] == (
        "the API version in the data (events.k8s.io/v1) does not match the expected API version (v1)"
    )


async def test_a_body_that_is_too_large(server, namespace):
    body = orjson.dumps(config_map("a", x="y" * (3 * 1024 * 1024)))
    status, answer = await server.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)
    assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")


async def test_media_types_that_are_not_spoken(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    status, answer = await server.request("POST", path, b"x", headers={"Content-Type": "text/plain"})
    assert (status, answer["reason"]) == (415, "UnsupportedMediaType")
    status, answer = await server.request("PATCH", f"{path}/a", b"{}")
    assert (status, answer["message"]) == (415, "415: Unsupported Media Type")
    status, answer = await server.request("GET", path, headers={"Accept": "text/plain"})
    assert (status, answer["reason"]) == (406, "NotAcceptable")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v2/pods", 404),
        ("GET", "/apis/none/v1", 404),
        ("GET", "/apis/apps/v1/namespaces/default/deployments/a/nothing", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/api/v1/pods/a", 404),
        ("GET", "/api/v1/namespaces/default/pods/%00%ff", 404),
        ("GET", "//", 404),
        ("POST", "/api/v1/pods", 405),
        ("DELETE", "/api/v1/namespaces", 405),
        ("PUT", "/api/v1/namespaces/default/pods", 405),
        ("POST", "/api/v1/namespaces/default/pods/a/status", 405),
        ("POST", "/version", 405),
        ("POST", "/api/v1/namespaces/default/pods/a", 405),
        ("OPTIONS", "/api/v1/namespaces/default/pods", 405),
    ],
)
async def test_paths_and_methods_that_are_not_served(server, method, path, status):
    assert (await server.request(method, path))[0] == status


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=x", 400),
        ("limit=-1", 400),
        ("continue=%21%21", 400),
        ("resourceVersion=abc", 400),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=1&resourceVersionMatch=Sometimes", 422),
        ("resourceVersion=99999999", 504),
        ("labelSelector=a%20b", 400),
        ("labelSelector=%2C%2C", 400),
        ("fieldSelector=spec.none%3D1", 400),
        ("fieldSelector=%3D%3D", 400),
        ("watch=true&sendInitialEvents=true", 422),
        ("watch=true&timeoutSeconds=x", 400),
    ],
)
async def test_list_options_that_make_no_sense(server, query, status):
    got, answer = await server.request("GET", f"/api/v1/configmaps?{query}")
    assert got == status
    assert answer["kind"] == "Status"


async def test_a_revision_of_the_future_tells_clients_to_try_again(server):
    _, answer = await server.request("GET", "/api/v1/configmaps?resourceVersion=99999999")
    assert answer["message"].startswith("Timeout: Too large resource version: 99999999, current: ")
    assert answer["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert (await server.request("GET", "/api/v1/namespaces/default?resourceVersion=99999999"))[0] == 504
    assert (await server.request("GET", "/api/v1/namespaces/default?resourceVersion=0"))[0] == 200


async def test_who_may_not_is_told_so(server):
    path = "/api/v1/namespaces/default/configmaps"
    status, answer = await server.request("GET", path, token=server.alice_token)
    assert status == 403
    assert answer["message"] == (
        'configmaps is forbidden: User "alice" cannot list resource "configmaps" in API group "" in the namespace '
        '"default"'
    )
    status, answer = await server.request("GET", path, token="wrong")
    assert (status, answer["reason"]) == (401, "Unauthorized")
    status, answer = await server.request("GET", "/metrics", token=server.alice_token)
    assert answer["message"] == 'forbidden: User "alice" cannot get path "/metrics"'


async def test_a_body_cut_short_leaves_the_server_well(server, namespace):
    context = ssl.create_default_context(cafile=str(server.ca))
    _, writer = await asyncio.open_connection("127.0.0.1", server.api.port, ssl=context)
    head = (
        f"POST /api/v1/namespaces/{namespace}/configmaps HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        f"Authorization: Bearer {server.token}\r\nContent-Type: application/json\r\n\r\n"
    )
    writer.write(head.encode() + b'{"metadata"')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    status, answer = await server.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")
    assert (status, answer["items"]) == (200, [])


async def test_a_target_without_a_path_names_nothing(server):
    context = ssl.create_default_context(cafile=str(server.ca))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.api.port, ssl=context, server_hostname="localhost"
    )
    try:
        request = f"OPTIONS * HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        assert (await reader.readline()).split()[1] == b"404"
    finally:
        writer.close()
