"""Shows the files of an image without a container, where CRI cannot: by containerd's own snapshots service.

A view is a read-only child of the image's topmost layer. containerd's garbage collector keeps it, and the layers below
it, for as long as it carries the label of a root. Source: github.com/containerd/containerd docs/garbage-collection.md
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import grpc.aio
import orjson

from timonel.kubelet.cri import containerd_pb2 as containerd
from timonel.kubelet.cri.grpc_runtime import STATUS_SECONDS, failure_from, open_channel
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure, RuntimeNotFound

_SNAPSHOTS = "/containerd.services.snapshots.v1.Snapshots/"
_ROOT_LABEL = "containerd.io/gc.root"
_NAMESPACE = (("containerd-namespace", "k8s.io"),)


class Snapshots(Protocol):
    """Folders with an image's layers. Every call may raise RuntimeFailure."""

    async def view(self, chain_id: str, key: str) -> tuple[str, ...]:
        """Folders of the layers, topmost first; they stay until `remove`. `key` is the caller's name for the view."""
        ...

    async def remove(self, key: str) -> None:
        """No error when it is gone."""
        ...


class ContainerdSnapshots:
    """Implements `Snapshots` on containerd's socket, for the snapshotters that keep layers in folders."""

    def __init__(self, *, endpoint: str, snapshotter: str = "overlayfs") -> None:
        self._endpoint = endpoint
        self._snapshotter = snapshotter

    async def view(self, chain_id: str, key: str) -> tuple[str, ...]:
        labels = {_ROOT_LABEL: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        request = containerd.ViewSnapshotRequest(snapshotter=self._snapshotter, key=key, parent=chain_id, labels=labels)
        try:
            answer = await self._call("View", request, containerd.MountsResponse)
        except RuntimeFailure as failure:
            if failure.code != "AlreadyExists":
                raise
            known = containerd.MountsRequest(snapshotter=self._snapshotter, key=key)
            answer = await self._call("Mounts", known, containerd.MountsResponse)
        return layers_of(answer.mounts)

    async def remove(self, key: str) -> None:
        request = containerd.RemoveSnapshotRequest(snapshotter=self._snapshotter, key=key)
        try:
            await self._call("Remove", request, containerd.Ignored)
        except RuntimeNotFound:
            pass

    async def _call(self, method: str, request: Any, answer: Any) -> Any:
        # A channel for each call: it is seldom needed, and so nothing has to be closed when the agent ends.
        async with open_channel(self._endpoint) as channel:
            call = channel.unary_unary(
                _SNAPSHOTS + method,
                request_serializer=type(request).SerializeToString,
                response_deserializer=answer.FromString,
            )
            try:
                return await call(request, timeout=STATUS_SECONDS, metadata=_NAMESPACE)
            except grpc.aio.AioRpcError as exc:
                raise failure_from(exc) from exc


def layers_of(mounts: Sequence[containerd.Mount]) -> tuple[str, ...]:
    """Folders of a view, topmost first: one layer is told as a bind mount, several as an overlay.

    Raises RuntimeFailure for what a snapshotter of another kind tells.
    """
    if len(mounts) == 1 and mounts[0].type == "bind":
        return (mounts[0].source,)
    if len(mounts) == 1 and mounts[0].type == "overlay":
        for option in mounts[0].options:
            if option.startswith("lowerdir="):
                return tuple(option.removeprefix("lowerdir=").split(":"))
    told = ", ".join(mount.type for mount in mounts)
    raise RuntimeFailure("Unimplemented", f"snapshots of this kind cannot be mounted: {told}")


async def chain_id_of(runtime: Runtime, image_id: str) -> str:
    """Name of the snapshot that holds all layers of an image, by containerd's details of it. Raises RuntimeFailure."""
    try:
        found = orjson.loads((await runtime.image_info(image_id)).get("info", ""))["chainID"]
    except (ValueError, KeyError, TypeError):
        raise RuntimeFailure("Unimplemented", f"the runtime does not tell the layers of image {image_id}") from None
    return str(found)


def mounts_images(name: str, version: str) -> bool:
    """Whether a runtime of this name and version mounts images by CRI.

    containerd does since 2.1 and drops the request silently before. Source: kubernetes.io/docs/tasks/configure-pod-
    container/image-volumes
    """
    if name != "containerd":
        return True
    numbers = version.removeprefix("v").split(".")[:2]
    try:
        return tuple(int(number) for number in numbers) >= (2, 1)
    except ValueError:
        return False
