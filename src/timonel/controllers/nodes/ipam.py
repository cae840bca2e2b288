"""Every node gets a part of the pod network for its pods: a /24 of 10.244.0.0/16 by default.

Source: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1 (spec.podCIDR, spec.podCIDRs)
"""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.api.errors import NotFound
from timonel.api.objects import Object, ObjectKey, is_deleting, uid_of
from timonel.api.refs import NODES
from timonel.client.controller import Controller, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.nodes.cidrs import CidrPool
from timonel.controllers.nodes.joint_writes import WORKERS, JointNodeWrites
from timonel.controllers.own_writes import OwnWrites

log = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class NodeIpamConfig:
    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    """The pod network; a second one of the other family makes it dual stack."""
    node_prefix_ipv4: int = 24
    """Length of each node's prefix: 254 pods."""
    node_prefix_ipv6: int = 64


class NodeIpamController(Controller):
    """Keys are nodes. What is chosen is held before it is written, so many nodes are served side by side."""

    name = "node-ipam"
    workers = WORKERS
    watches = (Watch(NODES, changed=lambda old, new: pod_cidrs_of(old) != pod_cidrs_of(new)),)

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        config: NodeIpamConfig | None = None,
        writes: JointNodeWrites | None = None,
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._writes = writes or JointNodeWrites(client)
        self._config = config or NodeIpamConfig()
        self._pools = [
            CidrPool(cluster, self._config.node_prefix_ipv4 if cluster.version == 4 else self._config.node_prefix_ipv6)
            for cluster in map(ipaddress.ip_network, self._config.cluster_cidrs)
        ]
        self._own = OwnWrites(clock)
        self._given: dict[str, list[str]] = {}
        """By node, what was given out and may not be in the cache yet."""

    def register(self) -> None:
        self.informer(NODES).add_handler(
            on_add=lambda node: self._hold(pod_cidrs_of(node)),
            on_update=self._note_update,
            on_delete=lambda node: self._release(pod_cidrs_of(node)),
        )
        super().register()

    def _note_update(self, old: Object, new: Object) -> None:
        before, after = pod_cidrs_of(old), pod_cidrs_of(new)
        if before != after:
            self._hold(after)
            self._release(before)

    def _hold(self, cidrs: list[str]) -> None:
        for cidr in cidrs:
            for pool in self._pools:
                pool.hold(cidr)

    def _release(self, cidrs: list[str]) -> None:
        for cidr in cidrs:
            for pool in self._pools:
                pool.release(cidr)

    async def sync(self, key: ObjectKey) -> Result:
        node = self.lister(NODES).get(*key)
        if node is None or pod_cidrs_of(node):
            self._own.forget(key)
            self._release(self._given.pop(key.name, []))
            return Result()
        if is_deleting(node) or not self._own.are_seen(key):
            return Result()
        chosen = self._given.get(key.name) or self._choose()
        if chosen is None:
            message = f"Node {key.name} status is now: CIDRNotAvailable"
            self.event(node, "Normal", "CIDRNotAvailable", message)
            log.warning("pod network exhausted node=%s", key.name)
            return Result(requeue_after=_RETRY_SECONDS)
        self._given[key.name] = chosen
        # The uid is guard enough: once set, pod networks cannot be changed, so nobody's are overwritten.
        patch = {"metadata": {"uid": uid_of(node)}, "spec": {"podCIDR": chosen[0], "podCIDRs": chosen}}
        try:
            written = await self._writes.patch(key.name, patch)
        except NotFound:
            self._release(self._given.pop(key.name, []))
            return Result()
        self._own.wrote(key, self.informer(NODES), written)
        return Result()

    def _choose(self) -> list[str] | None:
        """One of each pool, or none at all."""
        chosen: list[str] = []
        for pool in self._pools:
            free = pool.take()
            if free is None:
                self._release(chosen)
                return None
            chosen.append(free)
        return chosen


def pod_cidrs_of(node: Object) -> list[str]:
    spec = node.get("spec") or {}
    cidrs: list[str] = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    return cidrs
