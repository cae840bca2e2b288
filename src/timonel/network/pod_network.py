"""The default pod network: a routed link per pod with addresses from the node's pod CIDR, and routes between nodes.

CNI does the work inside a pod's sandbox (ptp, host-local, loopback; cni.dev specification). Links are point to point,
not ports of a bridge: then every packet between pods passes the node's own routing, so Services work between pods of
one node without br_netfilter, and policies see all traffic. Host ports are the proxy's. This module writes CNI's
configuration once the node has a pod CIDR, writes it again when somebody changed it, and keeps one route per other
node. Nodes must be on one segment, or behind the gateway they are told; an overlay for others is not built yet, and
the log says so. Another network may replace this one: a configuration file of another name in the folder is left
alone, and read instead if it sorts before ours.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from timonel.api.objects import Object, get_path, name_of
from timonel.api.refs import NODES
from timonel.client.backoff import Backoff
from timonel.client.informer import Informers
from timonel.network.addresses import ipv4_of
from timonel.network.commands import CommandFailed, run_command
from timonel.network.filewatch import FileWatch

logger = logging.getLogger(__name__)

CONFIG_NAME = "10-timonel.conflist"
ROUTE_PROTOCOL = "84"
"""Marks our routes in the kernel (`ip route show proto 84`), so that stale ones are known as ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetworkConfig:
    node_name: str
    node_address: str
    network_name: str
    """Name of the CNI network, unique per cluster on this machine."""
    cluster_cidr: str
    """All pods' addresses; traffic from them to elsewhere leaves under the node's address."""
    cni_config: Path
    """Folder CNI configuration is read from."""
    cni_data: Path
    """Folder of the addresses given out (host-local)."""
    fallback_gateway: str = ""
    """Next hop to nodes that are not on this node's segment."""


@dataclass(frozen=True, slots=True, order=True)
class Route:
    destination: str
    gateway: str


