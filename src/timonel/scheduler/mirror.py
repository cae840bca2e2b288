"""Keeps the cluster's arrays and the queue in step with what the informers tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from timonel.api.clock import Clock
from timonel.api.objects import Object, get_path, is_deleting, key_of, labels_of, name_of, uid_of
from timonel.api.refs import (
    CSI_NODES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
)
from timonel.client.informer import Informer, Informers
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Change
from timonel.scheduler.core.gangs import PLUGIN as COSCHEDULING
from timonel.scheduler.core.hints import NodeHints
from timonel.scheduler.core.nominations import Nominations
from timonel.scheduler.core.pods import Pod
from timonel.scheduler.core.profile import DEFAULT_SCHEDULER, Profile
from timonel.scheduler.core.queue import SchedulingQueue
from timonel.scheduler.device_mirror import DeviceMirror


def profile_name(obj: Object) -> str:
    """Of the profile that a pod chose."""
    name: str = get_path(obj, "spec", "schedulerName", default=DEFAULT_SCHEDULER)
    return name


class Mirror:
    """`profiles`, by the names that pods choose them by, say whose pods these are.

    `on_gated` is told of each pod that is held back by scheduling gates.
    """

    def __init__(
        self,
        *,
        informers: Informers,
        cluster: Cluster,
        queue: SchedulingQueue,
        clock: Clock,
        profiles: Mapping[str, Profile],
        wake: Callable[[], None],
        on_gated: Callable[[Object], None],
        nominations: Nominations,
    ) -> None:
        self._cluster = cluster
        self._queue = queue
        self._clock = clock
        self._profiles = profiles
        self._wake = wake
        self._on_gated = on_gated
        self._nominations = nominations
        self._hints = NodeHints(cluster, nominations, profiles)
        self._assumed: set[str] = set()
        self._of_volumes: list[Informer] = []
        self.pods = informers.of(PODS)
        self.nodes = informers.of(NODES)
        self.namespaces = informers.of(NAMESPACES)
        # Nodes and namespaces first: pods that were placed before then find their nodes.
        self.nodes.add_handler(on_add=self._node_added, on_update=self._node_updated, on_delete=self._node_deleted)
        self.namespaces.add_handler(
            on_add=self._namespace_seen,
            on_update=lambda old, new: self._namespace_seen(new),
            on_delete=lambda last: self._cluster.put_namespace(name_of(last), None),
        )
        self.claims = informers.of(PERSISTENT_VOLUME_CLAIMS)
        self.volumes = informers.of(PERSISTENT_VOLUMES)
        self.classes = informers.of(STORAGE_CLASSES)
        self.csi_nodes = informers.of(CSI_NODES)
        known = cluster.volumes
        for informer, put, remove, change in (
            (self.claims, known.put_claim, lambda last: known.remove_claim(key_of(last)), Change.CLAIM),
            (self.volumes, known.put_volume, lambda last: known.remove_volume(name_of(last)), Change.VOLUME),
            (self.classes, known.put_class, lambda last: known.remove_class(name_of(last)), Change.STORAGE_CLASS),
            (self.csi_nodes, known.put_limits, lambda last: known.remove_limits(name_of(last)), Change.CSI_NODE),
        ):
            self._follow(informer, put, remove, change)
        self.devices = DeviceMirror(
            informers=informers, cluster=cluster, changed=self._changed, retry=self._claim_changed
        )
        self.pods.add_handler(on_add=self._pod_seen, on_update=self._pod_updated, on_delete=self._pod_deleted)

    async def wait_synced(self) -> None:
        for informer in (self.nodes, self.namespaces, self.pods, *self._of_volumes):
            await informer.wait_synced()
        await self.devices.wait_synced()

    def _follow(
        self, informer: Informer, put: Callable[[Object], None], remove: Callable[[Object], None], change: Change
    ) -> None:
        """Of what volumes are about: takes the newest state and lets pods be tried that it might help."""
        self._of_volumes.append(informer)

        def seen(obj: Object) -> None:
            put(obj)
            self._changed(change)

        informer.add_handler(on_add=seen, on_update=lambda old, new: seen(new), on_delete=remove)

    # What the scheduler itself does

    def assume(self, pod: Pod, node: str) -> None:
        """The pod counts as being on the node from the decision on, not only from the API's answer."""
        self._assumed.add(pod.uid)
        freed = self._nominations.node_of(pod.uid)
        self._nominations.drop(pod.uid)
        self._cluster.put_pod(replace(pod, node=node))
        if freed not in ("", node):
            self._changed(Change.POD_GONE)

    def forget(self, uid: str) -> None:
        """The decision came to nothing."""
        if uid in self._assumed:
            self._assumed.discard(uid)
            self._cluster.remove_pod(uid)
            self._changed(Change.POD_GONE)

    def give_back(self, uid: str) -> None:
        """Room kept for the pod is there for others again."""
        if self._nominations.drop(uid):
            self._changed(Change.POD_GONE)

    # Pods

    def _pod_seen(self, obj: Object) -> None:
        if get_path(obj, "status", "phase") in ("Succeeded", "Failed"):
            self._pod_deleted(obj)  # it holds nothing of its node any more
        elif get_path(obj, "spec", "nodeName"):
            self._pod_placed(obj)
        elif is_deleting(obj):
            self._queue.remove(uid_of(obj))
            self.give_back(uid_of(obj))
        elif uid_of(obj) not in self._assumed and self._is_ours(obj):
            self._pod_waits(obj)

    def _pod_updated(self, old: Object, new: Object) -> None:
        freed = get_path(old, "status", "nominatedNodeName")
        # Only the room that is meant: by now another node may be kept, which the API server has yet to hear of.
        if (
            freed
            and not get_path(new, "status", "nominatedNodeName")
            and freed == self._nominations.node_of(uid_of(new))
        ):
            self.give_back(uid_of(new))
        self._pod_seen(new)

    def _pod_waits(self, obj: Object) -> None:
        is_gated = bool(get_path(obj, "spec", "schedulingGates")) and self._heeds_gates(obj)
        pod = self._cluster.parse_pod(obj)
        lacks_claims = False
        if pod.device_claims:
            self.devices.follow(pod)
            profile = self._profiles[profile_name(obj)]
            lacks_claims = profile.runs("preEnqueue", "DynamicResources") and self.devices.lacks_claims(pod)
        self._queue.put(pod, is_gated=is_gated or lacks_claims, now=self._clock.monotonic())
        for uid in self._cluster.gangs.seen(pod):
            self._queue.helped(uid, COSCHEDULING, self._clock.monotonic())
        # By this process before it started anew, or by somebody else: room is kept there, be the node known yet or not.
        freed = self._nominations.node_of(pod.uid) or get_path(obj, "status", "nominatedNodeName", default="")
        if freed:
            self._nominations.put(pod, freed)
        if is_gated:
            self._on_gated(obj)
        elif not lacks_claims:
            self._wake()

    def _claim_changed(self, key: tuple[str, str]) -> None:
        """Of a pod that waits."""
        obj = self.pods.lister.get(*key)
        if obj is None or is_deleting(obj) or get_path(obj, "spec", "nodeName") or uid_of(obj) in self._assumed:
            return
        self._pod_waits(obj)
        self._queue.helped(uid_of(obj), "DynamicResources", self._clock.monotonic())
        self._wake()

    def _pod_placed(self, obj: Object) -> None:
        pod = self._cluster.parse_pod(obj)
        self._cluster.gangs.seen(pod)
        known = self._cluster.pod(pod.uid)
        was_assumed = pod.uid in self._assumed
        self._assumed.discard(pod.uid)
        freed = self._nominations.node_of(pod.uid)
        self._nominations.drop(pod.uid)
        self._queue.remove(pod.uid)
        self.devices.leave(pod.uid)
        if known is None:
            self._cluster.put_pod(pod)
            self._changed(Change.POD_PLACED, *([Change.POD_GONE] if freed not in ("", pod.node) else ()))
            return
        is_same = (known.klass, known.node, known.is_terminating) == (pod.klass, pod.node, pod.is_terminating)
        if not is_same:
            self._cluster.put_pod(pod)
        changes = []
        if was_assumed or known.node != pod.node:
            changes.append(Change.POD_PLACED)
        if known.klass is not pod.klass:
            if known.klass.labels != pod.klass.labels:
                changes.append(Change.POD_LABELS)
            if known.klass.requests != pod.klass.requests:
                changes.append(Change.POD_SHRUNK)
        if pod.is_terminating and not known.is_terminating:
            changes.append(Change.POD_LABELS)  # it no longer counts for spreading
        self._changed(*changes)

    def _pod_deleted(self, obj: Object) -> None:
        uid = uid_of(obj)
        self._queue.remove(uid)
        self.devices.leave(uid)
        self._cluster.gangs.gone(uid)
        self._assumed.discard(uid)
        had_room = self._nominations.drop(uid)
        removed = self._cluster.remove_pod(uid)
        if had_room:
            self._changed(Change.POD_GONE)
        elif removed is not None:
            self._changed(Change.POD_GONE, node=removed.node)

    def _heeds_gates(self, obj: Object) -> bool:
        return self._profiles[profile_name(obj)].runs("preEnqueue", "SchedulingGates")

    def _is_ours(self, obj: Object) -> bool:
        return profile_name(obj) in self._profiles

    # Nodes and namespaces

    def _node_added(self, node: Object) -> None:
        self._cluster.put_node(node)
        self._changed(Change.NODE_ADDED, node=name_of(node))

    def _node_updated(self, old: Object, new: Object) -> None:
        changes = []
        if labels_of(old) != labels_of(new):
            changes.append(Change.NODE_LABELS)
        if any(get_path(old, "spec", name) != get_path(new, "spec", name) for name in ("taints", "unschedulable")):
            changes.append(Change.NODE_TAINTS)
        if get_path(old, "status", "allocatable") != get_path(new, "status", "allocatable"):
            changes.append(Change.NODE_ALLOCATABLE)
        if changes or get_path(old, "status", "images") != get_path(new, "status", "images"):
            self._cluster.put_node(new)  # a heartbeat changes nothing here
        self._changed(*changes, node=name_of(new))

    def _node_deleted(self, last: Object) -> None:
        self._cluster.remove_node(name_of(last))
        self._changed(Change.NODE_REMOVED)

    def _namespace_seen(self, namespace: Object) -> None:
        self._cluster.put_namespace(name_of(namespace), dict(labels_of(namespace)))
        self._changed(Change.NAMESPACE)

    def _changed(self, *changes: Change, node: str = "") -> None:
        """`node`: the only one that anything happened to."""
        if changes:
            now = self._clock.monotonic()
            if node:
                self._queue.changed(changes, now, self._hints.at(node))
            else:
                self._queue.changed(changes, now)
            self._wake()
