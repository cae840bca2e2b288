"""One look at the whole node, as plain values; times in seconds since 1970, sizes in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from timonel.kubelet.stats.cgroup_usage import CgroupUsage
from timonel.kubelet.stats.host_usage import InterfaceUsage


@dataclass(frozen=True, slots=True)
class ContainerSource:
    """A container that runs, as the kubelet knows it, before anything of it is read."""

    id: str
    name: str
    started_at: float
    image: str = ""
    cpu_shares: int = 0
    cpu_quota: int = 0
    """Microseconds per period; 0: no limit."""
    memory_limit: int = 0
    """0: none."""


@dataclass(frozen=True, slots=True)
class VolumeSource:
    name: str
    path: str
    claim: str = ""
    """Of the PersistentVolumeClaim, in the pod's namespace; "" for volumes of other kinds."""


@dataclass(frozen=True, slots=True)
class PodSource:
    namespace: str
    name: str
    uid: str
    cgroup: str
    """As the runtime has it, "/timonel/node/kubepods/besteffort/pod<uid>"; containers' are below it, by their id."""
    started_at: float
    host_network: bool
    sandbox_id: str
    containers: tuple[ContainerSource, ...]
    volumes: tuple[VolumeSource, ...] = ()
    logs: str = ""
    """The folder of the pod's logs; a container's are in one by its name."""


@dataclass(frozen=True, slots=True)
class ContainerSample:
    source: ContainerSource
    usage: CgroupUsage
    time: float


@dataclass(frozen=True, slots=True)
class PodSample:
    source: PodSource
    usage: CgroupUsage
    containers: tuple[ContainerSample, ...]
    time: float
    interfaces: tuple[InterfaceUsage, ...] = ()
    """None for pods in the node's own network."""


@dataclass(frozen=True, slots=True)
class NodeSample:
    name: str
    time: float
    usage: CgroupUsage
    pods: tuple[PodSample, ...] = ()
    booted_at: float = 0.0
    cores: int = 1
    memory_total: int = 0
    swap_total: int = 0
    swap_free: int = 0
    interfaces: tuple[InterfaceUsage, ...] = ()
    processes: int = 0
    max_processes: int = 0
    system: Mapping[str, CgroupUsage] = field(default_factory=dict)
    """Of what is no pod, by upstream's names for them: "pods", all pods together, and "kubelet", this process."""
    failed: bool = False
    """Whether something could not be read that should have been."""