def render_cni(config: PodNetworkConfig, pod_cidr: str) -> str:
    """The network list for one node. `ipMasq` is left to our own table, which knows the whole cluster's range."""
    network: dict[str, Any] = {
        "cniVersion": "0.4.0",
        "name": config.network_name,
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(config.cni_data),
                    "ranges": [[{"subnet": pod_cidr}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
        ],
    }
    return json.dumps(network, indent=2) + "\n"


def plan_routes(config: PodNetworkConfig, nodes: Iterable[Object], on_link: Iterable[IPv4Network]) -> set[Route]:
    """One route per other node that has a pod CIDR and an address: directly on the segment, else by the gateway."""
    links = list(on_link)
    routes = set()
    for node in nodes:
        if name_of(node) == config.node_name:
            continue
        pod_cidr = get_path(node, "spec", "podCIDR", default="")
        address = internal_address(node)
        if not pod_cidr or ":" in pod_cidr or not address:
            continue
        if any(IPv4Address(address) in link for link in links):
            routes.add(Route(pod_cidr, address))
        elif config.fallback_gateway:
            routes.add(Route(pod_cidr, config.fallback_gateway))
        else:
            logger.warning(
                "no route to node on another segment, an overlay is not built yet node=%s address=%s",
                name_of(node),
                address,
            )
    return routes


def internal_address(node: Object) -> str:
    """The node's first IPv4 InternalIP, or ""."""
    for item in get_path(node, "status", "addresses", default=[]):
        # A node may write anything here, about itself: it must not end the agents of the others.
        address = ipv4_of(item.get("address") or "")
        if item.get("type") == "InternalIP" and address:
            return address
    return ""


class PodNetwork:
    def __init__(self, *, config: PodNetworkConfig, informers: Informers) -> None:
        self._config = config
        self._nodes = informers.of(NODES)
        self._changed = asyncio.Event()
        self._ready = asyncio.Event()
        self._pod_cidr = ""
        self._routes: set[Route] | None = None

    async def run(self) -> None:
        """Until cancelled. The configuration and routes stay when it ends: pods go on working."""
        self._nodes.add_handler(
            on_add=lambda _: self._changed.set(),
            on_update=self._on_update,
            on_delete=lambda _: self._changed.set(),
        )
        _write_sysctl("net/ipv4/ip_forward", "1")
        await self._nodes.wait_synced()
        self._config.cni_config.mkdir(parents=True, exist_ok=True)
        watch = FileWatch(self._config.cni_config / CONFIG_NAME, self._changed.set)
        watch.start()
        try:
            await self._keep()
        finally:
            watch.stop()

    async def _keep(self) -> None:
        self._changed.set()
        backoff = Backoff(first=1.0, limit=30.0)
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._sync()
                backoff.reset()
            except CommandFailed as error:
                delay = backoff.next_delay()
                logger.error("pod network not settled, will retry seconds=%.1f error=%s", delay, error)
                await asyncio.sleep(delay)
                self._changed.set()

    async def wait_ready(self) -> None:
        """Until the CNI configuration is written."""
        await self._ready.wait()

    def _on_update(self, old: Object, new: Object) -> None:
        """Heartbeats change nodes all the time; only these two fields matter here."""
        if get_path(old, "spec", "podCIDR") != get_path(new, "spec", "podCIDR") or (
            internal_address(old) != internal_address(new)
        ):
            self._changed.set()

    async def _sync(self) -> None:
        own = self._nodes.lister.get("", self._config.node_name)
        pod_cidr = get_path(own, "spec", "podCIDR", default="") if own else ""
        if pod_cidr:
            self._configure(pod_cidr)
        await self._apply_routes(plan_routes(self._config, self._nodes.lister.list(), await self._on_link()))

    def _configure(self, pod_cidr: str) -> None:
        """CNI's file as it has to be: others write there too, and without it no pod gets a network."""
        path, text = self._config.cni_config / CONFIG_NAME, render_cni(self._config, pod_cidr)
        try:
            present = path.read_text()
        except (OSError, UnicodeDecodeError):
            present = ""
        if present != text:
            if self._pod_cidr == pod_cidr:
                logger.warning("CNI configuration was changed by somebody, written again path=%s", path)
            write_atomic(path, text)
        if self._pod_cidr != pod_cidr:
            self._pod_cidr = pod_cidr
            logger.info("pod network configured podCIDR=%s", pod_cidr)
        self._ready.set()

    async def _on_link(self) -> list[IPv4Network]:
        addresses = json.loads(await run_command("ip", "-j", "-4", "addr"))
        return [
            IPv4Network(f"{info['local']}/{info['prefixlen']}", strict=False)
            for link in addresses
            for info in link["addr_info"]
            if link["ifname"] != "lo" and info["prefixlen"] < 32
        ]

    async def _apply_routes(self, wanted: set[Route]) -> None:
        if self._routes is None:
            # After a restart the kernel remembers what we set before.
            shown = json.loads(await run_command("ip", "-j", "-4", "route", "show", "proto", ROUTE_PROTOCOL) or "[]")
            self._routes = {Route(item["dst"], item.get("gateway", "")) for item in shown}
        known, self._routes = self._routes, None
        failures = []
        for route in sorted(known - wanted):
            if not any(other.destination == route.destination for other in wanted):
                try:
                    await run_command("ip", "route", "del", route.destination, "proto", ROUTE_PROTOCOL)
                    logger.info("route removed destination=%s gateway=%s", route.destination, route.gateway)
                except CommandFailed as error:
                    failures.append(error)
        for route in sorted(wanted - known):
            try:
                await run_command(
                    "ip", "route", "replace", route.destination, "via", route.gateway, "proto", ROUTE_PROTOCOL
                )
                logger.info("route set destination=%s gateway=%s", route.destination, route.gateway)
            except CommandFailed as error:
                failures.append(error)
        if failures:
            # All others are set. The kernel is asked again what there is: a route may have gone without us.
            raise failures[0]
        self._routes = wanted


def write_atomic(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    os.replace(temporary, path)


def _write_sysctl(name: str, value: str) -> None:
    path = Path("/proc/sys") / name
    if path.read_text().strip() != value:
        path.write_text(value)
