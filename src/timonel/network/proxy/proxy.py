"""The proxy's loop: what changed since the last transaction goes to the kernel in the next, all or nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from timonel.api.address_pools import in_pool
from timonel.api.objects import Object, ObjectKey, get_path, key_of, labels_of, namespace_of
from timonel.api.refs import ENDPOINT_SLICES, NODES, SERVICES
from timonel.client.backoff import Backoff
from timonel.client.informer import Informer, Informers
from timonel.network.addresses import ipv4_of
from timonel.network.commands import CommandFailed, run_command
from timonel.network.pod_network import internal_address
from timonel.network.proxy import affinity, conntrack
from timonel.network.proxy.claims import Claims, Identity
from timonel.network.proxy.fragments import (
    EMPTY,
    Fragment,
    HostPort,
    host_port_fragment,
    service_fragment,
)
from timonel.network.proxy.health import HealthPorts
from timonel.network.proxy.services import Endpoint, Position, plan_service
from timonel.network.proxy.table import render_base, render_changes, render_hairpin, render_unmasked
from timonel.network.proxy.tablewatch import TableWatch

logger = logging.getLogger(__name__)

ROUTE_PROTOCOL = "85"
"""Marks our route in the kernel (`ip route show proto 85`)."""
ZONE_LABEL = "topology.kubernetes.io/zone"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    node_name: str
    table: str
    cluster_cidr: str
    """All pods' addresses."""
    service_cidr: str
    node_address: str = ""
    """Source of connections from this node to Services; "" leaves the choice to the routes there are."""
    skipped_addresses: tuple[str, ...] = ()
    """Service addresses that a process on this node answers itself: cluster DNS."""
    balancer_pool: tuple[str, ...] = ()
    """Addresses of load balancers that belong to no machine."""
    masquerades_to_nodes: bool = True
    """Whether other nodes see pods under this node's address, as everybody outside does."""
    node_port_addresses: tuple[str, ...] = ()
    """Ranges of this node's addresses that node ports are reached at; none: all of them."""


