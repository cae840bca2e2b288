"""Node health: a kubelet that stays silent makes its node Unknown, tainted, and its pods not ready.

A heartbeat is a change of the node's Lease or of its Ready condition, and counts from when it is seen here, so clocks
need not agree. Timers are set for when the next heartbeat would be overdue; nothing polls. Before a node is called lost
the server is asked: while it was away itself, nobody could report, and silence says nothing about the nodes.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from timonel.api.clock import Clock, format_time
from timonel.api.errors import ApiError, NotFound
from timonel.api.objects import Object, ObjectKey, get_path, name_of, namespace_of, resource_version_of, uid_of
from timonel.api.refs import LEASES, NODES, PODS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.nodes.health import (
    conditions_of_silence,
    has_no_execute,
    plan_taints,
    ready_status,
    wanted_no_execute,
)
from timonel.controllers.nodes.joint_writes import WORKERS, JointNodeWrites
from timonel.controllers.nodes.zones import EvictionConfig, Zones, zone_of
from timonel.controllers.own_writes import OwnWrites
from timonel.controllers.pods import NODE_INDEX, condition_of, is_ready, is_terminal, node_index, node_name_of

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
_PROMPT_SECONDS = 2.0
"""A server that takes longer to hand out one Lease was not able to take heartbeats either."""
_ASK_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NodeLifecycleConfig:
    grace_seconds: float = 50.0
    """Silence after which a node is Unknown; several times the kubelet's heartbeat. Upstream's default."""
    startup_grace_seconds: float = 60.0
    """The same for a node that has never reported."""
    eviction: EvictionConfig = field(default_factory=EvictionConfig)
    """How fast nodes may be given a taint that sends their pods away, in case the fault is not with the nodes."""


@dataclass(slots=True)
class _Health:
    node: Object
    seen: float
    """When the last heartbeat was noticed; monotonic seconds."""
    heartbeat: tuple[str, str]
    """The times the heartbeat itself bears: of the Ready condition and of the Lease."""
    server_was_away: bool = False
    """The server did not answer when it was last asked about this node."""


class NodeLifecycleController(Controller):
    """Keys are nodes."""

    name = "node-lifecycle"
    workers = WORKERS

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        config: NodeLifecycleConfig | None = None,
        writes: JointNodeWrites | None = None,
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._writes = writes or JointNodeWrites(client)
        self._config = config or NodeLifecycleConfig()
        self.watches = (Watch(NODES), Watch(LEASES, key=_node_of_lease), Watch(PODS, key=self._node_of_pod))
        self.informer(PODS).add_index(NODE_INDEX, node_index)
        self._own = OwnWrites(clock)
        self._health: dict[str, _Health] = {}
        self.zones = Zones(self._config.eviction)

    def register(self) -> None:
        self.informer(NODES).add_handler(
            on_add=self._note,
            on_update=lambda old, new: self._note(new),
            on_delete=lambda node: self._pace_changed(self.zones.forget(name_of(node))),
        )
        super().register()

    def _note(self, node: Object) -> None:
        was_lost = self.zones.all_are_lost
        self._pace_changed(self.zones.note(name_of(node), zone_of(node), ready_status(node) == "True"))
        if self.zones.all_are_lost != was_lost:
            log.info("eviction possible" if was_lost else "no node is ready, eviction stopped")
            if was_lost:
                # It was this side that could not see: the others have a whole period to be heard, too.
                for health in self._health.values():
                    health.seen = self.clock.monotonic()

    def _pace_changed(self, names: Iterable[str]) -> None:
        for name in names:
            self.queue.add(ObjectKey("", name))

    def _node_of_pod(self, pod: Object) -> Keys:
        """A pod that calls itself ready on a node that is silent."""
        node = self.lister(NODES).get("", node_name_of(pod))
        if node is None or ready_status(node) != "Unknown" or not is_ready(pod):
            return None
        return ObjectKey("", name_of(node))

    async def sync(self, key: ObjectKey) -> Result:
        node = self.lister(NODES).get(*key)
        if node is None:
            self._own.forget(key)
            gone = self._health.pop(key.name, None)
            if gone is not None:
                self._node_event(gone.node, "RemovingNode", f"Removing Node {key.name} from Controller")
            return Result()
        if not self._own.are_seen(key):
            return Result(requeue_after=1.0)
        remaining = self._observe(node, self.lister(LEASES).get(LEASE_NAMESPACE, key.name))
        if remaining <= 0 and ready_status(node) != "Unknown":
            remaining = await self._ask_before_giving_up(node)
        if remaining <= 0:
            node = await self._declare_unknown(key, node)
            self._note(node)  # newer than the cache
        if ready_status(node) == "Unknown":
            await self._unready_pods(node)  # before the taints: requests still go there
        wait = await self._taint(key, node)
        waits = [seconds for seconds in (wait, remaining) if seconds is not None and 0 < seconds < math.inf]
        return Result(requeue_after=min(waits, default=None))

    def _observe(self, node: Object, lease: Object | None) -> float:
        """Notes heartbeats; gives the seconds until silence has lasted too long."""
        name = name_of(node)
        now = self.clock.monotonic()
        ready = condition_of(node, "Ready")
        heartbeat = (
            (ready or {}).get("lastHeartbeatTime") or "",
            get_path(lease, "spec", "renewTime", default="") if lease else "",
        )
        health = self._health.get(name)
        if health is None or uid_of(health.node) != uid_of(node):
            health = self._health[name] = _Health(node, now, heartbeat)
            self._node_event(node, "RegisteredNode", f"Registered Node {name} in Controller")
        elif health.heartbeat != heartbeat:
            health.seen, health.heartbeat = now, heartbeat
        health.node = node
        grace = self._config.grace_seconds if ready else self._config.startup_grace_seconds
        # A lease that is made good for longer says that its holder may be silent for longer, as hollow nodes are.
        promised = get_path(lease, "spec", "leaseDurationSeconds", default=0) if lease else 0
        return health.seen + max(grace, float(promised)) - now

    async def _ask_before_giving_up(self, node: Object) -> float:
        """The seconds that a silent node has left: a whole period anew when it was the server that did not answer."""
        name = name_of(node)
        health = self._health[name]
        asked = self.clock.monotonic()
        try:
            lease = await self.informers.read(LEASES, name, LEASE_NAMESPACE)
        except ApiError as exc:
            log.debug("lease of a silent node unreadable node=%s error=%s", name, exc)
            health.server_was_away = True
            return _ASK_AGAIN_SECONDS
        now = self.clock.monotonic()
        if health.server_was_away or now - asked > _PROMPT_SECONDS:
            log.info("server was away, a silent node gets more time node=%s", name)
            health.server_was_away = False
            health.seen = now
        return self._observe(node, lease)

    async def _declare_unknown(self, key: ObjectKey, node: Object) -> Object:
        conditions = conditions_of_silence(node, self.clock.now())
        if conditions is None:
            return node
        was_ready = ready_status(node) == "True"
        # Guarded: when the kubelet has spoken meanwhile, its word counts. Only conditions, for the copy is a slim one.
        patch = {"metadata": {"resourceVersion": resource_version_of(node)}, "status": {"conditions": conditions}}
        written = await self.client.patch(NODES, key.name, patch, type="strategic", subresource="status")
        self._own.wrote(key, self.informer(NODES), written)
        log.info("node became unknown node=%s", key.name)
        if was_ready:
            self.event(node, "Normal", "NodeNotReady", f"Node {key.name} status is now: NodeNotReady")
        return written

    async def _taint(self, key: ObjectKey, node: Object) -> float | None:
        """Sets the taints; gives the seconds to wait before pods may be sent away, if that is what is missing."""
        no_execute = wanted_no_execute(node)
        wait = None
        if self.zones.all_are_lost:
            no_execute = ""
        elif no_execute and not has_no_execute(node):
            now = self.clock.monotonic()
            wait = self.zones.wait(key.name, now)
            if wait > 0:
                no_execute = ""
            else:
                self.zones.evicted(key.name, now)
        taints = plan_taints(node, no_execute, self.clock.now())
        if taints is not None:
            patch = {"metadata": {"resourceVersion": resource_version_of(node)}, "spec": {"taints": taints or None}}
            self._own.wrote(key, self.informer(NODES), await self._writes.patch(key.name, patch))
        return wait

    async def _unready_pods(self, node: Object) -> None:
        """Pods of a silent node leave their endpoints now, whatever becomes of them later."""
        pods = self.lister(PODS).by_index(NODE_INDEX, name_of(node))
        await asyncio.gather(*(self._unready(pod) for pod in pods if is_ready(pod) and not is_terminal(pod)))

    async def _unready(self, pod: Object) -> None:
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": format_time(self.clock.now())}
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [condition]}}
        try:
            await self.client.patch(
                PODS, name_of(pod), patch, namespace_of(pod), type="strategic", subresource="status"
            )
        except NotFound:
            return
        self.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    def _node_event(self, node: Object, reason: str, message: str) -> None:
        self.event(node, "Normal", reason, f"Node {name_of(node)} event: {message}")


def _node_of_lease(lease: Object) -> Keys:
    return ObjectKey("", name_of(lease)) if namespace_of(lease) == LEASE_NAMESPACE else None
