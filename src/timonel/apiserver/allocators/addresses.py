"""Addresses of Services: which there are says the ServiceCIDRs, which are taken the IPAddresses.

An IPAddress is named by its address, so that the store itself lets nobody take one twice, whichever server it is on.
It is written and deleted in the same commit as its Service. Source: KEP-1880.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

from timonel.api.clock import format_time
from timonel.api.kinds.networking.addresses import Network, parse_cidr
from timonel.api.kinds.rules import parse_ip
from timonel.api.managed_fields import update_managed
from timonel.api.objects import Object, get_path, name_of, namespace_of
from timonel.api.refs import IP_ADDRESSES, SERVICE_CIDRS
from timonel.apiserver.allocators.pool import NumberRange, RangeFull, static_band
from timonel.apiserver.allocators.tries import Tries
from timonel.apiserver.registry.calls import own_call
from timonel.apiserver.registry.metadata import fill_created
from timonel.apiserver.registry.registry import Registry
from timonel.storage.codec import encode
from timonel.storage.protocol import Change

IPAddress = IPv4Address | IPv6Address

FAMILY_LABEL = "ipaddress.kubernetes.io/ip-family"
MANAGER_LABEL = "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"
TAKEN = "provided IP is already allocated"
NO_NETWORK = "the provided network does not match the current range"


@dataclass(frozen=True, slots=True)
class AddressRange:
    """One network: `numbers` are those Services may have, as integers."""

    network: Network
    numbers: NumberRange

    @classmethod
    def of(cls, network: Network) -> AddressRange:
        first = int(network.network_address) + 1
        last = int(network.broadcast_address) - (1 if network.version == 4 else 0)
        return cls(network, NumberRange(first, last, static_band(network.num_addresses, low=16, high=256, step=16)))

    def address(self, number: int) -> IPAddress:
        return type(self.network.network_address)(number)

    def holds(self, address: IPAddress) -> bool:
        """Not the network's own address, nor IPv4's address for broadcasts."""
        return address.version == self.network.version and self.numbers.covers(int(address))


class Addresses:
    """Follows ServiceCIDRs and IPAddresses. What is `reserved` is so in this process, until its write is over."""

    def __init__(self, registry: Registry, *, rng: random.Random) -> None:
        addresses = registry.of(IP_ADDRESSES)
        self._row = addresses.resource
        self._cache = addresses.cache
        self._clock = addresses.clock
        self._random = rng
        self._cidrs: dict[str, Object] = {}
        self._known: list[AddressRange] = []
        self._ranges: list[AddressRange] = []
        """Those of ready ServiceCIDRs."""
        self._reserved: set[IPAddress] = set()
        self.tries = Tries()
        self._managed: Object = {}
        registry.reader(SERVICE_CIDRS).subscribe(self._follow)

    # Looking

    def key(self, address: IPAddress) -> str:
        return self._row.storage_key("", str(address))

    def find(self, address: IPAddress) -> Object | None:
        """The IPAddress object."""
        cached = self._cache.get(self.key(address))
        return None if cached is None else cached.obj

    def is_known(self, address: IPAddress) -> bool:
        """Whether any ServiceCIDR holds it, ready or not."""
        return any(each.holds(address) for each in self._known)

    def use(self) -> Iterator[tuple[str, int, int]]:
        """Network, how many of its addresses are taken, and how many it has."""
        for each in self._ranges:
            taken = len(self._cache)
            if len(self._ranges) > 1:
                found = (
                    parse_ip(cached.key.rpartition("/")[2]) for cached in self._cache.list(self._row.storage_prefix)
                )
                taken = sum(address is not None and each.holds(address) for address in found)
            yield str(each.network), taken, each.numbers.high - each.numbers.low + 1

    # Reserving

    def reserve(self, address: IPAddress) -> str:
        """Why not; "" when it is reserved."""
        within = next((each for each in self._ranges if each.holds(address)), None)
        if within is None:
            return NO_NETWORK
        taken = not self._is_free(address)
        self.tries.count(str(within.network), "static", refused=taken)
        if taken:
            return TAKEN
        self._reserved.add(address)
        return ""

    def reserve_any(self, family: str) -> IPAddress:
        """`family`: IPv4 or IPv6. Raises RangeFull."""
        for each in self._ranges:
            if f"IPv{each.network.version}" != family:
                continue

            def is_free(number: int, within: AddressRange = each) -> bool:
                return self._is_free(within.address(number))

            try:
                address = each.address(each.numbers.pick(is_free, self._random))
            except RangeFull:
                self.tries.count(str(each.network), "dynamic", refused=True)
                continue
            self.tries.count(str(each.network), "dynamic")
            self._reserved.add(address)
            return address
        raise RangeFull

    def unreserve(self, address: IPAddress) -> None:
        self._reserved.discard(address)

    def _is_free(self, address: IPAddress) -> bool:
        return address not in self._reserved and self._cache.get(self.key(address)) is None

    # Writing

    def claim(self, address: IPAddress, service: Object) -> Change:
        """The creation of its IPAddress."""
        obj = address_object(address, service)
        metadata = obj["metadata"]
        now: datetime = self._clock.now()
        fill_created(metadata, now, tracks_generation=self._row.strategy.tracks_generation)
        if not self._managed:  # it is of the same fields each time
            manager = own_call(self._row, "create").field_manager
            update_managed(None, obj, self._row.definition, manager, now, self._row.ref.api_version)
            (self._managed,) = metadata["managedFields"]
        metadata["managedFields"] = [{**self._managed, "time": format_time(now)}]
        return self._cache.change(self.key(address), encode(obj), 0)

    def release(self, address: IPAddress, service: Object) -> Change | None:
        """The deletion of its IPAddress; None when there is none, or it is not this Service's, or somebody's finalizer
        keeps it: then repair deletes it as one does."""
        cached = self._cache.get(self.key(address))
        if cached is None or not belongs_to(cached.obj, service) or cached.obj["metadata"].get("finalizers"):
            return None
        return self._cache.change(cached.key, None, cached.revision)

    # Following

    def _follow(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            self._cidrs.pop(name_of(old or {}), None)
        else:
            self._cidrs[name_of(new)] = new
        known = {network: AddressRange.of(network) for cidr in self._cidrs.values() for network in _nets(cidr)}
        ready = {network: None for cidr in self._cidrs.values() if is_ready(cidr) for network in _nets(cidr)}
        self._known = list(known.values())
        self._ranges = [known[network] for network in ready]


def is_ready(cidr: Object) -> bool:
    """Whether addresses may be given from it: also before anybody has said so, but not while it is deleted."""
    if cidr["metadata"].get("deletionTimestamp"):
        return False
    conditions = get_path(cidr, "status", "conditions", default=[])
    return all(each.get("status") == "True" for each in conditions if each.get("type") == "Ready")


def address_object(address: IPAddress, service: Object) -> Object:
    parent = {"resource": "services", "namespace": namespace_of(service), "name": name_of(service)}
    return {
        "kind": IP_ADDRESSES.kind,
        "apiVersion": IP_ADDRESSES.api_version,
        "metadata": {
            "name": str(address),
            "labels": {FAMILY_LABEL: f"IPv{address.version}", MANAGER_LABEL: MANAGER},
        },
        "spec": {"parentRef": parent},
    }


def belongs_to(address: Object, service: Object) -> bool:
    parent = get_path(address, "spec", "parentRef", default={})
    return is_of_services(parent) and (parent.get("namespace"), parent.get("name")) == (
        namespace_of(service),
        name_of(service),
    )


def is_of_services(parent: Object) -> bool:
    return not parent.get("group") and parent.get("resource") == "services"


def parse_addresses(texts: list[str]) -> list[IPAddress]:
    """What is no address, such as None, is left out: validation speaks about it."""
    return [address for address in map(parse_ip, texts) if address is not None]


def _nets(cidr: Object) -> Iterator[Network]:
    for text in get_path(cidr, "spec", "cidrs", default=[]):
        network = parse_cidr(text)
        if network is not None:
            yield network
