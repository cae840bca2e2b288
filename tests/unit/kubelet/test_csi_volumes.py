"""CSI drivers over real sockets: registered, announced, and their volumes in pods.

Source: kubernetes-csi.github.io/docs, github.com/container-storage-interface/spec
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.unit.controllers.volumes.objects import claim, volume
from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod
from timonel.api.objects import Object, annotations_of, labels_of
from timonel.api.refs import CSI_NODES, NODES, PODS
from timonel.api.volumes import attachment_name
from timonel.kubelet.csi import csi_pb2 as csi
from timonel.kubelet.csi import registration_pb2 as registration

NAME = "disks.example.com"
C = container("c", volumeMounts=[{"name": "data", "mountPath": "/data"}])
REF = {"namespace": "default", "name": "data", "uid": "uid-data"}
_RPC = csi.NodeServiceCapability.RPC


class Driver:
    """What a driver's pod is: a socket for the registration and one for the calls. `calls` records them."""

    def __init__(self, folder: Path, *capabilities: int) -> None:
        self.folder = folder
        self.capabilities = capabilities or (_RPC.STAGE_UNSTAGE_VOLUME,)
        self.calls: list[tuple[str, Any]] = []
        self.registered: list[tuple[bool, str]] = []
        self.fails: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        registry = self.folder / "plugins_registry"
        registry.mkdir(parents=True, exist_ok=True)
        endpoint = str(self.folder / "csi.sock")
        nodes = await self._serve(endpoint, "csi.v1.Node", self._node_methods())
        register = await self._serve(
            str(registry / f"{NAME}-reg.sock"), "pluginregistration.Registration", self._registration(endpoint)
        )
        try:
            yield
        finally:
            for path in (registry / f"{NAME}-reg.sock", Path(endpoint)):
                path.unlink(missing_ok=True)
            await register.stop(None)
            await nodes.stop(None)

    async def _serve(self, path: str, service: str, methods: dict[str, Any]) -> grpc.aio.Server:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        return server

    def _registration(self, endpoint: str) -> dict[str, Any]:
        async def info(request: Any, context: Any) -> Any:
            return registration.PluginInfo(type="CSIPlugin", name=NAME, endpoint=endpoint, supported_versions=["1.0.0"])

        async def notify(request: Any, context: Any) -> Any:
            self.registered.append((request.plugin_registered, request.error))
            return registration.RegistrationStatusResponse()

        return {
            "GetInfo": _method(info, registration.InfoRequest),
            "NotifyRegistrationStatus": _method(notify, registration.RegistrationStatus),
        }

    def _node_methods(self) -> dict[str, Any]:
        def act(name: str, answer: Any, effect: Callable[[Any], None] = lambda request: None) -> Any:
            async def call(request: Any, context: Any) -> Any:
                self.calls.append((name, request))
                if name in self.fails:
                    await context.abort(grpc.StatusCode.INTERNAL, self.fails[name])
                effect(request)
                return answer

            return call

        segments = {f"{NAME}/rack": "r1"}
        info = csi.NodeGetInfoResponse(
            node_id="id-1", max_volumes_per_node=7, accessible_topology=csi.Topology(segments=segments)
        )
        capabilities = [csi.NodeServiceCapability(rpc=_RPC(type=each)) for each in self.capabilities]
        return {
            "NodeGetInfo": _method(act("info", info), csi.NodeGetInfoRequest),
            "NodeGetCapabilities": _method(
                act("capabilities", csi.NodeGetCapabilitiesResponse(capabilities=capabilities)),
                csi.NodeGetCapabilitiesRequest,
            ),
            "NodeStageVolume": _method(act("stage", csi.NodeStageVolumeResponse()), csi.NodeStageVolumeRequest),
            "NodeUnstageVolume": _method(act("unstage", csi.NodeUnstageVolumeResponse()), csi.NodeUnstageVolumeRequest),
            "NodePublishVolume": _method(
                act("publish", csi.NodePublishVolumeResponse(), lambda r: os.makedirs(r.target_path, exist_ok=True)),
                csi.NodePublishVolumeRequest,
            ),
            "NodeUnpublishVolume": _method(
                act("unpublish", csi.NodeUnpublishVolumeResponse(), _remove_target), csi.NodeUnpublishVolumeRequest
            ),
        }


def _remove_target(request: Any) -> None:
    if os.path.isdir(request.target_path):
        os.rmdir(request.target_path)


def _method(call: Any, request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=request.FromString, response_serializer=lambda answer: answer.SerializeToString()
    )


@pytest.fixture
def node() -> Iterator[Node]:
    with TemporaryDirectory(prefix="csi") as folder:  # short: the path of a socket has 107 bytes at most
        yield Node(Path(folder))


@pytest.fixture
def driver(node: Node) -> Driver:
    return Driver(Path(node.config.root_dir))


def disk(**source: Any) -> Object:
    return volume(hostPath=None, csi={"driver": NAME, "volumeHandle": "h1", **source}, claimRef=REF, phase="Bound")


