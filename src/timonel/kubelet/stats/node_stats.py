"""All pages of figures of one node: takes what the kubelet knows to run, has it read, and has it told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from timonel.api.clock import Clock, parse_time
from timonel.api.objects import Object, get_path, name_of, namespace_of, uid_of
from timonel.kubelet.cgroups.manager import Cgroups
from timonel.kubelet.containers.resources import container_limit, container_request, cpu_quota, cpu_shares
from timonel.kubelet.cri.runtime import Runtime
from timonel.kubelet.node.machine import Machine
from timonel.kubelet.pods.reader import ViewReader
from timonel.kubelet.pods.spec import find_container, is_host_network
from timonel.kubelet.pods.view import RUNNING, ContainerView, PodView
from timonel.kubelet.pods.workers import PodWorkers
from timonel.kubelet.stats.cadvisor_metrics import render_cadvisor_metrics
from timonel.kubelet.stats.cgroup_usage import CgroupFiles
from timonel.kubelet.stats.filesystems import Filesystems
from timonel.kubelet.stats.host_usage import HostFiles
from timonel.kubelet.stats.resource_metrics import render_resource_metrics
from timonel.kubelet.stats.sampler import Sampler
from timonel.kubelet.stats.samples import ContainerSource, PodSource, VolumeSource
from timonel.kubelet.stats.summary import render_summary
from timonel.kubelet.stats.volume_metrics import render_volume_metrics
from timonel.kubelet.volumes.layout import source_of
from timonel.kubelet.volumes.manager import Volumes


class NodeStats:
    """Reads only when asked; see `Sampler` and `Filesystems` for what that costs."""

    def __init__(
        self,
        *,
        node_name: str,
        workers: PodWorkers,
        reader: ViewReader,
        volumes: Volumes,
        cgroups: Cgroups,
        cgroup_mount: str,
        cgroup_root: str,
        root_dir: str,
        pod_logs_dir: str,
        runtime: Runtime,
        machine: Machine,
        clock: Clock,
    ) -> None:
        files = self.files = CgroupFiles(mount=cgroup_mount, unified=cgroups.unified)
        self._workers = workers
        self._reader = reader
        self._volumes = volumes
        self._cgroups = cgroups
        self._logs = pod_logs_dir
        self._machine = machine
        self._filesystems = Filesystems(root_dir=root_dir, runtime=runtime, clock=clock)
        self.host = HostFiles(cgroups=files)
        self.sampler = self._sampler = Sampler(
            node_name=node_name,
            pods=self.sources,
            cgroups=files,
            host=self.host,
            runtime=runtime,
            clock=clock,
            root=cgroup_root,
        )

    async def summary(self, *, only_cpu_and_memory: bool = False) -> Object:
        now, earlier = await self._sampler.sample_with_base(details=not only_cpu_and_memory)
        if only_cpu_and_memory:
            return render_summary(now, earlier, None)
        return render_summary(now, earlier, await self._filesystems.sample(pod.source for pod in now.pods))

    async def resource_metrics(self) -> str:
        return render_resource_metrics(await self._sampler.sample())

    async def cadvisor_metrics(self) -> str:
        sample = await self._sampler.sample(details=True)
        files = await self._filesystems.sample(pod.source for pod in sample.pods)
        return render_cadvisor_metrics(sample, files, self._machine, block_devices())

    async def volume_metrics(self) -> str:
        """Of PersistentVolumeClaims in use; "" without any."""
        claimed = [source for source in self.sources() if any(volume.claim for volume in source.volumes)]
        if not claimed:
            return ""
        return render_volume_metrics(claimed, await self._filesystems.sample(claimed, layers=False))

    def sources(self) -> Iterator[PodSource]:
        """The pods with something that runs."""
        for worker in self._workers:
            view = self._reader.known(worker.uid)
            if view.sandbox is None or not view.sandbox.ready or worker.orphan:
                continue
            volumes = []
            for volume in worker.pod["spec"].get("volumes") or ():
                place = None if source_of(volume) == "hostPath" else self._volumes.place(worker.uid, volume)
                if place is not None:
                    volumes.append(VolumeSource(volume["name"], place, claim_of(worker.pod, volume)))
            yield pod_source(worker.pod, view, self._cgroups.runtime_path(worker.pod), self._logs, volumes)


def pod_source(
    pod: Object, view: PodView, cgroup: str, logs_dir: str, volumes: Iterable[VolumeSource] = ()
) -> PodSource:
    """What is to be read of a pod with a sandbox."""
    started = get_path(pod, "status", "startTime")
    return PodSource(
        namespace=namespace_of(pod),
        name=name_of(pod),
        uid=uid_of(pod),
        cgroup=cgroup,
        started_at=parse_time(started).timestamp() if started else view.sandboxes[0].created_at / 1e9,
        host_network=is_host_network(pod),
        sandbox_id=view.sandboxes[0].id,
        containers=tuple(_container(pod, each) for each in view.containers if each.state == RUNNING),
        volumes=tuple(volumes),
        logs=f"{logs_dir}/{namespace_of(pod)}_{name_of(pod)}_{uid_of(pod)}",
    )


def claim_of(pod: Object, volume: Object) -> str:
    """Name of the PersistentVolumeClaim behind a pod's volume; that of an ephemeral one is made of both names."""
    if volume.get("ephemeral") is not None:
        return f"{name_of(pod)}-{volume['name']}"
    claim: str = get_path(volume, "persistentVolumeClaim", "claimName", default="")
    return claim


def _container(pod: Object, view: ContainerView) -> ContainerSource:
    found = find_container(pod, view.name)
    spec = found[1] if found is not None else {}
    return ContainerSource(
        id=view.id,
        name=view.name,
        started_at=view.started_at / 1e9,
        image=spec.get("image") or view.image,
        cpu_shares=cpu_shares(container_request(spec, "cpu")),
        cpu_quota=cpu_quota(container_limit(spec, "cpu") or 0),
        memory_limit=container_limit(spec, "memory") or 0,
    )


def block_devices(sys: str = "/sys") -> dict[str, str]:
    """Names by numbers: {"8:0": "/dev/sda"}."""
    found = {}
    try:
        for entry in Path(sys, "dev/block").iterdir():
            found[entry.name] = f"/dev/{entry.resolve().name}"
    except OSError:
        return found
    return found
