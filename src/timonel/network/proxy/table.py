"""The table in the kernel, as text for `nft -f`: one transaction, all or nothing.

prerouting, output (nat) → dispatch → the maps of fragments.py
postrouting: marked, hairpin and pod-to-outside traffic is masqueraded
filter: unserved and unknown ports are rejected, undeliverable and unknown addresses are dropped
guard: nobody outside reaches 127.0.0.0/8, which node ports on localhost would open
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from timonel.network.proxy.fragments import MASQUERADE_MARK, Fragment


def render_base(
    table: str,
    node_pod_cidrs: Sequence[str],
    cluster_cidr: str,
    service_cidr: str,
    node_port_addresses: Sequence[str] = (),
) -> str:
    """The table without any Service, replacing what was there in the same transaction.

    `node_port_addresses`: ranges of this node's addresses that node ports are reached at; none: all of them.
    """
    services = "type ipv4_addr . inet_proto . inet_service"
    node_ports = "type inet_proto . inet_service"
    lookup = "ip daddr . meta l4proto . th dport"
    local = "fib daddr type local meta l4proto . th dport"
    ranges = f"ip daddr {{ {', '.join(node_port_addresses)} }} " if node_port_addresses else ""
    node_port = f"{ranges}{local}"
    lines = [
        f"add table ip {table}",
        f"delete table ip {table}",
        f"add table ip {table}",
        f"add map ip {table} services {{ {services} : verdict; }}",
        f"add map ip {table} nodeports {{ {node_ports} : verdict; }}",
        f"add map ip {table} hostports {{ {node_ports} : verdict; }}",
        f"add map ip {table} hostports_at {{ {services} : verdict; }}",
        f"add set ip {table} unserved {{ {services}; }}",
        f"add set ip {table} unserved_nodeports {{ {node_ports}; }}",
        f"add set ip {table} undeliverable {{ {services}; }}",
        f"add set ip {table} undeliverable_here {{ {services}; }}",
        f"add set ip {table} undeliverable_nodeports {{ {node_ports}; }}",
        f"add set ip {table} cluster_ips {{ type ipv4_addr; }}",
        f"add set ip {table} unmasked {{ type ipv4_addr; }}",
        f"add set ip {table} hairpin {{ type ipv4_addr . ipv4_addr; }}",
        f"add chain ip {table} dispatch",
        f"add rule ip {table} dispatch {lookup} vmap @services",
        f"add rule ip {table} dispatch {lookup} vmap @hostports_at",
        f"add rule ip {table} dispatch {local} vmap @hostports",
        f"add rule ip {table} dispatch {node_port} vmap @nodeports",
        f"add chain ip {table} prerouting {{ type nat hook prerouting priority dstnat; policy accept; }}",
        f"add rule ip {table} prerouting jump dispatch",
        f"add chain ip {table} output {{ type nat hook output priority -100; policy accept; }}",
        f"add rule ip {table} output jump dispatch",
        f"add chain ip {table} postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}",
        f"add rule ip {table} postrouting meta mark and {MASQUERADE_MARK} == {MASQUERADE_MARK} masquerade fully-random",
        f"add rule ip {table} postrouting ip saddr . ip daddr @hairpin masquerade fully-random",
        *(
            f"add rule ip {table} postrouting ip saddr {cidr} ip daddr != {cluster_cidr} ip daddr != @unmasked "
            "masquerade fully-random"
            for cidr in node_pod_cidrs
        ),
        f"add chain ip {table} refuse",
        f"add rule ip {table} refuse {lookup} @unserved reject",
        f"add rule ip {table} refuse {lookup} @undeliverable drop",
        f"add rule ip {table} refuse {lookup} @undeliverable_here fib daddr type local drop",
        f"add rule ip {table} refuse {node_port} @unserved_nodeports reject",
        f"add rule ip {table} refuse {node_port} @undeliverable_nodeports drop",
        # What is left for the service range would wander off to the default gateway. A port that a Service does not
        # have is refused; an address nobody has yet is dropped, since a client that tries again may find it served.
        f"add rule ip {table} refuse ip daddr @cluster_ips reject",
        f"add rule ip {table} refuse ip daddr {service_cidr} fib daddr type != local drop",
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


def render_changes(table: str, changes: Iterable[tuple[Fragment, Fragment]]) -> str:
    """From old to new fragments; "" when nothing differs. Hairpin elements are the caller's.

    In the order that lets a name or key move from one fragment to another: what is gone leaves before what is new
    comes, chains exist before anything goes to them and are deleted last.
    """
    chains: list[str] = []
    leaving: list[str] = []
    coming: list[str] = []
    flushed: list[str] = []
    deleted: list[str] = []
    for old, new in changes:
        chains += [
            f"add set ip {table} {name} {definition}"
            for name, definition in new.sets.items()
            if old.sets.get(name) != definition
        ]
        changed = [name for name, rules in new.chains.items() if old.chains.get(name) != rules]
        chains += [f"add chain ip {table} {name}" for name in changed]
        chains += [f"flush chain ip {table} {name}" for name in changed if name in old.chains]
        chains += [f"add rule ip {table} {name} {rule}" for name in changed for rule in new.chains[name]]
        for (container, key), value in old.elements.items():
            if new.elements.get((container, key)) != value:
                leaving.append(f"delete element ip {table} {container} {{ {key} }}")
        for (container, key), value in new.elements.items():
            if old.elements.get((container, key)) != value:
                item = f"{key} : {value}" if value else key
                coming.append(f"add element ip {table} {container} {{ {item} }}")
        gone = [name for name in old.chains if name not in new.chains]
        # Emptied first, so that none is still referred to when it is deleted.
        flushed += [f"flush chain ip {table} {name}" for name in gone]
        deleted += [f"delete chain ip {table} {name}" for name in gone]
        deleted += [f"delete set ip {table} {name}" for name in old.sets if name not in new.sets]
    lines = chains + leaving + coming + flushed + deleted
    return "\n".join(lines) + "\n" if lines else ""


def render_unmasked(table: str, added: Iterable[str], removed: Iterable[str]) -> str:
    """Addresses outside the cluster's range that pods are seen by as what they are: other nodes."""
    lines = [f"add element ip {table} unmasked {{ {address} }}" for address in sorted(added)]
    lines += [f"delete element ip {table} unmasked {{ {address} }}" for address in sorted(removed)]
    return "\n".join(lines) + "\n" if lines else ""


def render_hairpin(table: str, added: Iterable[str], removed: Iterable[str]) -> str:
    lines = [f"add element ip {table} hairpin {{ {address} . {address} }}" for address in sorted(added)]
    lines += [f"delete element ip {table} hairpin {{ {address} . {address} }}" for address in sorted(removed)]
    return "\n".join(lines) + "\n" if lines else ""
