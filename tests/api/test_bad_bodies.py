"""Bodies that are too much: in bytes, in depth, in operations, in time."""

from __future__ import annotations

import asyncio
import threading

import orjson
import pytest

from tests.api.objects import config_map, pod
from timonel.api import decode as decoding
from timonel.api.decode import MAX_DEPTH
from timonel.api.yaml_loader import load_yaml

pytestmark = pytest.mark.asyncio(loop_scope="module")

YAML = {"Content-Type": "application/yaml"}
PATCH_TYPES = ["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"]


async def test_the_limit_of_a_body_is_exact(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
    padded = orjson.dumps(config_map("a")).ljust(3 * 1024 * 1024)
    assert (await server.request("POST", path, padded))[0] == 201
    status, answer = await server.request("POST", path, padded + b" ")
    assert (status, answer["message"]) == (413, "Request entity too large: limit is 3145728")


async def test_an_object_larger_than_any_store_takes(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    large = pod("large")
    large["spec"]["containers"][0]["command"] = ["y" * 1_600_000]
    status, answer = await server.request("POST", path, large)
    assert (status, answer["message"]) == (500, "etcdserver: request is too large")
    assert "reason" not in answer
    assert (await server.request("GET", f"{path}/large"))[0] == 404


@pytest.mark.parametrize("kind", PATCH_TYPES)
async def test_patches_have_the_same_limit(server, namespace, kind):
    path = f"/api/v1/namespaces/{namespace}/configmaps/a?fieldManager=m"
    headers = {"Content-Type": f"application/{kind}"}
    status, _ = await server.request("PATCH", path, b" " * (3 * 1024 * 1024 + 1), headers=headers)
    assert status == 413


async def test_a_json_patch_of_too_many_operations(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("a"))
    headers = {"Content-Type": "application/json-patch+json"}
    patch = [{"op": "test", "path": "/metadata/name", "value": "a"}] * 10_000
    assert (await server.request("PATCH", f"{path}/a", patch, headers=headers))[0] == 200
    status, answer = await server.request("PATCH", f"{path}/a", [*patch, patch[0]], headers=headers)
    assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")
    assert answer["message"].endswith("The allowed maximum operations in a JSON patch is 10000, got 10001")


@pytest.mark.parametrize("kind", PATCH_TYPES)
@pytest.mark.parametrize("piece", [b"[", b'{"a":', b"[{"])
async def test_deep_patches_are_refused(server, namespace, kind, piece):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("a"))
    headers = {"Content-Type": f"application/{kind}"}
    for count in (MAX_DEPTH + 1, 50_000):
        status, answer = await server.request("PATCH", f"{path}/a?fieldManager=m", piece * count, headers=headers)
        assert (status, answer["kind"]) == (400, "Status")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a: b: c",
        b"a: *b",
        b"a: &a [*a]",
        b"\xff\xfe\x00",
        b"a: \xe9",
        b'a: "\x01"',
        b"a:\n\tb: c",
        b"[" * 5000,
        b"? " * 5000,
        b"data: .nan",
        b"a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + b"".join(
            b"a%d: &a%d [" % (n, n) + b",".join([b"*a%d" % (n - 1)] * 9) + b"]\n" for n in range(1, 9)
        ),
    ],
    ids=range(12),
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_broken_yaml_is_a_bad_request(server, namespace, body, method):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    headers = YAML
    if method == "PATCH":
        path, headers = f"{path}/a?fieldManager=m", {"Content-Type": "application/apply-patch+yaml"}
    status, answer = await server.request(method, path, body, headers=headers)
    assert status in (400, 422)
    assert answer["kind"] == "Status"


@pytest.mark.parametrize(
    ("begin", "separator", "end"),
    [
        (b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata:\n  ", b"\n  ", b"\n"),
        (b"{kind: ConfigMap, apiVersion: v1, metadata: {name: a}, data: {", b", ", b"}}"),  # no JSON
    ],
)
async def test_large_yaml_holds_nobody_up(server, namespace, monkeypatch, begin, separator, end):
    """A megabyte takes about a second to read; others are answered meanwhile."""
    body = begin + separator.join(b"k%d: v" % number for number in range(60_000)) + end
    readers = []

    def reading(*args):
        readers.append(threading.current_thread())
        return load_yaml(*args)

    monkeypatch.setattr(decoding, "load_yaml", reading)
    path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
    large = asyncio.create_task(server.request("POST", path, body, headers=YAML))
    answered = 0
    while not large.done():
        assert (await server.request("GET", "/version"))[0] == 200
        answered += bool(readers)
    assert large.result()[0] == 201
    assert readers != [threading.main_thread()]
    assert answered > 1
