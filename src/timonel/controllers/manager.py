"""The controllers of one process: one set of shared informers, one table of rows, one leader.

Started and wired by `timonel.cluster`, which may host further components, such as the scheduler, on the same informers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from timonel.api.clock import Clock
from timonel.api.volumes import LOCAL_PROVISIONER
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.leader import LeaderConfig, LeaderElector
from timonel.client.protocol import ApiClient
from timonel.controllers.admissionpolicies import PolicyStatusController
from timonel.controllers.attachdetach import AttachDetachController
from timonel.controllers.bootstrap_tokens import BootstrapSigner, BootstrapTokenCleaner
from timonel.controllers.certificates import RequestApprover, RequestCleaner, RequestSigner, SigningConfig
from timonel.controllers.clusterrole_aggregation import ClusterRoleAggregationController
from timonel.controllers.cronjob import CronJobController
from timonel.controllers.daemonset import DaemonSetController
from timonel.controllers.deployment import DeploymentController
from timonel.controllers.device_taints import DeviceTaintEvictionController
from timonel.controllers.disruption import DisruptionController
from timonel.controllers.endpoints import (
    EndpointsConfig,
    EndpointsController,
    EndpointSliceConfig,
    EndpointSliceController,
    EndpointSliceMirroringController,
    MirroringConfig,
)
from timonel.controllers.ephemeralvolumes import EphemeralVolumeController
from timonel.controllers.expansion import ExpansionController
from timonel.controllers.garbage import GarbageCollector
from timonel.controllers.horizontalpodautoscaler import AutoscalerConfig, HorizontalPodAutoscalerController
from timonel.controllers.job import JobController
from timonel.controllers.legacy_tokens import LegacyTokenCleaner, LegacyTokenConfig
from timonel.controllers.loadbalancer import LoadBalancerConfig, ServiceLoadBalancerController
from timonel.controllers.namespaces import (
    NamespaceController,
    RootCaPublisher,
    ServiceAccountController,
)
from timonel.controllers.nodes import (
    NodeIpamConfig,
    NodeIpamController,
    NodeLifecycleConfig,
    NodeLifecycleController,
    TaintEvictionController,
)
from timonel.controllers.nodes.joint_writes import JointNodeWrites
from timonel.controllers.persistentvolume import LocalVolumeProvisioner, VolumeBinder
from timonel.controllers.pod_gc import PodGcConfig, PodGcController
from timonel.controllers.replicaset import ReplicaSetController, ReplicationControllerController
from timonel.controllers.resourceclaims import ResourceClaimController
from timonel.controllers.resourcequota import ResourceQuotaController
from timonel.controllers.servicecidrs import ServiceCidrController
from timonel.controllers.slim_objects import transforms
from timonel.controllers.statefulset import StatefulSetController
from timonel.controllers.storage_protection import AttributesClassProtection, ClaimProtection, VolumeProtection
from timonel.controllers.token_secrets import ClaimsSigner, TokenSecretController
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
    endpoints: EndpointsConfig = field(default_factory=EndpointsConfig)
    endpoint_slices: EndpointSliceConfig = field(default_factory=EndpointSliceConfig)
    mirroring: MirroringConfig = field(default_factory=MirroringConfig)
    signing: SigningConfig = field(default_factory=SigningConfig)
    legacy_tokens: LegacyTokenConfig = field(default_factory=LegacyTokenConfig)
    token_signer: ClaimsSigner | None = None
    """Of --service-account-private-key-file: signs tokens in Secrets; None: none are made."""
    autoscaler: AutoscalerConfig = field(default_factory=AutoscalerConfig)
    load_balancer: LoadBalancerConfig = field(default_factory=LoadBalancerConfig)
    without: frozenset[str] = frozenset()
    """Names of controllers not to run."""
    workers: Mapping[str, int] = field(default_factory=dict)
    """By name of a controller, how many keys it works on at once, where that is not its default."""


class Component(Protocol):
    async def run(self) -> None: ...


class Surroundings:
    """What a controller is made from. Its `client` acts as the controller's own identity, its informers as the
    manager. Recorders are made when first asked for and run with the rest."""

    def __init__(self, client: ApiClient, informers: Informers, clock: Clock, config: ManagerConfig) -> None:
        self.client = client
        self.informers = informers
        self.clock = clock
        self.config = config
        self.recorders: dict[str, EventRecorder] = {}
        self.node_writes = JointNodeWrites(client)

    def recorder(self, component: str) -> EventRecorder:
        if component not in self.recorders:
            self.recorders[component] = EventRecorder(self.client, component=component, clock=self.clock)
        return self.recorders[component]


Identities = Callable[[str], ApiClient]
"""From the name of a service account in kube-system to the client that acts as it."""

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
        writes=around.node_writes,
    )


def _ipam(around: Surroundings) -> Component:
    return NodeIpamController(
        client=around.client,
        informers=around.informers,
        clock=around.clock,
        recorder=around.recorder("cidrAllocator"),
        config=around.config.node_ipam,
        writes=around.node_writes,
    )


def _pod_gc(around: Surroundings) -> Component:
    return PodGcController(
        client=around.client, informers=around.informers, clock=around.clock, config=around.config.pod_gc
    )


def _root_ca(around: Surroundings) -> Component:
    return RootCaPublisher(
        client=around.client, informers=around.informers, clock=around.clock, ca=around.config.root_ca
    )


def _endpoint_slices(around: Surroundings) -> Component:
    return EndpointSliceController(
        client=around.client,
        informers=around.informers,
        clock=around.clock,
        recorder=around.recorder("endpoint-slice-controller"),
        config=around.config.endpoint_slices,
    )


def _endpoints(around: Surroundings) -> Component:
    return EndpointsController(
        client=around.client,
        informers=around.informers,
        clock=around.clock,
        recorder=around.recorder("endpoint-controller"),
        config=around.config.endpoints,
    )


def _mirroring(around: Surroundings) -> Component:
    return EndpointSliceMirroringController(
        client=around.client,
        informers=around.informers,
        clock=around.clock,
        recorder=around.recorder("endpoint-slice-mirroring-controller"),
        config=around.config.mirroring,
    )


def _token_secrets(around: Surroundings) -> Component:
    return TokenSecretController(
        client=around.client,
        informers=around.informers,
        clock=around.clock,
        root_ca=around.config.root_ca,
        signer=around.config.token_signer,
    )


def _legacy_tokens(around: Surroundings) -> Component:
    return LegacyTokenCleaner(
        client=around.client, informers=around.informers, clock=around.clock, config=around.config.legacy_tokens
    )


def _signer(around: Surroundings) -> Component:
    return RequestSigner(
        client=around.client, informers=around.informers, clock=around.clock, config=around.config.signing
    )


def _autoscaler(around: Surroundings) -> Component:
    return HorizontalPodAutoscalerController(
        client=around.client,
        informers=around.informers,
        clock=around.clock,
        recorder=around.recorder("horizontal-pod-autoscaler"),
        config=around.config.autoscaler,
    )


def _load_balancer(around: Surroundings) -> Component:
    return ServiceLoadBalancerController(
        client=around.client,
        informers=around.informers,
        clock=around.clock,
        recorder=around.recorder("service-controller"),
        config=around.config.load_balancer,
    )


def _garbage(around: Surroundings) -> Component:
    recorder = around.recorder("garbage-collector-controller")
    return GarbageCollector(client=around.client, informers=around.informers, clock=around.clock, recorder=recorder)


NODE_CONTROLLER = "node-controller"

CONTROLLERS: tuple[tuple[str, str, Factory], ...] = (
    # (name, service account it acts as, how to make it). The account holds the role system:controller:<account> and
    # nothing else; "" is the manager's own identity, which reads everything and writes next to nothing.
    # The garbage collector is last: it reuses the full informers of those before it.
    ("deployment", "deployment-controller", _row(DeploymentController, "deployment-controller")),
    ("replicaset", "replicaset-controller", _row(ReplicaSetController, "replicaset-controller")),
    ("statefulset", "statefulset-controller", _row(StatefulSetController, "statefulset-controller")),
    ("daemonset", "daemon-set-controller", _row(DaemonSetController, "daemonset-controller")),
    (
        "replicationcontroller",
        "replication-controller",
        _row(ReplicationControllerController, "replication-controller"),
    ),
    (JobController.name, "job-controller", _row(JobController, "job-controller")),
    (CronJobController.name, "cronjob-controller", _row(CronJobController, "cronjob-controller")),
    (TtlAfterFinishedController.name, "ttl-after-finished-controller", _row(TtlAfterFinishedController)),
    ("endpointslice", "endpointslice-controller", _endpoint_slices),
    ("endpoint", "endpoint-controller", _endpoints),
    (EndpointSliceMirroringController.name, "endpointslicemirroring-controller", _mirroring),
    ("node-ipam", NODE_CONTROLLER, _ipam),
    ("node-lifecycle", NODE_CONTROLLER, _lifecycle),
    ("taint-eviction-controller", NODE_CONTROLLER, _row(TaintEvictionController, "taint-eviction-controller")),
    ("namespace", "namespace-controller", _row(NamespaceController)),
    ("serviceaccount", "service-account-controller", _row(ServiceAccountController)),
    (TokenSecretController.name, "", _token_secrets),
    (LegacyTokenCleaner.name, "legacy-service-account-token-cleaner", _legacy_tokens),
    ("root-ca-cert-publisher", "root-ca-cert-publisher", _root_ca),
    ("pod-garbage-collector", "pod-garbage-collector", _pod_gc),
    (
        ServiceCidrController.name,
        "service-cidrs-controller",
        _row(ServiceCidrController, "service-cidr-controller"),
    ),
    (ServiceLoadBalancerController.name, "service-controller", _load_balancer),
    ("resourcequota", "resourcequota-controller", _row(ResourceQuotaController)),
    (HorizontalPodAutoscalerController.name, "horizontal-pod-autoscaler", _autoscaler),
    (DisruptionController.name, "disruption-controller", _row(DisruptionController, "controllermanager")),
    (
        ClusterRoleAggregationController.name,
        "clusterrole-aggregation-controller",
        _row(ClusterRoleAggregationController),
    ),
    (ClaimProtection.name, "pvc-protection-controller", _row(ClaimProtection)),
    (VolumeProtection.name, "pv-protection-controller", _row(VolumeProtection)),
    (AttributesClassProtection.name, "volumeattributesclass-protection-controller", _row(AttributesClassProtection)),
    (VolumeBinder.name, "persistent-volume-binder", _row(VolumeBinder, "persistentvolume-controller")),
    (LocalVolumeProvisioner.name, "local-volume-provisioner", _row(LocalVolumeProvisioner, LOCAL_PROVISIONER)),
    (
        AttachDetachController.name,
        "attachdetach-controller",
        _row(AttachDetachController, "attachdetach-controller"),
    ),
    (ExpansionController.name, "expand-controller", _row(ExpansionController, "volume_expand")),
    (
        EphemeralVolumeController.name,
        "ephemeral-volume-controller",
        _row(EphemeralVolumeController, "ephemeral_volume"),
    ),
    (RequestSigner.name, "certificate-controller", _signer),
    (RequestApprover.name, "certificate-controller", _row(RequestApprover)),
    (RequestCleaner.name, "certificate-controller", _row(RequestCleaner)),
    (BootstrapSigner.name, "bootstrap-signer", _row(BootstrapSigner)),
    (BootstrapTokenCleaner.name, "token-cleaner", _row(BootstrapTokenCleaner)),
    (ResourceClaimController.name, "resource-claim-controller", _row(ResourceClaimController, "resource_claim")),
    (
        DeviceTaintEvictionController.name,
        "device-taint-eviction-controller",
        _row(DeviceTaintEvictionController, DeviceTaintEvictionController.name),
    ),
    (
        PolicyStatusController.name,
        "validatingadmissionpolicy-status-controller",
        _row(PolicyStatusController),
    ),
    ("garbage-collector", "generic-garbage-collector", _garbage),
)


class ControllerManager:
    """`hosted` are factories of further components that share the informers and run while this process leads.

    `client` is the manager's own: it elects the leader and feeds the informers. Without `identities`, controllers use
    it as well.
    """

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        config: ManagerConfig | None = None,
        *,
        hosted: Sequence[Factory] = (),
        identities: Identities | None = None,
    ) -> None:
        self._client = client
        self._identities = identities
        self._clock = clock
        self._config = config or ManagerConfig()
        self._hosted = tuple(hosted)
        self._ready = asyncio.Event()
        self.informers = Informers(client, clock=clock)
        self.components: dict[str, Component] = {}
        """By name, those that run now: none while this process does not lead."""

    async def run(self) -> None:
        """Leads, or waits to lead, until cancelled. Raises when leadership or a component is lost: start anew then."""
        config = self._config
        if not config.leader_election:
            await self._work()
            return
        lease = LeaderConfig(name=config.lease_name, namespace=config.lease_namespace, identity=config.identity)
        await LeaderElector(self._client, lease, clock=self._clock).run(self._work)

    @property
    def is_leader(self) -> bool:
        return bool(self.components)

    @property
    def is_ready(self) -> bool:
        """Waiting to lead is ready, too: /readyz of a second manager is fine."""
        return self._ready.is_set() or not self.components

    async def wait_ready(self) -> None:
        """Until this process leads and its caches are filled."""
        await self._ready.wait()

    async def _work(self) -> None:
        for ref, transform in transforms().items():
            self.informers.of(ref, transform=transform)  # first, so that everybody shares the slim copies
        surroundings: dict[str, Surroundings] = {}
        self.components = {
            name: make(self._surroundings(account, surroundings))
            for name, account, make in CONTROLLERS
            if name not in self._config.without and (name != "root-ca-cert-publisher" or self._config.root_ca)
        }
        for name, count in self._config.workers.items():
            if name in self.components:
                self.components[name].workers = count  # type: ignore[attr-defined]  # only Controllers are named
        own = self._surroundings("", surroundings)
        self.components |= {f"hosted {number}": make(own) for number, make in enumerate(self._hosted)}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.informers.run(), name="informers")
                for name, component in self.components.items():
                    group.create_task(component.run(), name=name)
                for around in surroundings.values():
                    for name, recorder in around.recorders.items():
                        group.create_task(recorder.run(), name=f"events of {name}")
                group.create_task(self._announce(), name="readiness")
        finally:
            self._ready.clear()
            self.components = {}

    def _surroundings(self, account: str, known: dict[str, Surroundings]) -> Surroundings:
        """Of everybody who acts as this account."""
        if account not in known:
            client = self._identities(account) if account and self._identities else self._client
            known[account] = Surroundings(client, self.informers, self._clock, self._config)
        return known[account]

    async def _announce(self) -> None:
        await self.informers.wait_synced()
        self._ready.set()
        log.info("controllers started identity=%s", self._config.identity)
