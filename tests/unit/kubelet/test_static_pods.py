"""Pods from files of the node: they run without the API, which only shows them.

Source: kubernetes.io/docs/tasks/configure-pod-container/static-pod
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod
from timonel.api.errors import Conflict, ServiceUnavailable
from timonel.api.objects import Object, annotations_of
from timonel.api.refs import PODS
from timonel.kubelet.kubelet import Kubelet
from timonel.kubelet.static.manifest import InvalidManifest, mirror_of, parse_manifest
from timonel.kubelet.static.mirrors import plan_mirrors

C = container("c")
MIRROR = "kubernetes.io/config.mirror"


def manifest(name: str = "web", **spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [C], **spec}}


def parsed(made: Object, file: str = "/m/web.yaml", node_name: str = "n1") -> Object:
    return parse_manifest(orjson.dumps(made), file=file, node_name=node_name)


# The file


def test_a_pod_is_named_after_its_node_and_its_uid_follows_from_the_file() -> None:
    made = parsed(manifest())
    assert made["metadata"]["name"] == "web-n1"
    assert made["metadata"]["namespace"] == "default"
    assert made["spec"]["nodeName"] == "n1"
    assert made["spec"]["tolerations"] == [{"operator": "Exists", "effect": "NoExecute"}]
    assert made["spec"]["restartPolicy"] == "Always"  # defaulted like any pod
    uid = made["metadata"]["uid"]
    assert annotations_of(made) == {"kubernetes.io/config.hash": uid, "kubernetes.io/config.source": "file"}
    assert parsed(manifest())["metadata"]["uid"] == uid
    others = [parsed(manifest(hostNetwork=True)), parsed(manifest(), "/m/b"), parsed(manifest(), node_name="n2")]
    assert len({uid, *(other["metadata"]["uid"] for other in others)}) == 4


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        ({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}, "not a Pod"),
        ([], "not a Pod"),
        (manifest(""), "name is needed"),
        (manifest(nodeNmae="x"), 'unknown field "spec.nodeNmae"'),
        (manifest(containers=[]), "spec.containers"),
        (manifest(containers="c"), "spec.containers"),
        (manifest(serviceAccountName="robot"), "static pods may not reference serviceaccounts"),
        (manifest(volumes=[{"name": "v", "secret": {"secretName": "s"}}]), "static pods may not reference secrets"),
    ],
)
def test_files_that_are_refused(made: Any, problem: str) -> None:
    with pytest.raises(InvalidManifest, match=problem):
        parsed(made)


def test_not_even_yaml() -> None:
    with pytest.raises(InvalidManifest):
        parse_manifest(b"a: [b", file="f", node_name="n1")


# Mirrors

NODE = {"metadata": {"name": "n1", "uid": "u-node"}}


def test_a_mirror_is_owned_by_the_node() -> None:
    made = mirror_of(parsed(manifest()), NODE)
    assert annotations_of(made)[MIRROR] == annotations_of(made)["kubernetes.io/config.hash"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u-node", "controller": True}
    assert made["metadata"]["ownerReferences"] == [owner]
    assert "uid" not in made["metadata"]


def test_which_mirrors_are_made_and_deleted() -> None:
    static = parsed(manifest())
    uid = static["metadata"]["uid"]
    key = ("default", "web-n1")
    mirror = mirror_of(static, NODE)
    leaving = {**mirror, "metadata": {**mirror["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    old = {**mirror, "metadata": {**mirror["metadata"], "annotations": {MIRROR: "other"}}}
    for present, deleted, made in (
        ({}, [], [static]),
        ({key: mirror}, [], []),
        ({key: leaving}, [leaving], [static]),
        ({key: old}, [old], [static]),
    ):
        assert plan_mirrors({uid: static}, present) == (deleted, made)  # type: ignore[arg-type]
    assert plan_mirrors({}, {key: mirror}) == ([mirror], [])  # type: ignore[dict-item]


# A kubelet


@pytest.fixture
def node(tmp_path: Path) -> Node:
    (tmp_path / "manifests").mkdir()
    return Node(tmp_path)


def write(node: Node, made: Object, file: str = "web.yaml") -> Path:
    path = node.folder / "manifests" / file
    path.write_bytes(orjson.dumps(made))
    return path


async def settled(node: Node, name: str = "web-n1") -> None:
    await node.until(lambda: node.is_ready(name), seconds=30)


@asynccontextmanager
async def running(node: Node) -> AsyncIterator[Kubelet]:
    async with node.running() as kubelet:
        await kubelet.wait_ready()
        yield kubelet


async def test_it_runs_and_the_api_shows_how_it_is(node: Node) -> None:
    write(node, manifest())
    async with running(node):
        await settled(node)
        shown = node.get("web-n1")
        assert shown is not None
        assert shown["status"]["containerStatuses"][0]["ready"]
        assert node.runtime.running() == ["c"]
        uid = annotations_of(shown)[MIRROR]
        assert [box.metadata.uid for box in node.runtime.sandboxes.values()] == [uid]
        assert shown["metadata"]["uid"] != uid


async def test_who_deletes_the_mirror_deletes_nothing_else(node: Node) -> None:
    write(node, manifest())
    async with running(node):
        await settled(node)
        before = node.get("web-n1")["metadata"]["uid"]  # type: ignore[index]
        await node.client.delete(PODS, "web-n1", "default")
        await node.until(
            lambda: (node.get("web-n1") or {"metadata": {"uid": before}})["metadata"]["uid"] != before, seconds=30
        )
        await settled(node)
    assert node.runtime.calls["run_pod_sandbox"] == 1
    assert node.runtime.running() == ["c"]


async def test_a_deletion_that_meets_another_write_is_tried_again(node: Node) -> None:
    write(node, manifest())
    async with running(node):
        await settled(node)
        before = node.get("web-n1")["metadata"]["uid"]  # type: ignore[index]
        await node.client.delete(PODS, "web-n1", "default")
        node.client.fail(Conflict("modified meanwhile"), verb="delete")
        await node.until(
            lambda: (node.get("web-n1") or {"metadata": {"uid": before}})["metadata"]["uid"] != before, seconds=30
        )


async def test_a_file_that_goes_takes_its_pod_along(node: Node) -> None:
    file = write(node, manifest(terminationGracePeriodSeconds=7))
    async with running(node):
        await settled(node)
        file.unlink()
        await node.until(lambda: node.get("web-n1") is None and not node.runtime.sandboxes, seconds=30)
    assert os.listdir(node.folder / "kubelet/pods") == []


async def test_a_changed_file_replaces_the_pod_after_its_end(node: Node) -> None:
    write(node, manifest())
    async with running(node):
        await settled(node)
        before = annotations_of(node.get("web-n1") or {"metadata": {}})[MIRROR]
        write(node, manifest(hostNetwork=True))
        await node.until(
            lambda: annotations_of(node.get("web-n1") or {"metadata": {}}).get(MIRROR, before) != before, seconds=40
        )
        await settled(node)
        stopped = node.runtime.log.index(("stop_pod_sandbox", "web-n1"))
        assert [entry for entry in node.runtime.log[:stopped] if entry[0] == "run_pod_sandbox"] == [
            ("run_pod_sandbox", "web-n1")
        ]
        assert len([box for box in node.runtime.sandboxes.values() if box.state == 0]) == 1


async def test_without_an_api_it_runs_and_others_are_left_alone(node: Node) -> None:
    async with running(node):
        await node.client.create(PODS, pod(container("other"), name="other"))
        await node.until(lambda: node.is_ready("other"))
    write(node, manifest())

    node.client.fail(ServiceUnavailable("away"), times=10**9)
    async with node.running():
        await node.until(lambda: sorted(node.runtime.running()) == ["c", "other"], seconds=20)
        for _ in range(10):
            await node.clock.advance(30)
        assert sorted(node.runtime.running()) == ["c", "other"]
        assert node.get("web-n1") is None
        node.client._failures.clear()
        await node.until(lambda: node.is_ready("web-n1"), seconds=90)
    assert node.runtime.calls["run_pod_sandbox"] == 2


async def test_a_new_agent_finds_it_running(node: Node) -> None:
    write(node, manifest())
    async with running(node):
        await settled(node)
    async with running(node):
        await settled(node)
        await node.clock.advance(70)
    assert node.runtime.calls["run_pod_sandbox"] == 1
    assert node.runtime.calls["start_container"] == 1


async def test_a_mirror_whose_file_went_while_nobody_looked(node: Node) -> None:
    file = write(node, manifest())
    async with running(node):
        await settled(node)
    file.unlink()
    async with running(node):
        await node.until(lambda: node.get("web-n1") is None and not node.runtime.running(), seconds=80)


async def test_a_file_that_makes_no_sense_harms_no_other(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    write(node, manifest())
    write(node, {"kind": "Nonsense"}, "bad.yaml")
    write(node, manifest("hidden"), ".swap")
    async with running(node):
        await settled(node)
        assert node.runtime.running() == ["c"]
    assert "bad.yaml error=not a Pod of v1" in caplog.text
