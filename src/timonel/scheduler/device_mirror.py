"""Keeps what is known of devices in step with what the informers tell, and says which waiting pods that may help."""

from __future__ import annotations

import logging
from collections.abc import Callable

from timonel.api.objects import Object, ObjectKey, annotations_of, controller_of, key_of, name_of, uid_of
from timonel.api.refs import DEVICE_CLASSES, RESOURCE_CLAIMS, RESOURCE_SLICES
from timonel.client.informer import Informers
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.devices.extended import ANNOTATION
from timonel.scheduler.core.devices.inventory import ClaimPlan
from timonel.scheduler.core.devices.ledger import allocation_of
from timonel.scheduler.core.framework import Change
from timonel.scheduler.core.pods import Pod

log = logging.getLogger(__name__)


class DeviceMirror:
    """`changed` is told what may help any pod; `retry`, of a pod that waits for just this claim, its key."""

    def __init__(
        self,
        *,
        informers: Informers,
        cluster: Cluster,
        changed: Callable[[Change], None],
        retry: Callable[[tuple[str, str]], None],
    ) -> None:
        self._devices = cluster.devices
        self._changed = changed
        self._retry = retry
        self._users: dict[ObjectKey, dict[str, tuple[str, str]]] = {}
        """Claim -> uid of a pod that waits -> its key."""
        self._claims_of: dict[str, tuple[ObjectKey, ...]] = {}
        self.slices = informers.of(RESOURCE_SLICES)
        self.classes = informers.of(DEVICE_CLASSES)
        self.claims = informers.of(RESOURCE_CLAIMS)
        self.slices.add_handler(
            on_add=self._slice_seen,
            on_update=lambda old, new: self._slice_seen(new),
            on_delete=lambda last: self._devices.catalogue.remove(name_of(last)),
        )
        self.classes.add_handler(
            on_add=self._class_seen,
            on_update=lambda old, new: self._class_seen(new),
            on_delete=lambda last: self._devices.remove_class(name_of(last)),
        )
        self.claims.add_handler(
            on_add=self._claim_seen, on_update=lambda old, new: self._claim_seen(new), on_delete=self._claim_gone
        )

    async def wait_synced(self) -> None:
        for informer in (self.slices, self.classes, self.claims):
            await informer.wait_synced()

    # Pods that wait

    def lacks_claims(self, pod: Pod) -> bool:
        """Claims that are made from templates for it are still to come: until then there is nothing to decide."""
        return any(
            entry.claim is None
            or (entry.claim != "" and ObjectKey(pod.key[0], entry.claim) not in self._devices.ledger.claims)
            for entry in pod.device_claims
            if entry.is_generated
        )

    def follow(self, pod: Pod) -> None:
        """The pod waits: it is to be tried again when one of its claims changes."""
        keys = tuple(ObjectKey(pod.key[0], entry.claim) for entry in pod.device_claims if entry.claim)
        if self._claims_of.get(pod.uid) == keys:
            return
        self.leave(pod.uid)
        if keys:
            self._claims_of[pod.uid] = keys
            for key in keys:
                self._users.setdefault(key, {})[pod.uid] = pod.key

    def leave(self, uid: str) -> None:
        for key in self._claims_of.pop(uid, ()):
            users = self._users[key]
            del users[uid]
            if not users:
                del self._users[key]

    # What the scheduler itself does

    def settle(self, plan: ClaimPlan, claim: Object) -> None:
        """What was promised to the claim is written, or will not be: who waits for it, or for its devices, may go."""
        if key_of(claim) not in plan.allocations:
            return
        self._devices.ledger.settle(uid_of(claim), key_of(claim))
        known = self._devices.ledger.claims.get(key_of(claim))
        if known is None or allocation_of(known) is None:
            self._changed(Change.DEVICES_FREED)
        self._retry_users(key_of(claim))

    def _retry_users(self, key: ObjectKey) -> None:
        for pod in list(self._users.get(key, {}).values()):
            self._retry(pod)

    # What happens

    def _slice_seen(self, obj: Object) -> None:
        try:
            self._devices.catalogue.put(obj)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            # One driver's mistake must not keep the devices of others from being used.
            log.warning("Could not read a ResourceSlice name=%s error=%r", name_of(obj), exc)
            self._devices.catalogue.remove(name_of(obj))
        self._changed(Change.DEVICE_SLICE)

    def _class_seen(self, obj: Object) -> None:
        self._devices.put_class(obj)
        self._changed(Change.DEVICE_CLASS)

    def _claim_seen(self, obj: Object) -> None:
        ledger, key = self._devices.ledger, key_of(obj)
        before = ledger.claims.get(key)
        if not ledger.put_claim(obj):
            return
        if before is not None and allocation_of(before) is not None and allocation_of(obj) is None:
            self._changed(Change.DEVICES_FREED)
        if before is None or before.get("status") != obj.get("status"):
            self._retry_users(key)

    def _claim_gone(self, last: Object) -> None:
        known = self._devices.ledger.claims.get(key_of(last))
        self._devices.ledger.remove_claim(key_of(last))
        if known is not None and allocation_of(known) is not None:
            self._changed(Change.DEVICES_FREED)
        if annotations_of(last).get(ANNOTATION) == "true" and (owner := controller_of(last)) is not None:
            self._retry((key_of(last).namespace, owner["name"]))  # its pod could not be tried beside it
