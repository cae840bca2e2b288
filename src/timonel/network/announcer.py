"""Addresses of load balancers that belong to no machine: one node each takes them, and tells its segment (ARP).

Every agent sees the same nodes and Services and so comes to the same choice, by the highest hash of node and address:
when a node goes, only its addresses move. With the external traffic policy Local, nodes with endpoints are chosen from.
The address is put on the loopback link, where the kernel answers questions for it on any link (arp_ignore 0, the
default); it stays when the agent ends. What the API server does not know yet is left where it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from timonel.api.address_pools import in_pool
from timonel.api.objects import Object, find_by, get_path, is_deleting, labels_of, name_of, namespace_of
from timonel.api.refs import ENDPOINT_SLICES, NODES, SERVICES
from timonel.client.backoff import Backoff
from timonel.client.informer import Informers
from timonel.network.commands import CommandFailed, run_command

logger = logging.getLogger(__name__)

EXCLUDED_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
POOL_CLASS = "timonel.dev/pool"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
LABEL = "lo:timonel"
"""As of cluster DNS: `down --purge` removes addresses by it."""
REPEAT_SECONDS = (0.0, 1.0, 3.0)
"""When an address came here, it is told more than once: a packet may be lost, and switches learn from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncerConfig:
    node_name: str
    node_address: str
    pool: tuple[str, ...]
    kept: frozenset[str] = frozenset()
    """Addresses with our label that somebody else put there: cluster DNS."""


def plan_addresses(
    services: Iterable[Object], nodes: Iterable[Object], slices: Iterable[Object], pool: tuple[str, ...]
) -> dict[str, str]:
    """Address to the name of the node that has it; none without nodes that are ready."""
    ready = sorted(name_of(node) for node in nodes if _serves(node))
    near: dict[tuple[str, str], set[str]] = {}
    for item in slices:
        service = labels_of(item).get(SERVICE_NAME_LABEL)
        for endpoint in item.get("endpoints") or [] if service else []:
            if endpoint.get("nodeName") and (endpoint.get("conditions") or {}).get("ready", True):
                near.setdefault((namespace_of(item), service or ""), set()).add(endpoint["nodeName"])
    owners = {}
    for service_object in services:
        spec = service_object.get("spec") or {}
        if spec.get("type") != "LoadBalancer" or (spec.get("loadBalancerClass") or POOL_CLASS) != POOL_CLASS:
            continue
        able = ready
        if spec.get("externalTrafficPolicy") == "Local":
            has = near.get((namespace_of(service_object), name_of(service_object)), set())
            able = [name for name in ready if name in has] or ready
        for item in get_path(service_object, "status", "loadBalancer", "ingress", default=[]) or []:
            address = item.get("ip") or ""
            if able and in_pool(address, pool):
                owners[address] = max(able, key=lambda name: hashlib.sha256(f"{name}/{address}".encode()).digest())
    return owners


def _serves(node: Object) -> bool:
    condition = find_by(get_path(node, "status", "conditions", default=[]), "type", "Ready") or {}
    return condition.get("status") == "True" and EXCLUDED_LABEL not in labels_of(node) and not is_deleting(node)


class Announcer:
    def __init__(self, *, config: AnnouncerConfig, informers: Informers) -> None:
        self._config = config
        self._services = informers.of(SERVICES)
        self._slices = informers.of(ENDPOINT_SLICES)
        self._nodes = informers.of(NODES)
        self._changed = asyncio.Event()
        self._owners: dict[str, str] = {}
        self._telling: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled; addresses stay. Without a pool, what an earlier configuration left is removed."""
        for informer in (self._services, self._slices, self._nodes):
            informer.add_handler(on_add=self._look, on_update=lambda _, new: self._look(new), on_delete=self._look)
        await asyncio.gather(*(item.wait_synced() for item in (self._services, self._slices, self._nodes)))
        self._changed.set()
        backoff = Backoff(first=1.0, limit=30.0)
        is_first = True
        while True:
            await self._changed.wait()
            self._changed.clear()
            owners = self._plan()
            if owners == self._owners and not is_first:
                continue
            try:
                await self._apply({address for address, name in owners.items() if name == self._config.node_name})
            except CommandFailed as error:
                delay = backoff.next_delay()
                logger.error("addresses not taken, will retry seconds=%.1f error=%s", delay, error)
                await asyncio.sleep(delay)
                self._changed.set()
                continue
            backoff.reset()
            self._owners, is_first = owners, False

    def _look(self, _: Object) -> None:
        if self._config.pool:
            self._changed.set()

    def _plan(self) -> dict[str, str]:
        if not self._config.pool:
            return {}
        return plan_addresses(
            self._services.lister.list(), self._nodes.lister.list(), self._slices.lister.list(), self._config.pool
        )

    async def _apply(self, wanted: set[str]) -> None:
        links = json.loads(await run_command("ip", "-j", "-4", "addr", "show", "dev", "lo") or "[]")
        infos = [info for link in links for info in link.get("addr_info") or []]
        present = {info["local"] for info in infos if info.get("label") == LABEL} - self._config.kept
        for address in sorted(present - wanted):
            await run_command("ip", "addr", "del", f"{address}/32", "dev", "lo")
            logger.info("address given up address=%s", address)
        for address in sorted(wanted - present):
            await run_command("ip", "addr", "add", f"{address}/32", "dev", "lo", "label", LABEL)
            logger.info("address taken address=%s", address)
        for address in sorted(wanted - {item for item, name in self._owners.items() if name == self._config.node_name}):
            task = asyncio.get_running_loop().create_task(self._tell(address), name=f"announce {address}")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, address: str) -> None:
        waited = 0.0
        for moment in REPEAT_SECONDS:
            await asyncio.sleep(moment - waited)
            waited = moment
            try:
                links = json.loads(await run_command("ip", "-j", "addr"))
                for name, mac in links_towards(links, address, self._config.node_address):
                    announce(name, mac, address)
            except (CommandFailed, OSError) as error:
                logger.warning("address not announced address=%s error=%s", address, error)


def links_towards(links: Iterable[Object], address: str, node_address: str) -> list[tuple[str, bytes]]:
    """Name and hardware address of Ethernet links whose segment the address is in, else of the node's own."""
    near, own = [], []
    for link in links:
        if link.get("link_type") != "ether":
            continue
        entry = link["ifname"], bytes.fromhex(link["address"].replace(":", ""))
        infos = [info for info in link.get("addr_info") or [] if info.get("family") == "inet"]
        if any(IPv4Address(address) in IPv4Network(f"{i['local']}/{i['prefixlen']}", strict=False) for i in infos):
            near.append(entry)
        if any(info["local"] == node_address for info in infos):
            own.append(entry)
    return near or own


def render_announcement(mac: bytes, address: str) -> bytes:
    """A frame that tells everybody whose the address is: RFC 5227, "ARP Announcement"."""
    ip = IPv4Address(address).packed
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + ip + bytes(6) + ip
    return b"\xff" * 6 + mac + struct.pack("!H", 0x0806) + arp


def announce(link: str, mac: bytes, address: str) -> None:
    """Raises OSError."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as made:
        made.bind((link, 0))
        made.send(render_announcement(mac, address))
