"""The binder: carries out what the planner says about claims and volumes.

One worker looks at one thing after the other, so that no volume is promised twice; a write that lost a race is refused
by its resourceVersion, and the key looked at anew. Keys with a namespace are claims, those without are volumes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from timonel.api.clock import Clock
from timonel.api.errors import NotFound
from timonel.api.objects import Object, ObjectKey, annotations_of, get_path, key_of, name_of, uid_of
from timonel.api.refs import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES, ResourceRef
from timonel.api.volumes import bound_volume, claim_key_of, class_of, is_pending
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.persistentvolume import binding
from timonel.controllers.persistentvolume.freshness import Freshest
from timonel.controllers.persistentvolume.planner import ClaimPlan, ClaimView, Event, plan_claim, plan_volume
from timonel.controllers.pods import is_terminal, node_name_of
from timonel.controllers.volume_use import BY_CLAIM, index_by_claim

log = logging.getLogger(__name__)

_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_VOLUMES, _CLAIMS = "of claim, or free in class", "pending in class"


class VolumeBinder(Controller):
    name = "persistentvolume-binder"
    workers = 1
    watches = (Watch(PERSISTENT_VOLUME_CLAIMS), Watch(PERSISTENT_VOLUMES), Watch(STORAGE_CLASSES))

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._claims = Freshest(self.informer(PERSISTENT_VOLUME_CLAIMS))
        self._volumes = Freshest(self.informer(PERSISTENT_VOLUMES))
        self.informer(PERSISTENT_VOLUMES).add_index(_VOLUMES, _index_volume)
        self.informer(PERSISTENT_VOLUME_CLAIMS).add_index(_CLAIMS, _index_claim)
        index_by_claim(self.informer(PODS))

    def register(self) -> None:
        self._watch(Watch(PERSISTENT_VOLUME_CLAIMS, key=self._of_claim))
        self._watch(Watch(PERSISTENT_VOLUMES, key=self._of_volume))
        self._watch(Watch(STORAGE_CLASSES, key=self._of_class))

    # Who is concerned

    def _of_claim(self, claim: Object) -> Keys:
        key = key_of(claim)
        keys = [key, *(key_of(volume) for volume in self.lister(PERSISTENT_VOLUMES).by_index(_VOLUMES, key))]
        if name := get_path(claim, "spec", "volumeName"):
            keys.append(ObjectKey("", name))
        return dict.fromkeys(keys)

    def _of_volume(self, volume: Object) -> Keys:
        claim = claim_key_of(volume)
        if claim is not None:
            return [key_of(volume), claim]
        return [key_of(volume), *self._pending(class_of(volume)), *self._pending("volume", name_of(volume))]

    def _of_class(self, storage_class: Object) -> Keys:
        return [*self._pending(name_of(storage_class)), *self._pending("")]

    def _pending(self, *value: str) -> Iterable[ObjectKey]:
        return [key_of(claim) for claim in self.lister(PERSISTENT_VOLUME_CLAIMS).by_index(_CLAIMS, value)]

    # Claims

    async def sync(self, key: ObjectKey) -> Result:
        if key.namespace:
            claim = self._claims.get(key)
            if claim is not None:
                await self._sync_claim(claim)
        else:
            volume = self._volumes.get(key)
            if volume is not None:
                await self._sync_volume(volume)
        return Result()

    async def _sync_claim(self, claim: Object) -> None:
        plan = plan_claim(claim, self._view(claim))
        if plan.default_class:
            await self._write_claim(binding.classed_form(claim, plan.default_class))
            log.info("claim got the default class claim=%s class=%s", key_of(claim), plan.default_class)
            self.queue.add(key_of(claim))
        elif plan.bind is not None:
            await self._bind(claim, plan.bind)
        else:
            await self._leave_open(claim, plan)

    def _view(self, claim: Object) -> ClaimView:
        key, found = key_of(claim), self.lister(PERSISTENT_VOLUMES)
        candidates = [*found.by_index(_VOLUMES, key), *found.by_index(_VOLUMES, class_of(claim))]
        classes = {name_of(each): each for each in self.lister(STORAGE_CLASSES).list()}
        pods = self.lister(PODS).by_index(BY_CLAIM, key)
        return ClaimView(
            volume=lambda name: self._volumes.get(ObjectKey("", name)),
            candidates=[fresh for each in candidates if (fresh := self._volumes.get(key_of(each))) is not None],
            classes=classes,
            default_class=_default_class(classes.values()),
            waiting_pods=sorted(name_of(pod) for pod in pods if not node_name_of(pod) and not is_terminal(pod)),
        )

    async def _leave_open(self, claim: Object, plan: ClaimPlan) -> None:
        if plan.provisioner:
            asked = binding.asked_form(claim, plan.provisioner)
            if asked is not None:
                claim = await self._write_claim(asked)
        self._tell(claim, plan.event)
        changed = binding.claim_status_form(claim, plan.phase, None) if plan.phase else None
        if changed is not None:
            if get_path(claim, "status", "phase") != plan.phase:
                self._tell(claim, plan.when_changed)
            await self._write_claim(changed, subresource="status")

    async def _bind(self, claim: Object, volume: Object) -> None:
        """Four writes, each of which may be the last before a crash: the next look goes on where this one ended."""
        changed = bound_volume(volume, claim)
        if changed is not None:
            volume = await self._write_volume(changed)
        changed = binding.volume_status_form(volume, "Bound")
        if changed is not None:
            volume = await self._write_volume(changed, subresource="status")
        changed = binding.claim_form(claim, volume)
        if changed is not None:
            claim = await self._write_claim(changed)
        changed = binding.claim_status_form(claim, "Bound", volume)
        if changed is not None:
            await self._write_claim(changed, subresource="status")
            log.info("claim was bound claim=%s volume=%s", key_of(claim), name_of(volume))

    # Volumes

    async def _sync_volume(self, volume: Object) -> None:
        claim = await self._claim_of(volume)
        plan = plan_volume(volume, claim)
        for event in plan.events:
            self._tell(volume, event)
        if claim is not None:
            self._tell(claim, plan.claim_event)
            if plan.asks_claim:
                self.queue.add(key_of(claim))
        if plan.frees:
            freed = binding.freed_form(volume)
            if freed is not None:
                volume = await self._write_volume(freed)
        changed = binding.volume_status_form(volume, plan.phase, plan.message) if plan.phase else None
        if changed is not None:
            self._tell(volume, plan.when_changed)
            volume = await self._write_volume(changed, subresource="status")
            log.info("volume changed volume=%s phase=%s", name_of(volume), plan.phase)
            if plan.phase == "Available":
                # What was told of it so far did not wake the claims that it may suit.
                for key in self._pending(class_of(volume)):
                    self.queue.add(key)

    async def _claim_of(self, volume: Object) -> Object | None:
        """The claim with the uid that the volume has. Asks the server before it says None: data may hang on that."""
        key, uid = claim_key_of(volume), get_path(volume, "spec", "claimRef", "uid")
        if key is None or not uid:
            return None
        claim = self._claims.get(key)
        if claim is not None and uid_of(claim) == uid:
            return claim
        if get_path(volume, "status", "phase") in ("Released", "Failed"):
            return None  # asked before
        try:
            claim = await self.client.get(PERSISTENT_VOLUME_CLAIMS, key.name, key.namespace)
        except NotFound:
            return None
        return claim if uid_of(claim) == uid else None

    # Writing

    async def _write_claim(self, claim: Object, subresource: str = "") -> Object:
        return self._claims.wrote(await self._update(PERSISTENT_VOLUME_CLAIMS, claim, subresource))

    async def _write_volume(self, volume: Object, subresource: str = "") -> Object:
        return self._volumes.wrote(await self._update(PERSISTENT_VOLUMES, volume, subresource))

    async def _update(self, ref: ResourceRef, obj: Object, subresource: str) -> Object:
        return {
            "kind": ref.kind,
            "apiVersion": ref.api_version,
            **await self.client.update(ref, obj, subresource=subresource),
        }

    def _tell(self, obj: Object, event: Event | None) -> None:
        if event is not None:
            self.event(obj, event.type, event.reason, event.message)


def _index_volume(volume: Object) -> Iterable[ObjectKey | str]:
    """The claim it is for; or, of one that is nobody's, its class."""
    key = claim_key_of(volume)
    return [class_of(volume)] if key is None else [key]


def _index_claim(claim: Object) -> Iterable[tuple[str, ...]]:
    """Of claims that are not bound: their class, or the volume they name."""
    if not is_pending(claim):
        return ()
    name = get_path(claim, "spec", "volumeName")
    return [("volume", name)] if name else [(class_of(claim),)]


def _default_class(classes: Iterable[Object]) -> str:
    """As admission chooses: the newest, then the first by name."""
    marked = [each for each in classes if any(annotations_of(each).get(mark) == "true" for mark in _DEFAULT_CLASS)]
    marked.sort(key=name_of)
    newest = max(marked, key=lambda each: each["metadata"].get("creationTimestamp") or "", default=None)
    return name_of(newest) if newest is not None else ""
