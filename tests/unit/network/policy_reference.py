"""Who may talk to whom, by the text of the documentation, one connection at a time; nothing shared with the product.

Source: kubernetes.io/docs/concepts/services-networking/network-policies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Party:
    name: str
    address: str
    namespace: str = ""
    """"" for a host outside the cluster."""
    labels: dict[str, str] = field(default_factory=dict)
    ports: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Name to protocol and number."""

    @property
    def is_pod(self) -> bool:
        return bool(self.namespace)


def is_allowed(
    source: Party,
    target: Party,
    protocol: str,
    port: int,
    policies: list[Object],
    namespaces: dict[str, dict[str, str]],
) -> bool:
    """ "For a connection from a source pod to a destination pod to be allowed, both the egress policy on the source pod
    and the ingress policy on the destination pod need to allow the connection."
    """
    return source == target or all(
        _direction_allows(kind, own, other, target, protocol, port, policies, namespaces)
        for kind, own, other in (("Egress", source, target), ("Ingress", target, source))
    )


def _direction_allows(
    kind: str,
    own: Party,
    other: Party,
    target: Party,
    protocol: str,
    port: int,
    policies: list[Object],
    namespaces: dict[str, dict[str, str]],
) -> bool:
    isolating = [
        policy
        for policy in policies
        if own.is_pod
        and policy["metadata"]["namespace"] == own.namespace
        and _selects(policy["spec"]["podSelector"], own.labels)
        and kind in policy["spec"]["policyTypes"]
    ]
    if not isolating:
        return True
    field_name = "from" if kind == "Ingress" else "to"
    return any(
        _peers_match(rule.get(field_name), policy["metadata"]["namespace"], other, namespaces)
        and _ports_match(rule.get("ports"), target, protocol, port)
        for policy in isolating
        for rule in policy["spec"].get(kind.lower(), [])
    )


def _peers_match(
    peers: list[Object] | None, namespace: str, other: Party, namespaces: dict[str, dict[str, str]]
) -> bool:
    if not peers:
        return True
    for peer in peers:
        if "ipBlock" in peer:
            address, block = ip_address(other.address), peer["ipBlock"]
            inside = address in ip_network(block["cidr"])
            if inside and not any(address in ip_network(item) for item in block.get("except", [])):
                return True
        elif other.is_pod:
            if "namespaceSelector" in peer:
                fits = _selects(peer["namespaceSelector"], namespaces[other.namespace])
            else:
                fits = other.namespace == namespace
            if fits and _selects(peer.get("podSelector", {}), other.labels):
                return True
    return False


def _ports_match(ports: list[Object] | None, target: Party, protocol: str, number: int) -> bool:
    if not ports:
        return True
    for port in ports:
        if port.get("protocol", "TCP") != protocol:
            continue
        wanted = port.get("port")
        if wanted is None or (isinstance(wanted, int) and wanted <= number <= port.get("endPort", wanted)):
            return True
        if isinstance(wanted, str) and target.ports.get(wanted) == (protocol, number):
            return True
    return False


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
