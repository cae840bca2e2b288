"""The two kinds of peers that policies name: pods by labels, and ranges of addresses. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from timonel.api.labels import Selector
from timonel.network.addresses import ipv4_of
from timonel.network.policy.facts import PodFacts


@dataclass(frozen=True)
class Selection:
    """Pods of one namespace, or of all namespaces that `namespaces` matches, whose labels `pods` matches.

    Policies that name the same pods share one, and so one set in the kernel.
    """

    pods: Selector
    namespace: str = ""
    namespaces: Selector | None = None

    def matches_namespace(self, name: str, labels: Mapping[str, str]) -> bool:
        return self.namespaces.matches(labels) if self.namespaces is not None else name == self.namespace

    def matches(self, pod: PodFacts, namespace_labels: Mapping[str, str]) -> bool:
        return self.matches_namespace(pod.key.namespace, namespace_labels) and self.pods.matches(pod.labels)

    @cached_property
    def digest(self) -> str:
        """For names in the kernel."""
        spaces = f"in {self.namespace}" if self.namespaces is None else f"of {describe(self.namespaces)}"
        return hashlib.sha256(f"{spaces} {describe(self.pods)}".encode()).hexdigest()[:12]

    def set_name(self, family: int) -> str:
        return f"pods-{self.digest}-{family}"

    def port_set_name(self, name: str, protocol: str, family: int) -> str:
        return f"port-{self.digest}-{protocol}-{name}-{family}"


EVERY_POD = Selection(pods=Selector(), namespaces=Selector())


def describe(selector: Selector) -> str:
    return "nothing" if selector.nothing else str(selector)


@dataclass(frozen=True, slots=True)
class Ranges:
    """Addresses of one family: first and last of each range, in order, never overlapping."""

    family: int
    ranges: tuple[tuple[int, int], ...]

    @property
    def is_everything(self) -> bool:
        return self.ranges == ((0, 2 ** (32 if self.family == 4 else 128) - 1),)

    def texts(self) -> list[str]:
        make = IPv4Address if self.family == 4 else IPv6Address
        return [str(make(first)) if first == last else f"{make(first)}-{make(last)}" for first, last in self.ranges]


def block_ranges(cidr: str, excepts: Iterable[str]) -> Ranges:
    """An ipBlock's range without its exceptions, which may overlap each other. Raises ValueError for odd texts."""
    family, first, last = _bounds(cidr)
    ranges = []
    for other, low, high in sorted(map(_bounds, excepts)):
        if other != family or high < first or low > last:
            continue
        if low > first:
            ranges.append((first, low - 1))
        first = max(first, high + 1)
    if first <= last:
        ranges.append((first, last))
    return Ranges(family, tuple(ranges))


def _bounds(cidr: str) -> tuple[int, int, int]:
    """Family, first and last address. Leading zeros and bits of the host are let pass by older fields of the API."""
    address, slash, length = cidr.partition("/")
    if ":" in cidr:
        network = ip_network(cidr, strict=False)
        if not isinstance(network, IPv6Network):
            raise ValueError(cidr)
    else:
        network = ip_network(f"{ipv4_of(address)}{slash}{length}", strict=False)
    return network.version, int(network.network_address), int(network.broadcast_address)
