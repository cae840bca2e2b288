"""Clients that take protobuf and nothing else."""

from __future__ import annotations

import asyncio
import struct

import pytest
import yaml

from tests.api.objects import config_map, deployment
from timonel.api.protobuf import decode_protobuf

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROTOBUF = "application/vnd.kubernetes.protobuf"
ACCEPT = {"Accept": PROTOBUF}


async def fetch(server, method, path, body=None, accept=PROTOBUF, **headers):
    sent = {"Authorization": f"Bearer {server.token}", "Accept": accept, "Content-Type": "application/json", **headers}
    async with server.http.request(method, server.url + path, json=body, headers=sent) as response:
        return response.status, response.headers["Content-Type"], await response.read()


async def test_objects_of_every_verb(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    status, kind, body = await fetch(server, "POST", path, deployment("d"))
    assert (status, kind) == (201, PROTOBUF)
    _, as_json = await server.request("GET", f"{path}/d")
    assert decode_protobuf(body) == as_json
    status, kind, body = await fetch(server, "GET", f"{path}/d")
    assert decode_protobuf(body) == as_json
    # Who takes JSON as well gets JSON.
    status, kind, body = await fetch(server, "GET", f"{path}/d", accept=f"{PROTOBUF},application/json")
    assert kind == "application/json"


async def test_lists_and_metadata(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for name in ("a", "b"):
        await server.request("POST", path, config_map(name, x="y"))
    status, kind, body = await fetch(server, "GET", path)
    assert (status, kind) == (200, PROTOBUF)
    assert body.startswith(b"k8s\0\x0a\x13\x0a\x02v1\x12\x0dConfigMapList")
    assert body.count(b"\x12\x06\x0a\x01x\x12\x01y") == 2  # data is field 2
    metadata = f"{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    status, kind, body = await fetch(server, "GET", path, accept=metadata)
    assert status == 200
    assert b"PartialObjectMetadataList" in body
    assert b"\x0a\x01x\x12\x01y" not in body


async def test_errors_are_statuses_in_protobuf(server, namespace):
    status, kind, body = await fetch(server, "GET", f"/api/v1/namespaces/{namespace}/configmaps/none")
    assert (status, kind) == (404, PROTOBUF)
    answer = decode_protobuf(body)
    assert (answer["kind"], answer["code"], answer["reason"]) == ("Status", 404, "NotFound")


async def test_watches_send_length_delimited_events(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("first"))
    headers = {"Authorization": f"Bearer {server.token}", "Accept": f"{PROTOBUF};stream=watch"}
    async with (
        asyncio.timeout(10),
        server.http.get(f"{server.url}{path}?watch=true&fieldSelector=metadata.name%3Dfirst", headers=headers) as got,
    ):
        assert got.headers["Content-Type"] == f"{PROTOBUF};stream=watch"
        for expected in ("ADDED", "DELETED"):
            (size,) = struct.unpack(">I", await got.content.readexactly(4))
            frame = await got.content.readexactly(size)
            kind = expected.encode()
            assert frame.startswith(b"\x0a" + bytes((len(kind),)) + kind)
            obj = decode_protobuf(frame[frame.index(b"k8s\0") :])
            assert (obj["kind"], obj["metadata"]["name"]) == ("ConfigMap", "first")
            if expected == "ADDED":
                await server.request("DELETE", f"{path}/first")
        got.close()


async def test_yaml_is_no_form_of_a_watch(server):
    status, kind, body = await fetch(server, "GET", "/api/v1/configmaps?watch=true", accept="application/yaml")
    assert (status, kind) == (406, "application/yaml")
    assert yaml.safe_load(body)["message"] == (
        "only the following media types are accepted: application/json;stream=watch, "
        "application/vnd.kubernetes.protobuf;stream=watch"
    )
