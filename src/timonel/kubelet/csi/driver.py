"""One CSI driver on this node: its socket, what it can do, and the calls that bring its volumes into pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc.aio

from timonel.kubelet.cri.grpc_runtime import open_channel
from timonel.kubelet.csi import csi_pb2 as csi

_NODE = "/csi.v1.Node/"
_CALL_SECONDS = 120.0
_RPC = csi.NodeServiceCapability.RPC


class CsiError(Exception):
    """A call that failed; the message is what kubelets put into events: "rpc error: code = … desc = …"."""


@dataclass(frozen=True, slots=True)
class Volume:
    """What a driver is told of a volume."""

    id: str
    capability: csi.VolumeCapability
    context: Mapping[str, str]
    publish_context: Mapping[str, str]
    """What the attacher left in the VolumeAttachment."""


async def call(
    channel: grpc.aio.Channel, method: str, request: Any, answer: Any, seconds: float = _CALL_SECONDS
) -> Any:
    """Raises CsiError."""
    function = channel.unary_unary(
        method, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
    )
    try:
        return await function(request, timeout=seconds)
    except grpc.aio.AioRpcError as exc:
        name = "".join(part.capitalize() for part in exc.code().name.split("_"))
        raise CsiError(f"rpc error: code = {name} desc = {exc.details() or ''}") from exc


class CsiDriver:
    """`learn` asks what it is before anything else is called."""

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self.endpoint = endpoint
        self._channel = open_channel(endpoint)
        self.info = csi.NodeGetInfoResponse()
        self._can: frozenset[int] = frozenset()

    @property
    def stages(self) -> bool:
        """Volumes are staged once per node before they are published to pods."""
        return _RPC.STAGE_UNSTAGE_VOLUME in self._can

    @property
    def sets_group(self) -> bool:
        """The driver applies fsGroup itself."""
        return _RPC.VOLUME_MOUNT_GROUP in self._can

    @property
    def knows_single_writers(self) -> bool:
        return _RPC.SINGLE_NODE_MULTI_WRITER in self._can

    async def learn(self) -> None:
        """Raises CsiError."""
        self.info = await self._call("NodeGetInfo", csi.NodeGetInfoRequest(), csi.NodeGetInfoResponse)
        answer = await self._call(
            "NodeGetCapabilities", csi.NodeGetCapabilitiesRequest(), csi.NodeGetCapabilitiesResponse
        )
        self._can = frozenset(each.rpc.type for each in answer.capabilities)

    async def stage(self, volume: Volume, path: str, secrets: Mapping[str, str]) -> None:
        request = csi.NodeStageVolumeRequest(
            volume_id=volume.id,
            publish_context=dict(volume.publish_context),
            staging_target_path=path,
            volume_capability=volume.capability,
            secrets=dict(secrets),
            volume_context=dict(volume.context),
        )
        await self._call("NodeStageVolume", request, csi.NodeStageVolumeResponse)

    async def publish(
        self, volume: Volume, target: str, *, staged: str, read_only: bool, secrets: Mapping[str, str]
    ) -> None:
        request = csi.NodePublishVolumeRequest(
            volume_id=volume.id,
            publish_context=dict(volume.publish_context),
            staging_target_path=staged,
            target_path=target,
            volume_capability=volume.capability,
            readonly=read_only,
            secrets=dict(secrets),
            volume_context=dict(volume.context),
        )
        await self._call("NodePublishVolume", request, csi.NodePublishVolumeResponse)

    async def unpublish(self, volume_id: str, target: str) -> None:
        request = csi.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=target)
        await self._call("NodeUnpublishVolume", request, csi.NodeUnpublishVolumeResponse)

    async def unstage(self, volume_id: str, path: str) -> None:
        request = csi.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=path)
        await self._call("NodeUnstageVolume", request, csi.NodeUnstageVolumeResponse)

    async def close(self) -> None:
        await self._channel.close()

    async def _call(self, name: str, request: Any, answer: Any) -> Any:
        return await call(self._channel, _NODE + name, request, answer)
