"""Whether something that happened to one node can help a pod that waits: asked of the pod and of that node alone.

A node's change lets a pod fit only on that node, as far as the plugins that refused the pod look at single nodes. So a
pod stays where it is when the node still has no room for it or is not for it anyway; with ten thousand pods that wait,
a change costs a comparison for each kind of pod and no decision. Says yes wherever it is not certain.
Source: KEP-4247 (queueing hints)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, PodScope
from timonel.scheduler.core.nominations import Nominations
from timonel.scheduler.core.plugins.node_resources import NodeResourcesFit
from timonel.scheduler.core.pods import Pod, PodClass
from timonel.scheduler.core.profile import Profile
from timonel.scheduler.core.queue import Waiting
from timonel.scheduler.core.schedule import refusals_of

MayHelp = Callable[[Waiting, frozenset[str]], bool]
"""A pod that waits, and those of the plugins that refused it which the change could make think again."""


class NodeHints:
    """`profiles` by their names."""

    def __init__(self, cluster: Cluster, nominations: Nominations, profiles: Mapping[str, Profile]) -> None:
        self._cluster = cluster
        self._nominations = nominations
        self._profiles = profiles
        self._local = {
            name: frozenset(each.name for each in profile.filters if each.pod_scope is not PodScope.CLUSTER)
            for name, profile in profiles.items()
        }
        """Plugins that look at the node alone."""

    def at(self, node: str) -> MayHelp:
        """For one change of that node; answers are remembered for pods that are alike."""
        known: dict[tuple[str, PodClass], bool] = {}

        def may_help(waiting: Waiting, plugins: frozenset[str]) -> bool:
            local = self._local.get(waiting.profile)
            if local is None or not plugins <= local or self._nominations.node_of(waiting.pod.uid):
                return True
            key = waiting.profile, waiting.pod.klass
            answer = known.get(key)
            if answer is None:
                answer = known[key] = self._may_take(self._profiles[waiting.profile], waiting.pod, node)
            return answer

        return may_help

    def _may_take(self, profile: Profile, pod: Pod, node: str) -> bool:
        """Whether the node has room and is for such pods, or could have with less important ones evicted."""
        cluster, klass = self._cluster, pod.klass
        slot = cluster.nodes.slots.get(node)
        if slot is None or not cluster.nodes.alive[slot]:
            return False
        may_evict = klass.may_preempt and cluster.has_lower_priority(slot, klass.priority)
        attempt = Attempt(pod)
        for plugin in profile.filters:
            if isinstance(plugin, NodeResourcesFit):
                if not may_evict and self._is_short(plugin, attempt, slot):
                    return False
            elif plugin.is_static and any(each.mask[slot] for each in refusals_of(plugin, cluster, attempt)):
                return False
        return True

    def _is_short(self, plugin: NodeResourcesFit, attempt: Attempt, slot: int) -> bool:
        nodes, devices = self._cluster.nodes, self._cluster.devices.by_resource
        for name, amount in plugin.checked(attempt).items():
            if name in devices:
                continue  # devices may stand in for it
            row = nodes.rows.get(name)
            if row is None or nodes.allocatable[row, slot] - nodes.requested[row, slot] < amount:
                return True
        return False
