"""From configuration and layout to parts: which processes run, with which settings. Decides only; `up` acts."""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timonel.cluster import kubelet_config
from timonel.cluster.config import ClusterConfig
from timonel.cluster.etcd import CLIENT_PORT, ensure_etcd_pki, etcd_part
from timonel.cluster.layout import Layout, NodeLayout
from timonel.cluster.manager_options import changed
from timonel.cluster.pki import MANAGER_SERVING
from timonel.cluster.scheduler_config import checked_document
from timonel.cluster.segment import address_of
from timonel.cluster.settings import AgentSettings, HollowSettings, ManagerSettings, ServerSettings
from timonel.cluster.spawn import Part


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What `up` decided once and keeps: written to cluster.json."""

    nodes: int
    """Real ones; 0 in a cluster that has hollow nodes only."""
    segment: str
    """The nodes' /24; "" while no node is in a namespace."""
    address: str
    """Of the first node: where the server answers, and node 1's InternalIP."""
    port: int
    store: str = "sqlite"
    """Or etcd."""
    hollow: int = 0
    """Hollow nodes."""
    hollow_port: int = 0
    """Where the hollow process answers for their kubelets."""

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(dataclasses.asdict(self)))
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> ClusterState | None:
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None


def nodes_of(layout: Layout, state: ClusterState) -> list[NodeLayout]:
    return [layout.node(index, layout.node_name(index)) for index in range(1, state.nodes + 1)]


def node_address(state: ClusterState, node: NodeLayout) -> str:
    return address_of(state.segment, node.index) if node.namespace else state.address


def first_service_address(config: ClusterConfig) -> str:
    """The address of default/kubernetes."""
    return str(ipaddress.IPv4Network(config.network.services)[1])


def server_url(state: ClusterState, node: NodeLayout | None = None) -> str:
    """How a component reaches the server: by loopback beside it, else by the first node's address."""
    host = "127.0.0.1" if node is not None and node.index == 1 else state.address
    return f"https://{host}:{state.port}"


def plan_server(layout: Layout, config: ClusterConfig, state: ClusterState) -> ServerSettings:
    first, last = (int(port) for port in config.network.node_ports.split("-"))
    return ServerSettings(
        **_store_settings(layout, config, state),
        pki=str(layout.pki),
        data_dir=str(layout.store.parent),
        bind_address="0.0.0.0",
        port=state.port,
        advertise_address=state.address,
        service_cidr=config.network.services,
        node_port_range=(first, last),
        dns_address=config.network.dns,
        cluster_domain=config.network.domain,
        default_toleration_seconds=config.node.eviction_seconds,
        enable_priority_and_fairness=config.api.enable_priority_and_fairness,
        max_requests_inflight=config.api.max_requests_inflight,
        max_mutating_requests_inflight=config.api.max_mutating_requests_inflight,
        enable_admission_plugins=config.api.enable_admission_plugins,
        disable_admission_plugins=config.api.disable_admission_plugins,
        admission_control_config_file=config.api.admission_control_config_file,
    )


def _store_settings(layout: Layout, config: ClusterConfig, state: ClusterState) -> dict[str, Any]:
    if state.store == "sqlite":
        return {"store": str(layout.store)}
    etcd = config.etcd
    if etcd.servers:
        files, servers = (etcd.cafile, etcd.certfile, etcd.keyfile), etcd.servers
    else:
        own = ensure_etcd_pki(layout)
        files = (str(own.ca.cert), str(own.client.cert), str(own.client.key))
        servers = (f"https://127.0.0.1:{CLIENT_PORT}",)
    return {
        "store": "",
        "etcd_servers": servers,
        "etcd_ca_file": files[0],
        "etcd_cert_file": files[1],
        "etcd_key_file": files[2],
        "etcd_prefix": etcd.prefix,
    }


def plan_manager(layout: Layout, config: ClusterConfig) -> ManagerSettings:
    return ManagerSettings(
        kubeconfig=str(layout.data / "manager.kubeconfig"),
        scheduler_kubeconfig=str(layout.data / "scheduler.kubeconfig"),
        ca_file=str(layout.pki / "ca.crt"),
        ca_key_file=str(layout.pki / "ca.key"),
        service_account_private_key_file=str(layout.pki / "sa.key"),
        pod_cidr=config.network.pods,
        identity=layout.node_name(1),
        serving_cert_file=str(layout.pki / f"{MANAGER_SERVING}.crt"),
        serving_key_file=str(layout.pki / f"{MANAGER_SERVING}.key"),
        node_monitor_grace_seconds=config.node.monitor_grace_seconds,
        options=changed(config.manager),
        balancer_pool=config.network.load_balancer_addresses,
        reserved_ports=(config.api.port,),
        scheduler_configuration=checked_document(config.manager.scheduler_config),
    )


