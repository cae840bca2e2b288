"""What `up` hands to each part as a JSON file: everything resolved, nothing left to look up.

The same file starts a part by hand: `timonel server --settings FILE`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from timonel.cluster.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    store: str
    """The SQLite file; "" when `etcd_servers` say where the data is."""
    etcd_servers: tuple[str, ...] = ()
    etcd_ca_file: str = ""
    etcd_cert_file: str = ""
    etcd_key_file: str = ""
    etcd_prefix: str = ""
    pki: str
    data_dir: str
    bind_address: str
    port: int
    advertise_address: str
    service_cidr: str
    node_port_range: tuple[int, int]
    dns_address: str
    cluster_domain: str
    default_toleration_seconds: int
    enable_priority_and_fairness: bool = True
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    enable_admission_plugins: tuple[str, ...] = ()
    disable_admission_plugins: tuple[str, ...] = ()
    admission_control_config_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerSettings:
    kubeconfig: str
    scheduler_kubeconfig: str
    ca_file: str
    pod_cidr: str
    identity: str
    """Holder of the leader lease."""
    node_monitor_grace_seconds: float
    ca_key_file: str = ""
    """Signs CertificateSigningRequests; "": none are signed."""
    cluster_signing_seconds: float = 365 * 24 * 3600.0
    service_account_private_key_file: str = ""
    """Signs tokens in Secrets; "": none are made."""
    serving_cert_file: str = ""
    """Of the ports for /metrics; "": they are not opened."""
    serving_key_file: str = ""
    balancer_pool: tuple[str, ...] = ()
    """Addresses for Services of type LoadBalancer; none: the nodes' own."""
    reserved_ports: tuple[int, ...] = ()
    """Ports of node addresses that no such Service gets, beside the usual ones."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Flags of kube-controller-manager that differ from the defaults; see manager_options.py."""
    scheduler_configuration: Mapping[str, Any] = field(default_factory=dict)
    """A KubeSchedulerConfiguration; {}: defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    node_name: str
    kubeconfig: str
    """The kubelet's own: system:node:<name>."""
    network_kubeconfig: str
    """The proxy's and the DNS server's: system:kube-proxy."""
    node_address: str
    containerd_socket: str
    kubelet_root: str
    volumes: str
    pod_logs: str
    cgroup: str
    cert_file: str
    key_file: str
    client_ca_file: str
    cni_config: str
    cni_data: str
    network_name: str
    pod_cidr: str
    service_cidr: str
    dns_address: str
    cluster_domain: str
    nft_table: str
    fallback_gateway: str
    max_pods: int
    balancer_pool: tuple[str, ...] = ()
    """Addresses of load balancers that nodes announce."""
    ingress_kubeconfig: str = ""
    """system:timonel:ingress; "": this node serves no Ingresses."""
    ingress_folder: str = ""
    ingress_ports: tuple[int, ...] = ()
    """For HTTP and HTTPS."""
    node_port_addresses: tuple[str, ...] = ()
    masquerades_to_nodes: bool = True
    service_logs: Mapping[str, str] = field(default_factory=dict)
    """Files that this node's parts log to, by the service's usual name."""
    kubelet_configuration: Mapping[str, Any] = field(default_factory=dict)
    """A KubeletConfiguration; {}: defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HollowSettings:
    kubeconfig: str
    """system:timonel:hollow-nodes."""
    address: str
    port: int
    """Where it answers for the kubelets of all hollow nodes."""
    cert_file: str
    key_file: str
    client_ca_file: str
    count: int
    cpu: str
    memory: str
    max_pods: int
    zones: int
    leases_per_second: float
    start_seconds: float
    ready_seconds: float
    stop_seconds: float
    job_seconds: float
    failure_rate: float
    failures: tuple[str, ...]
    seed: int


Settings = TypeVar("Settings", ServerSettings, ManagerSettings, AgentSettings, HollowSettings)


def write_settings(path: Path, settings: ServerSettings | ManagerSettings | AgentSettings | HollowSettings) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(dataclasses.asdict(settings), indent=1))
    os.replace(temporary, path)


def read_settings(cls: type[Settings], path: Path) -> Settings:
    """Raises UserError when the file is not what `write_settings` writes."""
    try:
        data = json.loads(path.read_text())
        values: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        return cls(**values)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"settings file {path}: {error}") from error
