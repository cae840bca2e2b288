"""Objects the server keeps about itself: the Service default/kubernetes with where it leads, and the namespaces.

Whoever deletes or changes one finds it restored at once; the caches say when to look, nothing polls.
Source: kubernetes.io/docs/tasks/access-application-cluster/access-cluster (the `kubernetes` Service).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Sequence

from timonel.api.clock import Clock, format_time
from timonel.api.errors import AlreadyExists, ApiError
from timonel.api.objects import Object, copy_object, get_path, is_deleting
from timonel.api.refs import ENDPOINT_SLICES, ENDPOINTS, NAMESPACES, SERVICE_CIDRS, SERVICES, ResourceRef
from timonel.apiserver.allocators.services import first_address
from timonel.apiserver.bootstrap.reconcile import SYSTEM_NAMESPACES
from timonel.apiserver.identity import ServerIdentity
from timonel.apiserver.living_servers import LivingServers
from timonel.apiserver.registry.registry import Registry
from timonel.storage.protocol import StoreError

log = logging.getLogger(__name__)

_NAMESPACE, _NAME = "default", "kubernetes"
_PORT_NAME = "https"
_NETWORK_MANAGER = "kubernetes-service-cidr-controller"
"""Upstream's name for who says that a service network is ready."""
_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 60.0


class SystemObjects:
    """`networks`: of Services, the primary one first. `endpoint`: gives (address, port) where this server is.

    `prepare` it before requests come, `start` it once the server listens, then `run` it.
    """

    def __init__(
        self, *, registry: Registry, clock: Clock, networks: Sequence[str], endpoint: Callable[[], tuple[str, int]]
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._networks = list(networks)
        self._endpoint = endpoint
        self._servers: LivingServers | None = None
        self._changed = asyncio.Event()
        self._told_mismatch: list[str] = []

    async def prepare(self) -> None:
        """Makes what requests need. Raises StoreError, ApiErrors."""
        for name in SYSTEM_NAMESPACES:
            if self._registry.reader(NAMESPACES).get("", name) is None:
                await self._create(NAMESPACES, {"metadata": {"name": name}})
        await self._keep_network()

    async def start(self) -> None:
        """Makes what is missing, as far as it can be made: a server with something amiss can still be mended.

        Raises StoreError.
        """
        address, _ = self._endpoint()
        if ipaddress.ip_address(address).is_loopback:
            # Nobody in a pod could reach it, and Endpoints may not hold such an address.
            log.warning("this host has no address to advertise, the kubernetes Service leads nowhere")
        else:
            self._servers = LivingServers(
                self._registry.store, clock=self._clock, address=address, changed=self._changed.set
            )
            await self._servers.start()
        try:
            await self.reconcile()
        except ApiError as exc:
            log.error("own objects could not be made, will retry error=%s", exc)

    async def run(self) -> None:
        """Restores what is missing or different, now and whenever something of it changes."""
        for ref in (SERVICE_CIDRS, SERVICES, ENDPOINTS, ENDPOINT_SLICES, NAMESPACES):
            self._registry.reader(ref).subscribe(self._look)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._restore(), name="own objects")
            address, port = self._endpoint()
            shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            identity = ServerIdentity(self._registry, clock=self._clock, address=shown)
            tasks.create_task(identity.run(), name="own identity")
            if self._servers is not None:
                tasks.create_task(self._servers.run(), name="living servers")

    async def leave(self) -> None:
        """Once `run` has ended: where other servers go on, clients shall go to them. Raises StoreError, ApiErrors."""
        if self._servers is not None and self._registry.store.is_shared:
            await self._servers.leave()
            await self._keep_endpoints(self._servers.addresses, self._endpoint()[1])

    async def _restore(self) -> None:
        delay = _FIRST_RETRY_SECONDS
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.reconcile()
                delay = _FIRST_RETRY_SECONDS
            except (ApiError, StoreError) as exc:
                log.warning("own objects could not be restored, will retry seconds=%g error=%s", delay, exc)
                self._changed.set()
                await self._clock.sleep(delay)
                delay = min(delay * 2, _LONGEST_RETRY_SECONDS)

    async def reconcile(self) -> None:
        """Raises StoreError, ApiErrors."""
        await self.prepare()
        _, port = self._endpoint()
        service = own_service(first_address(self._networks[0]), port)
        if self._registry.reader(SERVICES).get(_NAMESPACE, _NAME) is not None:
            # Its address is for life, also after the configuration has come to name another network.
            for field in ("clusterIP", "clusterIPs"):
                del service["spec"][field]
        await self._keep(SERVICES, service)
        if self._servers is not None:
            await self._keep_endpoints(self._servers.addresses, port)

    async def _keep_endpoints(self, addresses: Sequence[str], port: int) -> None:
        if self._registry.store.is_shared:
            # All servers are told to use one port; where they do not, each would set its own right for ever.
            live = self._registry.reader(ENDPOINTS).get(_NAMESPACE, _NAME) or {}
            ports = get_path(live, "subsets", 0, "ports", default=[])
            port = ports[0]["port"] if len(ports) == 1 else port
        await self._keep(ENDPOINTS, own_endpoints(addresses, port))
        await self._keep(ENDPOINT_SLICES, own_slice(addresses, port))

    async def _keep_network(self) -> None:
        """The ServiceCIDR of the configuration, which the first Service needs: made, made dual-stack, called ready.

        What somebody else said of its readiness stands, and a deletion is the controller's to finish.
        """
        reader = self._registry.reader(SERVICE_CIDRS)
        live = reader.get("", _NAME)
        if live is None:
            await self._create(SERVICE_CIDRS, {"metadata": {"name": _NAME}, "spec": {"cidrs": self._networks}})
            live = reader.get("", _NAME)
        if live is None:
            return
        cidrs = live["spec"]["cidrs"]
        if len(cidrs) == 1 and len(self._networks) == 2 and cidrs[0] == self._networks[0]:
            await self._registry.update(
                SERVICE_CIDRS, "", _NAME, lambda old: merged(old, {"spec": {"cidrs": self._networks}})
            )
        elif cidrs != self._networks:
            if self._told_mismatch != cidrs:
                self._told_mismatch = cidrs
                log.warning(
                    "the default ServiceCIDR differs from the configuration cidrs=%s configured=%s",
                    cidrs,
                    self._networks,
                )
            return
        if is_deleting(live) or any(
            each["type"] == "Ready" for each in get_path(live, "status", "conditions", default=[])
        ):
            return
        condition = {
            "type": "Ready", "status": "True", "message": "Kubernetes default Service CIDR is ready",
            "lastTransitionTime": format_time(self._clock.now()),
        }  # fmt: skip
        await self._registry.apply(
            SERVICE_CIDRS, "", _NAME, {"status": {"conditions": [condition]}}, manager=_NETWORK_MANAGER,
            subresource="status",
        )  # fmt: skip

    async def _keep(self, ref: ResourceRef, wanted: Object) -> None:
        live = self._registry.reader(ref).get(_NAMESPACE, _NAME)
        if live is None:
            await self._create(ref, wanted)
        elif differs(live, wanted):
            await self._registry.update(ref, _NAMESPACE, _NAME, lambda old: merged(old, wanted))
            log.info("own object was restored resource=%s", ref.group_resource)

    async def _create(self, ref: ResourceRef, wanted: Object) -> None:
        try:
            await self._registry.create(ref, copy_object(wanted))
        except AlreadyExists:
            return
        log.info("own object was created resource=%s name=%s", ref.group_resource, wanted["metadata"]["name"])

    def _look(self, old: Object | None, new: Object | None) -> None:
        metadata = (new or old or {})["metadata"]
        kept = metadata["name"] == _NAME and metadata.get("namespace") == _NAMESPACE
        if kept or not metadata.get("namespace"):
            self._changed.set()


