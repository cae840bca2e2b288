"""nftables text. A fragment is everything one Service (or one pod's host ports) puts into the table, so an update
replaces one fragment and costs what changed. Rules and elements are rendered to text and compared as text.

Table `timonel` (ip):

    prerouting, output (nat) → dispatch ─┬─ @services   addr . proto . port → svc-…   (or ext-… for load balancers)
                                         └─ @nodeports  proto . port → ext-… | host-…
    ext-…  marks for masquerading, goes to svc-…        svc-…  dnat to one of its endpoints, evenly at random
    postrouting: marked, hairpin and pod-to-outside traffic is masqueraded
    filter: @unserved is rejected, @undeliverable (no endpoint on this node, policy Local) is dropped
    guard: nobody outside reaches 127.0.0.0/8, which node ports on localhost would open
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from timonel.network.proxy.services import Endpoint, ServicePort

MASQUERADE_MARK = "0x4000"

Element = tuple[str, str]
"""Name of the map or set, and key."""


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
    udp: frozenset[tuple[str, int, str]] = frozenset()
    """(service address, port, endpoint address): whose connection tracking entries end with them."""


EMPTY = Fragment()


def service_fragment(ports: Sequence[ServicePort]) -> Fragment:
    sets: dict[str, str] = {}
    chains: dict[str, tuple[str, ...]] = {}
    elements: dict[Element, str] = {}
    hairpin: set[str] = set()
    udp: set[tuple[str, int, str]] = set()
    for port in ports:
        service = chain_name("svc", port)
        external = chain_name("ext", port)
        outside = service if port.external == port.internal else chain_name("loc", port)
        _add_balancer(service, port.internal, port, sets, chains)
        if outside != service:
            _add_balancer(outside, port.external, port, sets, chains)
        is_reachable_outside = bool(port.node_port or port.load_balancer_ips)
        if is_reachable_outside and port.external:
            mark = () if port.keeps_client_address else (f"meta mark set meta mark or {MASQUERADE_MARK}",)
            # Loopback has to be left behind for the way back, whatever the policy.
            mark = mark or (f"ip saddr 127.0.0.0/8 meta mark set meta mark or {MASQUERADE_MARK}",)
            chains = {external: (*mark, f"goto {outside}"), **chains}
        for address in port.cluster_ips:
            key = f"{address} . {port.protocol} . {port.port}"
            elements[_target(port, key, port.internal)] = f"goto {service}" if port.internal else ""
        for address in port.load_balancer_ips:
            key = f"{address} . {port.protocol} . {port.port}"
            elements[_target(port, key, port.external)] = f"goto {external}" if port.external else ""
        if port.node_port:
            key = f"{port.protocol} . {port.node_port}"
            if port.external:
                elements["nodeports", key] = f"goto {external}"
            else:
                elements["unserved_nodeports" if not port.any_endpoint else "undeliverable_nodeports", key] = ""
        everything = {*port.internal, *port.external}
        hairpin |= {endpoint.address for endpoint in everything if endpoint.is_local}
        if port.protocol == "udp":
            udp |= {(address, port.port, endpoint.address) for address in port.cluster_ips for endpoint in everything}
    return Fragment(sets, chains, elements, frozenset(hairpin), frozenset(udp))


def _target(port: ServicePort, key: str, endpoints: Sequence[Endpoint]) -> Element:
    if endpoints:
        return "services", key
    return ("undeliverable" if port.any_endpoint else "unserved"), key


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
    for port in ports:
        digest = hashlib.sha256(f"{pod}/{port}".encode()).hexdigest()[:10]
        name = f"host-{digest}-" + re.sub(r"[^a-zA-Z0-9/._-]", "_", pod)[:80]
        match = f"ip daddr {port.host_address} " if port.host_address else ""
        chains[name] = (
            f"ip saddr 127.0.0.0/8 meta mark set meta mark or {MASQUERADE_MARK}",
            f"{match}meta l4proto {port.protocol} dnat ip to {port.endpoint.address}:{port.endpoint.port}",
        )
        elements["nodeports", f"{port.protocol} . {port.host_port}"] = f"goto {name}"
        hairpin.add(port.endpoint.address)
    return Fragment(chains=chains, elements=elements, hairpin=frozenset(hairpin))


def render_base(table: str, node_pod_cidrs: Sequence[str], cluster_cidr: str) -> str:
    """The table without any Service, replacing what was there in the same transaction."""
    services = "type ipv4_addr . inet_proto . inet_service"
    node_ports = "type inet_proto . inet_service"
    lookup = "ip daddr . meta l4proto . th dport"
    local = "fib daddr type local meta l4proto . th dport"
    lines = [
        f"add table ip {table}",
        f"delete table ip {table}",
        f"add table ip {table}",
        f"add map ip {table} services {{ {services} : verdict; }}",
        f"add map ip {table} nodeports {{ {node_ports} : verdict; }}",
        f"add set ip {table} unserved {{ {services}; }}",
        f"add set ip {table} unserved_nodeports {{ {node_ports}; }}",
        f"add set ip {table} undeliverable {{ {services}; }}",
        f"add set ip {table} undeliverable_nodeports {{ {node_ports}; }}",
        f"add set ip {table} hairpin {{ type ipv4_addr . ipv4_addr; }}",
        f"add chain ip {table} dispatch",
        f"add rule ip {table} dispatch {lookup} vmap @services",
        f"add rule ip {table} dispatch {local} vmap @nodeports",
        f"add chain ip {table} prerouting {{ type nat hook prerouting priority dstnat; policy accept; }}",
        f"add rule ip {table} prerouting jump dispatch",
        f"add chain ip {table} output {{ type nat hook output priority -100; policy accept; }}",
        f"add rule ip {table} output jump dispatch",
        f"add chain ip {table} postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}",
        f"add rule ip {table} postrouting meta mark and {MASQUERADE_MARK} == {MASQUERADE_MARK} masquerade fully-random",
        f"add rule ip {table} postrouting ip saddr . ip daddr @hairpin masquerade fully-random",
        *(
            f"add rule ip {table} postrouting ip saddr {cidr} ip daddr != {cluster_cidr} masquerade fully-random"
            for cidr in node_pod_cidrs
        ),
        f"add chain ip {table} refuse",
        f"add rule ip {table} refuse {lookup} @unserved reject",
        f"add rule ip {table} refuse {lookup} @undeliverable drop",
        f"add rule ip {table} refuse {local} @unserved_nodeports reject",
        f"add rule ip {table} refuse {local} @undeliverable_nodeports drop",
        *(
            line
            for hook in ("input", "forward", "output")
            for line in (
                f"add chain ip {table} filter-{hook} {{ type filter hook {hook} priority filter; policy accept; }}",
                f"add rule ip {table} filter-{hook} ct state new jump refuse",
            )
        ),
        f"add chain ip {table} guard {{ type filter hook prerouting priority raw; policy accept; }}",
        f'add rule ip {table} guard iifname != "lo" ip daddr 127.0.0.0/8 drop',
    ]
    return "\n".join(lines) + "\n"


def render_change(table: str, old: Fragment, new: Fragment) -> str:
    """From one state of a fragment to another; "" when nothing differs. Hairpin elements are the caller's."""
    if old == new:
        return ""
    lines = [
        f"add set ip {table} {name} {definition}"
        for name, definition in new.sets.items()
        if old.sets.get(name) != definition
    ]
    changed = [name for name, rules in new.chains.items() if old.chains.get(name) != rules]
    lines += [f"add chain ip {table} {name}" for name in changed]
    lines += [f"flush chain ip {table} {name}" for name in changed if name in old.chains]
    lines += [f"add rule ip {table} {name} {rule}" for name in changed for rule in new.chains[name]]
    for (container, key), value in old.elements.items():
        if new.elements.get((container, key)) != value:
            lines.append(f"delete element ip {table} {container} {{ {key} }}")
    for (container, key), value in new.elements.items():
        if old.elements.get((container, key)) != value:
            item = f"{key} : {value}" if value else key
            lines.append(f"add element ip {table} {container} {{ {item} }}")
    gone = [name for name in old.chains if name not in new.chains]
    # Emptied first, so that none is still referred to when it is deleted.
    lines += [f"flush chain ip {table} {name}" for name in gone]
    lines += [f"delete chain ip {table} {name}" for name in gone]
    lines += [f"delete set ip {table} {name}" for name in old.sets if name not in new.sets]
    return "\n".join(lines) + "\n" if lines else ""


def render_hairpin(table: str, added: Iterable[str], removed: Iterable[str]) -> str:
    lines = [f"add element ip {table} hairpin {{ {address} . {address} }}" for address in sorted(added)]
    lines += [f"delete element ip {table} hairpin {{ {address} . {address} }}" for address in sorted(removed)]
    return "\n".join(lines) + "\n" if lines else ""
