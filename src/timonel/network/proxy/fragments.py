"""What one Service, or one pod's host ports, puts into the table: an update replaces one fragment and costs what
changed. Chains, sets and elements by name, rules as nft's text; table.py puts them into the kernel.

    services, hostports_at   addr . proto . port → svc-… | ext-… | host-…
    nodeports, hostports     proto . port        → ext-… | host-…
    svc-…  dnat to an endpoint, evenly at random, for traffic from inside; loc-…, all-… the same for other endpoints
    ext-…  for traffic from outside: marks for masquerading and goes to one of those
    from-… for load balancers that not everybody may use: drops the others and goes to ext-…
    unserved (rejected), undeliverable (dropped: no endpoint on this node, policy Local), and both for node ports
    undeliverable_here (the same for addresses of load balancers: other nodes' own ones pass)
    cluster_ips (other ports of these are rejected)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from timonel.network.proxy.services import Endpoint, ServicePort

MASQUERADE_MARK = "0x4000"
_MASQUERADE = f"meta mark set meta mark or {MASQUERADE_MARK}"

Element = tuple[str, str]
"""Name of the map or set, and key."""
UdpPort = tuple[str, int]
"""Address, "" for every address of the node, and port."""


@dataclass(frozen=True, slots=True)
class Fragment:
    sets: Mapping[str, str] = field(default_factory=dict)
    """Name to definition."""
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name to rules. A chain may only go to chains that stand after it."""
    elements: Mapping[Element, str] = field(default_factory=dict)
    """To the map's value, "" in sets."""
    hairpin: frozenset[str] = frozenset()
    """Local endpoint addresses, which may be asked by themselves; shared between Services, hence counted."""
    udp: Mapping[UdpPort, frozenset[str]] = field(default_factory=dict)
    """Endpoint addresses of each: connection tracking entries to others have to go."""


EMPTY = Fragment()


def service_fragment(
    ports: Sequence[ServicePort], own_pods: Sequence[str] = (), virtual: Collection[str] = ()
) -> Fragment:
    """`own_pods`: address ranges of this node's pods. `virtual`: addresses of load balancers that are no machine's."""
    sets: dict[str, str] = {}
    chains: dict[str, tuple[str, ...]] = {}
    elements: dict[Element, str] = {}
    hairpin: set[str] = set()
    udp: dict[UdpPort, frozenset[str]] = {}
    for port in ports:
        service = chain_name("svc", port)
        _add_balancer(service, port.internal, port, sets, chains)
        external = _add_external(port, service, own_pods, sets, chains)
        for address in port.cluster_ips:
            key = f"{address} . {port.protocol} . {port.port}"
            elements["cluster_ips", address] = ""
            if port.internal:
                elements["services", key] = f"goto {service}"
            else:
                elements["undeliverable" if port.everywhere else "unserved", key] = ""
        places = [
            ("services", "unserved", "undeliverable", f"{address} . {port.protocol} . {port.port}", external)
            for address in port.external_ips
        ]
        if port.node_port:
            key = f"{port.protocol} . {port.node_port}"
            places.append(("nodeports", "unserved_nodeports", "undeliverable_nodeports", key, external))
        balanced = _add_filter(port, external, chains) if port.balancer_ips else ""
        for address in port.balancer_ips:
            key = f"{address} . {port.protocol} . {port.port}"
            places.append(("services", "unserved", "undeliverable_here", key, balanced))
            if address in virtual:
                elements["cluster_ips", address] = ""
        for container, unserved, undeliverable, key, chain in places:
            if port.everywhere:
                elements[container, key] = f"goto {chain}"
            if not port.external:
                # Also when the map above has it: what it does not translate ends here.
                elements[undeliverable if port.everywhere else unserved, key] = ""
        everything = {*port.internal, *port.external, *port.everywhere}
        hairpin |= {endpoint.address for endpoint in everything if endpoint.is_local}
        if port.protocol == "udp":
            addresses = frozenset(endpoint.address for endpoint in everything)
            udp |= {(address, port.port): addresses for address in addresses_of(port)}
            if port.node_port:
                udp["", port.node_port] = addresses
    return Fragment(sets, chains, elements, frozenset(hairpin), udp)


def addresses_of(port: ServicePort) -> tuple[str, ...]:
    return *port.cluster_ips, *port.external_ips, *port.balancer_ips


def _add_filter(port: ServicePort, external: str, chains: dict[str, tuple[str, ...]]) -> str:
    """The chain of a load balancer's addresses."""
    if port.source_ranges is None or not external:
        return external
    name = chain_name("from", port)
    ranges = ", ".join(port.source_ranges)
    # Before any translation: what is dropped here never becomes a connection.
    chains[name] = (f"ip saddr != {{ {ranges} }} drop", f"goto {external}") if ranges else ("drop",)
    return name


