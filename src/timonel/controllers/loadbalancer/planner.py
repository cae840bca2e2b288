"""Which addresses a Service of type LoadBalancer gets, or why it gets none. Pure.

Node addresses: a Service is reached at its ports on every node that is ready, or, with the external traffic policy
Local, on those that have an endpoint; so two Services cannot have the same port, and some ports are the node's own.
Pool: a Service gets an address of its own, with all ports, that one node announces (`timonel.network.announcer`).

Source: kubernetes.io/docs/concepts/services-networking/service/#loadbalancer
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from timonel.api.address_pools import addresses_of, in_pool
from timonel.api.objects import Object, find_by, get_path, is_deleting, key_of, labels_of

NODES_CLASS, POOL_CLASS = "timonel.dev/nodes", "timonel.dev/pool"
"""Values of spec.loadBalancerClass that are ours; without one, the pool if there is one, else the nodes."""
EXCLUDED_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancerConfig:
    pool: tuple[str, ...] = ()
    """ "192.0.2.10-192.0.2.20", "192.0.2.0/28" or "192.0.2.7"."""
    reserved_ports: frozenset[int] = frozenset({22, 2379, 2380, 6443, 10250, 10257, 10259})
    """TCP ports of node addresses that stay the node's own: whoever took SSH or the API away could not be stopped."""


@dataclass(frozen=True, slots=True)
class Assignment:
    addresses: tuple[str, ...]
    """None: pending, and `problem` says why."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What another Service has."""

    name: str
    addresses: frozenset[str]
    ports: frozenset[tuple[str, int]]
    by_nodes: bool


def uses_pool(service: Object, config: LoadBalancerConfig) -> bool:
    wanted = get_path(service, "spec", "loadBalancerClass", default="")
    return wanted == POOL_CLASS or (not wanted and bool(config.pool))


def is_ours(service: Object) -> bool:
    """A LoadBalancer that nobody else is asked for."""
    spec = service.get("spec") or {}
    return spec.get("type") == "LoadBalancer" and (spec.get("loadBalancerClass") or NODES_CLASS) in (
        NODES_CLASS,
        POOL_CLASS,
    )


def ports_of(service: Object) -> frozenset[tuple[str, int]]:
    ports = get_path(service, "spec", "ports", default=[]) or []
    return frozenset((port.get("protocol") or "TCP", port["port"]) for port in ports)


def current_addresses(service: Object) -> tuple[str, ...]:
    ingress = get_path(service, "status", "loadBalancer", "ingress", default=[]) or []
    return tuple(item["ip"] for item in ingress if item.get("ip"))


def plan_assignment(
    service: Object,
    others: Iterable[Held],
    nodes: Iterable[Object],
    slices: Iterable[Object],
    node_ports: Iterable[tuple[str, int]],
    config: LoadBalancerConfig,
) -> Assignment:
    """`others` have what they have; `slices` are the Service's; `node_ports` those of all other Services."""
    if uses_pool(service, config):
        return _from_pool(service, {address for other in others for address in other.addresses}, config)
    return _on_nodes(service, list(others), nodes, slices, set(node_ports), config)


def _from_pool(service: Object, taken: set[str], config: LoadBalancerConfig) -> Assignment:
    wanted = get_path(service, "spec", "loadBalancerIP", default="") or ""
    for address in current_addresses(service):
        if in_pool(address, config.pool) and address not in taken and wanted in ("", address):
            return Assignment((address,))
    if wanted:
        if not in_pool(wanted, config.pool):
            return Assignment((), f"spec.loadBalancerIP {wanted} is not in the pool of addresses")
        if wanted in taken:
            return Assignment((), f"spec.loadBalancerIP {wanted} is another Service's")
        return Assignment((wanted,))
    for address in addresses_of(config.pool):
        if address not in taken:
            return Assignment((address,))
    return Assignment((), "no address of the pool is free" if config.pool else "there is no pool of addresses")


def _on_nodes(
    service: Object,
    others: Sequence[Held],
    nodes: Iterable[Object],
    slices: Iterable[Object],
    node_ports: set[tuple[str, int]],
    config: LoadBalancerConfig,
) -> Assignment:
    families = get_path(service, "spec", "ipFamilies", default=None) or ["IPv4"]
    if "IPv4" not in families:
        return Assignment((), "the nodes' addresses are IPv4")
    for protocol, port in sorted(ports_of(service)):
        holder = next((other.name for other in others if other.by_nodes and (protocol, port) in other.ports), "")
        if holder:
            return Assignment((), f"port {port}/{protocol} of the nodes' addresses is taken by Service {holder}")
        if protocol == "TCP" and port in config.reserved_ports:
            return Assignment((), f"port {port}/{protocol} of the nodes' addresses is reserved for the nodes")
        if (protocol, port) in node_ports:
            return Assignment((), f"port {port}/{protocol} of the nodes' addresses is the node port of another Service")
    ready = {str(node["metadata"]["name"]): node for node in nodes if serves(node)}
    if get_path(service, "spec", "externalTrafficPolicy") == "Local":
        near = {name for name in nodes_with_endpoints(slices) if name in ready}
        # Without any endpoint nobody answers, wherever clients go: the addresses stay.
        ready = {name: node for name, node in ready.items() if name in near} or ready
    found = sorted({address for node in ready.values() if (address := _internal_address(node))}, key=IPv4Address)
    return Assignment(tuple(found)) if found else Assignment((), "There are no available nodes for LoadBalancer")


def serves(node: Object) -> bool:
    condition = find_by(get_path(node, "status", "conditions", default=[]), "type", "Ready") or {}
    return condition.get("status") == "True" and EXCLUDED_LABEL not in labels_of(node) and not is_deleting(node)


def nodes_with_endpoints(slices: Iterable[Object]) -> set[str]:
    return {
        endpoint["nodeName"]
        for item in slices
        for endpoint in item.get("endpoints") or []
        if endpoint.get("nodeName") and (endpoint.get("conditions") or {}).get("ready", True)
    }


def _internal_address(node: Object) -> str:
    for item in get_path(node, "status", "addresses", default=[]) or []:
        if item.get("type") == "InternalIP" and "." in (item.get("address") or ""):
            return str(item["address"])
    return ""


def held_by(service: Object, addresses: Sequence[str], config: LoadBalancerConfig) -> Held:
    by_nodes = not uses_pool(service, config)
    return Held(str(key_of(service)), frozenset(addresses), ports_of(service), by_nodes)
