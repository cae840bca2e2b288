"""Room kept on nodes for pods that others were evicted for, until those are gone and the pod is placed.

A nominated pod is expected on its node by every pod that is not more important; it is on no node yet. Opens nothing.
Source: kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption ("User exposed information")
"""

from __future__ import annotations

from dataclasses import replace

from timonel.scheduler.core.pods import Pod


class Nominations:
    def __init__(self) -> None:
        self._nominated: dict[str, Pod] = {}

    def __len__(self) -> int:
        return len(self._nominated)

    def node_of(self, uid: str) -> str:
        """\"\" for a pod that has no room kept."""
        nominated = self._nominated.get(uid)
        return nominated.node if nominated else ""

    def put(self, pod: Pod, node: str) -> None:
        """Also of a pod that has room already, and wants more or less of it now."""
        self._nominated[pod.uid] = replace(pod, node=node)

    def drop(self, uid: str) -> bool:
        """The pod is gone, is placed, or needs the room no more; whether there was any."""
        return self._nominated.pop(uid, None) is not None

    def expected_by(self, pod: Pod) -> dict[str, list[Pod]]:
        """By node, the pods at least as important whose room the pod must leave them."""
        found: dict[str, list[Pod]] = {}
        for uid, kept in self._nominated.items():
            if uid != pod.uid and kept.klass.priority >= pod.klass.priority:
                found.setdefault(kept.node, []).append(kept)
        return found

    def less_important(self, node: str, priority: int) -> list[Pod]:
        """Pods that were to go to a node that a more important one now takes."""
        return [pod for pod in self._nominated.values() if pod.node == node and pod.klass.priority < priority]
