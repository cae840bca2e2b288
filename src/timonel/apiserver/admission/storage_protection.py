"""StorageObjectInUseProtection: claims, volumes and attributes classes stay while they are used.

The finalizers are taken away again by the protection controllers.
Source: kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

from timonel.api.refs import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, VOLUME_ATTRIBUTES_CLASSES
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin

_FINALIZERS = {
    (PERSISTENT_VOLUMES.group, PERSISTENT_VOLUMES.plural): "kubernetes.io/pv-protection",
    (PERSISTENT_VOLUME_CLAIMS.group, PERSISTENT_VOLUME_CLAIMS.plural): "kubernetes.io/pvc-protection",
    (VOLUME_ATTRIBUTES_CLASSES.group, VOLUME_ATTRIBUTES_CLASSES.plural): "kubernetes.io/vac-protection",
}


class StorageObjectInUseProtection(Plugin):
    name = "StorageObjectInUseProtection"
    operations = frozenset({"CREATE"})
    resources = frozenset(_FINALIZERS)

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.obj is None or request.subresource:
            return
        metadata, ref = request.obj["metadata"], request.resource.ref
        finalizer = _FINALIZERS[ref.group, ref.plural]
        finalizers = metadata.get("finalizers") or []
        if finalizer not in finalizers:
            metadata["finalizers"] = [*finalizers, finalizer]
