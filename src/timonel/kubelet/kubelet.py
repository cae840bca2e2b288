"""Puts the kubelet of one node together and runs it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator

from timonel.api.clock import Clock
from timonel.api.objects import Object, uid_of
from timonel.api.refs import NODES, PODS, SERVICES
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.kubelet.cgroups.limits import TOP
from timonel.kubelet.cgroups.manager import Cgroups
from timonel.kubelet.config import KubeletConfig
from timonel.kubelet.containers.names import Resolver, parse_resolv_conf
from timonel.kubelet.containers.resources import cpu_shares
from timonel.kubelet.cpus.manager import Cpus, reserved_cpus
from timonel.kubelet.cpus.topology import read_topology
from timonel.kubelet.cri.lost_shims import LostShims
from timonel.kubelet.cri.runtime import Runtime, RuntimeEvents, RuntimeFailure
from timonel.kubelet.cri.snapshots import ContainerdSnapshots, Snapshots
from timonel.kubelet.csi.drivers import CsiDrivers
from timonel.kubelet.csi.mounter import CsiMounter
from timonel.kubelet.devices.manager import Devices
from timonel.kubelet.eviction.figures import NodeFigures
from timonel.kubelet.eviction.manager import Eviction, EvictionManager, Figures
from timonel.kubelet.images.garbage import ImageGarbage
from timonel.kubelet.images.puller import ImagePuller
from timonel.kubelet.images.reference import full_name
from timonel.kubelet.images.volumes import ImageVolumes
from timonel.kubelet.log_rotation import LogRotation
from timonel.kubelet.metrics import KubeletMetrics, ProbeMetrics
from timonel.kubelet.node.machine import allocatable, read_machine
from timonel.kubelet.node.reporter import NodeReporter
from timonel.kubelet.objects import ReferencedObjects
from timonel.kubelet.pods.admission import PodAdmission
from timonel.kubelet.pods.allocation import Allocations
from timonel.kubelet.pods.backoff import BackOff
from timonel.kubelet.pods.host_ports import HostPorts
from timonel.kubelet.pods.lifecycle import Hooks
from timonel.kubelet.pods.reader import ViewReader
from timonel.kubelet.pods.services import Admission, PodServices, admit_all
from timonel.kubelet.pods.sources import PodSources
from timonel.kubelet.pods.spec import field_path, images_of
from timonel.kubelet.pods.statuses import Statuses
from timonel.kubelet.pods.view import RUNNING
from timonel.kubelet.pods.worker import Stage
from timonel.kubelet.pods.workers import PodWorkers
from timonel.kubelet.probes.actions import Actions
from timonel.kubelet.probes.manager import Probes
from timonel.kubelet.stats.node_stats import NodeStats
from timonel.kubelet.volumes.local import LocalVolumes
from timonel.kubelet.volumes.manager import Volumes
from timonel.kubelet.volumes.tokens import TokenSource

log = logging.getLogger(__name__)


class Kubelet:
    """`runtime` and `events` are `GrpcRuntime` and an event stream of the same socket, or the fake for both.

    `informers` and `recorder` are run by the caller, who shares them with the network part of the agent.
    """

    def __init__(
        self,
        *,
        config: KubeletConfig,
        client: ApiClient,
        informers: Informers,
        runtime: Runtime,
        events: RuntimeEvents,
        recorder: EventRecorder,
        clock: Clock,
        cgroups: Cgroups | None = None,
        metrics: KubeletMetrics | None = None,
        snapshots: Snapshots | None = None,
        figures: Figures | None = None,
        admit: Admission = admit_all,
    ) -> None:
        os.makedirs(config.root_dir, mode=0o750, exist_ok=True)
        os.makedirs(config.pod_logs_dir, mode=0o755, exist_ok=True)
        self._config = config
        self._client = client
        self._runtime = runtime
        self._clock = clock
        machine = read_machine(config.root_dir)
        self._allocatable = allocatable(
            machine, config.max_pods, config.reserved_cpu_milli, config.reserved_memory_bytes
        )
        self._cgroups = cgroups or Cgroups(
            root=config.cgroup_root, mount=config.cgroup_mount, max_pids=max(0, config.pod_pids_limit)
        )
        self._shares = cpu_shares(machine.cores * 1000 - config.reserved_cpu_milli)
        self._pods = informers.of(PODS, field_selector=f"spec.nodeName={config.node_name}")
        self._services = informers.of(SERVICES)
        self._own_node = informers.of(NODES, field_selector=f"metadata.name={config.node_name}")
        self._objects = ReferencedObjects(client=client, clock=clock)
        self._reader = ViewReader(runtime=runtime)
        self.metrics = metrics or KubeletMetrics(node_name=config.node_name)
        self.probe_metrics = ProbeMetrics()
        self._statuses = Statuses(client=client, clock=clock, on_running=self.metrics.started)
        self.node = NodeReporter(
            config=config, client=client, runtime=runtime, recorder=recorder, machine=machine, clock=clock
        )
        actions = Actions(runtime=runtime)
        self._probes = Probes(
            actions=actions,
            clock=clock,
            tell=lambda pod, kind, container, event, reason, message: recorder.event(
                pod, event, reason, message, field_path=field_path(kind, container["name"])
            ),
            on_change=lambda uid: self._workers.notify(uid),
            observer=self.probe_metrics,
        )
        self._csi_drivers = CsiDrivers(
            client=client, clock=clock, node_name=config.node_name, folder=f"{config.root_dir}/plugins_registry"
        )
        csi = CsiMounter(
            client=client, drivers=self._csi_drivers, clock=clock, node_name=config.node_name, root=config.root_dir
        )
        self.node.volumes_in_use = csi.in_use
        image_volumes = ImageVolumes(
            runtime=runtime, snapshots=snapshots or ContainerdSnapshots(endpoint=config.runtime_endpoint)
        )
        self._volumes = Volumes(
            root_dir=config.root_dir,
            volumes_dir=config.volumes_dir,
            client=client,
            objects=self._objects,
            tokens=TokenSource(client=client, clock=clock),
            clock=clock,
            allocatable=self._allocatable,
            csi=csi,
            images=image_volumes,
        )
        self._local_volumes = LocalVolumes(
            client=client,
            informers=informers,
            clock=clock,
            node_name=config.node_name,
            pods_dir=f"{config.root_dir}/pods",
            volumes_dir=config.volumes_dir,
        )
        allocations = Allocations(
            capacity=self._allocatable,
            clock=clock,
            tell=recorder.event,
            wake=lambda uid: self._workers.notify(uid),
        )
        topology = read_topology() if config.cpu_policy == "static" else {}
        self._cpus = Cpus(
            topology=topology,
            reserved=reserved_cpus(topology, config.reserved_cpus, config.reserved_cpu_milli),
            runtime=runtime,
            clock=clock,
            running=self._running_containers,
            cpus_now=self._cgroups.cpus,
        )
        self._devices = Devices(
            folder=f"{config.root_dir}/device-plugins", runtime=runtime, clock=clock, changed=self.node.poke
        )
        self.node.devices = self._devices.resources
        host_ports = HostPorts()
        services = PodServices(
            config=config,
            client=client,
            clock=clock,
            runtime=runtime,
            reader=self._reader,
            statuses=self._statuses,
            probes=self._probes,
            hooks=Hooks(actions=actions, clock=clock),
            volumes=self._volumes,
            objects=self._objects,
            image_volumes=image_volumes,
            puller=ImagePuller(runtime=runtime, clock=clock, max_parallel=config.max_parallel_pulls),
            cgroups=self._cgroups,
            back_off=BackOff(
                initial=min(10.0, config.restart_back_off_seconds), maximum=config.restart_back_off_seconds
            ),
            recorder=recorder,
            services=self._services.lister.list,
            host_resolver=self._host_resolver,
            network_error=lambda: self.node.network_error,
            runtime_name=lambda: self.node.runtime_name,
            memory_capacity=machine.memory_bytes,
            allocations=allocations,
            cpus=self._cpus,
            devices=self._devices,
            host_ports=host_ports,
            admission=PodAdmission(
                allowed_unsafe_sysctls=config.allowed_unsafe_sysctls,
                host_ports=host_ports,
                allocations=allocations,
                cpus=self._cpus,
                devices=self._devices,
                node=lambda: self._own_node.lister.get("", config.node_name),
                pressure=lambda: self.eviction.conditions,
                preempt=lambda pod, missing: self.eviction.preempt(pod, missing),
            ),
            admit=admit,
        )
        self._workers = PodWorkers(services=services, events=events, on_connected=self.node.poke)
        self.metrics.follow(lambda: [(worker.pod, self._reader.known(worker.uid)) for worker in self._workers])
        self.stats = NodeStats(
            node_name=config.node_name,
            workers=self._workers,
            reader=self._reader,
            volumes=self._volumes,
            cgroups=self._cgroups,
            cgroup_mount=config.cgroup_mount,
            cgroup_root=config.cgroup_root,
            root_dir=config.root_dir,
            pod_logs_dir=config.pod_logs_dir,
            runtime=runtime,
            machine=machine,
            clock=clock,
        )
        self._rotation = LogRotation(
            runtime=runtime,
            clock=clock,
            running=self._running_logs,
            max_bytes=config.log_max_bytes,
            max_files=config.log_max_files,
            check_seconds=config.log_check_seconds,
        )

        self._lost_shims = LostShims(runtime=runtime, endpoint=config.runtime_endpoint, clock=clock)
        self._recorder = recorder
        figures = figures or self._figures(machine.memory_bytes - config.reserved_memory_bytes, clock)
        self._image_garbage = ImageGarbage(
            runtime=runtime,
            clock=clock,
            policy=config.image_policy,
            in_use=self._images_in_use,
            disk=figures.image_disk,
            tell_node=self.node.tell,
        )
        self.eviction = EvictionManager(
            config=config.eviction,
            figures=figures,
            clock=clock,
            pods=lambda: self._pods_at(Stage.RUNNING),
            leaving=lambda: self._pods_at(Stage.ENDING),
            evict=self._evict,
            ended=self._has_ended,
            tell_node=self.node.tell,
            reclaim_containers=self._workers.remove_ended,
            reclaim_images=self._image_garbage.remove_unused,
            changed=self.node.poke,
        )
        self.node.pressure = lambda: self.eviction.conditions

        self._sources = PodSources(
            config=config,
            client=client,
            clock=clock,
            pods=self._pods,
            services=self._services,
            workers=self._workers,
            statuses=self._statuses,
            node=lambda: self._own_node.lister.get("", config.node_name),
        )

    def _pods_at(self, stage: Stage) -> list[Object]:
        return [worker.pod for worker in self._workers if worker.stage is stage]

    def _images_in_use(self) -> set[str]:
        used = set(self._config.kept_images)
        for pod in self._pods_at(Stage.RUNNING):
            used |= {full_name(image) for image in images_of(pod)}
        return used

    def _figures(self, memory_for_pods: int, clock: Clock) -> Figures:
        return NodeFigures(
            cgroups=self.stats.files,
            host=self.stats.host,
            sampler=self.stats.sampler,
            runtime=self._runtime,
            clock=clock,
            root_dir=self._config.root_dir,
            cgroup=f"{self._config.cgroup_root}/{TOP}",
            memory_for_pods=memory_for_pods,
        )

    def _evict(self, pod: Object, eviction: Eviction) -> None:
        worker = self._workers.get(uid_of(pod))
        if worker is not None:
            self._recorder.event(pod, "Warning", eviction.reason, eviction.message, annotations=eviction.annotations)
            worker.fail(eviction.reason, eviction.message, grace=eviction.grace_seconds, disruption=eviction.disruption)

    def _has_ended(self, uid: str) -> bool:
        worker = self._workers.get(uid)
        return worker is None or worker.stage in (Stage.ENDED, Stage.GONE)

    @property
    def workers(self) -> PodWorkers:
        return self._workers

    @property
    def reader(self) -> ViewReader:
        return self._reader

    @property
    def statuses(self) -> Statuses:
        return self._statuses

    def _host_resolver(self) -> Resolver:
        try:
            with open(self._config.resolv_conf, encoding="utf-8") as file:
                return parse_resolv_conf(file.read())
        except OSError:
            return Resolver()

    def _running_containers(self) -> Iterator[tuple[str, str, str]]:
        for worker in self._workers:
            for container in self._reader.known(worker.uid).containers:
                if container.state == RUNNING:
                    yield worker.uid, container.name, container.id

    def _running_logs(self) -> Iterator[tuple[str, str]]:
        for worker in self._workers:
            for container in self._reader.known(worker.uid).containers:
                if container.state == RUNNING:
                    yield container.id, container.log_path

    async def wait_ready(self) -> None:
        """Until the API knows this node as Ready."""
        await self.node.wait_ready()

    async def run(self) -> None:
        self._own_node.add_handler(
            on_add=self.node.observe,
            on_update=lambda _, node: self.node.observe(node),
            on_delete=lambda _: self.node.observe(None),
        )
        try:
            # What pods start (watches, writes, probes) lives in here as well: if one is lost, so is the kubelet.
            async with asyncio.TaskGroup() as group:
                group.create_task(self.node.run(), name="node")
                group.create_task(self._objects.run(), name="objects of pods")
                group.create_task(self._statuses.run(), name="statuses")
                group.create_task(self._probes.run(), name="probes")
                group.create_task(self._volumes.run(), name="volumes")
                group.create_task(self._local_volumes.run(), name="local volumes")
                group.create_task(self._csi_drivers.run(), name="csi drivers")
                group.create_task(self._rotation.run(), name="log rotation")
                group.create_task(self.eviction.run(), name="eviction")
                group.create_task(self._image_garbage.run(), name="image garbage")
                group.create_task(self._cpus.run(), name="cpus")
                group.create_task(self._devices.run(), name="devices")
                group.create_task(self._lost_shims.run(), name="lost shims")
                await self._work_on_pods(group)
        finally:
            await self._probes.close()
            await self._statuses.close()
            await self._objects.close()

    async def _work_on_pods(self, group: asyncio.TaskGroup) -> None:
        """Pods are touched only once the runtime can tell what runs; static ones before the API has told of others."""
        self._cgroups.ensure_tree(self._shares)
        await self.node.wait_looked()
        await self._recover_devices()
        await self._sources.look()
        group.create_task(self._sources.run(), name="sources of pods")
        await self._workers.run()

    async def _recover_devices(self) -> None:
        """No pod is admitted before it is known what those that run have."""
        while True:
            try:
                await self._devices.recover()
                return
            except RuntimeFailure as exc:
                log.info("containers' devices not read error=%s", exc)
                await self._clock.sleep(1.0)
