"""Taints with effect NoExecute send pods away: at once, or when the time for which they are tolerated is over.

Source: kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

from timonel.api.buckets import Buckets
from timonel.api.clock import Clock, parse_time
from timonel.api.errors import NotFound
from timonel.api.objects import Object, ObjectKey, is_deleting, key_of, name_of, namespace_of, uid_of
from timonel.api.placement import tolerates
from timonel.api.refs import NODES, PODS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.pods import NODE_INDEX, disruption_condition, is_terminal, node_index, node_name_of

log = logging.getLogger(__name__)

_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 120.0, 180.0, 240.0)


def no_execute_taints(node: Object) -> list[Object]:
    return [t for t in (node.get("spec") or {}).get("taints") or () if t.get("effect") == "NoExecute"]


def eviction_delay(
    tolerations: Sequence[Object], taints: Iterable[Object], now: datetime, noticed: datetime | None = None
) -> float | None:
    """Seconds until the pod has to go, 0 or less: now; None: it may stay.

    Each taint counts from when it was set or, if it does not say, was `noticed`; of several tolerations of one taint,
    the shortest counts.
    """
    delays = []
    for taint in taints:
        matching = [toleration for toleration in tolerations if tolerates(toleration, taint)]
        if not matching:
            return 0.0
        seconds = [t["tolerationSeconds"] for t in matching if t.get("tolerationSeconds") is not None]
        if seconds:
            # People who taint nodes do not write when.
            since = parse_time(taint["timeAdded"]) if taint.get("timeAdded") else noticed or now
            delays.append(max(0, min(seconds)) - (now - since).total_seconds())
    return min(delays, default=None)


class TaintEvictionController(Controller):
    """Keys are pods. Pods on nodes without such taints cost nothing."""

    name = "taint-eviction-controller"

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.watches = (
            Watch(PODS, key=self._key_if_tainted, changed=_relevant_change),
            Watch(NODES, key=self._pods_on, changed=lambda old, new: no_execute_taints(old) != no_execute_taints(new)),
        )
        self.informer(PODS).add_index(NODE_INDEX, node_index)
        self._pending: dict[ObjectKey, tuple[str, datetime]] = {}
        """Pods that are to go later: uid, and when that was noticed."""
        self.deletions = Buckets(_SECONDS)
        """Pods that were deleted, by the seconds from when that was noticed."""

    def _key_if_tainted(self, pod: Object) -> Keys:
        node = self.lister(NODES).get("", node_name_of(pod))
        return key_of(pod) if node is not None and no_execute_taints(node) else None

    def _pods_on(self, node: Object) -> Keys:
        keys = [key_of(pod) for pod in self.lister(PODS).by_index(NODE_INDEX, name_of(node))]
        return keys if no_execute_taints(node) else [key for key in keys if key in self._pending]

    async def sync(self, key: ObjectKey) -> Result:
        pod = self.lister(PODS).get(*key)
        node = self.lister(NODES).get("", node_name_of(pod)) if pod is not None else None
        if pod is None or is_deleting(pod) or is_terminal(pod) or node is None:
            self._pending.pop(key, None)
            return Result()
        uid, noticed = self._pending.get(key, ("", None))
        if uid != uid_of(pod):
            noticed = None
        now = self.clock.now()
        tolerations = (pod.get("spec") or {}).get("tolerations") or ()
        delay = eviction_delay(tolerations, no_execute_taints(node), now, noticed)
        if delay is None:
            if noticed is not None:
                self._tell(pod, "Cancelling deletion of Pod")
            self._pending.pop(key, None)
            return Result()
        if delay > 0:
            self._pending[key] = uid_of(pod), noticed or now
            return Result(requeue_after=delay)
        if await self._evict(pod):
            self.deletions.observe((now - (noticed or now)).total_seconds())
        self._pending.pop(key, None)
        return Result()

    def _tell(self, pod: Object, what: str) -> None:
        self.event(pod, "Normal", "TaintManagerEviction", f"{what} {namespace_of(pod)}/{name_of(pod)}")

    async def _evict(self, pod: Object) -> bool:
        """Whether it was still there."""
        self._tell(pod, "Marking for deletion Pod")
        condition = disruption_condition(
            pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", self.clock.now()
        )
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [condition]}}
        try:
            await self.client.patch(
                PODS, name_of(pod), patch, namespace_of(pod), type="strategic", subresource="status"
            )
            await self.client.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except NotFound:
            return False
        log.info("pod evicted by taint pod=%s/%s node=%s", namespace_of(pod), name_of(pod), node_name_of(pod))
        return True


def _relevant_change(old: Object, new: Object) -> bool:
    def relevant(pod: Object) -> tuple[object, ...]:
        return uid_of(pod), node_name_of(pod), (pod.get("spec") or {}).get("tolerations")

    return relevant(old) != relevant(new)
