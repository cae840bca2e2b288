"""Pods with claims on a whole kubelet over fakes. Source: kubernetes.io/docs/concepts/storage/persistent-volumes."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit.controllers.volumes.objects import claim, volume
from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod
from timonel.api.objects import Object, annotations_of
from timonel.api.refs import NODES, PERSISTENT_VOLUMES, PODS
from timonel.api.volumes import LOCAL_DIRECTORY, LOCAL_FINALIZER, LOCAL_NODE_LABEL, LOCAL_PROVISIONER, PROVISIONED_BY
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.volumes import mounts

C = container("c", volumeMounts=[{"name": "data", "mountPath": "/data"}])
REF = {"namespace": "default", "name": "data", "uid": "uid-data"}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture(autouse=True)
def links(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Mounting as a table, so that these tests need no rights."""
    bound: dict[str, str] = {}
    monkeypatch.setattr(mounts, "bind", lambda source, target: bound.__setitem__(target, source))
    monkeypatch.setattr(mounts, "unmount", bound.pop)
    monkeypatch.setattr(
        mounts, "mount_points", lambda below: [path for path in bound if path == below or path.startswith(below + "/")]
    )
    return bound


def bound_claim(**more: Any) -> Object:
    return claim(status={"phase": "Bound"}, volumeName="v1", **more)


def local(path: Path | str, **more: Any) -> Object:
    return volume(**{"hostPath": None, "local": {"path": str(path)}, "claimRef": REF, "phase": "Bound"} | more)


def using(*containers: Object, read_only: bool = False, **more: Any) -> Object:
    source: Object = {"claimName": "data"} | ({"readOnly": True} if read_only else {})
    return pod(*(containers or (C,)), volumes=[{"name": "data", "persistentVolumeClaim": source}], **more)


def made(node: Node) -> cri.ContainerConfig:
    """The configuration of the newest container."""
    return list(node.runtime.container_configs.values())[-1]


async def started(node: Node, *objects: Object) -> None:
    for obj in objects:
        if obj["kind"] == "Pod":
            await node.client.create(PODS, obj)
        else:
            node.client.add(obj)
    await node.until(lambda: node.is_ready("web"))


