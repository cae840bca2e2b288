"""The agent process: kubelet, its streaming server, pod network, proxy and DNS of one node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from timonel.api.clock import SystemClock
from timonel.api.objects import Object
from timonel.api.refs import PODS, SERVICES
from timonel.client.config import ClientConfig
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.rest import Client
from timonel.cluster.containerd import PAUSE_IMAGE
from timonel.cluster.ingress import run_ingress
from timonel.cluster.kubelet_config import configure, parse_document
from timonel.cluster.process import notify_when
from timonel.cluster.settings import AgentSettings
from timonel.kubelet.config import KubeletConfig
from timonel.kubelet.cri.events import SocketEvents
from timonel.kubelet.cri.grpc_runtime import GrpcRuntime
from timonel.kubelet.kubelet import Kubelet
from timonel.kubelet.metrics import KubeletMetrics
from timonel.kubelet.pods.services import NotAdmitted
from timonel.kubelet.streaming.server import KubeletServer, KubeletServerConfig
from timonel.kubelet.streaming_backend import KubeletBackend
from timonel.network.announcer import Announcer, AnnouncerConfig
from timonel.network.dns.server import DnsConfig, DnsServer
from timonel.network.pod_network import PodNetwork, PodNetworkConfig
from timonel.network.policy.enforcer import NotEnforced, PolicyConfig, PolicyEnforcer
from timonel.network.proxy.proxy import Proxy, ProxyConfig

log = logging.getLogger(__name__)


async def run_agent(settings: AgentSettings) -> None:
    """Until cancelled. Containers, pod links and Service rules stay when it ends."""
    clock = SystemClock()
    endpoint = f"unix://{settings.containerd_socket}"
    kubelets = ClientConfig.from_kubeconfig(settings.kubeconfig, user_agent="timonel-kubelet")
    networks = ClientConfig.from_kubeconfig(settings.network_kubeconfig, user_agent="timonel-network")
    async with Client(kubelets) as client, Client(networks) as network_client:
        informers = Informers(client, clock=clock)
        network_informers = Informers(network_client, clock=clock)
        recorder = EventRecorder(client, component="kubelet", host=settings.node_name, clock=clock)
        kubelet_config = _kubelet_config(settings)
        metrics = KubeletMetrics(node_name=settings.node_name)
        pods = informers.of(PODS, field_selector=f"spec.nodeName={settings.node_name}")
        policies = PolicyEnforcer(config=PolicyConfig(table=settings.nft_table), informers=network_informers, pods=pods)

        async def admit(pod: Object, addresses: Sequence[str]) -> None:
            try:
                await policies.admit(pod, addresses)
            except NotEnforced as error:
                raise NotAdmitted(str(error)) from error

        runtime = GrpcRuntime(endpoint=endpoint, observe=metrics.operation)
        kubelet = Kubelet(
            config=kubelet_config,
            client=client,
            informers=informers,
            runtime=runtime,
            events=SocketEvents(endpoint=endpoint),
            recorder=recorder,
            clock=clock,
            metrics=metrics,
            admit=admit,
        )
        server = KubeletServer(
            config=KubeletServerConfig(
                cert_file=settings.cert_file,
                key_file=settings.key_file,
                client_ca_file=settings.client_ca_file,
                port=kubelet_config.port,
                log_folder="/var/log" if kubelet_config.serves_node_logs else "",
                answers_log_queries=kubelet_config.answers_log_queries,
                service_logs=settings.service_logs,
            ),
            backend=KubeletBackend(
                kubelet=kubelet, runtime=runtime, node_name=settings.node_name, neighbours=policies.metrics
            ),
            client=client,
            clock=clock,
            registry=metrics.registry,
        )
        pod_network = PodNetwork(config=_pod_network_config(settings), informers=network_informers)
        proxy = Proxy(
            config=ProxyConfig(
                node_name=settings.node_name,
                table=settings.nft_table,
                cluster_cidr=settings.pod_cidr,
                service_cidr=settings.service_cidr,
                node_address=settings.node_address,
                skipped_addresses=(settings.dns_address,),
                balancer_pool=settings.balancer_pool,
                node_port_addresses=settings.node_port_addresses,
                masquerades_to_nodes=settings.masquerades_to_nodes,
            ),
            informers=network_informers,
            pods=pods,
        )
        announcer = Announcer(
            config=AnnouncerConfig(
                node_name=settings.node_name,
                node_address=settings.node_address,
                pool=settings.balancer_pool,
                kept=frozenset([settings.dns_address]),
            ),
            informers=network_informers,
        )
        dns = DnsServer(
            config=DnsConfig(address=settings.dns_address, domain=settings.cluster_domain),
            informers=network_informers,
            clock=clock,
        )

        async def ready() -> None:
            await asyncio.gather(*(part.wait_ready() for part in (kubelet, server, pod_network, proxy, policies, dns)))

        try:
            async with asyncio.TaskGroup() as tasks:
                for name, work in (
                    ("informers", informers.run()),
                    ("network-informers", network_informers.run()),
                    ("events", recorder.run()),
                    ("kubelet", kubelet.run()),
                    ("kubelet-server", server.run()),
                    ("pod-network", pod_network.run()),
                    ("proxy", proxy.run()),
                    ("policies", policies.run()),
                    ("announcer", announcer.run()),
                    ("dns", dns.run()),
                    ("notify", notify_when(ready)),
                ):
                    tasks.create_task(work, name=name)
                if settings.ingress_kubeconfig:
                    work = run_ingress(settings, network_informers.of(SERVICES), clock)
                    tasks.create_task(work, name="ingress")
        finally:
            await runtime.close()


def _kubelet_config(settings: AgentSettings) -> KubeletConfig:
    """The cluster's choices, then what the kubelet's own file says."""
    file = parse_document(settings.kubelet_configuration, "kubelet configuration")
    for warning in file.warnings:
        log.warning("%s", warning)
    made = KubeletConfig(
        node_name=settings.node_name,
        node_ips=(settings.node_address,),
        root_dir=settings.kubelet_root,
        volumes_dir=settings.volumes,
        pod_logs_dir=settings.pod_logs,
        runtime_endpoint=settings.containerd_socket,
        cgroup_root=settings.cgroup,
        cluster_dns=(settings.dns_address,),
        cluster_domain=settings.cluster_domain,
        max_pods=settings.max_pods,
        kept_images=(PAUSE_IMAGE,),
    )
    return configure(made, file, "kubelet configuration")


def _pod_network_config(settings: AgentSettings) -> PodNetworkConfig:
    return PodNetworkConfig(
        node_name=settings.node_name,
        node_address=settings.node_address,
        network_name=settings.network_name,
        cluster_cidr=settings.pod_cidr,
        cni_config=Path(settings.cni_config),
        cni_data=Path(settings.cni_data),
        fallback_gateway=settings.fallback_gateway,
    )