def _add_external(
    port: ServicePort,
    service: str,
    own_pods: Sequence[str],
    sets: dict[str, str],
    chains: dict[str, tuple[str, ...]],
) -> str:
    """The chain of node ports and external addresses; "" when there are none or nothing could answer."""
    if not (port.node_port or port.external_ips or port.balancer_ips) or not port.everywhere:
        return ""
    everywhere = service
    if port.everywhere != port.internal:
        everywhere = chain_name("all", port)
        _add_balancer(everywhere, port.everywhere, port, sets, chains)
    rules: list[str]
    if not port.keeps_client_address:
        rules = [_MASQUERADE, f"goto {everywhere}"]
    else:
        # The policy is for clients outside. This node's own pods and processes are not: they reach every endpoint.
        rules = [f"ip saddr {cidr} goto {everywhere}" for cidr in own_pods]
        rules += [f"fib saddr type local {_MASQUERADE}", f"fib saddr type local goto {everywhere}"]
        if port.external:
            local = chain_name("loc", port)
            _add_balancer(local, port.external, port, sets, chains)
            rules.append(f"goto {local}")
    name = chain_name("ext", port)
    chains[name] = tuple(rules)
    return name


def _add_balancer(
    name: str,
    endpoints: Sequence[Endpoint],
    port: ServicePort,
    sets: dict[str, str],
    chains: dict[str, tuple[str, ...]],
) -> None:
    if not endpoints:
        return
    protocol = f"meta l4proto {port.protocol}"
    if not port.affinity_seconds:
        chains[name] = (f"{protocol} dnat ip to {_spread([f'{e.address} . {e.port}' for e in endpoints], 'map')}",)
        return
    rules = []
    targets = []
    members: dict[str, tuple[str, ...]] = {}
    for endpoint in endpoints:
        member = f"{name[:90]}/{endpoint.address}/{endpoint.port}"
        # A set's timeout cannot be changed, so another timeout is another set.
        known = "aff-" + hashlib.sha256(f"{member}/{port.affinity_seconds}".encode()).hexdigest()[:16]
        sets[known] = f"{{ type ipv4_addr; flags dynamic,timeout; timeout {port.affinity_seconds}s; }}"
        members[member] = (
            f"update @{known} {{ ip saddr }}",
            f"{protocol} dnat ip to {endpoint.address}:{endpoint.port}",
        )
        rules.append(f"ip saddr @{known} goto {member}")
        targets.append(f"goto {member}")
    rules.append(_spread(targets, "vmap"))
    chains[name] = tuple(rules)
    chains.update(members)


def _spread(targets: Sequence[str], kind: str) -> str:
    """An even random choice, one lookup whatever the number of endpoints."""
    items = ", ".join(f"{index} : {target}" for index, target in enumerate(targets))
    return f"numgen random mod {len(targets)} {kind} {{ {items} }}"


def chain_name(prefix: str, port: ServicePort) -> str:
    """Unique by a digest, readable by the rest; nft allows 128 characters."""
    identity = f"{port.namespace}/{port.name}/{port.protocol}/{port.port_name}/{port.port}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
    return f"{prefix}-{digest}-" + re.sub(r"[^a-zA-Z0-9/._-]", "_", identity)[:80]


@dataclass(frozen=True, slots=True)
class HostPort:
    protocol: str
    host_port: int
    host_address: str
    """Empty for every address of the node."""
    endpoint: Endpoint


def host_port_fragment(pod: str, ports: Iterable[HostPort]) -> Fragment:
    """`pod`: "namespace/name". Outside clients keep their address: the pod is on this node."""
    chains = {}
    elements: dict[Element, str] = {}
    hairpin = set()
    udp = {}
    for port in ports:
        digest = hashlib.sha256(f"{pod}/{port}".encode()).hexdigest()[:10]
        name = f"host-{digest}-" + re.sub(r"[^a-zA-Z0-9/._-]", "_", pod)[:80]
        chains[name] = (
            # Loopback has to be left behind for the way back.
            f"ip saddr 127.0.0.0/8 {_MASQUERADE}",
            f"meta l4proto {port.protocol} dnat ip to {port.endpoint.address}:{port.endpoint.port}",
        )
        if port.host_address:
            elements["hostports_at", f"{port.host_address} . {port.protocol} . {port.host_port}"] = f"goto {name}"
        else:
            elements["hostports", f"{port.protocol} . {port.host_port}"] = f"goto {name}"
        hairpin.add(port.endpoint.address)
        if port.protocol == "udp":
            udp[port.host_address, port.host_port] = frozenset([port.endpoint.address])
    return Fragment(chains=chains, elements=elements, hairpin=frozenset(hairpin), udp=udp)
