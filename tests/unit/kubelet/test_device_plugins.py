"""Devices that plugins offer: counted in the node, given to containers, told of to nobody twice.

Source: kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod
from timonel.api.objects import Object
from timonel.api.refs import NODES, PODS
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.devices import deviceplugin_pb2 as messages
from timonel.kubelet.devices.pool import NotEnoughDevices, Pool

GPU = "example.com/gpu"


def asking(name: str, count: int = 1, **more: Any) -> Object:
    return container(name, resources={"limits": {GPU: str(count)}, "requests": {GPU: str(count)}}, **more)


# The pool


def pool(*ids: str, ill: tuple[str, ...] = ()) -> Pool:
    made = Pool()
    made.offer(GPU, dict.fromkeys(ids, True) | dict.fromkeys(ill, False))
    return made


def test_devices_are_given_once_and_come_back() -> None:
    of = pool("a", "b", ill=("c",))
    assert of.resources() == {GPU: (3, 2)}
    first = pod(asking("c"), name="first")
    of.admit(first)
    of.admit(first)  # again and again
    assert of.of("uid-first", "c") == {GPU: {"a"}}
    with pytest.raises(NotEnoughDevices) as caught:
        of.admit(pod(asking("c", 2), name="second"))
    assert str(caught.value) == f"requested number of devices unavailable for {GPU}. Requested: 2, Available: 1"
    of.release("uid-first")
    of.admit(pod(asking("c", 2), name="second"))
    assert of.of("uid-second", "c") == {GPU: {"a", "b"}}


def test_a_pod_gets_all_or_nothing() -> None:
    of = pool("a", "b")
    with pytest.raises(NotEnoughDevices):
        of.admit(pod(asking("c", 2), asking("d")))
    assert of.of("uid-web", "c") == {}


def test_what_an_init_container_had_those_after_it_have() -> None:
    of = pool("a", "b")
    of.admit(pod(asking("c"), asking("d"), init=(asking("i", 2),)))
    assert of.of("uid-web", "i") == {GPU: {"a", "b"}}
    assert of.of("uid-web", "c") == {GPU: {"a"}}
    assert of.of("uid-web", "d") == {GPU: {"b"}}


def test_ill_devices_are_not_given_and_others_resources_are_nobodys_business() -> None:
    of = pool(ill=("a",))
    with pytest.raises(NotEnoughDevices, match="no healthy devices present; cannot allocate unhealthy devices"):
        of.admit(pod(asking("c")))
    Pool().admit(pod(asking("c")))


# A kubelet and a plugin


class Plugin:
    """Serves the protocol as plugins do. `answers` is what Allocate gives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self.allocated: list[list[str]] = []
        self.answer = messages.ContainerAllocateResponse(envs={"GPU": "yes", "OWN": "plugin"})
        self.server = grpc.aio.server()

    async def watch(self, request: messages.Empty, context: Any) -> AsyncIterator[messages.ListAndWatchResponse]:
        while True:
            devices = [messages.Device(ID=name, health=health) for name, health in (await self.states.get()).items()]
            yield messages.ListAndWatchResponse(devices=devices)

    async def allocate(self, request: messages.AllocateRequest, context: Any) -> messages.AllocateResponse:
        self.allocated.append(list(request.container_requests[0].devicesIDs))
        return messages.AllocateResponse(container_responses=[self.answer])

    async def start(self, **devices: str) -> None:
        handlers = {
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(
                self.watch, messages.Empty.FromString, messages.ListAndWatchResponse.SerializeToString
            ),
            "Allocate": grpc.unary_unary_rpc_method_handler(
                self.allocate, messages.AllocateRequest.FromString, messages.AllocateResponse.SerializeToString
            ),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", handlers),))
        self.server.add_insecure_port(f"unix:{self.folder}/gpu.sock")
        await self.server.start()
        self.states.put_nowait(devices)

    async def register(self, **fields: str) -> None:
        request = messages.RegisterRequest(
            **{"version": "v1beta1", "endpoint": "gpu.sock", "resource_name": GPU, **fields}
        )
        async with grpc.aio.insecure_channel(f"unix:{self.folder}/kubelet.sock") as channel:
            call = channel.unary_unary(
                "/v1beta1.Registration/Register",
                request_serializer=messages.RegisterRequest.SerializeToString,
                response_deserializer=messages.Empty.FromString,
            )
            await call(request, timeout=10, wait_for_ready=True)


@pytest.fixture
def node() -> Iterator[Node]:
    # A socket's path has at most 107 bytes: pytest's own folders are too deep.
    folder = Path(tempfile.mkdtemp(prefix="timonel-"))
    yield Node(folder)
    shutil.rmtree(folder)


@pytest.fixture
async def plugin(node: Node) -> AsyncIterator[Plugin]:
    made = Plugin(node.folder / "kubelet/device-plugins")
    yield made
    await made.server.stop(None)


def counted(node: Node) -> tuple[str | None, str | None]:
    status = (node.client.objects(NODES) or [{}])[0].get("status") or {}
    return (status.get("capacity") or {}).get(GPU), (status.get("allocatable") or {}).get(GPU)


def made_with(node: Node) -> cri.ContainerConfig:
    return list(node.runtime.container_configs.values())[-1]


async def begin(node: Node, plugin: Plugin, **devices: str) -> None:
    await node.until(lambda: (plugin.folder / "kubelet.sock").exists())
    await plugin.start(**devices)
    await plugin.register()


async def test_the_node_counts_them_and_a_container_gets_them(node: Node, plugin: Plugin) -> None:
    plugin.answer.mounts.add(container_path="/lib/gpu", host_path="/opt/gpu", read_only=True)
    plugin.answer.devices.add(container_path="/dev/gpu", host_path="/dev/gpu7", permissions="rw")
    plugin.answer.annotations["vendor"] = "x"
    plugin.answer.cdi_devices.add(name="example.com/gpu=7")
    async with node.running():
        await begin(node, plugin, a="Healthy", b="Unhealthy")
        await node.until(lambda: counted(node) == ("2", "1"), seconds=5)
        await node.client.create(PODS, pod(asking("c", env=[{"name": "OWN", "value": "pod"}])))
        await node.until(lambda: node.is_ready("web"))
        made = made_with(node)
        environment = {each.key: each.value for each in made.envs}
        assert (environment["GPU"], environment["OWN"]) == (b"yes", b"pod")
        assert ("/opt/gpu", "/lib/gpu", True) in [(m.host_path, m.container_path, m.readonly) for m in made.mounts]
        assert [(d.host_path, d.permissions) for d in made.devices] == [("/dev/gpu7", "rw")]
        assert made.annotations["vendor"] == "x"
        assert [each.name for each in made.CDI_devices] == ["example.com/gpu=7"]
        assert plugin.allocated == [["a"]]
        await node.client.create(PODS, pod(asking("c"), name="late"))
        await node.until(lambda: node.status("late").get("phase") == "Failed")
        assert node.status("late")["reason"] == "UnexpectedAdmissionError"
        plugin.states.put_nowait({"a": "Healthy", "b": "Healthy"})
        await node.until(lambda: counted(node) == ("2", "2"), seconds=5)


async def test_a_plugin_that_goes_takes_its_devices_along(node: Node, plugin: Plugin) -> None:
    async with node.running():
        await begin(node, plugin, a="Healthy")
        await node.until(lambda: counted(node) == ("1", "1"), seconds=5)
        await plugin.server.stop(None)
        await node.until(lambda: counted(node) == ("1", "0"), seconds=5)
        for _ in range(32):
            await node.clock.advance(10)
        await node.until(lambda: counted(node) == ("0", "0"), seconds=15)


async def test_a_new_kubelet_knows_who_has_what_before_plugins_are_back(node: Node, plugin: Plugin) -> None:
    async with node.running():
        await begin(node, plugin, a="Healthy", b="Healthy")
        await node.until(lambda: counted(node) == ("2", "2"), seconds=5)
        await node.client.create(PODS, pod(asking("c"), name="first"))
        await node.until(lambda: node.is_ready("first"))
    await plugin.server.stop(None)
    async with node.running():
        await node.until(lambda: counted(node) == ("0", "0"), seconds=5)
        await node.client.create(PODS, pod(asking("c"), name="early"))
        await node.until(lambda: node.status("early").get("phase") == "Failed")
        assert "no healthy devices present" in node.status("early")["message"]
        again = Plugin(plugin.folder)
        await begin(node, again, a="Healthy", b="Healthy")
        await node.until(lambda: counted(node) == ("2", "2"), seconds=5)
        await node.client.create(PODS, pod(asking("c"), name="second"))
        await node.until(lambda: node.is_ready("second"))
        assert again.allocated == [["b"]]
        await again.server.stop(None)
    assert node.is_ready("first")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"version": "v1alpha"}, 'requested API version "v1alpha" is not supported'),
        ({"resource_name": "gpu"}, "is invalid"),
        ({"endpoint": "../other.sock"}, "is no socket"),
    ],
)
async def test_registrations_that_are_refused(node: Node, plugin: Plugin, fields: dict[str, str], problem: str) -> None:
    async with node.running() as kubelet:
        await kubelet.wait_ready()
        await node.until(lambda: (plugin.folder / "kubelet.sock").exists())
        with pytest.raises(grpc.aio.AioRpcError, match=problem):
            await plugin.register(**fields)


async def test_resources_that_others_announce_are_allocatable(node: Node) -> None:
    async with node.running() as kubelet:
        await kubelet.wait_ready()
        patch = {"status": {"capacity": {"example.com/dongle": "4"}}}
        await node.client.patch(NODES, "n1", patch, type="merge", subresource="status")
        found = lambda: node.client.objects(NODES)[0]["status"]["allocatable"].get("example.com/dongle")  # noqa: E731
        await node.until(lambda: found() == "4", seconds=5)
        before = node.client.revision
        for _ in range(3):
            await node.clock.advance(15)
        statuses = node.client.objects(NODES)[0]["metadata"]["resourceVersion"]
        assert int(statuses) <= before + 1  # nobody writes it again and again
