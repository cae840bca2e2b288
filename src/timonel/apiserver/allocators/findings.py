"""What is wrong between Services, IPAddresses and node ports, and what is to be done: decided here, done in `repair`.

One Service has its addresses, one IPAddress of the same name says so; reasons and times are upstream's. With one commit
for both, only what others wrote, and what was restored from elsewhere, can be wrong. Source: KEP-1880 ("Repair loop").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from timonel.api.clock import parse_time
from timonel.api.kinds.rules import parse_ip
from timonel.api.kinds.service.defaults import HEADLESS, needs_cluster_ip
from timonel.api.objects import Object, get_path, labels_of, name_of, namespace_of
from timonel.apiserver.allocators.addresses import (
    FAMILY_LABEL,
    MANAGER,
    MANAGER_LABEL,
    IPAddress,
    belongs_to,
    is_of_services,
)
from timonel.apiserver.allocators.held import service_addresses, service_ports
from timonel.apiserver.allocators.pool import NumberRange

LEAK_SECONDS = 60.0
"""A Service may still be on its way so long after its address was taken: as long as a request may take."""
RACE_SECONDS = 5.0
"""And so long may an address be there whose write is being taken back."""
LEAKS_BEFORE_CLEANUP = 3
"""Looks that must find a node port unused before it is given again."""

Deed = Literal["", "create", "recreate", "delete"]


@dataclass(frozen=True, slots=True)
class Finding:
    """About one address. `reason` "": nobody is told."""

    deed: Deed
    reason: str = ""
    message: str = ""
    address: IPAddress | None = None


def check_service(
    service: Object,
    *,
    find_address: Callable[[IPAddress], Object | None],
    find_service: Callable[[str, str], Object | None],
    is_known: Callable[[IPAddress], bool],
) -> Iterator[Finding]:
    """Whether each of its addresses is in a ServiceCIDR and has an IPAddress that names it."""
    spec = service.get("spec") or {}
    if not needs_cluster_ip(spec):
        return
    of = f"for Service {namespace_of(service)}/{name_of(service)}"
    for text in spec.get("clusterIPs") or ():
        address = parse_ip(text)
        if text == HEADLESS:
            continue
        if address is None:
            yield Finding("", "ClusterIPNotValid", f"Cluster IP {text} is not a valid IP; please recreate Service")
            continue
        which = f"[IPv{address.version}]: {address}"
        found = find_address(address)
        if not is_known(address):
            why = f"Cluster IP {which} is not within any configured Service CIDR; please recreate service"
            yield Finding("", "ClusterIPOutOfRange", why)
        elif found is None:
            yield Finding("create", "ClusterIPNotAllocated", f"Cluster IP {which} is not allocated; repairing", address)
        elif not belongs_to(found, service):
            parent = get_path(found, "spec", "parentRef", default={})
            other = None
            if is_of_services(parent):
                other = find_service(parent.get("namespace") or "", parent.get("name") or "")
            if other is not None and address in service_addresses(other):
                which = f"[IPv{address.version}]:{address}"
                why = f"Cluster IP {which} was assigned to multiple services; please recreate service"
                yield Finding("", "ClusterIPAlreadyAllocated", why)
            else:
                why = f"the ClusterIP {which} {of} has a wrong reference; repairing"
                yield Finding("recreate", "ClusterIPNotAllocated", why, address)
        elif not _is_labelled(found, address):
            yield Finding("recreate", address=address)


def check_address(
    address: Object, *, find_service: Callable[[str, str], Object | None], now: datetime
) -> tuple[Finding | None, float]:
    """Whether an IPAddress of ours is still of use. With no finding: after how many seconds to look again, 0: never."""
    if labels_of(address).get(MANAGER_LABEL) != MANAGER or address["metadata"].get("deletionTimestamp"):
        return None, 0
    name, parent = name_of(address), get_path(address, "spec", "parentRef", default={})
    namespace, service_name = parent.get("namespace") or "", parent.get("name") or ""
    if not is_of_services(parent):
        why = f"IPAddress {name} appears to have been modified, not referencing a Service {parent}: cleaning up"
        return Finding("delete", "IPAddressNotAllocated", why), 0
    made = parse_time(address["metadata"]["creationTimestamp"])
    age = (now - made).total_seconds()
    service = find_service(namespace, service_name)
    if service is None:
        if age <= LEAK_SECONDS:
            return None, LEAK_SECONDS - age + 1
        why = f"IPAddress: {name} for Service {namespace}/{service_name} appears to have leaked: cleaning up"
        return Finding("delete", "IPAddressNotAllocated", why), 0
    if parse_ip(name) in service_addresses(service):
        return None, 0
    if get_path(service, "spec", "type") == "ExternalName" and age < LEAK_SECONDS:
        return None, LEAK_SECONDS - age + 1
    if made > parse_time(service["metadata"]["creationTimestamp"]) and age < RACE_SECONDS:
        return None, RACE_SECONDS
    why = f"IPAddress: {name} for Service {namespace}/{service_name} has a wrong reference; cleaning up"
    return Finding("delete", "IPAddressWrongReference", why), 0


def _is_labelled(address: Object, ip: IPAddress) -> bool:
    labels = labels_of(address)
    return labels.get(MANAGER_LABEL) == MANAGER and labels.get(FAMILY_LABEL) == f"IPv{ip.version}"


@dataclass(frozen=True, slots=True)
class PortFindings:
    add: frozenset[int]
    remove: frozenset[int]
    leaks: Mapping[int, int]
    """Ports that nobody has, and how many looks have found them so; for the next look."""
    told: Sequence[tuple[Object, str, str]]
    """(Service, reason, message)."""


def check_ports(
    services: Sequence[Object], taken: Collection[int], numbers: NumberRange, leaks: Mapping[int, int]
) -> PortFindings:
    users = Counter[int]()
    add: set[int] = set()
    told: list[tuple[Object, str, str]] = []
    for service in services:
        for port in sorted(service_ports(service)):
            users[port] += 1
            if not numbers.covers(port):
                within = f"{numbers.low}-{numbers.high}"
                why = f"Port {port} is not within the port range {within}; please recreate service"
                told.append((service, "PortOutOfRange", why))
            elif users[port] > 1:
                why = f"Port {port} was assigned to multiple services; please recreate service"
                told.append((service, "PortAlreadyAllocated", why))
            elif port not in taken:
                add.add(port)
                told.append((service, "PortNotAllocated", f"Port {port} is not allocated; repairing"))
    unused = {port: leaks.get(port, 0) + 1 for port in taken if not users[port]}
    remove = frozenset(port for port, looks in unused.items() if looks > LEAKS_BEFORE_CLEANUP)
    return PortFindings(
        frozenset(add), remove, {port: looks for port, looks in unused.items() if port not in remove}, told
    )
