"""Volumes that are images: pulled by their own policy, mounted read-only, given back with the pod."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod
from timonel.api.objects import Object
from timonel.api.refs import PODS
from timonel.kubelet.cri import containerd_pb2 as containerd
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import RuntimeFailure
from timonel.kubelet.cri.snapshots import layers_of, mounts_images
from timonel.kubelet.images import volumes as image_volumes
from timonel.kubelet.volumes import mounts


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def user(policy: str = "IfNotPresent", **mount: object) -> Object:
    of = container("c", volumeMounts=[{"name": "data", "mountPath": "/data", **mount}])
    return pod(of, volumes=[{"name": "data", "image": {"reference": "files:1", "pullPolicy": policy}}])


def mount_of(node: Node) -> cri.Mount:
    made = next(iter(node.runtime.container_configs.values()))
    return next(mount for mount in made.mounts if mount.container_path == "/data")


def as_containerd(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], str]]:
    """A runtime that does not mount images; what is mounted instead."""

    async def version() -> cri.VersionResponse:
        return cri.VersionResponse(runtime_name="containerd", runtime_version="1.6.20~ds1")

    mounted: list[tuple[tuple[str, ...], str]] = []
    monkeypatch.setattr(node.runtime, "version", version)
    monkeypatch.setattr(
        image_volumes, "mount_layers", lambda layers, target: mounted.append((tuple(layers), str(target)))
    )
    return mounted


@pytest.mark.parametrize(
    ("name", "version", "does"),
    [
        ("containerd", "1.6.20~ds1", False),
        ("containerd", "v2.0.4", False),
        ("containerd", "2.1.0", True),
        ("containerd", "v2.2.0-rc.1", True),
        ("containerd", "unknown", False),
        ("cri-o", "1.31.0", True),
    ],
)
def test_who_mounts_images(name: str, version: str, does: bool) -> None:
    assert mounts_images(name, version) is does


def test_layers_of_a_view() -> None:
    one = containerd.Mount(type="bind", source="/s/7/fs", options=["ro", "rbind"])
    assert layers_of([one]) == ("/s/7/fs",)
    many = containerd.Mount(type="overlay", source="overlay", options=["index=off", "lowerdir=/s/9/fs:/s/8/fs"])
    assert layers_of([many]) == ("/s/9/fs", "/s/8/fs")
    with pytest.raises(RuntimeFailure, match="btrfs"):
        layers_of([containerd.Mount(type="btrfs", source="/dev/x")])


def test_a_mount_is_always_a_read_only_overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str, str, int, str]] = []
    monkeypatch.setattr(mounts, "mount", lambda *args: calls.append(args))
    target = f"{tmp_path}/volumes/kubernetes.io~image/data"
    image_volumes.mount_layers(["/layers/a"], target)
    image_volumes.mount_layers(["/layers/b", "/layers/a"], target)
    flags = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
    assert calls == [
        ("overlay", target, "overlay", flags, f"lowerdir=/layers/a:{tmp_path}/no-files"),
        ("overlay", target, "overlay", flags, "lowerdir=/layers/b:/layers/a"),
    ]
    assert os.listdir(tmp_path / "no-files") == []


def test_more_layers_than_a_page_holds_are_named_by_handles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [f"{tmp_path}/{'x' * 100}{number}" for number in range(60)]
    for layer in layers:
        os.mkdir(layer)
    seen: list[list[str]] = []

    def mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
        assert len(options) < 4096
        seen.append([os.readlink(path) for path in options.removeprefix("lowerdir=").split(":")])

    monkeypatch.setattr(mounts, "mount", mount)
    image_volumes.mount_layers(layers, str(tmp_path / "a/b/c"))
    assert seen == [layers]


async def test_the_runtime_is_told_when_it_can_mount_images(node: Node) -> None:
    node.runtime.images["files:1"] = "sha256:files"
    async with node.running():
        await node.client.create(PODS, user(subPath="etc"))
        await node.until(lambda: node.is_ready("web"))
    made = mount_of(node)
    assert (made.image.image, made.image_sub_path, made.readonly) == ("sha256:files", "etc", True)
    said = 'Container image "files:1" already present on machine and can be accessed by the pod'
    assert ("Pulled", said) in node.events("web")
    assert not node.snapshots.views


async def test_where_the_runtime_cannot_the_layers_are_mounted_and_given_back(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = as_containerd(node, monkeypatch)
    node.runtime.pullable.add("files:1")
    async with node.running():
        await node.client.create(PODS, user("Always"))
        await node.until(lambda: node.is_ready("web"))
        uid = node.get("web")["metadata"]["uid"]  # type: ignore[index]
        target = f"{node.folder}/kubelet/pods/{uid}/volumes/kubernetes.io~image/data"
        chain = f"chain-of-{node.runtime.images['files:1']}"
        assert mounted == [((f"/layers/{chain}",), target)]
        assert (mount_of(node).host_path, mount_of(node).HasField("image")) == (target, False)
        assert list(node.snapshots.views.values()) == [chain]
        await node.client.delete(PODS, "web", "default")
        await node.until(lambda: node.get("web") is None)
    assert not node.snapshots.views
    assert os.listdir(node.folder / "kubelet/pods") == []


async def test_what_a_dead_agent_left_is_given_back(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    as_containerd(node, monkeypatch)
    os.makedirs(node.folder / "kubelet/pods/old/volumes/kubernetes.io~image/data")
    node.snapshots.views["timonel-image-volume-old-data"] = "chain"
    async with node.running():
        await node.until(lambda: not node.snapshots.views, seconds=5)
        await node.until(lambda: os.listdir(node.folder / "kubelet/pods") == [])


async def test_an_image_that_cannot_be_pulled_holds_its_containers_back(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, user())
        await node.until(
            lambda: "waiting" in (node.status("web").get("containerStatuses") or [{"state": {}}])[0]["state"]
        )
        await node.until(lambda: node.container("web")["state"]["waiting"]["reason"] == "ErrImagePull")
        await node.until(lambda: node.container("web")["state"]["waiting"]["reason"] == "ImagePullBackOff", seconds=3)
        assert ("Failed", "Error: ErrImagePull") in node.events("web")
        node.runtime.pullable.add("files:1")
        await node.until(lambda: node.is_ready("web"), seconds=15)


async def test_never_means_never(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, user("Never"))
        await node.until(
            lambda: (
                (node.status("web").get("containerStatuses") or [{"state": {}}])[0]["state"]
                .get("waiting", {})
                .get("reason")
                == "ErrImageNeverPull"
            )
        )
    assert node.runtime.calls["pull_image"] == 0