class Proxy:
    """`pods` is an informer of this node's own pods, for their host ports."""

    def __init__(self, *, config: ProxyConfig, informers: Informers, pods: Informer) -> None:
        self._config = config
        self._services = informers.of(SERVICES)
        self._slices = informers.of(ENDPOINT_SLICES)
        self._nodes = informers.of(NODES)
        self._pods = pods
        self._slices.add_index("service", _service_of_slice)
        self._dirty: set[Identity] = set()
        self._changed = asyncio.Event()
        self._ready = asyncio.Event()
        self._is_suspect = False
        """Somebody, perhaps we, deleted a table of our name."""
        self._applied: dict[Identity, Fragment] = {}
        self._claims = Claims()
        self._hairpin: Counter[str] = Counter()
        self._pod_cidrs: tuple[str, ...] = ()
        self._zone = ""
        self._unmasked: frozenset[str] = frozenset()
        self._health = HealthPorts()

    async def wait_ready(self) -> None:
        """Until the first transaction is in the kernel."""
        await self._ready.wait()

    async def run(self) -> None:
        """Until cancelled. The table stays when it ends, so that Services go on working."""
        self._watch()
        await asyncio.gather(*(item.wait_synced() for item in (self._services, self._slices, self._nodes, self._pods)))
        _allow_node_ports_on_localhost()
        await self._route_services()
        watch = TableWatch(table=self._config.table, on_deleted=self._suspect)
        watch.start()
        try:
            await self._keep()
        finally:
            watch.stop()
            self._health.close()

    def _suspect(self) -> None:
        self._is_suspect = True
        self._changed.set()

    async def _keep(self) -> None:
        self._changed.set()
        is_fresh = False
        backoff = Backoff(first=1.0, limit=30.0)
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._is_suspect:
                self._is_suspect = False
                is_fresh = is_fresh and await self._has_table()
            pod_cidrs = self._own_pod_cidrs()
            is_fresh = is_fresh and pod_cidrs == self._pod_cidrs
            dirty, self._dirty = self._dirty, set()
            has_moved = self._zone != self._own_zone()
            self._zone = self._own_zone()
            if not is_fresh or has_moved:
                dirty |= {("service", key_of(item)) for item in self._services.lister.list()}
                dirty |= {("pod", key_of(item)) for item in self._pods.lister.list()}
            try:
                await self._apply(dirty, pod_cidrs, replace=not is_fresh)
                is_fresh = True
                self._ready.set()
                backoff.reset()
            except CommandFailed as error:
                self._changed.set()
                if is_fresh:
                    # Most likely somebody changed or deleted the table: put the whole of it there again, at once.
                    logger.warning("service rules not changed, will replace all of them error=%s", error)
                    is_fresh = False
                    continue
                delay = backoff.next_delay()
                logger.error("service rules not applied, will retry seconds=%.1f error=%s", delay, error)
                await asyncio.sleep(delay)

    async def _has_table(self) -> bool:
        try:
            tables = await run_command("nft", "list", "tables", "ip")
        except CommandFailed:
            return False
        if f"table ip {self._config.table}" in tables.splitlines():
            return True
        logger.warning("table was deleted by somebody, will be made again table=%s", self._config.table)
        return False

    async def _route_services(self) -> None:
        """A way for this node's own packets to Services: without a default route the kernel would refuse them before
        the table could translate them. By the link that has the node's address, although nothing leaves by it: the
        table sends all of them elsewhere, or ends them.
        """
        address = self._config.node_address
        if not address:
            return
        try:
            links = json.loads(await run_command("ip", "-j", "-4", "addr", "show", "to", f"{address}/32") or "[]")
            device = next((link["ifname"] for link in links if link.get("ifname")), "lo")
            route = (self._config.service_cidr, "dev", device, "src", address, "proto", ROUTE_PROTOCOL)
            await run_command("ip", "route", "replace", *route)
        except CommandFailed as error:
            logger.warning("services not routed from this node error=%s", error)

    def _watch(self) -> None:
        def service_changed(service: Object) -> None:
            self._mark("service", key_of(service))

        def slice_changed(item: Object) -> None:
            for key in _service_of_slice(item):
                self._mark("service", key)

        def pod_changed(pod: Object) -> None:
            if ("pod", key_of(pod)) in self._applied or any(host_ports_of(pod)):
                self._mark("pod", key_of(pod))

        def node_changed(node: Object) -> None:
            moved = self._own_pod_cidrs() != self._pod_cidrs or self._own_zone() != self._zone
            if moved or self._other_nodes() != self._unmasked:
                self._changed.set()

        for informer, handler in (
            (self._services, service_changed),
            (self._slices, slice_changed),
            (self._pods, pod_changed),
            (self._nodes, node_changed),
        ):
            informer.add_handler(on_add=handler, on_update=_both(handler), on_delete=handler)

    def _mark(self, kind: str, key: ObjectKey) -> None:
        self._dirty.add((kind, key))
        self._changed.set()

    def _own_pod_cidrs(self) -> tuple[str, ...]:
        node = self._nodes.lister.get("", self._config.node_name)
        cidrs = get_path(node, "spec", "podCIDRs", default=[]) if node else []
        return tuple(cidr for cidr in cidrs if ":" not in cidr)

    def _other_nodes(self) -> frozenset[str]:
        """Addresses that pods' packets go to unmasked; this node's own never leave it."""
        if self._config.masquerades_to_nodes:
            return frozenset()
        return frozenset(filter(None, map(internal_address, self._nodes.lister.list())))

    def _own_zone(self) -> str:
        node = self._nodes.lister.get("", self._config.node_name)
        return labels_of(node).get(ZONE_LABEL) or "" if node else ""

    def _fragment(self, identity: Identity) -> Fragment:
        try:
            return self._plan(identity)
        except Exception:
            # One odd object costs its own rules, not those of all others, nor the agent again and again.
            logger.exception("rules not made kind=%s key=%s", *identity)
            return EMPTY

    def _plan(self, identity: Identity) -> Fragment:
        kind, key = identity
        if kind == "pod":
            pod = self._pods.lister.get(*key)
            return host_port_fragment(str(key), host_ports_of(pod)) if pod else EMPTY
        service = self._services.lister.get(*key)
        if service is None or get_path(service, "spec", "clusterIP") in self._config.skipped_addresses:
            self._health.forget(key)
            return EMPTY
        slices = self._slices.lister.by_index("service", key)
        ports = plan_service(service, slices, Position(self._config.node_name, self._zone))
        self._health.tell(service, ports)
        virtual = {item for port in ports for item in port.balancer_ips if in_pool(item, self._config.balancer_pool)}
        return service_fragment(ports, self._pod_cidrs, virtual)

    async def _apply(self, dirty: Iterable[Identity], pod_cidrs: tuple[str, ...], replace: bool) -> None:
        """After a failure only a replacement sets things right: what is remembered is then ahead of the kernel."""
        unmasked, known_nodes = self._other_nodes(), self._unmasked
        self._unmasked = unmasked
        if replace:
            self._applied, self._hairpin, self._claims, known_nodes = {}, Counter(), Claims(), frozenset()
        self._pod_cidrs = pod_cidrs
        table = self._config.table
        granted = self._claims.settle({item: self._fragment(item) for item in dirty}, self._fragment)
        changes = [(self._applied.get(identity, EMPTY), new) for identity, new in granted.items()]
        touched = {address for change in changes for fragment in change for address in fragment.hairpin}
        before = {address for address in touched if self._hairpin[address] > 0}
        for identity, (old, new) in zip(granted, changes, strict=True):
            self._hairpin.subtract(old.hairpin)
            self._hairpin.update(new.hairpin)
            if new == EMPTY:
                self._applied.pop(identity, None)
            else:
                self._applied[identity] = new
        after = {address for address in touched if self._hairpin[address] > 0}
        for address in touched - after:
            del self._hairpin[address]
        text = render_changes(table, changes) + render_hairpin(table, after - before, before - after)
        text += render_unmasked(table, unmasked - known_nodes, known_nodes - unmasked)
        if replace:
            config = self._config
            base = render_base(table, pod_cidrs, config.cluster_cidr, config.service_cidr, config.node_port_addresses)
            # Clients stay with the endpoint they had.
            text = base + text + await affinity.recall(table, {name for _, new in changes for name in new.sets})
        if text:
            await run_command("nft", "-f", "-", stdin=text)
        if replace:
            await conntrack.forget_stale({key: value for _, new in changes for key, value in new.udp.items()})
        else:
            await conntrack.forget(
                conntrack.ended_flows((old.udp for old, _ in changes), (new.udp for _, new in changes))
            )