def csi_driver(**spec: Any) -> Object:
    return {
        "kind": "CSIDriver", "apiVersion": "storage.k8s.io/v1", "metadata": {"name": NAME},
        "spec": {"attachRequired": False, **spec},
    }  # fmt: skip


def using(name: str = "web", **more: Any) -> Object:
    return pod(C, volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}], name=name, **more)


def prepare(node: Node, *objects: Object) -> None:
    node.client.add(claim(status={"phase": "Bound"}, volumeName="v1"))
    for obj in objects:
        node.client.add(obj)


def last(driver: Driver, name: str) -> Any:
    return [request for each, request in driver.calls if each == name][-1]


async def test_a_driver_is_registered_and_announced(node: Node, driver: Driver) -> None:
    async with node.running(), driver.running():
        await node.until(lambda: driver.registered)
        assert driver.registered == [(True, "")]
        (made,) = node.client.objects(CSI_NODES)
        assert made["spec"]["drivers"] == [
            {"name": NAME, "nodeID": "id-1", "topologyKeys": [f"{NAME}/rack"], "allocatable": {"count": 7}}
        ]
        (owner,) = made["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("Node", "n1")
        (known,) = node.client.objects(NODES)
        assert labels_of(known)[f"{NAME}/rack"] == "r1"
        assert annotations_of(known)["csi.volume.kubernetes.io/nodeid"] == f'{{"{NAME}":"id-1"}}'


async def test_a_driver_that_goes_is_announced_no_more(node: Node, driver: Driver) -> None:
    async with node.running():
        async with driver.running():
            await node.until(lambda: driver.registered)
        await node.until(lambda: node.client.objects(CSI_NODES)[0]["spec"]["drivers"] == [])


async def test_a_driver_that_cannot_say_what_it_is(node: Node, driver: Driver) -> None:
    driver.fails["info"] = "no cloud"
    async with node.running(), driver.running():
        await node.until(lambda: driver.registered)
        assert driver.registered[0] == (False, "rpc error: code = Internal desc = no cloud")
        del driver.fails["info"]
        await node.until(lambda: driver.registered[-1] == (True, ""), seconds=10)


async def test_a_volume_is_staged_published_and_taken_away(node: Node, driver: Driver) -> None:
    prepare(node, disk(fsType="ext4", volumeAttributes={"size": "1"}), csi_driver())
    async with node.running(), driver.running():
        await node.client.create(PODS, using())
        await node.until(lambda: node.is_ready("web"), seconds=30)
        uid = node.get("web")["metadata"]["uid"]  # type: ignore[index]
        staged, published = last(driver, "stage"), last(driver, "publish")
        assert (staged.volume_id, staged.volume_capability.mount.fs_type) == ("h1", "ext4")
        assert staged.volume_capability.access_mode.mode == csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
        assert dict(published.volume_context) == {"size": "1"}
        assert published.staging_target_path == staged.staging_target_path
        target = f"{node.config.root_dir}/pods/{uid}/volumes/kubernetes.io~csi/v1/mount"
        assert published.target_path == target
        (found,) = [
            each for each in list(node.runtime.container_configs.values())[-1].mounts if each.container_path == "/data"
        ]
        assert found.host_path == target

        await node.client.delete(PODS, "web", "default")
        await node.until(lambda: node.get("web") is None, seconds=60)
        assert driver.names[-2:] == ["unpublish", "unstage"]
        assert last(driver, "unstage").staging_target_path == staged.staging_target_path
        assert not os.path.exists(staged.staging_target_path)


async def test_a_volume_of_two_pods_is_unstaged_with_the_last(node: Node, driver: Driver) -> None:
    prepare(node, disk(), csi_driver())
    async with node.running(), driver.running():
        for name in ("one", "two"):
            await node.client.create(PODS, using(name))
        await node.until(lambda: node.is_ready("one") and node.is_ready("two"), seconds=30)
        await node.client.delete(PODS, "one", "default")
        await node.until(lambda: node.get("one") is None, seconds=60)
        assert driver.names.count("unstage") == 0
        await node.client.delete(PODS, "two", "default")
        await node.until(lambda: node.get("two") is None, seconds=60)
        assert driver.names.count("unstage") == 1


async def test_a_new_agent_takes_away_what_an_earlier_one_brought(node: Node, driver: Driver) -> None:
    prepare(node, disk(), csi_driver())
    async with driver.running():
        async with node.running():
            await node.client.create(PODS, using())
            await node.until(lambda: node.is_ready("web"), seconds=30)
        await node.client.delete(PODS, "web", "default")
        async with node.running():
            await node.until(lambda: node.get("web") is None, seconds=60)
    assert driver.names[-2:] == ["unpublish", "unstage"]


async def test_a_pod_waits_until_its_volume_is_attached(node: Node, driver: Driver) -> None:
    found = disk()
    prepare(node, found)  # nothing is said about the driver: then volumes have to be attached
    async with node.running(), driver.running():
        await node.client.create(PODS, using())
        await node.until(lambda: driver.registered, seconds=2)
        for _ in range(8):
            await node.clock.advance(0.5)
        assert "stage" not in driver.names
        node.client.add(
            {
                "kind": "VolumeAttachment",
                "apiVersion": "storage.k8s.io/v1",
                "metadata": {"name": attachment_name(found, "n1")},
                "spec": {"attacher": NAME, "nodeName": "n1", "source": {"persistentVolumeName": "v1"}},
                "status": {"attached": True, "attachmentMetadata": {"device": "/dev/x"}},
            }
        )
        await node.until(lambda: node.is_ready("web"), seconds=60)
        assert dict(last(driver, "stage").publish_context) == {"device": "/dev/x"}
        said = [f"kubernetes.io/csi/{NAME}^h1"]
        await node.until(lambda: node.client.objects(NODES)[0]["status"].get("volumesInUse") == said, seconds=20)
        await node.client.delete(PODS, "web", "default")
        await node.until(lambda: node.client.objects(NODES)[0]["status"].get("volumesInUse") == [], seconds=60)


async def test_a_pod_whose_volume_never_comes_can_go(node: Node, driver: Driver) -> None:
    prepare(node, disk())
    async with node.running(), driver.running():
        await node.until(lambda: driver.registered)
        await node.client.create(PODS, using())
        for _ in range(8):
            await node.clock.advance(0.5)
        await node.client.delete(PODS, "web", "default")
        await node.until(lambda: node.get("web") is None, seconds=5)
    assert "stage" not in driver.names


async def test_an_error_of_the_driver_is_told(node: Node, driver: Driver) -> None:
    driver.fails["publish"] = "disk on fire"
    prepare(node, disk(), csi_driver())
    async with node.running(), driver.running():
        await node.until(lambda: driver.registered)
        await node.client.create(PODS, using())
        await node.until(lambda: node.events("web"), seconds=20)
        assert node.events("web")[0] == (
            "FailedMount",
            'MountVolume.SetUp failed for volume "v1" : rpc error: code = Internal desc = disk on fire',
        )
        driver.fails.clear()
        await node.until(lambda: node.is_ready("web"), seconds=60)


async def test_secrets_pods_and_groups_are_handed_on(node: Node) -> None:
    driver = Driver(Path(node.config.root_dir), _RPC.STAGE_UNSTAGE_VOLUME, _RPC.VOLUME_MOUNT_GROUP)
    secret = {
        "kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s", "namespace": "system"},
        "data": {"key": "dmFsdWU="},
    }  # fmt: skip
    reference = {"name": "s", "namespace": "system"}
    found = disk(nodeStageSecretRef=reference, nodePublishSecretRef=reference)
    prepare(node, found, secret, csi_driver(podInfoOnMount=True, fsGroupPolicy="File"))
    async with node.running(), driver.running():
        await node.until(lambda: driver.registered)
        await node.client.create(PODS, using(securityContext={"fsGroup": 7}))
        await node.until(lambda: node.is_ready("web"), seconds=30)
    published = last(driver, "publish")
    assert dict(published.secrets) == dict(last(driver, "stage").secrets) == {"key": "value"}
    assert published.volume_context["csi.storage.k8s.io/pod.name"] == "web"
    assert published.volume_context["csi.storage.k8s.io/ephemeral"] == "false"
    assert published.volume_capability.mount.volume_mount_group == "7"


