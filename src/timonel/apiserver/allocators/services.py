"""Cluster addresses and node ports of Services: filled in where left out, refused where taken.

Source: kubernetes.io/docs/concepts/services-networking/service ("Choosing your own IP address", "Choosing your own
port").
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from timonel.api.errors import FieldError, InternalError, Invalid, invalid
from timonel.api.field_errors import Path
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.kinds.service.defaults import (
    HEADLESS,
    keep_allocated,
    needs_cluster_ip,
    needs_health_check,
    needs_node_ports,
    normalize_cluster_ips,
)
from timonel.api.kinds.service.families import assign_families
from timonel.api.objects import Object
from timonel.api.refs import SERVICES
from timonel.apiserver.allocators.pool import Pool, RangeFull, static_band
from timonel.storage.cache import WatchCache
from timonel.storage.cached_object import CachedObject

_SPEC = Path("spec")
_TAKEN_IP = "provided IP is already allocated"
_TAKEN_PORT = "provided port is already allocated"


@dataclass(slots=True)
class Held:
    """What one write reserved."""

    pools: list[tuple[Pool, set[int]]] = field(default_factory=list)

    def add(self, pool: Pool, number: int) -> None:
        self.pools.append((pool, {number}))

    def end(self) -> None:
        """Stored or not: the cache has taken in what was stored, so it counts as used without this."""
        for pool, numbers in self.pools:
            pool.unreserve(numbers)
        self.pools.clear()


class ServiceAllocation:
    """`cidrs`: one network, or one of each family, the primary one first. It follows `cache` from now on."""

    def __init__(
        self,
        cache: WatchCache,
        *,
        cidrs: Sequence[str],
        node_ports: tuple[int, int],
        rng: random.Random | None = None,
    ) -> None:
        rng = rng or random.SystemRandom()
        self._networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
        self._addresses: dict[int, Pool] = {}
        for network in self._networks:
            first = int(network.network_address) + 1
            # IPv4 keeps its broadcast address free; of a large IPv6 network the first 2**20 addresses serve.
            size = min(network.num_addresses - (2 if network.version == 4 else 1), 2**20 - 2)
            band = static_band(min(network.num_addresses, 2**20), low=16, high=256, step=16)
            self._addresses[network.version] = Pool(first, first + size - 1, band=band, rng=rng)
        low, high = node_ports
        self._ports = Pool(low, high, band=static_band(high - low + 1, low=16, high=128, step=32), rng=rng)
        self._families = [f"IPv{network.version}" for network in self._networks]
        cache.subscribe(self._follow)

    def reserve(self, new: Object, old: Object | None) -> Held:
        """Fills `new`. Raises Invalid for what is taken or out of range, InternalError when a range is full.

        A dry run reserves too, until it is over: what it answers is what would have happened.
        """
        spec = new.setdefault("spec", {})
        before = old.get("spec") if old else None
        if before is not None:
            keep_allocated(spec, before)
        normalize_cluster_ips(spec, before)
        held = Held()
        try:
            self._reserve_addresses(new, before, held)
            self._reserve_ports(new, before, held)
        except BaseException:
            held.end()
            raise
        return held

    def _reserve_addresses(self, service: Object, before: Object | None, held: Held) -> None:
        spec = service["spec"]
        if not needs_cluster_ip(spec):
            return
        found = assign_families(spec, before, self._families)
        if found:
            raise invalid(SERVICES, service["metadata"].get("name") or "", found)
        addresses: list[str] = list(spec.get("clusterIPs") or ())
        if addresses[:1] == [HEADLESS]:
            spec["clusterIP"] = HEADLESS
            return
        mine = set((before or {}).get("clusterIPs") or ())
        families = spec.get("ipFamilies") or self._families[:1]
        for position, family in enumerate(families):
            pool = self._addresses[int(family[-1])]
            if position < len(addresses):
                if addresses[position] not in mine:
                    self._reserve_address(service, addresses[position], pool, held)
                continue
            try:
                number = pool.reserve_any()
            except RangeFull as exc:
                name = service["metadata"].get("name", "")
                raise InternalError(
                    f'Internal error occurred: failed to allocate a serviceIP for Service "{name}": {exc}'
                ) from exc
            held.add(pool, number)
            addresses.append(
                str(ipaddress.ip_address(number)) if family == "IPv4" else str(ipaddress.IPv6Address(number))
            )
        spec["clusterIPs"] = addresses
        if addresses:
            spec["clusterIP"] = addresses[0]

    def _reserve_address(self, service: Object, text: str, pool: Pool, held: Held) -> None:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return  # validation says so in its own words
        network = next((each for each in self._networks if each.version == address.version), None)
        if network is None:
            return
        if not pool.covers(int(address)):
            why = f"the provided IP ({text}) is not in the valid range. The range of valid IPs is {network}"
        elif not pool.reserve(int(address)):
            why = _TAKEN_IP
        else:
            held.add(pool, int(address))
            return
        given = service["spec"].get("clusterIPs")
        raise _refused(service, invalid_field(_SPEC / "clusterIPs", given, f"failed to allocate IP {text}: {why}"))

    def _reserve_ports(self, service: Object, before: Object | None, held: Held) -> None:
        spec = service["spec"]
        mine = _node_ports(before or {})
        if needs_node_ports(spec):
            allocates = spec.get("type") == "NodePort" or spec.get("allocateLoadBalancerNodePorts") is not False
            self._reserve_node_ports(service, mine, held, allocates=allocates)
        if needs_health_check(spec):
            number = spec.get("healthCheckNodePort") or 0
            if number and number not in mine:
                if why := self._reserve_port(number, held):
                    raise InternalError(
                        f"Internal error occurred: failed to allocate requested HealthCheck NodePort {number}: {why}"
                    )
            elif not number:
                spec["healthCheckNodePort"] = self._any_port(held, "a HealthCheck NodePort 0")

    def _reserve_node_ports(self, service: Object, mine: set[int], held: Held, *, allocates: bool) -> None:
        ports: list[Object] = service["spec"].get("ports") or []
        given: dict[int, set[str]] = {}
        by_port: dict[int, int] = {}
        for index, port in enumerate(ports):
            number = port.get("nodePort") or 0
            if not number:
                continue
            # One number may serve two protocols of the same Service.
            protocols = given.setdefault(number, set())
            if number not in mine and not protocols:
                why = self._reserve_port(number, held)
                if why:
                    raise _refused(service, invalid_field((_SPEC / "ports")[index] / "nodePort", number, why))
            protocols.add(port.get("protocol") or "TCP")
            by_port.setdefault(port.get("port", 0), number)
        if not allocates:
            return
        for port in ports:
            if port.get("nodePort"):
                continue
            protocol = port.get("protocol") or "TCP"
            number = by_port.get(port.get("port", 0), 0)
            if not number or protocol in given.get(number, ()):
                number = self._any_port(held, "a nodePort")
            given.setdefault(number, set()).add(protocol)
            by_port.setdefault(port.get("port", 0), number)
            port["nodePort"] = number

    def _reserve_port(self, number: int, held: Held) -> str:
        """Why not; "" when it is reserved."""
        pool = self._ports
        if not pool.covers(number):
            return f"provided port is not in the valid range. The range of valid ports is {pool.low}-{pool.high}"
        if not pool.reserve(number):
            return _TAKEN_PORT
        held.add(pool, number)
        return ""

    def _any_port(self, held: Held, what: str) -> int:
        try:
            number = self._ports.reserve_any()
        except RangeFull as exc:
            raise InternalError(f"Internal error occurred: failed to allocate {what}: {exc}") from exc
        held.add(self._ports, number)
        return number

    def _follow(self, old: CachedObject | None, new: CachedObject | None) -> None:
        before, after = (_used(cached.obj) if cached else ({}, set()) for cached in (old, new))
        for version, pool in self._addresses.items():
            pool.use(after[0].get(version, set()))
            pool.release(before[0].get(version, set()))
        self._ports.use(after[1])
        self._ports.release(before[1])


def first_address(service_cidr: str) -> str:
    """The address of default/kubernetes in a service network (the first of several, joined by commas)."""
    return str(ipaddress.ip_network(service_cidr.split(",")[0]).network_address + 1)


def _used(service: Object) -> tuple[dict[int, set[int]], set[int]]:
    """Addresses by IP version, and ports, that a stored Service has."""
    spec = service.get("spec") or {}
    addresses: dict[int, set[int]] = {}
    if needs_cluster_ip(spec):
        for text in spec.get("clusterIPs") or ():
            if text != HEADLESS:
                try:
                    address = ipaddress.ip_address(text)
                except ValueError:
                    continue
                addresses.setdefault(address.version, set()).add(int(address))
    return addresses, _node_ports(spec)


def _node_ports(spec: Object) -> set[int]:
    ports = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        ports.add(spec["healthCheckNodePort"])
    return ports


def _refused(service: Object, error: FieldError) -> Invalid:
    return invalid(SERVICES, service["metadata"].get("name") or "", [error])
