"""Looks at the node when somebody asks for figures, once for all who ask at the same time.

Nothing is read while nobody asks. A look at a hundred pods is some thousand small files of the kernel, 30 ms in a
thread. Containers whose cgroup is not where runtimes with the cgroupfs driver put it are asked of the runtime.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import replace

from timonel.api.clock import Clock
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure
from timonel.kubelet.stats.cgroup_usage import CgroupFiles, CgroupUsage, CpuUsage, MemoryUsage
from timonel.kubelet.stats.host_usage import HostFiles
from timonel.kubelet.stats.samples import ContainerSample, NodeSample, PodSample, PodSource

log = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
"""Who asks within this time gets the same figures: rates over less would say little."""
_RATE_SECONDS = 10.0
"""What rates are made over, at least, when somebody asks often."""
_STALE_SECONDS = 300.0
_FIRST_RATE_SECONDS = 0.5


class Sampler:
    """`pods` tells what runs now. `root` is the cgroup above all pods, "/timonel/node"."""

    def __init__(
        self,
        *,
        node_name: str,
        pods: Callable[[], Iterable[PodSource]],
        cgroups: CgroupFiles,
        host: HostFiles,
        runtime: Runtime,
        clock: Clock,
        root: str = "/",
    ) -> None:
        self._node_name = node_name
        self._pods = pods
        self._cgroups = cgroups
        self._host = host
        self._runtime = runtime
        self._clock = clock
        self._root = root.rstrip("/")
        self._last: dict[bool, NodeSample] = {}
        self._taken: dict[bool, float] = {}
        self._taking: dict[bool, asyncio.Task[NodeSample]] = {}
        self._earlier: list[NodeSample] = []
        """One or two looks to make rates from, the older first."""

    async def sample(self, *, details: bool = False) -> NodeSample:
        """The node now, or a moment ago. `details`: with what /metrics/resource does not show."""
        taken = self._taken.get(details)
        if taken is not None and self._clock.monotonic() - taken < FRESH_SECONDS:
            return self._last[details]
        task = self._taking.get(details)
        if task is None:
            task = self._taking[details] = asyncio.create_task(self._take(details), name="node stats")
            task.add_done_callback(lambda _: self._taking.pop(details, None))
        return await asyncio.shield(task)

    async def sample_with_base(self, *, details: bool = False) -> tuple[NodeSample, NodeSample]:
        """The node now and some time before, for rates. Who asks first waits half a second for the second look."""
        now = await self.sample(details=details)
        self._earlier = [each for each in self._earlier if now.time - each.time <= _STALE_SECONDS]
        if not any(each.time < now.time for each in self._earlier):
            self._earlier = [now]
            await self._clock.sleep(_FIRST_RATE_SECONDS)
            now = await self._take(details)
        newest = self._earlier[-1]
        if now.time - newest.time < _RATE_SECONDS:
            return now, self._earlier[0]
        self._earlier = [newest, now]
        return now, newest

    async def _take(self, details: bool) -> NodeSample:
        sources = list(self._pods())
        sample, unknown = await asyncio.to_thread(self._read, sources, details)
        if unknown:
            sample = await self._ask_runtime(sample)
        self._last = {details: sample}  # one kept: with many pods it is a megabyte
        self._taken = {details: self._clock.monotonic()}
        return sample

    def _read(self, sources: list[PodSource], details: bool) -> tuple[NodeSample, bool]:
        """And whether there are containers without a cgroup. In a thread."""
        usage = self._host.read(details=details)
        now = self._now()
        info = self._host.memory_info()
        processes, most = self._host.processes()
        pods = tuple(self._read_pod(source, details) for source in sources)
        unknown = any(c.usage.cpu is None and c.usage.memory is None for pod in pods for c in pod.containers)
        node = NodeSample(
            name=self._node_name,
            time=now,
            usage=usage,
            pods=pods,
            booted_at=self._host.boot_time(),
            cores=os.cpu_count() or 1,
            memory_total=info.get("MemTotal", 0),
            swap_total=info.get("SwapTotal", 0),
            swap_free=info.get("SwapFree", 0),
            interfaces=self._host.interfaces(),
            processes=processes,
            max_processes=most,
            system={"pods": self._cgroups.read(f"{self._root}/kubepods"), "kubelet": _own_usage()},
            failed=usage.cpu is None or usage.memory is None,
        )
        return node, unknown

    def _read_pod(self, source: PodSource, details: bool) -> PodSample:
        usage = self._cgroups.read(source.cgroup, details=details)
        now = self._now()
        containers = tuple(
            ContainerSample(container, self._cgroups.read(f"{source.cgroup}/{container.id}", details=details), now)
            for container in source.containers
        )
        process = None
        if not source.host_network:
            for owner in (source.sandbox_id, *(container.id for container in source.containers)):
                process = self._cgroups.first_process(f"{source.cgroup}/{owner}") if owner else None
                if process is not None:
                    break
        return PodSample(source, usage, containers, now, self._host.interfaces(process) if process else ())

    def _now(self) -> float:
        return self._clock.now().timestamp()

    async def _ask_runtime(self, sample: NodeSample) -> NodeSample:
        try:
            stats = {each.attributes.id: each for each in await self._runtime.list_container_stats()}
        except RuntimeFailure as exc:
            log.warning("stats of containers could not be asked error=%s", exc)
            return replace(sample, failed=True)
        pods = []
        for pod in sample.pods:
            containers = tuple(
                replace(each, usage=usage_of_stats(stats[each.source.id]))
                if each.usage.cpu is None and each.usage.memory is None and each.source.id in stats
                else each
                for each in pod.containers
            )
            pods.append(replace(pod, containers=containers))
        return replace(sample, pods=tuple(pods))


def usage_of_stats(stats: cri.ContainerStats) -> CgroupUsage:
    """Of a runtime's own account. Runtimes before CRI's newer fields tell the working set and nothing else."""
    cpu = CpuUsage(stats.cpu.usage_core_nano_seconds.value) if stats.HasField("cpu") else None
    memory = None
    if stats.HasField("memory"):
        told = stats.memory
        working_set = told.working_set_bytes.value
        memory = MemoryUsage(
            usage=told.usage_bytes.value or working_set,
            working_set=working_set,
            rss=told.rss_bytes.value,
            cache=0,
            page_faults=told.page_faults.value,
            major_page_faults=told.major_page_faults.value,
        )
    return CgroupUsage(cpu, memory)


def pod_usage(pod: PodSample) -> CgroupUsage:
    """Of the pod's cgroup; where it has none, the sum of its containers."""
    usage = pod.usage
    if usage.cpu is not None and usage.memory is not None:
        return usage
    cpus = [each.usage.cpu for each in pod.containers if each.usage.cpu is not None]
    memories = [each.usage.memory for each in pod.containers if each.usage.memory is not None]
    cpu, memory = usage.cpu, usage.memory
    if cpu is None and cpus:
        cpu = CpuUsage(sum(each.total_nanos for each in cpus))
    if memory is None and memories:
        memory = MemoryUsage(
            usage=sum(each.usage for each in memories),
            working_set=sum(each.working_set for each in memories),
            rss=sum(each.rss for each in memories),
            cache=sum(each.cache for each in memories),
            swap=sum(each.swap for each in memories),
            page_faults=sum(each.page_faults for each in memories),
            major_page_faults=sum(each.major_page_faults for each in memories),
        )
    return replace(usage, cpu=cpu, memory=memory)


def _own_usage() -> CgroupUsage:
    """Of the agent's process, which has no cgroup to itself."""
    times = os.times()
    user, system = int(times.user * 1e9), int(times.system * 1e9)
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return CgroupUsage(CpuUsage(user + system, user, system))
    memory = MemoryUsage(usage=resident, working_set=resident, rss=resident, cache=0)
    return CgroupUsage(CpuUsage(user + system, user, system), memory)
