"""Limits on the node's disk that pods themselves name: of emptyDirs, of containers, of the pod. Pure.

Source: kubernetes.io/docs/concepts/storage/ephemeral-storage, "How pods with ephemeral-storage limits run"; messages
are upstream's.
"""

from __future__ import annotations

from timonel.api.objects import Object
from timonel.api.quantity import format_quantity, int_value
from timonel.kubelet.containers.resources import container_limit, pod_total
from timonel.kubelet.eviction.usage import PodUse, is_in_memory

_STORAGE = "ephemeral-storage"


def has_limits(pod: Object) -> bool:
    """Whether anything of the pod has to be measured. In memory the kernel itself keeps an emptyDir's limit."""
    spec = pod.get("spec") or {}
    volumes = spec.get("volumes") or ()
    return any((v.get("emptyDir") or {}).get("sizeLimit") and not is_in_memory(v) for v in volumes) or any(
        container_limit(container, _STORAGE) for container in spec.get("containers") or ()
    )


def violation(pod: Object, use: PodUse, *, images_apart: bool = False) -> str:
    """Why the pod has to go, "" when it keeps to its limits. `images_apart`: layers are on another file system."""
    for volume in pod["spec"].get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        used = use.volumes.get(volume["name"])
        if limit and used is not None and 0 < int_value(str(limit)) < used.bytes:
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". '
    total = pod_total(pod, "limits", _STORAGE)
    if total and use.disk.bytes > total:
        shown = format_quantity(total, like="1Ki")
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {shown}. "
    for container in pod["spec"].get("containers") or ():
        limit = container_limit(container, _STORAGE)
        found = use.containers.get(container["name"])
        if limit and found is not None:
            used_bytes = found.logs.bytes + (0 if images_apart else found.layer.bytes)
            if used_bytes > limit:
                shown = container["resources"]["limits"][_STORAGE]
                return f'Container {container["name"]} exceeded its local ephemeral storage limit "{shown}". '
    return ""
