"""The cluster's configuration file and what it resolves to.

`/etc/timonel/config.yaml` is optional; every key has a default. An unknown key or a wrong type is refused with one
line that names it, since a silently ignored setting is the worst kind. Example with every key: docs/configuration.md.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from timonel.api.address_pools import check_pool
from timonel.apiserver.admission.selection import AdmissionConfig, select_plugins
from timonel.cluster.errors import UserError
from timonel.cluster.hollow_config import HollowNodesConfig, check_hollow
from timonel.cluster.manager_options import ManagerOptions, check_options, unknown

DEFAULT_CONFIG_FILE = Path("/etc/timonel/config.yaml")


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    pods: str = "10.244.0.0/16"
    """Addresses of pods; each node gets a /24 of it."""
    services: str = "10.96.0.0/12"
    dns: str = "10.96.0.10"
    """Cluster DNS address, inside `services`."""
    domain: str = "cluster.local"
    node_ports: str = "30000-32767"
    masquerade_to_nodes: bool = True
    """Whether other nodes see pods under their node's address, as everybody outside does, or under their own."""
    node_port_addresses: tuple[str, ...] = ()
    """Ranges of nodes' addresses that node ports are reached at: "192.0.2.0/24"; none: all of them."""
    load_balancer_addresses: tuple[str, ...] = ()
    """Given to Services of type LoadBalancer: "192.0.2.10-192.0.2.20", "192.0.2.64/28"; none: nodes' own addresses."""
    ingress_ports: tuple[int, ...] = (80, 443)
    """Of the first node, for HTTP and HTTPS: taken by HAProxy when the first Ingress appears; none: no controller."""
    nodes: str = ""
    """Segment of nodes in namespaces; "" picks a free /24 of 10.89.0.0/16 by the cluster's name."""