def own_service(address: str, port: int) -> Object:
    return {
        "metadata": _metadata({"component": "apiserver", "provider": "kubernetes"}),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "sessionAffinity": "None",
            "ports": [{"name": _PORT_NAME, "protocol": "TCP", "port": 443, "targetPort": port}],
        },
    }


def own_endpoints(addresses: Sequence[str], port: int) -> Object:
    subset = {"addresses": [{"ip": address} for address in addresses], "ports": [_port(port)]}
    return {
        "metadata": _metadata({"endpointslice.kubernetes.io/skip-mirror": "true"}),
        "subsets": [subset] if addresses else [],
    }


def own_slice(addresses: Sequence[str], port: int) -> Object:
    """A slice is of one family: IPv6 when there is no address of IPv4."""
    four = [address for address in addresses if ":" not in address]
    return {
        "metadata": _metadata({"kubernetes.io/service-name": _NAME}),
        "addressType": "IPv4" if four or not addresses else "IPv6",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in four or addresses],
        "ports": [_port(port)],
    }


def differs(live: Object, wanted: Object) -> bool:
    """Whether something of `wanted` is not so in `live`; what it does not mention is left to others."""
    return merged(live, wanted) != live


def merged(live: Object, wanted: Object) -> Object:
    result = copy_object(live)
    for part, value in wanted.items():
        if part in ("metadata", "spec", "status"):
            here = result.setdefault(part, {})
            for field, each in value.items():
                here[field] = {**(here.get(field) or {}), **each} if isinstance(each, dict) else each
        else:
            result[part] = value
    return result


def _metadata(labels: dict[str, str]) -> Object:
    return {"name": _NAME, "namespace": _NAMESPACE, "labels": labels}


def _port(port: int) -> Object:
    return {"name": _PORT_NAME, "port": port, "protocol": "TCP"}
