"""A NetworkPolicy as rules over sets of addresses: what it selects, and whom it lets in and out. Pure.

A rule allows what matches one of its peers and one of its ports; no peers are everybody, no ports are all ports of all
protocols. A policy only ever allows: what no policy of an isolated pod allows is dropped (structure.py).

The name of a port is looked up where the connection ends: in the selected pods for ingress, in the peers for egress.
Source: kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from timonel.api.labels import Selector, selector_from_object
from timonel.api.objects import Object, ObjectKey, key_of
from timonel.network.policy.selections import EVERY_POD, Ranges, Selection, block_ranges

logger = logging.getLogger(__name__)

INGRESS, EGRESS = "ingress", "egress"
_FAMILIES = ((4, "ip"), (6, "ip6"))


@dataclass(frozen=True, slots=True)
class Ports:
    numbers: tuple[tuple[str, int, int], ...] = ()
    """Protocol, first, last."""
    names: tuple[tuple[str, str], ...] = ()
    """Protocol, name."""


@dataclass(frozen=True, slots=True)
class Rule:
    peers: tuple[Selection | Ranges, ...] | None
    """None: everybody."""
    ports: Ports | None
    """None: every port of every protocol."""


@dataclass(frozen=True, slots=True)
class Policy:
    key: ObjectKey
    target: Selection
    rules: tuple[tuple[str, tuple[Rule, ...]], ...]
    """By direction, only those that the policy is about: a direction without rules allows nothing."""

    def directions(self) -> tuple[str, ...]:
        return tuple(direction for direction, _ in self.rules)


PortUse = tuple[Selection, str, str]
"""Pods, protocol and name of a port that is looked up in them."""


def compile_policy(policy: Object) -> Policy:
    key, spec = key_of(policy), policy.get("spec") or {}
    kinds = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    rules = []
    for kind, field in (("Ingress", "from"), ("Egress", "to")):
        if kind in kinds:
            found = spec.get(kind.lower()) or []
            rules.append((kind.lower(), tuple(_rule(key, item, field) for item in found)))
    target = Selection(pods=selector_from_object(spec.get("podSelector") or {}), namespace=key.namespace)
    return Policy(key, target, tuple(rules))


def _rule(key: ObjectKey, rule: Object, field: str) -> Rule:
    peers = rule.get(field) or None
    return Rule(tuple(_peers(key, peers)) if peers else None, _ports(rule.get("ports") or []))


def _peers(key: ObjectKey, peers: list[Object]) -> Iterator[Selection | Ranges]:
    for peer in peers:
        block = peer.get("ipBlock")
        if block:
            try:
                yield block_ranges(block.get("cidr") or "", block.get("except") or [])
            except ValueError as error:
                logger.warning("ipBlock matches nothing policy=%s error=%s", key, error)
            continue
        pods, namespaces = peer.get("podSelector"), peer.get("namespaceSelector")
        labels = selector_from_object(pods) if pods is not None else Selector()
        if namespaces is not None:
            yield Selection(pods=labels, namespaces=selector_from_object(namespaces))
        elif pods is not None:
            yield Selection(pods=labels, namespace=key.namespace)


def _ports(ports: list[Object]) -> Ports | None:
    if not ports:
        return None
    numbers, names = set(), set()
    for port in ports:
        protocol, number = (port.get("protocol") or "TCP").lower(), port.get("port")
        if number is None:
            numbers.add((protocol, 0, 65535))
        elif isinstance(number, str):
            names.add((protocol, number))
        else:
            numbers.add((protocol, number, port.get("endPort") or number))
    return Ports(tuple(_joined(numbers)), tuple(sorted(names)))


def _joined(numbers: set[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
    """Without overlaps, which a set in the kernel refuses."""
    last: tuple[str, int, int] | None = None
    for protocol, low, high in sorted(numbers):
        if last is not None and last[0] == protocol and low <= last[2] + 1:
            last = (protocol, last[1], max(high, last[2]))
            continue
        if last is not None:
            yield last
        last = (protocol, low, high)
    if last is not None:
        yield last


def render_policy(policy: Policy, direction: str) -> tuple[str, ...]:
    """nft rules that accept what the policy allows in this direction."""
    lines: list[str] = []
    for rule in dict(policy.rules).get(direction, ()):
        lines += (" ".join([*matches, "accept"]) for matches in _matches(policy, rule, direction))
    return tuple(dict.fromkeys(lines))


def _matches(policy: Policy, rule: Rule, direction: str) -> Iterator[list[str]]:
    peers: tuple[Selection | Ranges | None, ...] = (None,) if rule.peers is None else rule.peers
    for peer in peers:
        if peer is None:
            if rule.ports is None:
                yield []
            elif rule.ports.numbers:
                yield [_numbers(rule.ports)]
        for family, protocol in _FAMILIES:
            place = f"{protocol} {'saddr' if direction == INGRESS else 'daddr'}"
            who = _peer(place, peer, family)
            if who is None:
                continue
            if peer is not None:
                if rule.ports is None:
                    yield who
                elif rule.ports.numbers:
                    yield [*who, _numbers(rule.ports)]
            for pods, transport, name in _uses(policy, rule, peer, direction):
                ports = pods.port_set_name(name, transport, family)
                needed = [] if direction == EGRESS and isinstance(peer, Selection) else who
                yield [*needed, f"{protocol} daddr . meta l4proto . th dport @{ports}"]


def _peer(place: str, peer: Selection | Ranges | None, family: int) -> list[str] | None:
    """None when nobody of this family can match."""
    if peer is None:
        return []
    if isinstance(peer, Selection):
        return [f"{place} @{peer.set_name(family)}"]
    if peer.family != family or not peer.ranges:
        return None
    # nft takes no set that is everything.
    return [f"meta nfproto ipv{family}" if peer.is_everything else f"{place} {{ {', '.join(peer.texts())} }}"]


def _numbers(ports: Ports) -> str:
    items = (
        f"{protocol} . {first}" if first == last else f"{protocol} . {first}-{last}"
        for protocol, first, last in ports.numbers
    )
    return f"meta l4proto . th dport {{ {', '.join(items)} }}"


def _uses(policy: Policy, rule: Rule, peer: Selection | Ranges | None, direction: str) -> Iterator[PortUse]:
    if direction == INGRESS:
        pods = policy.target
    else:
        pods = peer if isinstance(peer, Selection) else EVERY_POD
    for protocol, name in rule.ports.names if rule.ports else ():
        yield pods, protocol, name


def used_selections(policy: Policy, direction: str) -> tuple[set[Selection], set[PortUse]]:
    """Whose addresses, and whose named ports, the rules of `render_policy` look up."""
    addresses: set[Selection] = set()
    ports: set[PortUse] = set()
    for rule in dict(policy.rules).get(direction, ()):
        peers: tuple[Selection | Ranges | None, ...] = (None,) if rule.peers is None else rule.peers
        for peer in peers:
            uses = set(_uses(policy, rule, peer, direction))
            ports |= uses
            is_needed = rule.ports is None or rule.ports.numbers or direction == INGRESS
            if isinstance(peer, Selection) and is_needed:
                addresses.add(peer)
    return addresses, ports
