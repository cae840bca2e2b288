"""The part of /metrics about PersistentVolumeClaims in use. Pure.

Source: kubernetes.io/docs/reference/instrumentation/metrics, "kubelet_volume_stats_…"
"""

from __future__ import annotations

from collections.abc import Iterable

from timonel.kubelet.stats.exposition import Page, labels_text
from timonel.kubelet.stats.filesystems import FilesystemSample
from timonel.kubelet.stats.samples import PodSource

_FAMILIES = {
    f"kubelet_volume_stats_{name}": ("gauge", f"[ALPHA] {text} in the volume")
    for name, text in {
        "available_bytes": "Number of available bytes",
        "capacity_bytes": "Capacity in bytes",
        "inodes": "Maximum number of inodes",
        "inodes_free": "Number of free inodes",
        "inodes_used": "Number of used inodes",
        "used_bytes": "Number of used bytes",
    }.items()
}


def render_volume_metrics(pods: Iterable[PodSource], files: FilesystemSample) -> str:
    """One claim is told once, however many pods use it."""
    page, told = Page(_FAMILIES), set()
    for pod in pods:
        for volume in pod.volumes:
            usage = files.volumes.get((pod.uid, volume.name))
            if not volume.claim or usage is None or (pod.namespace, volume.claim) in told:
                continue
            told.add((pod.namespace, volume.claim))
            text = labels_text({"namespace": pod.namespace, "persistentvolumeclaim": volume.claim})
            for name, value in (
                ("available_bytes", usage.available),
                ("capacity_bytes", usage.capacity),
                ("inodes", usage.inodes),
                ("inodes_free", usage.inodes_free),
                ("inodes_used", usage.inodes_used),
                ("used_bytes", usage.used),
            ):
                page.add(f"kubelet_volume_stats_{name}", text, value)
    return page.render()
