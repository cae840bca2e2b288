"""Makes the claims of generic ephemeral volumes; they belong to their pod and go with it.

Source: kubernetes.io/docs/concepts/storage/ephemeral-volumes/#generic-ephemeral-volumes
"""

from __future__ import annotations

import logging

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists
from timonel.api.objects import Object, ObjectKey, get_path, is_deleting, key_of, name_of, namespace_of, uid_of
from timonel.api.refs import PERSISTENT_VOLUME_CLAIMS, PODS
from timonel.api.volumes import claim_name, is_made_for, not_made_for
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.volume_use import BY_CLAIM, index_by_claim

log = logging.getLogger(__name__)


def claim_for(pod: Object, volume: Object) -> Object:
    """The claim of one of the pod's volumes, from its template."""
    template = get_path(volume, "ephemeral", "volumeClaimTemplate", default={})
    metadata = template.get("metadata") or {}
    made: Object = {
        "name": claim_name(pod, volume),
        "namespace": namespace_of(pod),
        "ownerReferences": [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": name_of(pod),
                "uid": uid_of(pod),
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    made |= {field: dict(metadata[field]) for field in ("labels", "annotations") if metadata.get(field)}
    return {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": made, "spec": template.get("spec") or {}}


class EphemeralVolumeController(Controller):
    """Keys are pods with such volumes. A claim that vanishes is made again."""

    name = "ephemeral-volume"
    watches = (Watch(PODS), Watch(PERSISTENT_VOLUME_CLAIMS))

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        index_by_claim(self.informer(PODS))

    def register(self) -> None:
        self._watch(Watch(PODS, key=_pod_key, changed=lambda old, new: False))
        self.informer(PERSISTENT_VOLUME_CLAIMS).add_handler(on_delete=self._claim_gone)

    def _claim_gone(self, claim: Object) -> None:
        for pod in self.lister(PODS).by_index(BY_CLAIM, key_of(claim)):
            if _pod_key(pod) is not None:
                self.queue.add(key_of(pod))

    async def sync(self, key: ObjectKey) -> Result:
        pod = self.lister(PODS).get(*key)
        if pod is None or is_deleting(pod):
            return Result()
        for volume in get_path(pod, "spec", "volumes", default=()):
            if volume.get("ephemeral") is not None:
                await self._ensure(pod, volume)
        return Result()

    async def _ensure(self, pod: Object, volume: Object) -> None:
        claim = self.lister(PERSISTENT_VOLUME_CLAIMS).get(namespace_of(pod), claim_name(pod, volume))
        if claim is None:
            try:
                await self.client.create(PERSISTENT_VOLUME_CLAIMS, claim_for(pod, volume), namespace_of(pod))
                log.info("claim was made pod=%s volume=%s", key_of(pod), volume["name"])
                return
            except AlreadyExists:
                claim = await self.client.get(PERSISTENT_VOLUME_CLAIMS, claim_name(pod, volume), namespace_of(pod))
        if not is_made_for(claim, pod):
            why = f"ephemeral volume {volume['name']}: {not_made_for(claim, pod)}"
            self.event(pod, "Warning", "FailedBinding", why)


def _pod_key(pod: Object) -> Keys:
    volumes = get_path(pod, "spec", "volumes", default=())
    return key_of(pod) if any(volume.get("ephemeral") is not None for volume in volumes) else None
