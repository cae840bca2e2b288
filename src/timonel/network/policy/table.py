"""The table in the kernel, as text for `nft -f`: one transaction, all or nothing.

Only what is forwarded is judged, with addresses as pods have them: after Services were translated, before anything is
masqueraded. What the node itself sends to its pods and they to it is neither forwarded nor judged: a node always
reaches its pods. Egress is judged first, then ingress, each by a chain of its own, since `accept` ends only one.

Source: kubernetes.io/docs/concepts/services-networking/network-policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from timonel.network.policy.structure import Element, Structure


def render_base(table: str) -> str:
    """The table without any policy, replacing what was there in the same transaction."""
    lines = [f"add table inet {table}", f"delete table inet {table}", f"add table inet {table}"]
    for family in (4, 6):
        address = f"ipv{family}_addr"
        lines += [
            f"add map inet {table} egress{family} {{ type {address} : verdict; }}",
            f"add map inet {table} ingress{family} {{ type {address} : verdict; }}",
            f"add set inet {table} itself{family} {{ type {address} . {address}; }}",
        ]
    for priority, direction, end in ((5, "egress", "saddr"), (6, "ingress", "daddr")):
        chain = f"add rule inet {table} {direction}"
        lines += [
            f"add chain inet {table} {direction} "
            f"{{ type filter hook forward priority filter + {priority}; policy accept; }}",
            # Answers belong to what was allowed when it began.
            f"{chain} ct state established,related accept",
            f"{chain} ip saddr . ip daddr @itself4 accept",
            f"{chain} ip6 saddr . ip6 daddr @itself6 accept",
            # Neighbours are found before anything can be allowed (RFC 4861).
            f"{chain} icmpv6 type {{ nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }} "
            "accept",
            f"{chain} ip {end} vmap @{direction}4",
            f"{chain} ip6 {end} vmap @{direction}6",
        ]
    return "\n".join(lines) + "\n"


def render_step(
    table: str,
    old: Structure,
    new: Structure,
    added: Iterable[Element] = (),
    removed: Iterable[Element] = (),
    counts: Mapping[str, tuple[int, int]] | None = None,
) -> str:
    """From one structure to the next, and what changed in the members of its sets; "" when nothing did.

    What is gone leaves before what is new comes, chains exist before anything goes to them and are deleted last.
    `counts`: packets and bytes that counters begin with.
    """
    counts = counts or {}
    lines = [
        f"add set inet {table} {name} {definition}"
        for name, definition in sorted(new.sets.items())
        if name not in old.sets
    ]
    for name in sorted(new.counters.keys() - old.counters.keys()):
        packets, size = counts.get(name, (0, 0))
        lines.append(f"add counter inet {table} {name} {{ packets {packets} bytes {size} }}")
    changed = [name for name, rules in new.chains.items() if old.chains.get(name) != rules]
    lines += [f"add chain inet {table} {name}" for name in changed]
    lines += [f"flush chain inet {table} {name}" for name in changed if name in old.chains]
    lines += _elements("delete", table, dict.fromkeys(removed, ""))
    lines += _elements("add", table, dict.fromkeys(added, ""))
    lines += [f"add rule inet {table} {name} {rule}" for name in changed for rule in new.chains[name]]
    lines += _elements("delete", table, {item: "" for item, value in _differing(old.verdicts, new.verdicts)})
    lines += _elements("add", table, dict(_differing(new.verdicts, old.verdicts)))
    # Emptied first, so that none is still referred to when it is deleted.
    gone = sorted(old.chains.keys() - new.chains.keys())
    lines += [f"flush chain inet {table} {name}" for name in gone]
    lines += [f"delete chain inet {table} {name}" for name in gone]
    lines += [f"delete counter inet {table} {name}" for name in sorted(old.counters.keys() - new.counters.keys())]
    lines += [f"delete set inet {table} {name}" for name in sorted(old.sets.keys() - new.sets.keys())]
    return "\n".join(lines) + "\n" if lines else ""


def _differing(one: Mapping[Element, str], other: Mapping[Element, str]) -> list[tuple[Element, str]]:
    return [(item, value) for item, value in sorted(one.items()) if other.get(item) != value]


def _elements(verb: str, table: str, elements: Mapping[Element, str]) -> list[str]:
    """One command per set: many elements at once cost little more than one."""
    by_set: dict[str, list[str]] = {}
    for (name, key), value in elements.items():
        by_set.setdefault(name, []).append(f"{key} : {value}" if value else key)
    return [f"{verb} element inet {table} {name} {{ {', '.join(keys)} }}" for name, keys in by_set.items()]
