"""Claims, volumes and attributes classes that are deleted stay until nothing uses them: the finalizers' other end.

Admission adds the finalizers; whatever lacks one, from before admission did so, gets it here.
Source: kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

import logging
from typing import ClassVar

from timonel.api.clock import Clock
from timonel.api.objects import Object, ObjectKey, get_path, is_deleting, key_of, name_of, namespace_of
from timonel.api.quota.volume_claims import attributes_classes
from timonel.api.refs import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTRIBUTES_CLASSES,
    ResourceRef,
)
from timonel.api.volumes import claim_names, is_made_for
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.pods import is_terminal, node_name_of
from timonel.controllers.volume_use import BY_CLAIM, index_by_claim, keys_of_claims

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
        Watch(PODS, key=keys_of_claims, changed=lambda old, new: is_terminal(old) != is_terminal(new)
              or is_deleting(old) != is_deleting(new)),
    )  # fmt: skip

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        index_by_claim(self.informer(PODS))

    async def is_used(self, obj: Object) -> bool:
        if any(_uses(pod, obj) for pod in self.lister(PODS).by_index(BY_CLAIM, key_of(obj))):
            return True
        # The cache may not have heard yet of a pod that was bound a moment ago.
        found = await self.client.list(PODS, namespace_of(obj))
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


def _uses(pod: Object, claim: Object) -> bool:
    """One that was made for a pod of that name is in use by the very pod only, and until its containers have ended."""
    if not node_name_of(pod):
        return False
    is_over = is_deleting(pod) and pod["metadata"].get("deletionGracePeriodSeconds") == 0
    return any(
        not made_for_pod or (is_made_for(claim, pod) and not is_over)
        for name, made_for_pod in claim_names(pod)
        if name == name_of(claim)
    )


def _class_keys(obj: Object) -> Keys:
    return [ObjectKey("", name) for name in attributes_classes(obj)]
