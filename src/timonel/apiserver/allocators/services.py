"""Cluster addresses and node ports of Services: filled in where left out, refused where taken.

Source: kubernetes.io/docs/concepts/services-networking/service ("Choosing your own IP address", "Choosing your own
port").
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Sequence

from timonel.api.errors import ApiError, FieldError, InternalError, Invalid, invalid
from timonel.api.field_errors import Path
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.kinds.rules import parse_ip
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
from timonel.apiserver.allocators.addresses import TAKEN, Addresses, IPAddress
from timonel.apiserver.allocators.held import Claim, Held, service_ports
from timonel.apiserver.allocators.pool import RangeFull
from timonel.apiserver.allocators.ports import TAKEN as TAKEN_PORT
from timonel.apiserver.allocators.ports import NodePorts
from timonel.apiserver.registry.registry import Registry

_SPEC = Path("spec")


class ServiceAllocation:
    """`cidrs` of the cluster: one network, or one of each family, the primary one first. They say which families there
    are; which addresses, the ServiceCIDR objects do. Subscribes to the registry; `start` it once that has started.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        cidrs: Sequence[str],
        node_ports: tuple[int, int],
        rng: random.Random | None = None,
    ) -> None:
        rng = rng or random.Random()  # nobody relies on what is picked being hard to guess
        self._families = [f"IPv{ipaddress.ip_network(cidr).version}" for cidr in cidrs]
        self._services = registry.reader(SERVICES)
        self.addresses = Addresses(registry, rng=rng)
        low, high = node_ports
        self.ports = NodePorts(registry.store, low=low, high=high, in_services=self._ports_of_services, rng=rng)

    async def start(self) -> None:
        """Raises StoreError."""
        await self.ports.start()

    def close(self) -> None:
        self.ports.close()

    def reserve(self, new: Object, old: Object | None) -> Held:
        """Fills `new`. Raises Invalid for what is taken or out of range, InternalError when a range is full.

        A dry run reserves too, until it is over: what it answers is what would have happened.
        """
        spec = new.setdefault("spec", {})
        before = old.get("spec") if old else None
        if before is not None:
            keep_allocated(spec, before)
        normalize_cluster_ips(spec, before)
        held = self._hold(new, old)
        try:
            self._reserve_addresses(new, before, held)
            self._reserve_ports(new, set() if old is None else service_ports(old), held)
        except BaseException:
            held.end()
            raise
        return held

    def release(self, old: Object) -> Held:
        """For the deletion of a Service."""
        return self._hold(None, old)

    def _hold(self, new: Object | None, old: Object | None) -> Held:
        return Held(
            new,
            old,
            addresses=self.addresses,
            ports=self.ports,
            pick_address=lambda family: self._any_address(new or {}, family),
            pick_port=lambda: self._any_port("a nodePort"),
        )

    def _ports_of_services(self) -> set[int]:
        return {port for service in self._services.list() for port in service_ports(service)}

    # Addresses

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
            if position < len(addresses):
                if addresses[position] not in mine:
                    self._reserve_address(service, addresses[position], held)
                continue
            address = self._any_address(service, family)
            held.hold_address(address, Claim())
            addresses.append(str(address))
        spec["clusterIPs"] = addresses
        if addresses:
            spec["clusterIP"] = addresses[0]

    def _any_address(self, service: Object, family: str) -> IPAddress:
        try:
            return self.addresses.reserve_any(family)
        except RangeFull as exc:
            name = service["metadata"].get("name", "")
            raise InternalError(
                f'Internal error occurred: failed to allocate a serviceIP for Service "{name}": {exc}'
            ) from exc

    def _reserve_address(self, service: Object, text: str, held: Held) -> None:
        address = parse_ip(text)
        if address is None:
            return  # validation says so in its own words

        def refusal(why: str) -> Invalid:
            given = service["spec"].get("clusterIPs")
            return _refused(service, invalid_field(_SPEC / "clusterIPs", given, f"failed to allocate IP {text}: {why}"))

        if why := self.addresses.reserve(address):
            raise refusal(why)
        held.hold_address(address, Claim(refusal(TAKEN)))

    # Ports

    def _reserve_ports(self, service: Object, mine: set[int], held: Held) -> None:
        spec = service["spec"]
        if needs_node_ports(spec):
            allocates = spec.get("type") == "NodePort" or spec.get("allocateLoadBalancerNodePorts") is not False
            self._reserve_node_ports(service, mine, held, allocates=allocates)
        if needs_health_check(spec):
            number = spec.get("healthCheckNodePort") or 0
            if number and number not in mine:
                self._reserve_port(
                    number,
                    held,
                    lambda why: InternalError(
                        f"Internal error occurred: failed to allocate requested HealthCheck NodePort {number}: {why}"
                    ),
                )
            elif not number:
                spec["healthCheckNodePort"] = self._hold_any_port(held, "a HealthCheck NodePort 0")

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
                path = (_SPEC / "ports")[index] / "nodePort"
                self._reserve_port(
                    number,
                    held,
                    lambda why, path=path, number=number: _refused(  # type: ignore[misc]
                        service, invalid_field(path, number, why)
                    ),
                )
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
                number = self._hold_any_port(held, "a nodePort")
            given.setdefault(number, set()).add(protocol)
            by_port.setdefault(port.get("port", 0), number)
            port["nodePort"] = number

    def _reserve_port(self, number: int, held: Held, refusal: Callable[[str], ApiError]) -> None:
        if why := self.ports.reserve(number):
            raise refusal(why)
        held.hold_port(number, Claim(refusal(TAKEN_PORT)))

    def _hold_any_port(self, held: Held, what: str) -> int:
        number = self._any_port(what)
        held.hold_port(number, Claim())
        return number

    def _any_port(self, what: str) -> int:
        try:
            return self.ports.reserve_any()
        except RangeFull as exc:
            raise InternalError(f"Internal error occurred: failed to allocate {what}: {exc}") from exc


def first_address(service_cidr: str) -> str:
    """The address of default/kubernetes in a service network (the first of several, joined by commas)."""
    return str(ipaddress.ip_network(service_cidr.split(",")[0]).network_address + 1)


def _refused(service: Object, error: FieldError) -> Invalid:
    return invalid(SERVICES, service["metadata"].get("name") or "", [error])
