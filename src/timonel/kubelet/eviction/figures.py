"""The figures behind evictions, from the kernel's files and, for writable layers, from the runtime."""

from __future__ import annotations

import os
from collections.abc import Iterable

from timonel.api.clock import Clock
from timonel.api.objects import Object, uid_of
from timonel.kubelet.cri.runtime import Runtime
from timonel.kubelet.eviction.pressure import Observations
from timonel.kubelet.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    IMAGE_BYTES,
    IMAGE_INODES,
    MEMORY,
    NODE_BYTES,
    NODE_INODES,
    PROCESSES,
    Observation,
)
from timonel.kubelet.eviction.usage import PodUse, use_of
from timonel.kubelet.stats.cgroup_usage import CgroupFiles
from timonel.kubelet.stats.filesystems import Filesystems
from timonel.kubelet.stats.host_usage import HostFiles
from timonel.kubelet.stats.sampler import Sampler

_COUNTED_SECONDS = 20.0


class NodeFigures:
    """Implements `Figures`. `cgroup` is the one above all pods, "/timonel/node/kubepods"."""

    def __init__(
        self,
        *,
        cgroups: CgroupFiles,
        host: HostFiles,
        sampler: Sampler,
        runtime: Runtime,
        clock: Clock,
        root_dir: str,
        cgroup: str,
        memory_for_pods: int,
    ) -> None:
        self._cgroups = cgroups
        self._host = host
        self._sampler = sampler
        self._runtime = runtime
        self._root_dir = root_dir
        self._cgroup = cgroup
        self._memory_for_pods = memory_for_pods
        self._image_dir: str | None = None
        self._filesystems = Filesystems(root_dir=root_dir, runtime=runtime, clock=clock, count_seconds=_COUNTED_SECONDS)

    async def observe(self) -> Observations:
        found: dict[str, Observation] = {}
        total = self._host.memory_info().get("MemTotal", 0)
        memory = self._host.read().memory
        if total and memory is not None:
            found[MEMORY] = Observation(max(0, total - memory.working_set), total)
        pods = self._cgroups.read(self._cgroup).memory
        if pods is not None:
            most = self._memory_for_pods
            found[ALLOCATABLE_MEMORY] = Observation(max(0, most - pods.working_set), most)
        found |= _disk(self._root_dir, NODE_BYTES, NODE_INODES)
        found |= _disk(await self._images(), IMAGE_BYTES, IMAGE_INODES)
        processes, most_processes = self._host.processes()
        if most_processes:
            found[PROCESSES] = Observation(most_processes - processes, most_processes)
        return found

    async def _images(self) -> str:
        """The runtime's folder of images, asked once."""
        if self._image_dir is None:
            for told in (await self._runtime.image_fs_info()).image_filesystems:
                self._image_dir = told.fs_id.mountpoint
                break
        return self._image_dir or self._root_dir

    async def image_disk(self) -> tuple[int, int]:
        disk = os.statvfs(await self._images())
        return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize

    async def images_apart(self) -> bool:
        try:
            return os.stat(await self._images()).st_dev != os.stat(self._root_dir).st_dev
        except OSError:
            return False

    async def uses(self, pods: Iterable[Object], *, disk: bool) -> dict[str, PodUse]:
        wanted = {uid_of(pod): pod for pod in pods}
        sample = await self._sampler.sample(details=True)
        samples = {each.source.uid: each for each in sample.pods if each.source.uid in wanted}
        files = await self._filesystems.sample([each.source for each in samples.values()]) if disk else None
        return {uid: use_of(wanted[uid], each, files) for uid, each in samples.items()}


def _disk(path: str, bytes_signal: str, inodes_signal: str) -> dict[str, Observation]:
    try:
        disk = os.statvfs(path)
    except OSError:
        return {}
    found = {}
    if disk.f_blocks:
        found[bytes_signal] = Observation(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)
    if disk.f_files:  # some file systems do not count inodes
        found[inodes_signal] = Observation(disk.f_ffree, disk.f_files)
    return found
