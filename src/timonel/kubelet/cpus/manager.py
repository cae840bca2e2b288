"""Who has which CPUs on this node, and that the containers which run keep to it.

Containers without CPUs of their own share what is left; whenever that changes, those that run are told. Nothing is
kept on disk: after a restart the kernel tells what containers have.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable

from timonel.api.clock import Clock
from timonel.api.objects import Object, uid_of
from timonel.kubelet.cpus.packing import NotEnoughCpus, plan_cpus, take, whole_cpus
from timonel.kubelet.cpus.topology import CpuSet, Topology, format_cpus, parse_cpus
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure
from timonel.kubelet.pods.spec import container_status, containers_of
from timonel.kubelet.waiting import wait_event

log = logging.getLogger(__name__)

_RETRY_SECONDS = 10.0


def reserved_cpus(topology: Topology, named: CpuSet, milli: int) -> CpuSet:
    """CPUs that no container gets for itself: those named, or as many as the reservation rounds up to."""
    return named or take(topology, frozenset(topology), min(len(topology), math.ceil(milli / 1000)))


class Cpus:
    """`topology` {}: nobody gets CPUs of its own, and containers may run on all of them (policy `none`).

    `running` tells (pod uid, container name, container id); `cpus_now(pod, container id)` what the kernel says.
    """

    def __init__(
        self,
        *,
        topology: Topology,
        reserved: CpuSet,
        runtime: Runtime,
        clock: Clock,
        running: Callable[[], Iterable[tuple[str, str, str]]],
        cpus_now: Callable[[Object, str], str | None],
    ) -> None:
        self._topology = topology
        self._reserved = reserved
        self._runtime = runtime
        self._clock = clock
        self._running = running
        self._cpus_now = cpus_now
        self._own: dict[str, dict[str, CpuSet]] = {}
        """Pod uid -> container -> CPUs."""
        self._told: dict[str, str] = {}
        """Container id -> CPUs that it was made with, or told last."""
        self._wake = asyncio.Event()

    @property
    def shared(self) -> CpuSet:
        """What containers without CPUs of their own may run on."""
        return frozenset(self._topology) - self._given()

    def _given(self) -> CpuSet:
        return frozenset(cpu for pod in self._own.values() for cpus in pod.values() for cpu in cpus)

    def admit(self, pod: Object) -> str:
        """Gives a new pod its CPUs; "" when it has them, else why not. May be called again and again."""
        uid = uid_of(pod)
        if not self._topology or uid in self._own:
            return ""
        try:
            planned = plan_cpus(pod, self._topology, self.shared - self._reserved)
        except NotEnoughCpus as exc:
            return str(exc)
        if planned:
            self._own[uid] = planned
            self._wake.set()
            log.info("cpus given pod_uid=%s cpus=%s", uid, {name: format_cpus(cpus) for name, cpus in planned.items()})
        return ""

    def keep(self, pod: Object) -> None:
        """Of a pod that ran already when the kubelet came."""
        found = {}
        for _, container in containers_of(pod):
            known = container_status(pod.get("status") or {}, container["name"]) or {}
            count = whole_cpus(pod, container)
            if not self._topology or not count or not known.get("containerID"):
                continue
            try:
                cpus = parse_cpus(self._cpus_now(pod, str(known["containerID"]).rpartition("/")[2]) or "")
            except ValueError:
                continue
            if len(cpus) == count and cpus <= self.shared - self._reserved:
                found[container["name"]] = cpus
        if found:
            self._own[uid_of(pod)] = found
            self._wake.set()

    def release(self, uid: str) -> None:
        if self._own.pop(uid, None) is not None:
            self._wake.set()

    def of(self, uid: str, container: str) -> str:
        """As the runtime wants it; "": all there are."""
        if not self._topology:
            return ""
        return format_cpus(self._own.get(uid, {}).get(container) or self.shared)

    def made(self, container_id: str, cpus: str) -> None:
        """A container begins with these."""
        if self._topology:
            self._told[container_id] = cpus
            self._wake.set()  # others may have been given CPUs meanwhile

    async def run(self) -> None:
        """Until cancelled; at once over where there is nothing to do."""
        if not self._topology:
            return
        while True:
            self._wake.clear()
            done = await self._tell()
            await wait_event(self._wake, None if done else _RETRY_SECONDS, self._clock)

    async def _tell(self) -> bool:
        """Has every container run on what it may; False: to be tried again."""
        done = True
        running = list(self._running())
        self._told = {cid: cpus for cid, cpus in self._told.items() if any(cid == each for *_, each in running)}
        # Who gets fewer CPUs goes first: what is somebody's own is free of others before he starts.
        for uid, name, container_id in sorted(running, key=lambda each: each[0] in self._own):
            wanted = self.of(uid, name)
            if self._told.get(container_id) == wanted:
                continue
            try:
                resources = cri.LinuxContainerResources(cpuset_cpus=wanted)
                await self._runtime.update_container_resources(container_id, resources)
                self._told[container_id] = wanted
            except RuntimeFailure as exc:
                log.info("cpus not changed container_id=%s error=%s", container_id, exc)
                done = False
        return done
