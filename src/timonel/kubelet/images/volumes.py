"""Volumes of kind `image`: the files of an image, read-only, in a folder of the pod.

Runtimes that mount images by CRI are just told which. For others the kubelet mounts the image's layers itself, once for
each volume of a pod. What is there is read from the pod's folder and the mount table, never remembered: the folder is
made before the runtime's snapshot and removed after it, so that an end that was cut short is found and finished.
Source: kubernetes.io/docs/concepts/storage/volumes, "image".
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from timonel.api.objects import Object
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure
from timonel.kubelet.cri.snapshots import Snapshots, chain_id_of, mounts_images
from timonel.kubelet.volumes import mounts

_FLAGS = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_PAGE = 4096
"""All options of a mount must fit into it."""
MOUNT_FAILED = "ImageVolumeMountFailed"
"""Begins the message of a container whose image volume could not be mounted, as CRI runtimes tell it."""


class ImageMountError(Exception):
    pass


class ImageVolumes:
    """`mount` and `unmount` by the volume's folder below the pod's; both may be repeated."""

    def __init__(self, *, runtime: Runtime, snapshots: Snapshots) -> None:
        self._runtime = runtime
        self._snapshots = snapshots
        self._by_runtime: bool | None = None

    async def are_mounted_by_runtime(self) -> bool:
        """Raises RuntimeFailure."""
        if self._by_runtime is None:
            version = await self._runtime.version()
            self._by_runtime = mounts_images(version.runtime_name, version.runtime_version)
        return self._by_runtime

    async def mount(self, uid: str, volume: str, image: cri.Image, target: str) -> None:
        """Raises ImageMountError. What is mounted already stays: a pod keeps the image that it began with."""
        try:
            if mounts.is_mount_point(target):
                return
            os.makedirs(target, exist_ok=True)
            chain_id = await chain_id_of(self._runtime, image.id)
            layers = await self._snapshots.view(chain_id, _key(uid, volume))
            await asyncio.to_thread(mount_layers, layers, target)
        except (OSError, RuntimeFailure) as exc:
            raise ImageMountError(f"{MOUNT_FAILED}: {exc}") from exc

    async def unmount(self, uid: str, folder: str) -> None:
        """All volumes of a pod below `folder`, which may be missing. Raises OSError when something is left."""
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return
        for name in names:
            for point in mounts.mount_points(f"{folder}/{name}"):
                mounts.unmount(point)
            try:
                await self._snapshots.remove(_key(uid, name))
            except RuntimeFailure as exc:
                raise OSError(f"image volume {name} not given back: {exc}") from exc


def _key(uid: str, volume: str) -> str:
    return f"timonel-image-volume-{uid}-{volume}"


def mount_layers(layers: Sequence[str], target: str) -> None:
    """Layers, topmost first, as one read-only tree without programs to run. Raises OSError.

    Always an overlay without an upper folder, which nobody can make writable by mounting it again.
    """
    handles: list[int] = []
    try:
        # The kernel wants two at least.
        folders = [*layers, _empty_folder(target)] if len(layers) == 1 else list(layers)
        if len("lowerdir=") + len(":".join(folders)) >= _PAGE:
            handles = [os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for folder in folders]
            folders = [f"/proc/self/fd/{handle}" for handle in handles]
        mounts.mount("overlay", target, "overlay", _FLAGS, f"lowerdir={':'.join(folders)}")
    finally:
        for handle in handles:
            os.close(handle)


def _empty_folder(target: str) -> str:
    path = f"{os.path.dirname(os.path.dirname(os.path.dirname(target)))}/no-files"
    os.makedirs(path, mode=0o755, exist_ok=True)
    return path


def image_of(volume: Object) -> Object:
    """What the volume names, as a container would: for the puller."""
    source = volume["image"]
    return {"image": source.get("reference") or "", "imagePullPolicy": source.get("pullPolicy") or "IfNotPresent"}