async def test_a_volume_that_the_pod_describes_itself(node: Node, driver: Driver) -> None:
    node.client.add(csi_driver(volumeLifecycleModes=["Ephemeral"], podInfoOnMount=True))
    source = {"driver": NAME, "volumeAttributes": {"a": "b"}, "readOnly": True}
    async with node.running(), driver.running():
        await node.until(lambda: driver.registered)
        await node.client.create(PODS, pod(C, volumes=[{"name": "data", "csi": source}]))
        await node.until(lambda: node.is_ready("web"), seconds=30)
        published = last(driver, "publish")
        assert published.volume_id.startswith("csi-")
        assert published.readonly
        assert published.volume_context["csi.storage.k8s.io/ephemeral"] == "true"
        assert "stage" not in driver.names
        await node.client.delete(PODS, "web", "default")
        await node.until(lambda: node.get("web") is None, seconds=60)
    assert driver.names[-1] == "unpublish" or driver.names[-2:] == ["unpublish", "unstage"]


async def test_a_driver_that_does_not_do_so_is_not_asked(node: Node, driver: Driver) -> None:
    node.client.add(csi_driver())
    async with node.running(), driver.running():
        await node.until(lambda: driver.registered)
        await node.client.create(PODS, pod(C, volumes=[{"name": "data", "csi": {"driver": NAME}}]))
        await node.until(lambda: node.events("web"), seconds=20)
    assert f"driver {NAME} does not support ephemeral inline volumes" in node.events("web")[0][1]