def plan_agent(
    layout: Layout, config: ClusterConfig, state: ClusterState, node: NodeLayout, cert_file: Path, key_file: Path
) -> AgentSettings:
    return AgentSettings(
        node_name=node.name,
        kubeconfig=str(node.agent_kubeconfig),
        network_kubeconfig=str(node.data / "network.kubeconfig"),
        node_address=node_address(state, node),
        containerd_socket=str(node.containerd_socket),
        kubelet_root=str(node.kubelet_root),
        volumes=str(node.volumes),
        pod_logs=str(node.pod_logs),
        cgroup=node.cgroup,
        cert_file=str(cert_file),
        key_file=str(key_file),
        client_ca_file=str(layout.pki / "ca.crt"),
        cni_config=str(node.cni_config),
        cni_data=str(node.data / "cni-leases"),
        network_name=layout.context,
        pod_cidr=config.network.pods,
        service_cidr=config.network.services,
        dns_address=config.network.dns,
        cluster_domain=config.network.domain,
        nft_table="timonel",
        # The first node of an unnamed cluster is the host, which is the others' gateway, not on their segment.
        fallback_gateway=address_of(state.segment, 0) if node.namespace and not layout.is_named else "",
        max_pods=config.node.max_pods,
        balancer_pool=config.network.load_balancer_addresses,
        node_port_addresses=config.network.node_port_addresses,
        ingress_kubeconfig=str(layout.data / "ingress.kubeconfig") if _serves_ingresses(config, node) else "",
        ingress_folder=str(layout.run / "ingress"),
        ingress_ports=config.network.ingress_ports,
        masquerades_to_nodes=config.network.masquerade_to_nodes,
        service_logs={
            "kubelet": str(layout.logs / f"{agent_part(layout, node)}.log"),
            "containerd": str(layout.logs / f"{containerd_part(node)}.log"),
        },
        kubelet_configuration=kubelet_config.checked_document(config.node.kubelet_config),
    )


def _serves_ingresses(config: ClusterConfig, node: NodeLayout) -> bool:
    return node.index == 1 and bool(config.network.ingress_ports)


def plan_hollow(
    layout: Layout, config: ClusterConfig, state: ClusterState, cert_file: Path, key_file: Path
) -> HollowSettings:
    return HollowSettings(
        kubeconfig=str(layout.data / "hollow.kubeconfig"),
        address=state.address,
        port=state.hollow_port,
        cert_file=str(cert_file),
        key_file=str(key_file),
        client_ca_file=str(layout.pki / "ca.crt"),
        count=state.hollow,
        max_pods=config.node.max_pods,
        **dataclasses.asdict(config.hollow),
    )


def settings_file(layout: Layout, part: str) -> Path:
    return layout.run / "parts" / f"{part}.json"


def agent_part(layout: Layout, node: NodeLayout) -> str:
    return f"agent@{node.name}"


def containerd_part(node: NodeLayout) -> str:
    return f"containerd@{node.name}"


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except FileNotFoundError:
        return ""


_FREE_EARLY = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""Watchers of many objects read much and keep little: glibc gives large buffers back instead of keeping them about.
Measured: 30 of 200 MB of a manager with 10 000 pods. Not for the server, which needs such buffers for every answer.
"""


def plan_parts(
    layout: Layout, state: ClusterState, *, only_containerd: bool = False, own_etcd: bool = False
) -> list[Part]:
    """Every part in starting order. `only_containerd` is what `down` keeps while it removes the containers."""
    nodes = nodes_of(layout, state)
    control = nodes[0] if nodes else None
    """Where the control plane is; None in a cluster of hollow nodes only: on the machine as it is."""

    def python_part(name: str, command: str, node: NodeLayout | None) -> Part:
        return Part(
            name=name,
            argv=(sys.executable, "-m", "timonel.cluster.part", command, str(settings_file(layout, name))),
            log=str(layout.logs / f"{name}.log"),
            # Python's own allocator serves small objects; fewer arenas keep glibc from holding what threads free.
            # The digest makes the part a different one, to be restarted, when its settings change.
            # gRPC's fork handlers are for processes that fork without exec; ours only start programs.
            env={
                "MALLOC_ARENA_MAX": "2",
                "GRPC_ENABLE_FORK_SUPPORT": "0",
                "TIMONEL_SETTINGS": _digest(settings_file(layout, name)),
                **(_FREE_EARLY if command in ("manager", "hollow") else {}),
            },
            namespace=node.namespace if node else "",
            host_name=node.name if node and node.namespace else "",
        )

    runtimes = [
        Part(
            name=containerd_part(node),
            argv=("containerd", "--config", str(node.containerd_config), "--log-level", "warn"),
            env={"TIMONEL_SETTINGS": _digest(node.containerd_config)},
            log=str(layout.logs / f"{containerd_part(node)}.log"),
            namespace=node.namespace,
            host_name=node.name if node.namespace else "",
        )
        for node in nodes
    ]
    if only_containerd:
        return runtimes
    return [
        *([etcd_part(layout, nodes[0], ensure_etcd_pki(layout))] if own_etcd else []),
        python_part("server", "server", control),
        *runtimes,
        python_part("manager", "manager", control),
        *([python_part("hollow", "hollow", control)] if state.hollow else []),
        *(python_part(agent_part(layout, node), "agent", node) for node in nodes),
    ]
