"""PersistentVolumeClaimResize: a claim grows only when its class allows volumes to grow.

Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#persistentvolumeclaimresize
"""

from __future__ import annotations

from decimal import Decimal

from timonel.api.objects import Object, get_path
from timonel.api.quota.amounts import value_of
from timonel.api.quota.volume_claims import storage_class_of
from timonel.api.refs import PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.readers import Readers


class PersistentVolumeClaimResize(Plugin):
    name = "PersistentVolumeClaimResize"
    operations = frozenset({"UPDATE"})
    resources = frozenset({(PERSISTENT_VOLUME_CLAIMS.group, PERSISTENT_VOLUME_CLAIMS.plural)})

    def __init__(self, *, readers: Readers) -> None:
        self._classes = readers.reader(STORAGE_CLASSES)

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = request.obj, request.old
        if new is None or old is None or request.subresource or _size(new) <= _size(old):
            return
        if get_path(old, "status", "phase") != "Bound":
            raise request.forbidden("Only bound persistent volume claims can be expanded")
        name = storage_class_of(new)
        found = self._classes.get("", name) if name and name == storage_class_of(old) else None
        if found is None or not found.get("allowVolumeExpansion"):
            raise request.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must"
                " support resize"
            )


def _size(claim: Object) -> Decimal:
    return value_of(str(get_path(claim, "spec", "resources", "requests", "storage", default="0")))
