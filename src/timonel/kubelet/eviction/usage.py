"""What each pod uses of what may run short. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from timonel.api.objects import Object
from timonel.kubelet.stats.filesystems import FilesystemSample
from timonel.kubelet.stats.sampler import pod_usage
from timonel.kubelet.stats.samples import PodSample


@dataclass(frozen=True, slots=True)
class Disk:
    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: Disk) -> Disk:
        return Disk(self.bytes + other.bytes, self.inodes + other.inodes)


NOTHING = Disk()


@dataclass(frozen=True, slots=True)
class ContainerUse:
    memory: int = 0
    """Its working set, bytes."""
    layer: Disk = NOTHING
    logs: Disk = NOTHING


@dataclass(frozen=True, slots=True)
class PodUse:
    memory: int = 0
    processes: int = 0
    containers: Mapping[str, ContainerUse] = field(default_factory=dict)
    volumes: Mapping[str, Disk] = field(default_factory=dict)
    """Those on the node's own file system; not claims', not in memory."""

    @property
    def layers(self) -> Disk:
        return sum((each.layer for each in self.containers.values()), NOTHING)

    @property
    def logs_and_volumes(self) -> Disk:
        return sum((each.logs for each in self.containers.values()), NOTHING) + sum(self.volumes.values(), NOTHING)

    @property
    def disk(self) -> Disk:
        return self.layers + self.logs_and_volumes


def is_in_memory(volume: Object) -> bool:
    return (volume.get("emptyDir") or {}).get("medium") == "Memory"


def use_of(pod: Object, sample: PodSample, files: FilesystemSample | None) -> PodUse:
    """`files` None: nothing is known of the disk."""
    usage = pod_usage(sample)
    uid = sample.source.uid
    containers = {}
    for container in sample.containers:
        layer = logs = None
        if files is not None:
            layer = files.layers.get(container.source.id)
            logs = files.logs.get((uid, container.source.name))
        containers[container.source.name] = ContainerUse(
            memory=container.usage.memory.working_set if container.usage.memory is not None else 0,
            layer=Disk(layer.used, layer.inodes_used) if layer is not None else NOTHING,
            logs=Disk(logs.used, logs.inodes_used) if logs is not None else NOTHING,
        )
    volumes = {}
    in_memory = {volume["name"] for volume in pod["spec"].get("volumes") or () if is_in_memory(volume)}
    for volume in sample.source.volumes if files is not None else ():
        found = files.volumes.get((uid, volume.name)) if files is not None else None
        if found is not None and not volume.claim and volume.name not in in_memory:
            volumes[volume.name] = Disk(found.used, found.inodes_used)
    return PodUse(
        memory=usage.memory.working_set if usage.memory is not None else 0,
        processes=usage.processes or 0,
        containers=containers,
        volumes=volumes,
    )
