"""Claims, volumes and attributes classes that are deleted stay until nothing uses them: the finalizers' other end.

Admission adds the finalizers; whatever lacks one, from before admission did so, gets it here.
Source: kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

import logging
from typing import ClassVar

from timonel.api.objects import Object, ObjectKey, controller_of, get_path, is_deleting, name_of, namespace_of, uid_of
from timonel.api.quota.volume_claims import attributes_classes
from timonel.api.refs import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTRIBUTES_CLASSES,
    ResourceRef,
)
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.controllers.pods import is_terminal, node_name_of

log = logging.getLogger(__name__)


class _Protection(Controller):
    """Keys are objects of `ref`."""

    ref: ClassVar[ResourceRef]
    finalizer: ClassVar[str]

    async def is_used(self, obj: Object) -> bool:
        """Whether a deleted object must stay. May ask the server."""
        raise NotImplementedError

    async def sync(self, key: ObjectKey) -> Result:
        obj = self.lister(self.ref).get(*key)
        if obj is None:
            return Result()
        finalizers = obj["metadata"].get("finalizers") or []
        if not is_deleting(obj):
            if self.finalizer not in finalizers:
                await self._write(obj, [*finalizers, self.finalizer])
        elif self.finalizer in finalizers and not await self.is_used(obj):
            await self._write(obj, [item for item in finalizers if item != self.finalizer])
            log.info("protection ended resource=%s key=%s", self.ref.plural, key)
        return Result()

    async def _write(self, obj: Object, finalizers: list[str]) -> None:
        metadata = {**obj["metadata"], "finalizers": finalizers}
        await self.client.update(self.ref, {**obj, "metadata": metadata})


class ClaimProtection(_Protection):
    """A claim is used by pods that are on a node; others would not be started with a claim that is going."""

    name = "persistentvolumeclaim-protection"
    ref = PERSISTENT_VOLUME_CLAIMS
    finalizer = "kubernetes.io/pvc-protection"
    watches = (
        Watch(PERSISTENT_VOLUME_CLAIMS),
        Watch(PODS, key=lambda pod: _claim_keys(pod), changed=lambda old, new: is_terminal(old) != is_terminal(new)
              or is_deleting(old) != is_deleting(new)),
    )  # fmt: skip

    async def is_used(self, obj: Object) -> bool:
        namespace = namespace_of(obj)
        if any(_uses(pod, obj) for pod in self.lister(PODS).list(namespace)):
            return True
        # The cache may not have heard yet of a pod that was bound a moment ago.
        found = await self.client.list(PODS, namespace)
        return any(_uses(pod, obj) for pod in found.get("items") or ())


class VolumeProtection(_Protection):
    name = "persistentvolume-protection"
    ref = PERSISTENT_VOLUMES
    finalizer = "kubernetes.io/pv-protection"
    watches = (Watch(PERSISTENT_VOLUMES),)

    async def is_used(self, obj: Object) -> bool:
        return bool(get_path(obj, "status", "phase") == "Bound")


class AttributesClassProtection(_Protection):
    name = "volumeattributesclass-protection"
    ref = VOLUME_ATTRIBUTES_CLASSES
    finalizer = "kubernetes.io/vac-protection"
    watches = (
        Watch(VOLUME_ATTRIBUTES_CLASSES),
        Watch(PERSISTENT_VOLUME_CLAIMS, key=lambda claim: _class_keys(claim)),
        Watch(PERSISTENT_VOLUMES, key=lambda volume: _class_keys(volume)),
    )

    async def is_used(self, obj: Object) -> bool:
        name = name_of(obj)
        return any(
            name in attributes_classes(other)
            for ref in (PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES)
            for other in self.lister(ref).list()
        )


def _claim_keys(pod: Object) -> Keys:
    return [ObjectKey(namespace_of(pod), name) for name in _claim_names(pod)]


def _claim_names(pod: Object) -> list[str]:
    found = []
    for volume in get_path(pod, "spec", "volumes", default=[]):
        if volume.get("persistentVolumeClaim"):
            found.append(volume["persistentVolumeClaim"].get("claimName") or "")
        elif volume.get("ephemeral") is not None:
            found.append(f"{name_of(pod)}-{volume.get('name')}")
    return found


def _uses(pod: Object, claim: Object) -> bool:
    if not node_name_of(pod):
        return False
    name = name_of(claim)
    for volume in get_path(pod, "spec", "volumes", default=[]):
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == name:
            return True
        if volume.get("ephemeral") is not None and f"{name_of(pod)}-{volume.get('name')}" == name:
            owner = controller_of(claim)
            is_over = is_deleting(pod) and pod["metadata"].get("deletionGracePeriodSeconds") == 0
            if owner is not None and owner["uid"] == uid_of(pod) and not is_over:
                return True
    return False


def _class_keys(obj: Object) -> Keys:
    return [ObjectKey("", name) for name in attributes_classes(obj)]