async def test_a_local_volume_is_bound_below_the_pod(node: Node, links: dict[str, str], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    async with node.running():
        await started(node, bound_claim(), local(disk), using())
        uid = node.get("web")["metadata"]["uid"]  # type: ignore[index]
        target = f"{node.config.root_dir}/pods/{uid}/volumes/kubernetes.io~local-volume/v1"
        assert links == {target: str(disk)}
        (found,) = [each for each in made(node).mounts if each.container_path == "/data"]
        assert (found.host_path, found.readonly) == (target, False)
        await node.client.delete(PODS, "web", "default")
        await node.until(lambda: node.get("web") is None, seconds=40)
    assert links == {}
    assert disk.is_dir()


async def test_no_folder_is_removed_while_something_is_being_bound_there(
    node: Node, links: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that is deleted in the middle of mounting: the thread that binds is not to be overtaken."""
    began, go_on = threading.Event(), threading.Event()
    seen: list[bool] = []

    def bind(source: str, target: str) -> None:
        began.set()
        go_on.wait(10)
        seen.append(os.path.isdir(target))
        links[target] = source

    monkeypatch.setattr(mounts, "bind", bind)
    (tmp_path / "disk").mkdir()
    node.client.add(bound_claim())
    node.client.add(local(tmp_path / "disk"))
    async with node.running():
        await node.client.create(PODS, using())
        await node.until(began.is_set)
        await node.client.delete(PODS, "web", "default")
        for _ in range(20):
            await node.clock.advance(1)
        assert node.get("web") is not None
        go_on.set()
        await node.until(lambda: node.get("web") is None, seconds=40)
    assert seen == [True]
    assert links == {}


async def test_read_only_claims_are_mounted_so(node: Node, tmp_path: Path) -> None:
    async with node.running():
        await started(node, bound_claim(), local(tmp_path), using(read_only=True))
        (found,) = [each for each in made(node).mounts if each.container_path == "/data"]
        assert found.readonly


async def test_a_host_path_is_taken_as_it_is(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "data"
    source = {"path": str(path), "type": "DirectoryOrCreate"}
    async with node.running():
        await started(node, bound_claim(), volume(hostPath=source, claimRef=REF), using())
        (found,) = [each for each in made(node).mounts if each.container_path == "/data"]
        assert found.host_path == str(path)
    assert path.is_dir()


async def test_a_block_volume_becomes_a_device(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stat, "S_ISBLK", lambda mode: True)
    raw = container("c", volumeDevices=[{"name": "data", "devicePath": "/dev/xvda"}])
    async with node.running():
        await started(node, bound_claim(), local("/dev/null", volumeMode="Block"), using(raw))
        (device,) = made(node).devices
        assert (device.host_path, device.container_path, device.permissions) == ("/dev/null", "/dev/xvda", "mrw")


FAILED = (
    "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process "
    "volumes=[data]: error processing PVC default/data: "
)


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ([], f'{FAILED}failed to fetch PVC from API server: persistentvolumeclaims "data" not found'),
        ([claim()], f"{FAILED}PVC is not bound"),
        (
            [bound_claim()],
            f'{FAILED}failed to fetch PV v1 from API server: persistentvolumes "v1" not found',
        ),
        (
            [bound_claim(), volume(claimRef={**REF, "uid": "other"})],
            f'{FAILED}found PV object "v1" but its pv.Spec.ClaimRef.UID "other" does not point to claim.UID "uid-data"',
        ),
        (
            [bound_claim(), local("/nowhere")],
            'MountVolume.SetUp failed for volume "v1" : path "/nowhere" does not exist',
        ),
        (
            [bound_claim(), volume(hostPath=None, csi={"driver": "d.example.com", "volumeHandle": "h"}, claimRef=REF)],
            'MountVolume.SetUp failed for volume "v1" : driver name d.example.com not found in the list of registered '
            "CSI drivers",
        ),
    ],
)
async def test_why_a_volume_is_not_there(node: Node, objects: list[Object], why: str) -> None:
    for obj in objects:
        node.client.add(obj)
    async with node.running():
        await node.client.create(PODS, using())
        await node.until(lambda: node.events("web"))
    assert node.events("web")[0] == ("FailedMount", why)


async def test_a_pod_waits_until_its_claim_is_bound(node: Node, tmp_path: Path) -> None:
    async with node.running():
        await node.client.create(PODS, using())
        await node.until(lambda: node.events("web"))
        node.client.add(bound_claim())
        node.client.add(local(tmp_path))
        await node.until(lambda: node.is_ready("web"), seconds=30)


async def test_one_pod_only(node: Node, tmp_path: Path) -> None:
    single = ["ReadWriteOncePod"]
    async with node.running():
        await started(node, bound_claim(modes=single), local(tmp_path, modes=single), using())
        await node.client.create(PODS, using(name="second"))
        await node.until(lambda: node.events("second"))
        assert "ReadWriteOncePod access mode and is already in use by another pod" in node.events("second")[0][1]


async def test_the_group_of_the_pod_owns_the_volume(node: Node, tmp_path: Path) -> None:
    given: list[tuple[str, int, bool]] = []
    context = {"fsGroup": os.getgid(), "fsGroupChangePolicy": "OnRootMismatch"}
    (tmp_path / "disk").mkdir()
    async with node.running():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "timonel.kubelet.volumes.persistent.give_to_group",
                lambda root, group, *, only_if_root_differs: given.append((root, group, only_if_root_differs)),
            )
            await started(node, bound_claim(), local(tmp_path / "disk"), using(securityContext=context))
    ((root, group, lazily),) = given
    assert root.endswith("kubernetes.io~local-volume/v1")
    assert (group, lazily) == (os.getgid(), True)


async def test_an_ephemeral_volume_must_be_the_pods_own(node: Node, tmp_path: Path) -> None:
    ephemeral = {"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}
    asked = pod(C, volumes=[ephemeral])
    node.client.add(claim("web-data", status={"phase": "Bound"}, volumeName="v1"))
    async with node.running():
        await node.client.create(PODS, asked)
        await node.until(lambda: node.events("web"))
    assert "PVC default/web-data was not created for pod default/web (pod is not owner)" in node.events("web")[0][1]


# Local volumes that Timonel makes


def own(node: Node, policy: str = "Delete", phase: str = "Bound", finalizers: tuple[str, ...] = ()) -> Object:
    found = local(f"{node.config.volumes_dir}/v1", policy=policy, phase=phase)
    found["status"]["phase"] = phase
    found["metadata"]["labels"] = {LOCAL_NODE_LABEL: "n1"}
    found["metadata"]["annotations"] = {PROVISIONED_BY: LOCAL_PROVISIONER}
    found["metadata"]["finalizers"] = [LOCAL_FINALIZER, *finalizers]
    return found


async def test_the_node_says_where_it_keeps_volumes(node: Node) -> None:
    async with node.running():
        await node.until(lambda: node.client.objects(NODES))
        assert annotations_of(node.client.objects(NODES)[0])[LOCAL_DIRECTORY] == node.config.volumes_dir


async def test_an_own_volume_is_made_when_first_mounted_and_outlives_the_pod(node: Node) -> None:
    path = Path(node.config.volumes_dir, "v1")
    async with node.running() as kubelet:
        await started(node, bound_claim(), own(node), using())
        assert stat.S_IMODE(path.stat().st_mode) == 0o777
        (path / "kept").write_text("data")
        await node.client.delete(PODS, "web", "default")
        # The next one has the same uid here, so nothing of this one may be left.
        await node.until(lambda: node.get("web") is None and not list(kubelet.workers), seconds=40)
        await node.client.create(PODS, using())
        await node.until(lambda: node.is_ready("web"))
    assert (path / "kept").read_text() == "data"


def deleted(node: Node, **options: Any) -> Path:
    """A volume whose deletion began, with something in it."""
    path = Path(node.config.volumes_dir, "v1")
    path.mkdir(parents=True)
    (path / "file").write_text("data")
    found = own(node, **options)
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    node.client.add(found)
    return path


async def test_a_deleted_volume_is_removed_and_then_gone(node: Node) -> None:
    path = deleted(node, phase="Released")
    async with node.running():
        await node.until(lambda: not node.client.objects(PERSISTENT_VOLUMES))
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


async def test_what_is_to_be_retained_stays_on_disk(node: Node) -> None:
    path = deleted(node, phase="Released", policy="Retain")
    async with node.running():
        await node.until(lambda: not node.client.objects(PERSISTENT_VOLUMES))
    assert (path / "file").read_text() == "data"


@pytest.mark.parametrize(
    "options", [{"phase": "Bound"}, {"phase": "Released", "finalizers": ("kubernetes.io/pv-protection",)}]
)
async def test_a_volume_that_somebody_has_stays(node: Node, options: dict[str, Any]) -> None:
    path = deleted(node, **options)
    async with node.running():
        await node.until(lambda: node.client.objects(NODES))
        await node.clock.advance(10)
    assert (path / "file").exists()


async def test_a_volume_in_use_is_removed_later(node: Node) -> None:
    path = deleted(node, phase="Released")
    user = Path(node.config.root_dir, "pods/u/volumes/kubernetes.io~local-volume/v1")
    user.mkdir(parents=True)
    async with node.running():
        await node.until(lambda: node.client.objects(NODES))
        await node.clock.advance(5)
        # The agent clears away what no pod is behind, so it is there for as long as that takes only.
        shutil.rmtree(user, ignore_errors=True)
        await node.until(lambda: not path.exists(), seconds=10)


async def test_another_nodes_volume_is_not_touched(node: Node) -> None:
    path = Path(node.config.volumes_dir, "v1")
    path.mkdir(parents=True)
    found = own(node, phase="Released")
    found["metadata"]["labels"] = {LOCAL_NODE_LABEL: "n2"}
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    node.client.add(found)
    async with node.running():
        await node.until(lambda: node.client.objects(NODES))
        await node.clock.advance(5)
    assert path.is_dir()


@pytest.mark.parametrize("path", ["/etc", "{volumes}/../elsewhere", "{volumes}/v2"])
async def test_a_volume_that_lies_about_its_place_removes_nothing(node: Node, path: str, tmp_path: Path) -> None:
    (tmp_path / "volumes/v2").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    found = own(node, phase="Released")
    found["spec"]["local"]["path"] = path.format(volumes=node.config.volumes_dir)
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    node.client.add(found)
    async with node.running():
        await node.until(lambda: not node.client.objects(PERSISTENT_VOLUMES))
    assert (tmp_path / "volumes/v2").is_dir()
    assert (tmp_path / "elsewhere").is_dir()
