"""Every node gets a part of the pod network for its pods: a /24 of 10.244.0.0/16 by default.

Source: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1 (spec.podCIDR, spec.podCIDRs)
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.api.errors import NotFound
from timonel.api.objects import Object, ObjectKey, is_deleting, resource_version_of
from timonel.api.refs import NODES
from timonel.client.controller import Controller, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.own_writes import OwnWrites

log = logging.getLogger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class NodeIpamConfig:
    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    """The pod network; a second one of the other family makes it dual stack."""
    node_prefix_ipv4: int = 24
    """Length of each node's prefix: 254 pods."""
    node_prefix_ipv6: int = 64


class NodeIpamController(Controller):
    """Keys are nodes. One worker, since two would hand out the same network."""

    name = "node-ipam"
    workers = 1
    watches = (Watch(NODES, changed=lambda old, new: pod_cidrs_of(old) != pod_cidrs_of(new)),)

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        config: NodeIpamConfig | None = None,
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._config = config or NodeIpamConfig()
        self._clusters: list[Network] = [ipaddress.ip_network(text) for text in self._config.cluster_cidrs]
        self._own = OwnWrites(clock)
        self._given: dict[str, list[str]] = {}
        """By node, what was given out and may not be in the cache yet."""

    async def sync(self, key: ObjectKey) -> Result:
        node = self.lister(NODES).get(*key)
        if node is None:
            self._given.pop(key.name, None)
            self._own.forget(key)
            return Result()
        if pod_cidrs_of(node):
            self._given.pop(key.name, None)
            return Result()
        if is_deleting(node) or not self._own.are_seen(key):
            return Result()
        chosen = self._choose(key.name)
        if chosen is None:
            message = f"Node {key.name} status is now: CIDRNotAvailable"
            self.event(node, "Normal", "CIDRNotAvailable", message)
            log.warning("pod network exhausted node=%s", key.name)
            return Result(requeue_after=_RETRY_SECONDS)
        self._given[key.name] = chosen
        patch = {
            "metadata": {"resourceVersion": resource_version_of(node)},
            "spec": {"podCIDR": chosen[0], "podCIDRs": chosen},
        }
        try:
            written = await self.client.patch(NODES, key.name, patch, type="merge")
        except NotFound:
            self._given.pop(key.name, None)
            return Result()
        self._own.wrote(key, self.informer(NODES), written)
        return Result()

    def _choose(self, name: str) -> list[str] | None:
        taken = [cidr for node in self.lister(NODES).list() for cidr in pod_cidrs_of(node)]
        taken += [cidr for other, cidrs in self._given.items() if other != name for cidr in cidrs]
        chosen = []
        for cluster in self._clusters:
            prefix = self._config.node_prefix_ipv4 if cluster.version == 4 else self._config.node_prefix_ipv6
            free = first_free(cluster, prefix, taken)
            if free is None:
                return None
            chosen.append(free)
        return chosen


def pod_cidrs_of(node: Object) -> list[str]:
    spec = node.get("spec") or {}
    cidrs: list[str] = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    return cidrs


def first_free(cluster: Network, prefix: int, taken: Iterable[str]) -> str | None:
    """The lowest network of that length inside `cluster` that overlaps none of `taken`."""
    size = 1 << (cluster.max_prefixlen - prefix)
    base = int(cluster.network_address)
    used: set[int] = set()
    for network in _networks(taken, cluster.version):
        first = (int(network.network_address) - base) // size
        last = (int(network.broadcast_address) - base) // size
        # A network as large as the whole cluster's would fill the set; beyond its end nothing matters.
        used.update(range(max(first, 0), min(last, (cluster.num_addresses // size) - 1) + 1))
    index = next((index for index in range(len(used) + 1) if index not in used), len(used))
    if index >= cluster.num_addresses // size:
        return None
    return f"{ipaddress.ip_address(base + index * size)}/{prefix}"


def _networks(texts: Iterable[str], version: int) -> Iterator[Network]:
    for text in texts:
        network = ipaddress.ip_network(text, strict=False)
        if network.version == version:
            yield network
