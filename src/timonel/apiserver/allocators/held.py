"""What one write of a Service holds until it is over, and what its commit takes along.

The Service, its IPAddresses and its node ports change together or not at all. When another server was faster with an
address or a port, one that we picked is picked anew; one that was asked for is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

from timonel.api.errors import ApiError
from timonel.api.kinds.service.defaults import HEADLESS, needs_cluster_ip
from timonel.api.objects import Object
from timonel.apiserver.allocators.addresses import Addresses, IPAddress, parse_addresses
from timonel.apiserver.allocators.ports import NodePorts
from timonel.storage.protocol import Change, KeyExists, RevisionMismatch, StoreError

T = TypeVar("T")
_TRIES = 100


@dataclass(frozen=True, slots=True)
class Claim:
    """`refusal` is what the client hears when it is taken after all; None for one that we picked."""

    refusal: ApiError | None = None


class Held:
    """`new` None: the Service goes. `pick_address` and `pick_port` raise ApiErrors when a range is full."""

    def __init__(
        self,
        new: Object | None,
        old: Object | None,
        *,
        addresses: Addresses,
        ports: NodePorts,
        pick_address: Callable[[str], IPAddress],
        pick_port: Callable[[], int],
    ) -> None:
        self._new = new
        self._old = old
        self._addresses = addresses
        self._ports = ports
        self._pick_address = pick_address
        self._pick_port = pick_port
        self._addresses_held: dict[IPAddress, Claim] = {}
        self._ports_held: dict[int, Claim] = {}

    def hold_address(self, address: IPAddress, claim: Claim) -> None:
        self._addresses_held[address] = claim

    def hold_port(self, port: int, claim: Claim) -> None:
        self._ports_held[port] = claim

    def end(self) -> None:
        """Stored or not: what was stored counts by itself now."""
        for address in self._addresses_held:
            self._addresses.unreserve(address)
        for port in self._ports_held:
            self._ports.unreserve(port)
        self._addresses_held.clear()
        self._ports_held.clear()

    async def commit(self, write: Callable[[Sequence[Change]], Awaitable[T]]) -> T:
        """Calls `write`, which commits what it is given together with the Service; again, when somebody was faster.

        Raises what `write` raises about the Service itself, Invalid for what was asked for and is taken.
        """
        writes_ports = service_ports(self._old) != service_ports(self._new)
        async with self._ports.writing() if writes_ports else nullcontext():
            for _ in range(_TRIES):
                self._look_at_ports()
                along = self._changes()
                committed = False
                try:
                    result = await write(along)
                    committed = True
                    return result
                except (KeyExists, RevisionMismatch) as exc:
                    if all(change.key != exc.key for change in along):
                        raise
                    self._look_at_addresses(exc.key)
                finally:
                    if writes_ports:
                        self._ports.ended(along[-1], committed=committed)
        raise StoreError(f"{along[0].key} and others changed {_TRIES} times while they were written")

    def _changes(self) -> list[Change]:
        """That of the ports is the last one."""
        had, has = service_addresses(self._old), service_addresses(self._new)
        changes = []
        for address in has:
            if address not in had:
                changes.append(self._addresses.claim(address, self._new or {}))
        for address in had:
            if address not in has and (change := self._addresses.release(address, self._old or {})):
                changes.append(change)
        had_ports, has_ports = service_ports(self._old), service_ports(self._new)
        if had_ports != has_ports:
            changes.append(self._ports.change(has_ports - had_ports, had_ports - has_ports))
        return changes

    def _look_at_ports(self) -> None:
        """Replaces what another server took since: the object is guarded as a whole, so its guard does not tell."""
        if self._new is not None:
            added = service_ports(self._new) - service_ports(self._old)
            for port in added.intersection(self._ports.taken) if added else ():
                self._replace_port(self._new["spec"], port)

    def _look_at_addresses(self, key: str) -> None:
        """Replaces the one that another server took."""
        if self._new is not None:
            had = service_addresses(self._old)
            for address in service_addresses(self._new):
                if self._addresses.key(address) == key and address not in had:
                    self._replace_address(self._new["spec"], address)

    def _replace_port(self, spec: Object, port: int) -> None:
        claim = self._ports_held.get(port, Claim())
        if claim.refusal is not None:
            raise claim.refusal
        other = self._pick_port()
        for each in spec.get("ports") or ():
            if each.get("nodePort") == port:
                each["nodePort"] = other
        if spec.get("healthCheckNodePort") == port:
            spec["healthCheckNodePort"] = other
        self._ports.unreserve(port)
        self._ports_held.pop(port, None)
        self._ports_held[other] = claim

    def _replace_address(self, spec: Object, address: IPAddress) -> None:
        claim = self._addresses_held.get(address, Claim())
        if claim.refusal is not None:
            raise claim.refusal
        other = self._pick_address(f"IPv{address.version}")
        spec["clusterIPs"] = [str(other) if text == str(address) else text for text in spec["clusterIPs"]]
        spec["clusterIP"] = spec["clusterIPs"][0]
        self._addresses.unreserve(address)
        self._addresses_held.pop(address, None)
        self._addresses_held[other] = claim


def service_addresses(service: Object | None) -> list[IPAddress]:
    """Its cluster addresses; none of a headless or external one."""
    spec = (service or {}).get("spec") or {}
    if not needs_cluster_ip(spec):
        return []
    return parse_addresses([text for text in spec.get("clusterIPs") or () if text != HEADLESS])


def service_ports(service: Object | None) -> set[int]:
    """Its node ports, the one for health checks included."""
    spec = (service or {}).get("spec") or {}
    ports = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        ports.add(spec["healthCheckNodePort"])
    return ports
