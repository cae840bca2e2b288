"""Where a pod's volumes let it go: VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone.

Pods without volumes of these kinds are waved through. Claims that let a pod go nowhere at all are found before any node
is looked at (`Volumes.blocked`).
Source: kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins; reasons are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from timonel.api.objects import ObjectKey, get_path, labels_of, name_of
from timonel.api.volumes import class_of, is_fully_bound, modes_of
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, Change, PodScope, Refusal
from timonel.scheduler.core.pods import Pod
from timonel.scheduler.core.selectors import Mask

_ONE_POD = "ReadWriteOncePod"
_IN_USE = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)
_DISK = "node(s) had no available disk"
_TOO_MANY = "node(s) exceed max volume count"
_AFFINITY = "node(s) didn't match PersistentVolume's node affinity"
_NONE_FREE = "node(s) didn't find available persistent volumes to bind"
_NO_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
_ZONE = "node(s) had no available volume zone"
_ZONE_LABELS = {
    "topology.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
"""Of volumes, and which label of nodes stands for it as well."""


class VolumeRestrictions:
    name = "VolumeRestrictions"
    is_static = False
    pod_scope = PodScope.CLUSTER
    helped_by = frozenset({Change.POD_GONE, Change.CLAIM, Change.NODE_ADDED})

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        pod, refusals = attempt.pod, []
        if pod.claims:
            for claim in cluster.volumes.of_pod(pod):
                key = ObjectKey(pod.key[0], name_of(claim))
                if _ONE_POD in modes_of(claim) and cluster.claim_slots(key):
                    everywhere = np.ones(cluster.nodes.capacity, np.bool_)
                    refusals.append(Refusal(_IN_USE, everywhere, resolvable=True))
                    break
        if pod.disks:
            slots = [slot for disk in pod.disks for slot in cluster.disk_conflicts(disk)]
            if slots:
                refusals.append(Refusal(_DISK, _mask(cluster, slots), resolvable=True))
        return refusals


class NodeVolumeLimits:
    name = "NodeVolumeLimits"
    is_static = False
    pod_scope = PodScope.NODE
    helped_by = frozenset({Change.CSI_NODE, Change.POD_GONE, Change.CLAIM, Change.VOLUME})

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        pod, volumes = attempt.pod, cluster.volumes
        if not pod.claims or not volumes.limits:
            return ()
        wanted = dict(_drivers(cluster, _keys(pod)))
        if not wanted:
            return ()
        full = []
        for node, limits in volumes.limits.items():
            slot = cluster.nodes.slots.get(node)
            if slot is None or not limits.keys() & set(wanted.values()):
                continue
            present = dict(_drivers(cluster, cluster.claims_on(slot)))
            for driver, limit in limits.items():
                there = {handle for handle, each in present.items() if each == driver}
                added = {handle for handle, each in wanted.items() if each == driver} - there
                if added and len(there) + len(added) > limit:
                    full.append(slot)
        return (Refusal(_TOO_MANY, _mask(cluster, full), resolvable=True),) if full else ()


def _drivers(cluster: Cluster, keys: Iterable[ObjectKey]) -> Iterator[tuple[str, str]]:
    """(what tells the volume from others, its CSI driver) of claims; of those that are open, as their class says."""
    volumes = cluster.volumes
    for key in keys:
        claim = volumes.claims.get(key)
        if claim is None:
            continue
        volume = volumes.volumes.get(get_path(claim, "spec", "volumeName", default=""))
        if volume is None:
            provisioner = (volumes.classes.get(class_of(claim)) or {}).get("provisioner")
            if provisioner:
                yield f"claim {key}", provisioner
        elif csi := get_path(volume, "spec", "csi"):
            yield f"volume {csi.get('volumeHandle')}", csi.get("driver") or ""


class VolumeBinding:
    name = "VolumeBinding"
    is_static = False
    pod_scope = PodScope.NONE
    helped_by = frozenset({
        Change.CLAIM, Change.VOLUME, Change.STORAGE_CLASS, Change.NODE_ADDED, Change.NODE_LABELS,
    })  # fmt: skip

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        pod, volumes = attempt.pod, cluster.volumes
        if not pod.claims:
            return ()
        refusals = []
        for claim in volumes.of_pod(pod):
            if not is_fully_bound(claim):
                continue
            volume = volumes.volumes.get(claim["spec"]["volumeName"])
            if volume is None:
                refusals.append(Refusal(_NO_VOLUME, np.ones(cluster.nodes.capacity, np.bool_)))
                continue
            mask = volumes.affinity_mask(volume)
            if mask is not None:
                refusals.append(Refusal(_AFFINITY, ~mask))
        for _, options in volumes.openings(pod):
            possible = np.zeros(cluster.nodes.capacity, np.bool_)
            for option in options:
                possible |= option.mask
            refusals.append(Refusal(_NONE_FREE, ~possible))
        return refusals


class VolumeZone:
    name = "VolumeZone"
    is_static = False
    pod_scope = PodScope.NONE
    helped_by = frozenset({
        Change.CLAIM, Change.VOLUME, Change.STORAGE_CLASS, Change.NODE_ADDED, Change.NODE_LABELS,
    })  # fmt: skip

    def refuse(self, cluster: Cluster, attempt: Attempt) -> Sequence[Refusal]:
        if not attempt.pod.claims:
            return ()
        refusals = []
        for claim in cluster.volumes.of_pod(attempt.pod):
            volume = cluster.volumes.volumes.get(get_path(claim, "spec", "volumeName", default=""))
            if volume is not None:
                refusals += [
                    Refusal(_ZONE, ~_in_zone(cluster, key, labels_of(volume)[key]))
                    for key in _ZONE_LABELS
                    if key in labels_of(volume)
                ]
        return refusals


def _in_zone(cluster: Cluster, key: str, value: str) -> Mask:
    """`value` may name several zones, with two underscores between. Nodes without any such label are everywhere."""
    zones = value.split("__")
    mask = np.zeros(cluster.nodes.capacity, np.bool_)
    unlabelled = np.ones(cluster.nodes.capacity, np.bool_)
    for label in _ZONE_LABELS:
        column = cluster.nodes.label_column(label)
        unlabelled &= column.ids < 0
        if label in (key, _ZONE_LABELS[key]):
            mask |= column.where(zones)
    return mask | unlabelled


def _keys(pod: Pod) -> list[ObjectKey]:
    return [ObjectKey(pod.key[0], name) for name, _ in pod.claims]


def _mask(cluster: Cluster, slots: Sequence[int]) -> Mask:
    mask = np.zeros(cluster.nodes.capacity, np.bool_)
    mask[list(slots)] = True
    return mask
