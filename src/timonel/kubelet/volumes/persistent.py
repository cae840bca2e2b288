"""Volumes that outlive pods, brought below the pod's folder: local directories and disks, host paths, NFS shares.

What is mounted is read from the mount table, so mounting again is harmless.
Source: kubernetes.io/docs/concepts/storage/volumes
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from timonel.api.objects import Object, annotations_of, get_path, name_of
from timonel.api.volumes import LOCAL_PROVISIONER, PROVISIONED_BY
from timonel.kubelet.volumes import mounts
from timonel.kubelet.volumes.hostpath import ensure_host_path
from timonel.kubelet.volumes.ownership import give_to_group

_MOUNT_SECONDS = 60.0
LOCAL_FOLDER = "kubernetes.io~local-volume"


class VolumeError(Exception):
    """A volume that cannot be brought to this node; the message says why."""


@dataclass(frozen=True, slots=True)
class Attached:
    """Where a volume of a pod is on the host."""

    path: str
    read_only: bool = False
    is_block: bool = False
    is_free: bool = False
    """A path of the host that nobody made for the pod: containers may find it missing."""


async def attach(
    spec: Object, *, name: str, folder: str, pod: Object, is_block: bool, read_only: bool, own: str = ""
) -> Attached:
    """`spec` holds the source, as volumes of pods and PersistentVolumes both do; `folder` is the pod's volumes folder.

    `own`: the directory that Timonel made for this volume; made again if it is not there. Raises VolumeError, OSError,
    HostPathError.
    """
    if source := spec.get("hostPath"):
        kind = source.get("type") or ""
        ensure_host_path(source["path"], "BlockDevice" if is_block else kind)
        return Attached(source["path"], read_only, is_block, is_free=True)
    if source := spec.get("local"):
        return await asyncio.to_thread(_attach_local, source["path"], name, folder, pod, is_block, read_only, own)
    if is_block:
        raise VolumeError("volumeMode Block is there for hostPath and local volumes only")
    if source := spec.get("nfs"):
        options = [*(spec.get("mountOptions") or ()), *(["ro"] if source.get("readOnly") else [])]
        target = f"{folder}/kubernetes.io~nfs/{name}"
        await _mount("nfs", f"{source['server']}:{source['path']}", target, options)
        return Attached(target, read_only or bool(source.get("readOnly")))
    raise VolumeError("its volume source is not built in Timonel; there are local, hostPath, nfs and csi")


def directory_of(volume: Object, volumes_dir: str) -> str:
    """The directory that Timonel made, or is to make, for a PersistentVolume on this node; "" when it is another's."""
    path = f"{volumes_dir}/{name_of(volume)}"
    is_ours = annotations_of(volume).get(PROVISIONED_BY) == LOCAL_PROVISIONER
    return path if volumes_dir and is_ours and get_path(volume, "spec", "local", "path") == path else ""


def _attach_local(
    path: str, name: str, folder: str, pod: Object, is_block: bool, read_only: bool, own: str
) -> Attached:
    if own and not os.path.lexists(own):
        os.makedirs(os.path.dirname(own), 0o711, exist_ok=True)
        os.mkdir(own)
        os.chmod(own, 0o777)  # for containers of any user, like an emptyDir
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise VolumeError(f'path "{path}" does not exist') from None
    if is_block:
        if not stat.S_ISBLK(mode):
            raise VolumeError(f'path "{path}" is not a block device')
        return Attached(path, read_only, is_block=True)
    if stat.S_ISBLK(mode):
        raise VolumeError(f'path "{path}" is a block device; Timonel mounts directories, and disks as volumeMode Block')
    target = f"{folder}/{LOCAL_FOLDER}/{name}"
    os.makedirs(target, mode=0o750, exist_ok=True)
    was_there = bool(mounts.mount_points(target))
    if not was_there:
        mounts.bind(path, target)
    security = pod["spec"].get("securityContext") or {}
    if security.get("fsGroup") is not None and not read_only:
        # What an earlier agent finished is not done again under containers that run; the root tells if it did.
        lazily = was_there or security.get("fsGroupChangePolicy") == "OnRootMismatch"
        give_to_group(target, security["fsGroup"], only_if_root_differs=lazily)
    return Attached(target, read_only)


async def _mount(kind: str, source: str, target: str, options: Sequence[str]) -> None:
    """By mount(8), whose helpers know the protocol."""
    os.makedirs(target, mode=0o750, exist_ok=True)
    if mounts.mount_points(target):
        return
    if shutil.which(f"mount.{kind}", path="/sbin:/usr/sbin:/bin:/usr/bin") is None:
        raise VolumeError(f"mount.{kind} is not installed on this node; Debian has it in nfs-common")
    command = ["mount", "-t", kind, *(["-o", ",".join(options)] if options else []), source, target]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _MOUNT_SECONDS)
    except TimeoutError:
        raise VolumeError(f"mount of {source} did not answer within {_MOUNT_SECONDS:g} seconds") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise VolumeError(f"mount failed: exit status {process.returncode}: {output.decode(errors='replace').strip()}")
