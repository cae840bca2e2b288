"""Pods that nobody else will end: on nodes that are gone, deleted before they had a node, and too many finished ones.

Source: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle#pod-garbage-collection
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.api.errors import NotFound
from timonel.api.objects import Object, ObjectKey, find_by, is_deleting, key_of, name_of, namespace_of, uid_of
from timonel.api.refs import NODES, PODS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.pods import (
    NODE_INDEX,
    disruption_condition,
    is_ready,
    is_terminal,
    node_index,
    node_name_of,
)

log = logging.getLogger(__name__)

_TERMINATED = ObjectKey("", "terminated pods")
_TERMINAL_INDEX = "terminal"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


@dataclass(frozen=True, slots=True)
class PodGcConfig:
    terminated_threshold: int = 12500
    """Finished pods kept in the cluster; 0 keeps all. Upstream's default."""
    quarantine_seconds: float = 40.0
    """How long a node must be missing before its pods are deleted: it may only be registering again."""


class PodGcController(Controller):
    """Keys are pods, and one key for all finished pods together."""

    name = "pod-garbage-collector"

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        config: PodGcConfig | None = None,
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._config = config or PodGcConfig()
        self.watches = (
            Watch(PODS, key=self._keys_of_pod, changed=_relevant_change),
            Watch(NODES, key=self._pods_on, changed=_out_of_service_changed),
        )
        self._missing_since: dict[str, float] = {}
        self.informer(PODS).add_index(NODE_INDEX, node_index)
        self.informer(PODS).add_index(_TERMINAL_INDEX, lambda pod: (True,) if is_terminal(pod) else ())

    def _keys_of_pod(self, pod: Object) -> Keys:
        keys = [key_of(pod)]
        if is_terminal(pod) and self._config.terminated_threshold:
            keys.append(_TERMINATED)
        return keys

    def _pods_on(self, node: Object) -> Keys:
        return [key_of(pod) for pod in self.lister(PODS).by_index(NODE_INDEX, name_of(node))]

    async def sync(self, key: ObjectKey) -> Result:
        if key == _TERMINATED:
            await self._delete_surplus()
            return Result()
        pod = self.lister(PODS).get(*key)
        if pod is None:
            return Result()
        node_name = node_name_of(pod)
        if not node_name:
            if is_deleting(pod):
                await self._end(pod, None)
            return Result()
        node = self.lister(NODES).get("", node_name)
        if node is not None:
            self._missing_since.pop(node_name, None)
            if is_deleting(pod) and not is_ready(node) and _is_out_of_service(node):
                await self._end(pod, None)
            return Result()
        since = self._missing_since.setdefault(node_name, self.clock.monotonic())
        left = self._config.quarantine_seconds - (self.clock.monotonic() - since)
        if left > 0:
            return Result(requeue_after=left)
        try:
            await self.client.get(NODES, node_name)
        except NotFound:
            await self._end(pod, ("DeletionByPodGC", "PodGC: node no longer exists"))
        return Result()

    async def _delete_surplus(self) -> None:
        finished = self.lister(PODS).by_index(_TERMINAL_INDEX, True)
        surplus = len(finished) - self._config.terminated_threshold
        if surplus > 0:
            for pod in sorted(finished, key=_expendability)[:surplus]:
                await self._end(pod, None)

    async def _end(self, pod: Object, disruption: tuple[str, str] | None) -> None:
        """Marks it failed, if it has not ended by itself, and deletes it without waiting for a kubelet."""
        try:
            if not is_terminal(pod):
                status: Object = {"phase": "Failed"}
                if disruption:
                    status["conditions"] = [disruption_condition(pod, *disruption, self.clock.now())]
                patch = {"metadata": {"uid": uid_of(pod)}, "status": status}
                await self.client.patch(
                    PODS, name_of(pod), patch, namespace_of(pod), type="strategic", subresource="status"
                )
            await self.client.delete(PODS, name_of(pod), namespace_of(pod), grace_period_seconds=0, uid=uid_of(pod))
        except NotFound:
            return
        log.info("pod collected pod=%s/%s node=%s", namespace_of(pod), name_of(pod), node_name_of(pod))


def _expendability(pod: Object) -> tuple[bool, str, str]:
    """Evicted pods first, which would be missed least, then the oldest."""
    evicted = (pod.get("status") or {}).get("reason") == "Evicted"
    return not evicted, pod["metadata"].get("creationTimestamp") or "", name_of(pod)


def _is_out_of_service(node: Object) -> bool:
    return find_by((node.get("spec") or {}).get("taints"), "key", OUT_OF_SERVICE) is not None


def _relevant_change(old: Object, new: Object) -> bool:
    def relevant(pod: Object) -> Iterable[object]:
        return uid_of(pod), is_deleting(pod), node_name_of(pod), is_terminal(pod)

    return relevant(old) != relevant(new)


def _out_of_service_changed(old: Object, new: Object) -> bool:
    return _is_out_of_service(old) != _is_out_of_service(new) or is_ready(old) != is_ready(new)