@dataclass(frozen=True, slots=True)
class ApiConfig:
    port: int = 6443
    extra_names: tuple[str, ...] = ()
    """More DNS names and addresses for the server's certificate."""
    enable_priority_and_fairness: bool = True
    """False: plain limits on requests in flight. This and the next two are named as kube-apiserver's flags."""
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    """Together: how many requests run at once. Without priority and fairness: reads and writes, 0 for no limit."""
    enable_admission_plugins: tuple[str, ...] = ()
    """Beside those that are on by default; kube-apiserver's flag of this name."""
    disable_admission_plugins: tuple[str, ...] = ()
    admission_control_config_file: str = ""
    """An AdmissionConfiguration: settings of plugins."""


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """Where `--store etcd` keeps the data. Keys are named as kube-apiserver's flags, --etcd-servers and so on."""

    servers: tuple[str, ...] = ()
    """URLs of the members; none: the cluster starts an etcd of its own."""
    cafile: str = ""
    certfile: str = ""
    keyfile: str = ""
    prefix: str = ""
    """Put before every key, so that several clusters can share one etcd."""


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    mirrors: tuple[str, ...] = ()
    """URLs tried in order before the registry itself: "http://10.0.0.5:5000"; http:// allows plain HTTP."""
    plain_http: bool = False
    """Speak HTTP to the registry itself."""
    skip_verify: bool = False
    """Accept any certificate of the registry."""
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    max_pods: int = 110
    monitor_grace_seconds: float = 40.0
    """Silence after which a node counts as lost (node-monitor-grace-period)."""
    eviction_seconds: int = 300
    """Default toleration of a lost node, after which its pods are replaced (default-unreachable-toleration-seconds)."""
    kubelet_config: str = ""
    """A KubeletConfiguration, for every node."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    network: NetworkConfig = field(default_factory=NetworkConfig)
    api: ApiConfig = field(default_factory=ApiConfig)
    etcd: EtcdConfig = field(default_factory=EtcdConfig)
    registries: Mapping[str, RegistryConfig] = field(default_factory=dict)
    """By registry host: "docker.io", "registry.example.org:5000"; "*" for every other."""
    node: NodeConfig = field(default_factory=NodeConfig)
    manager: ManagerOptions = field(default_factory=ManagerOptions)
    hollow: HollowNodesConfig = field(default_factory=HollowNodesConfig)


def load_config(path: Path | None, **flags: tuple[str, ...]) -> ClusterConfig:
    """Reads the file; None means the default place, which need not exist. Raises UserError with one line.

    `flags` are given on the command line: what they list of keys of `api` comes beside what the file lists.
    """
    config = _read_config(path)
    if any(flags.values()):
        joined: dict[str, Any] = {name: (*getattr(config.api, name), *values) for name, values in flags.items()}
        config = dataclasses.replace(config, api=dataclasses.replace(config.api, **joined))
        _check(config, "command line")
    return config


def _read_config(path: Path | None) -> ClusterConfig:
    source = path or DEFAULT_CONFIG_FILE
    try:
        text = source.read_text()
    except FileNotFoundError:
        if path is None:
            return ClusterConfig()
        raise UserError(f"configuration file {source} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"configuration file {source} cannot be read: {error}") from error
    return parse_config(text, str(source))


def parse_config(text: str, source: str = "configuration") -> ClusterConfig:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = ""
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            where = f" line {error.problem_mark.line + 1}: {error.problem}"
        raise UserError(f"{source}: not valid YAML:{where or f' {error}'}") from error
    config: ClusterConfig = _build(ClusterConfig, {} if data is None else data, source, "")
    _check(config, source)
    return config


def _build(cls: Any, data: Any, source: str, path: str) -> Any:
    """Turns plain YAML into the dataclass, camelCase keys to fields, refusing what does not fit."""
    if not isinstance(data, dict):
        raise UserError(f"{source}: {path or 'the file'} must be a mapping, not {_kind(data)}")
    hints = typing.get_type_hints(cls)
    names = {_camel(item.name): item.name for item in dataclasses.fields(cls)}
    values = {}
    for key, value in data.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in names:
            if cls is ManagerOptions:
                raise UserError(f"{source}: {unknown(_flag(str(key)), where, 'manager.{}')}")
            raise UserError(f"{source}: unknown key {where!r}; known here: {', '.join(sorted(names))}")
        values[names[key]] = _convert(hints[names[key]], value, source, where)
    return cls(**values)


def _convert(hint: Any, value: Any, source: str, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, {} if value is None else value, source, where)
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{source}: {where} must be a list, not {_kind(value)}")
        item = typing.get_args(hint)[0]
        return tuple(_convert(item, entry, source, f"{where}[{index}]") for index, entry in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise UserError(f"{source}: {where} must be a mapping, not {_kind(value)}")
        item = typing.get_args(hint)[1]
        return {str(key): _convert(item, entry, source, f"{where}.{key}") for key, entry in value.items()}
    if isinstance(hint, types.UnionType):
        raise TypeError(f"unions are not used in configuration: {where}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UserError(f"{source}: {where} must be {_NAMES[hint]}, not {_kind(value)}")
    return value


_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    kinds = {dict: "a mapping", list: "a list", **_NAMES}
    return kinds.get(type(value), type(value).__name__)


def _flag(key: str) -> str:
    """concurrentGcSyncs -> concurrent-gc-syncs; a flag as it is stays so."""
    return re.sub(r"[A-Z]", lambda match: f"-{match[0].lower()}", key)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _check_requests(api: ApiConfig, source: str) -> None:
    for key in ("max_requests_inflight", "max_mutating_requests_inflight"):
        if getattr(api, key) < 0:
            raise UserError(f"{source}: api.{_camel(key)} must not be negative")
    if api.enable_priority_and_fairness and not api.max_requests_inflight + api.max_mutating_requests_inflight:
        raise UserError(
            f"{source}: api.maxRequestsInflight and api.maxMutatingRequestsInflight must add up to something positive"
        )


def _check(config: ClusterConfig, source: str) -> None:
    def network(text: str, where: str) -> ipaddress.IPv4Network:
        if ":" in text:
            raise UserError(f"{source}: {where}: {text}: IPv6 is not built yet")
        try:
            return ipaddress.IPv4Network(text)
        except ValueError as error:
            raise UserError(f"{source}: {where}: {error}") from None

    pods = network(config.network.pods, "network.pods")
    services = network(config.network.services, "network.services")
    if pods.prefixlen > 24:
        raise UserError(f"{source}: network.pods: {pods} is smaller than one node's /24")
    if pods.overlaps(services):
        raise UserError(f"{source}: network.pods {pods} and network.services {services} overlap")
    try:
        dns = ipaddress.IPv4Address(config.network.dns)
    except ValueError as error:
        raise UserError(f"{source}: network.dns: {error}") from None
    if dns not in services:
        raise UserError(f"{source}: network.dns {dns} is not inside network.services {services}")
    if config.network.nodes:
        network(config.network.nodes, "network.nodes")
    for cidr in config.network.node_port_addresses:
        network(cidr, "network.nodePortAddresses")
    try:
        check_pool(config.network.load_balancer_addresses)
    except ValueError as error:
        raise UserError(f"{source}: network.loadBalancerAddresses: {error}") from None
    ports = config.network.ingress_ports
    if ports and (len(set(ports)) != 2 or len(ports) != 2 or not all(1 <= port <= 65535 for port in ports)):
        raise UserError(f"{source}: network.ingressPorts must be two ports, for HTTP and HTTPS, or none")
    match = re.fullmatch(r"(\d+)-(\d+)", config.network.node_ports)
    if not match or not 1 <= int(match[1]) <= int(match[2]) <= 65535:
        raise UserError(f"{source}: network.nodePorts must be a range such as 30000-32767")
    chosen = AdmissionConfig(enable=config.api.enable_admission_plugins, disable=config.api.disable_admission_plugins)
    try:
        select_plugins(chosen)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None
    if not 1 <= config.api.port <= 65535:
        raise UserError(f"{source}: api.port must be between 1 and 65535")
    _check_requests(config.api, source)
    check_options(config.manager, lambda name: f"{source}: manager.{_camel(name)}")
    check_hollow(config.hollow, source)
    for server in config.etcd.servers:
        if not re.fullmatch(r"https?://[^/\s]+", server):
            raise UserError(f"{source}: etcd.servers: {server!r} must be a URL such as https://192.0.2.10:2379")
    if bool(config.etcd.certfile) != bool(config.etcd.keyfile):
        raise UserError(f"{source}: etcd.certfile and etcd.keyfile go together")
    for name in ("cafile", "certfile", "keyfile", "prefix"):
        if getattr(config.etcd, name) and not config.etcd.servers:
            raise UserError(f"{source}: etcd.{name} needs etcd.servers")
    if config.etcd.prefix and not re.fullmatch(r"(/[^/\s]+)+", config.etcd.prefix):
        raise UserError(f"{source}: etcd.prefix must be a path such as /clusters/one")
    for host, registry in config.registries.items():
        for mirror in registry.mirrors:
            if not mirror.startswith(("http://", "https://")):
                raise UserError(f"{source}: registries.{host}.mirrors: {mirror!r} must start with http:// or https://")
