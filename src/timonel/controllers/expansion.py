"""Claims that ask for more than their volume has: says who is waited for. What grows volumes is their driver's resizer;
Timonel's own local volumes are grown by their provisioner (persistentvolume/local.py).

Source: kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims
"""

from __future__ import annotations

from timonel.api.objects import Object, ObjectKey, annotations_of, get_path, is_deleting, key_of
from timonel.api.refs import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from timonel.api.volumes import LOCAL_PROVISIONER, PROVISIONED_BY, request_of, size_of
from timonel.client.controller import Controller, Keys, Result, Watch


def _bound(claim: Object) -> Keys:
    return key_of(claim) if get_path(claim, "status", "phase") == "Bound" else None


def _asks_anew(old: Object, new: Object) -> bool:
    return request_of(old) != request_of(new) or get_path(old, "status", "phase") != get_path(new, "status", "phase")


class ExpansionController(Controller):
    name = "persistentvolume-expander"
    workers = 1
    watches = (
        Watch(PERSISTENT_VOLUME_CLAIMS, key=_bound, changed=_asks_anew),
        Watch(PERSISTENT_VOLUMES, key=lambda volume: None),
    )

    async def sync(self, key: ObjectKey) -> Result:
        claim = self.lister(PERSISTENT_VOLUME_CLAIMS).get(*key)
        if claim is None or is_deleting(claim):
            return Result()
        volume = self.lister(PERSISTENT_VOLUMES).get("", get_path(claim, "spec", "volumeName", default=""))
        if volume is None or annotations_of(volume).get(PROVISIONED_BY) == LOCAL_PROVISIONER:
            return Result()
        if request_of(claim) > size_of(volume):
            type = "Normal" if get_path(volume, "spec", "csi") is not None else "Warning"
            self.event(claim, type, "ExternalExpanding", "waiting for an external controller to expand this PVC")
        return Result()