def host_ports_of(pod: Object) -> list[HostPort]:
    """Host ports of a pod that has an address of its own and still runs."""
    address = ipv4_of(get_path(pod, "status", "podIP", default=""))
    phase = get_path(pod, "status", "phase", default="")
    spec = pod.get("spec") or {}
    if not address or phase in ("Succeeded", "Failed") or spec.get("hostNetwork"):
        return []
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    ports = []
    for container in containers:
        for port in container.get("ports") or []:
            host_address = ipv4_of(port.get("hostIP") or "0.0.0.0")
            if port.get("hostPort") and host_address:  # the others are of IPv6
                ports.append(
                    HostPort(
                        protocol=port.get("protocol", "TCP").lower(),
                        host_port=port["hostPort"],
                        host_address="" if host_address == "0.0.0.0" else host_address,
                        endpoint=Endpoint(address, port["containerPort"], is_local=True),
                    )
                )
    return ports


def _service_of_slice(item: Object) -> list[ObjectKey]:
    service = labels_of(item).get(SERVICE_NAME_LABEL)
    return [ObjectKey(namespace_of(item), service)] if service else []


def _both(handler: Callable[[Object], None]) -> Callable[[Object, Object], None]:
    def on_update(old: Object, new: Object) -> None:
        handler(old)
        handler(new)

    return on_update


def _allow_node_ports_on_localhost() -> None:
    """Lets 127.0.0.1:<node port> be translated; the table's guard keeps others from 127.0.0.0/8."""
    path = Path("/proc/sys/net/ipv4/conf/all/route_localnet")
    if path.read_text().strip() != "1":
        path.write_text("1")
