"""The controllers of one process: one set of shared informers, one table of rows, one leader.

Started and wired by `timonel.cluster`, which may host further components, such as the scheduler, on the same informers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from timonel.api.clock import Clock
from timonel.api.refs import PODS
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.leader import LeaderConfig, LeaderElector
from timonel.client.protocol import ApiClient
from timonel.controllers.clusterrole_aggregation import ClusterRoleAggregationController
from timonel.controllers.cronjob import CronJobController
from timonel.controllers.daemonset import DaemonSetController
from timonel.controllers.deployment import DeploymentController
from timonel.controllers.disruption import DisruptionController
from timonel.controllers.endpoints import EndpointsController, EndpointSliceController
from timonel.controllers.garbage import GarbageCollector
from timonel.controllers.job import JobController
from timonel.controllers.namespaces import (
    NamespaceController,
    RootCaPublisher,
    ServiceAccountController,
    TokenCleaner,
)
from timonel.controllers.nodes import (
    NodeIpamConfig,
    NodeIpamController,
    NodeLifecycleConfig,
    NodeLifecycleController,
    TaintEvictionController,
)
from timonel.controllers.pod_gc import PodGcConfig, PodGcController
from timonel.controllers.replicaset import ReplicaSetController, ReplicationControllerController
from timonel.controllers.resourcequota import ResourceQuotaController
from timonel.controllers.servicecidrs import ServiceCidrController
from timonel.controllers.slim import slim_pod
from timonel.controllers.statefulset import StatefulSetController
from timonel.controllers.storage_protection import AttributesClassProtection, ClaimProtection, VolumeProtection
from timonel.controllers.ttl_after_finished import TtlAfterFinishedController

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ManagerConfig:
    root_ca: str = ""
    """PEM text published in every namespace as kube-root-ca.crt; "" publishes none."""
    identity: str = field(default_factory=socket.gethostname)
    """Of this process among the managers; the same after a restart, so that it leads again at once."""
    leader_election: bool = True
    lease_name: str = "timonel-manager"
    lease_namespace: str = "kube-system"
    node_lifecycle: NodeLifecycleConfig = field(default_factory=NodeLifecycleConfig)
    node_ipam: NodeIpamConfig = field(default_factory=NodeIpamConfig)
    pod_gc: PodGcConfig = field(default_factory=PodGcConfig)
    without: frozenset[str] = frozenset()
    """Names of controllers not to run."""


class Component(Protocol):
    async def run(self) -> None: ...


class Surroundings:
    """What a controller is made from. Recorders are made when first asked for and run with the rest."""

    def __init__(self, client: ApiClient, informers: Informers, clock: Clock, config: ManagerConfig) -> None:
        self.client = client
        self.informers = informers
        self.clock = clock
        self.config = config
        self.recorders: dict[str, EventRecorder] = {}

    def recorder(self, component: str) -> EventRecorder:
        if component not in self.recorders:
            self.recorders[component] = EventRecorder(self.client, component=component, clock=self.clock)
        return self.recorders[component]


Factory = Callable[[Surroundings], Component]


def _row(cls: Callable[..., Component], component: str = "") -> Factory:
    def make(around: Surroundings) -> Component:
        recorder = around.recorder(component) if component else None
        return cls(client=around.client, informers=around.informers, clock=around.clock, recorder=recorder)

    return make


def _lifecycle(around: Surroundings) -> Component:
    return NodeLifecycleController(
        client=around.client,
        informers=around.informers,
        clock=around.clock,
        recorder=around.recorder("node-controller"),
        config=around.config.node_lifecycle,
    )


def _ipam(around: Surroundings) -> Component:
    return NodeIpamController(
        client=around.client,
        informers=around.informers,
        clock=around.clock,
        recorder=around.recorder("cidrAllocator"),
        config=around.config.node_ipam,
    )


def _pod_gc(around: Surroundings) -> Component:
    return PodGcController(
        client=around.client, informers=around.informers, clock=around.clock, config=around.config.pod_gc
    )


def _root_ca(around: Surroundings) -> Component:
    return RootCaPublisher(
        client=around.client, informers=around.informers, clock=around.clock, ca=around.config.root_ca
    )


def _garbage(around: Surroundings) -> Component:
    return GarbageCollector(client=around.client, informers=around.informers, clock=around.clock)


CONTROLLERS: tuple[tuple[str, Factory], ...] = (
    # (name, how to make it). The garbage collector is last: it reuses the full informers of those before it.
    ("deployment", _row(DeploymentController, "deployment-controller")),
    ("replicaset", _row(ReplicaSetController, "replicaset-controller")),
    ("statefulset", _row(StatefulSetController, "statefulset-controller")),
    ("daemonset", _row(DaemonSetController, "daemonset-controller")),
    ("replicationcontroller", _row(ReplicationControllerController, "replication-controller")),
    (JobController.name, _row(JobController, "job-controller")),
    (CronJobController.name, _row(CronJobController, "cronjob-controller")),
    (TtlAfterFinishedController.name, _row(TtlAfterFinishedController)),
    ("endpointslice", _row(EndpointSliceController, "endpoint-slice-controller")),
    ("endpoint", _row(EndpointsController, "endpoint-controller")),
    ("node-ipam", _ipam),
    ("node-lifecycle", _lifecycle),
    ("taint-eviction-controller", _row(TaintEvictionController, "taint-eviction-controller")),
    ("namespace", _row(NamespaceController)),
    ("serviceaccount", _row(ServiceAccountController)),
    ("serviceaccount-token", _row(TokenCleaner)),
    ("root-ca-cert-publisher", _root_ca),
    ("pod-garbage-collector", _pod_gc),
    (ServiceCidrController.name, _row(ServiceCidrController, "service-cidr-controller")),
    ("resourcequota", _row(ResourceQuotaController)),
    (DisruptionController.name, _row(DisruptionController, "controllermanager")),
    (ClusterRoleAggregationController.name, _row(ClusterRoleAggregationController)),
    (ClaimProtection.name, _row(ClaimProtection)),
    (VolumeProtection.name, _row(VolumeProtection)),
    (AttributesClassProtection.name, _row(AttributesClassProtection)),
    ("garbage-collector", _garbage),
)


class ControllerManager:
    """`hosted` are factories of further components that share the informers and run while this process leads."""

    def __init__(
        self, client: ApiClient, clock: Clock, config: ManagerConfig | None = None, *, hosted: Sequence[Factory] = ()
    ) -> None:
        self._client = client
        self._clock = clock
        self._config = config or ManagerConfig()
        self._hosted = tuple(hosted)
        self._ready = asyncio.Event()
        self.informers = Informers(client, clock=clock)

    async def run(self) -> None:
        """Leads, or waits to lead, until cancelled. Raises when leadership or a component is lost: start anew then."""
        config = self._config
        if not config.leader_election:
            await self._work()
            return
        lease = LeaderConfig(name=config.lease_name, namespace=config.lease_namespace, identity=config.identity)
        await LeaderElector(self._client, lease, clock=self._clock).run(self._work)

    async def wait_ready(self) -> None:
        """Until this process leads and its caches are filled."""
        await self._ready.wait()

    async def _work(self) -> None:
        self.informers.of(PODS, transform=slim_pod)  # first, so that everybody shares the slim pods
        around = Surroundings(self._client, self.informers, self._clock, self._config)
        components = [
            (name, make(around))
            for name, make in CONTROLLERS
            if name not in self._config.without and (name != "root-ca-cert-publisher" or self._config.root_ca)
        ]
        components += [(f"hosted {number}", make(around)) for number, make in enumerate(self._hosted)]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.informers.run(), name="informers")
                for name, component in components:
                    group.create_task(component.run(), name=name)
                for name, recorder in around.recorders.items():
                    group.create_task(recorder.run(), name=f"events of {name}")
                group.create_task(self._announce(), name="readiness")
        finally:
            self._ready.clear()

    async def _announce(self) -> None:
        await self.informers.wait_synced()
        self._ready.set()
        log.info("controllers started identity=%s", self._config.identity)
