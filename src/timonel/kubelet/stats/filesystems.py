"""How full file systems are, and how much of them pods take: writable layers, logs, volumes.

Counting files means looking at each of them, so that is done at most once a minute, in a thread, and only when somebody
asks. Writable layers the runtime counts itself. Source: kubernetes.io/docs/concepts/storage/ephemeral-storage
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from timonel.api.clock import Clock
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure
from timonel.kubelet.stats.samples import PodSource

log = logging.getLogger(__name__)

_COUNT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class FilesystemUsage:
    """Bytes and inodes; `used` may be of a part of the file system: a volume, a container's layer."""

    time: float
    capacity: int = 0
    available: int = 0
    used: int = 0
    inodes: int = 0
    inodes_free: int = 0
    inodes_used: int = 0


@dataclass(frozen=True, slots=True)
class FilesystemSample:
    node: FilesystemUsage
    images: FilesystemUsage | None = None
    layers: Mapping[str, FilesystemUsage] = field(default_factory=dict)
    """Writable layers by container id."""
    logs: Mapping[tuple[str, str], FilesystemUsage] = field(default_factory=dict)
    """By pod uid and container name."""
    volumes: Mapping[tuple[str, str], FilesystemUsage] = field(default_factory=dict)
    """By pod uid and volume name."""


_ByName = dict[tuple[str, str], FilesystemUsage]


class Filesystems:
    """`root_dir` is the kubelet's folder: its file system is the node's."""

    def __init__(self, *, root_dir: str, runtime: Runtime, clock: Clock, count_seconds: float = _COUNT_SECONDS) -> None:
        self._count_seconds = count_seconds
        self._root_dir = root_dir
        self._runtime = runtime
        self._clock = clock
        self._counted: dict[str, tuple[float, int, int]] = {}
        """Path -> when, bytes, inodes."""
        self._lock = asyncio.Lock()

    async def sample(self, pods: Iterable[PodSource], *, layers: bool = True) -> FilesystemSample:
        """Without `layers`, what the runtime knows is left out."""
        pods = list(pods)
        # One at a time, and in a thread: a network file system whose server is away answers nobody.
        async with self._lock:
            node = self._usage(self._root_dir)
            logs, volumes = await asyncio.to_thread(self._read, pods, node)
            images, known_layers = await self._ask_runtime(node) if layers else (None, {})
        return FilesystemSample(node, images, known_layers, logs, volumes)

    def _read(self, pods: list[PodSource], node: FilesystemUsage) -> tuple[_ByName, _ByName]:
        """Logs and volumes."""
        self._count(pods)
        logs: _ByName = {}
        volumes: _ByName = {}
        for pod in pods:
            for container in pod.containers:
                if pod.logs:
                    logs[pod.uid, container.name] = self._part(f"{pod.logs}/{container.name}", node)
            for volume in pod.volumes:
                whole = self._usage(volume.path)
                # A claim's volume is a file system of its own; of others, the files count.
                volumes[pod.uid, volume.name] = whole if volume.claim else self._part(volume.path, whole)
        return logs, volumes

    def _usage(self, path: str) -> FilesystemUsage:
        try:
            found = os.statvfs(path)
        except OSError:
            return FilesystemUsage(self._now())
        unit = found.f_frsize
        return FilesystemUsage(
            time=self._now(),
            capacity=found.f_blocks * unit,
            available=found.f_bavail * unit,
            used=(found.f_blocks - found.f_bfree) * unit,
            inodes=found.f_files,
            inodes_free=found.f_ffree,
            inodes_used=found.f_files - found.f_ffree,
        )

    def _part(self, path: str, whole: FilesystemUsage) -> FilesystemUsage:
        _, used, inodes = self._counted.get(path, (0.0, 0, 0))
        return _with_use(whole, self._now(), used, inodes)

    def _count(self, pods: Iterable[PodSource]) -> None:
        now, kept = self._clock.monotonic(), {}
        for path in _paths(pods):
            known = self._counted.get(path)
            kept[path] = known if known and now - known[0] < self._count_seconds else (now, *count_files(path))
        self._counted = kept

    async def _ask_runtime(self, node: FilesystemUsage) -> tuple[FilesystemUsage | None, dict[str, FilesystemUsage]]:
        images, layers = None, {}
        try:
            for told in (await self._runtime.image_fs_info()).image_filesystems:
                whole = self._usage(told.fs_id.mountpoint)
                if not whole.capacity:
                    whole = node
                images = _with_use(whole, self._now(), told.used_bytes.value, told.inodes_used.value)
                break
            for stats in await self._runtime.list_container_stats():
                layer = stats.writable_layer
                layers[stats.attributes.id] = _with_use(
                    images or node, self._now(), layer.used_bytes.value, layer.inodes_used.value
                )
        except RuntimeFailure as exc:
            log.warning("use of file systems could not be asked error=%s", exc)
        return images, layers

    def _now(self) -> float:
        return self._clock.now().timestamp()


def count_files(path: str) -> tuple[int, int]:
    """(bytes on disk, inodes) of what is below, without what is mounted there. Blocking."""
    total = inodes = 0
    try:
        device = os.lstat(path).st_dev
    except OSError:
        return 0, 0
    pending = [path]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    if info.st_dev != device:
                        continue
                    total += info.st_blocks * 512
                    inodes += 1
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            continue  # gone meanwhile
    return total, inodes


def _paths(pods: Iterable[PodSource]) -> Iterable[str]:
    for pod in pods:
        if pod.logs:
            yield from (f"{pod.logs}/{container.name}" for container in pod.containers)
        yield from (volume.path for volume in pod.volumes if not volume.claim)


def _with_use(whole: FilesystemUsage, time: float, used: int, inodes: int) -> FilesystemUsage:
    return FilesystemUsage(
        time=time,
        capacity=whole.capacity,
        available=whole.available,
        used=used,
        inodes=whole.inodes,
        inodes_free=whole.inodes_free,
        inodes_used=inodes,
    )
