"""ServiceCIDRs are ready once a finalizer protects them, and go when no Service's address depends on them any more.

Source: KEP-1880 ("ServiceCIDR controller"); reasons, messages and times are upstream's.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from timonel.api.clock import format_time, parse_time
from timonel.api.objects import Object, ObjectKey, find_by, get_path, is_deleting, key_of, labels_of, name_of
from timonel.api.refs import IP_ADDRESSES, SERVICE_CIDRS
from timonel.client.controller import Controller, Result, Watch

Network = IPv4Network | IPv6Network

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
MANAGED_BY, MANAGER = "ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"
GRACE_SECONDS = 10.0
"""After its deletion began, so that every server's allocator has heard of it and takes no more addresses from it."""
_BLOCKED = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"


class ServiceCidrController(Controller):
    """Keys are ServiceCIDRs. One that is made or goes, and an address that goes, may unblock another's deletion."""

    name = "service-cidr-controller"
    workers = 1

    def register(self) -> None:
        self._watch(Watch(SERVICE_CIDRS, key=self._concerned))
        self._watch(Watch(IP_ADDRESSES, key=self._deleting, changed=lambda old, new: False))

    watches = (Watch(SERVICE_CIDRS), Watch(IP_ADDRESSES))

    def _concerned(self, cidr: Object) -> list[ObjectKey]:
        return [key_of(cidr), *self._deleting(cidr)]

    def _deleting(self, obj: Object) -> list[ObjectKey]:
        return [key_of(cidr) for cidr in self.lister(SERVICE_CIDRS).list() if is_deleting(cidr)]

    async def sync(self, key: ObjectKey) -> Result:
        cidr = self.lister(SERVICE_CIDRS).get(*key)
        if cidr is None:
            return Result()
        if not is_deleting(cidr):
            finalizers = cidr["metadata"].get("finalizers") or []
            if FINALIZER not in finalizers:
                cidr = await self._set_finalizers(cidr, [*finalizers, FINALIZER])
            await self._set_ready(cidr, "True", "", "Kubernetes Service CIDR is ready")
            return Result()
        if is_needed(cidr, self.lister(SERVICE_CIDRS).list(), self.lister(IP_ADDRESSES).list()):
            await self._set_ready(cidr, "False", "Terminating", _BLOCKED)
            return Result()
        age = (self.clock.now() - parse_time(cidr["metadata"]["deletionTimestamp"])).total_seconds()
        if age < GRACE_SECONDS:
            return Result(requeue_after=GRACE_SECONDS - age)
        finalizers = cidr["metadata"].get("finalizers") or []
        if FINALIZER in finalizers:
            await self._set_finalizers(cidr, [each for each in finalizers if each != FINALIZER])
        return Result()

    async def _set_finalizers(self, cidr: Object, finalizers: list[str]) -> Object:
        """Of just this state: raises Conflict when somebody else changed it."""
        metadata = cidr["metadata"] | {"finalizers": finalizers}
        return await self.client.update(SERVICE_CIDRS, cidr | {"metadata": metadata})

    async def _set_ready(self, cidr: Object, status: str, reason: str, message: str) -> None:
        wanted = {"type": "Ready", "status": status, "reason": reason, "message": message}
        present = find_by(get_path(cidr, "status", "conditions", default=[]), "type", "Ready") or {}
        if {field: present.get(field) for field in wanted} == wanted:
            return
        moved = present.get("status") != status
        wanted["lastTransitionTime"] = format_time(self.clock.now()) if moved else present["lastTransitionTime"]
        patch = {"status": {"conditions": [wanted]}}
        await self.client.patch(SERVICE_CIDRS, name_of(cidr), patch, type="strategic", subresource="status")


def is_needed(cidr: Object, cidrs: Sequence[Object], addresses: Sequence[Object]) -> bool:
    """Whether an address of a Service lies in it and in no other one, unless all of it lies in others."""
    others = [network for other in cidrs if name_of(other) != name_of(cidr) for network in networks_of(other)]
    own = networks_of(cidr)
    if all(any(_within(network, other) for other in others) for network in own):
        return False
    for address in addresses:
        if labels_of(address).get(MANAGED_BY) == MANAGER:
            ip = ip_address(name_of(address))
            if any(_has(network, ip) for network in own) and not any(_has(network, ip) for network in others):
                return True
    return False


def networks_of(cidr: Object) -> list[Network]:
    return [ip_network(text) for text in get_path(cidr, "spec", "cidrs", default=[])]


def _within(part: Network, whole: Network) -> bool:
    return part.version == whole.version and part.prefixlen >= whole.prefixlen and part.network_address in whole


def _has(network: Network, address: IPv4Address | IPv6Address) -> bool:
    """As the allocator sees it: neither the network's own address nor IPv4's for broadcasts."""
    if address.version != network.version or address not in network or address == network.network_address:
        return False
    return network.version == 6 or address != network.broadcast_address
