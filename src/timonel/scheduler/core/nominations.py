"""Room kept on nodes for pods that others were evicted for, until those are gone and the pod is placed.

A nominated pod counts as being on its node, for every pod that is not more important. Opens nothing.
Source: kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption ("User exposed information")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.pods import Pod


class Nominations:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._nominated: dict[str, Pod] = {}

    def __len__(self) -> int:
        return len(self._nominated)

    def node_of(self, uid: str) -> str:
        """\"\" for a pod that has no room kept."""
        nominated = self._nominated.get(uid)
        return nominated.node if nominated else ""

    def put(self, pod: Pod, node: str) -> None:
        """Also of a pod that has room already, and wants more or less of it now."""
        known = self._nominated.get(pod.uid)
        if known is None or (known.klass, known.node) != (pod.klass, node):
            kept = self._nominated[pod.uid] = replace(pod, node=node)
            self._cluster.put_pod(kept)

    def drop(self, uid: str) -> bool:
        """The pod is gone, or needs the room no more; whether there was any."""
        if self._nominated.pop(uid, None) is None:
            return False
        self._cluster.remove_pod(uid)
        return True

    def placed(self, uid: str) -> None:
        """The pod is on a node by now, which may be another one: the cluster knows it as such."""
        self._nominated.pop(uid, None)

    def less_important(self, node: str, priority: int) -> list[Pod]:
        """Pods that were to go to a node that a more important one now takes."""
        return [pod for pod in self._nominated.values() if pod.node == node and pod.klass.priority < priority]

    @contextmanager
    def seen_by(self, pod: Pod) -> Iterator[None]:
        """The cluster without the room kept for the pod itself and for less important ones."""
        hidden = [
            kept for uid, kept in self._nominated.items() if uid == pod.uid or kept.klass.priority < pod.klass.priority
        ]
        for kept in hidden:
            self._cluster.remove_pod(kept.uid)
        try:
            yield
        finally:
            for kept in hidden:
                self._cluster.put_pod(kept)
