"""Carries out what was decided about a pod's claims, and waits until they are bound: only then can the pod be.

The binder and the provisioners do the rest, each from what is written here: a volume's claimRef, or a claim's node.
Source: kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode
"""

from __future__ import annotations

import asyncio

from timonel.api.clock import Clock
from timonel.api.objects import Object, ObjectKey, annotations_of, is_deleting, key_of, name_of, uid_of
from timonel.api.refs import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from timonel.api.volumes import SELECTED_NODE, bound_volume, claim_key_of, is_for, is_fully_bound
from timonel.client.protocol import ApiClient
from timonel.scheduler.core.volumes import VolumePlan
from timonel.scheduler.mirror import Mirror


class VolumesNotBound(Exception):
    """The pod has to be decided about again. The message is the end of its FailedScheduling event."""


class VolumeBinding:
    def __init__(self, *, client: ApiClient, mirror: Mirror, clock: Clock) -> None:
        self._client = client
        self._mirror = mirror
        self._clock = clock
        self._waiting: dict[ObjectKey | str, set[asyncio.Event]] = {}
        """By claims, and by uids of pods."""
        mirror.claims.add_handler(
            on_update=lambda old, new: self._wake(key_of(new)), on_delete=lambda last: self._wake(key_of(last))
        )
        mirror.volumes.add_handler(on_update=lambda old, new: self._volume_changed(old))
        mirror.pods.add_handler(
            on_update=lambda old, new: self._wake(uid_of(new)) if is_deleting(new) else None,
            on_delete=lambda last: self._wake(uid_of(last)),
        )

    async def bind(self, pod: Object, plan: VolumePlan, node: str, timeout_seconds: float) -> None:
        """Returns when every claim is bound. Raises VolumesNotBound, ApiError.

        `timeout_seconds`: how long a provisioner may take, before another node is tried.
        """
        for key, name in plan.bind:
            volume = self._mirror.volumes.lister.get("", name)
            claim = self._mirror.claims.lister.get(*key)
            if volume is None or claim is None:
                raise VolumesNotBound(f'claim "{key}" or volume "{name}" does not exist any more')
            changed = bound_volume(volume, claim)
            if changed is not None:
                await self._client.update(PERSISTENT_VOLUMES, changed)
        for key in plan.provision:
            claim = self._mirror.claims.lister.get(*key)
            if claim is None:
                raise VolumesNotBound(f'claim "{key}" does not exist any more')
            if annotations_of(claim).get(SELECTED_NODE) != node:
                patch = {"metadata": {"uid": uid_of(claim), "annotations": {SELECTED_NODE: node}}}
                await self._client.patch(PERSISTENT_VOLUME_CLAIMS, key.name, patch, key.namespace, type="merge")
        await self._wait_bound(pod, plan, node, timeout_seconds)

    async def _wait_bound(self, pod: Object, plan: VolumePlan, node: str, timeout_seconds: float) -> None:
        changed = asyncio.Event()
        keys: list[ObjectKey | str] = [*plan.claims, uid_of(pod)]
        for key in keys:
            self._waiting.setdefault(key, set()).add(changed)
        seen: set[ObjectKey] = set()
        timer = asyncio.ensure_future(self._clock.sleep(timeout_seconds))
        timer.add_done_callback(lambda _: changed.set())
        try:
            while not self._are_bound(pod, plan, node, seen):
                if timer.done():
                    raise VolumesNotBound("binding volumes: context deadline exceeded")
                await changed.wait()
                changed.clear()
        finally:
            timer.cancel()
            for key in keys:
                self._waiting[key].discard(changed)
                if not self._waiting[key]:
                    del self._waiting[key]

    def _are_bound(self, pod: Object, plan: VolumePlan, node: str, seen: set[ObjectKey]) -> bool:
        """`seen`: claims whose node has come back from the API; only from then on its absence means something."""
        live = self._mirror.pods.lister.get(*key_of(pod))
        if live is None or uid_of(live) != uid_of(pod) or is_deleting(live):
            raise VolumesNotBound(f'pod "{key_of(pod)}" does not exist any more')
        bound = True
        for key in plan.claims:
            claim = self._mirror.claims.lister.get(*key)
            if claim is None or is_deleting(claim):
                raise VolumesNotBound(f'binding volumes: claim "{key}" does not exist any more')
            if is_fully_bound(claim):
                continue
            bound = False
            if key in plan.provision:
                if annotations_of(claim).get(SELECTED_NODE) == node:
                    seen.add(key)
                elif key in seen:
                    raise VolumesNotBound(f'binding volumes: selectedNode annotation reset for PVC "{name_of(claim)}"')
        for key, name in plan.bind:
            volume, claim = self._mirror.volumes.lister.get("", name), self._mirror.claims.lister.get(*key)
            if volume is None or claim is None:
                raise VolumesNotBound(f'binding volumes: volume "{name}" does not exist any more')
            if is_for(volume, claim):
                seen.add(key)
            elif key in seen or claim_key_of(volume) is not None:
                raise VolumesNotBound(f'binding volumes: volume "{name}" was taken by another claim')
        return bound

    def _volume_changed(self, old: Object) -> None:
        key = claim_key_of(old)
        if key is not None:
            self._wake(key)

    def _wake(self, key: ObjectKey | str) -> None:
        for event in self._waiting.get(key, ()):
            event.set()
