"""A taint of effect NoExecute on a device sends away the pods that use it and do not tolerate it, or not for longer.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#device-taints-and-tolerations
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from timonel.api.clock import Clock, parse_time
from timonel.api.errors import NotFound
from timonel.api.objects import Object, ObjectKey, get_path, is_deleting, key_of, name_of, namespace_of, uid_of
from timonel.api.refs import PODS, RESOURCE_CLAIMS, RESOURCE_SLICES
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.pods import disruption_condition, is_terminal, node_name_of
from timonel.controllers.resourceclaims.claims import claims_of, consumers_of, has_claims, is_for, is_pod

log = logging.getLogger(__name__)

_NO_EXECUTE = "NoExecute"
_BY_POOL = "pool"

Pool = tuple[str, str]
"""Driver and name."""


def taints_of(slices: Iterable[Object], device: str) -> list[Object]:
    """Those with effect NoExecute of a device, by the slices of its pool; only the newest generation counts."""
    found = list(slices)
    newest = max((_generation(item) for item in found), default=0)
    for item in found:
        if _generation(item) == newest:
            for each in item["spec"].get("devices") or ():
                if each["name"] == device:
                    return [taint for taint in each.get("taints") or () if taint.get("effect") == _NO_EXECUTE]
    return []


def tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Equal":
        return (toleration.get("value") or "") == (taint.get("value") or "")
    return bool(operator == "Exists")


def tolerated_until(tolerations: Sequence[Object], taint: Object, now: datetime) -> datetime | None:
    """None: for ever. Of several tolerations the shortest counts, unless one of them has no end."""
    since = parse_time(taint["timeAdded"]) if taint.get("timeAdded") else now
    matching = [toleration for toleration in tolerations if tolerates(toleration, taint)]
    if any(toleration.get("tolerationSeconds") is None for toleration in matching):
        return None
    return since + timedelta(seconds=max(0, min((each["tolerationSeconds"] for each in matching), default=0)))


def _generation(item: Object) -> int:
    return int(get_path(item, "spec", "pool", "generation", default=0))


def _devices_of(claim: Object) -> list[Object]:
    return get_path(claim, "status", "allocation", "devices", "results", default=[]) or []


class DeviceTaintEvictionController(Controller):
    """Keys are pods. Pods without claims cost nothing."""

    name = "device-taint-eviction-controller"
    workers = 8

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.watches = (
            Watch(PODS, key=lambda pod: key_of(pod) if has_claims(pod) else None, changed=_pod_changed),
            Watch(RESOURCE_CLAIMS, key=_users_of, changed=_claim_changed),
            Watch(RESOURCE_SLICES, key=self._users_of_pool, changed=_slice_changed),
        )
        self._claims = self.informer(RESOURCE_CLAIMS)
        self._slices = self.informer(RESOURCE_SLICES)
        self._claims.add_index(_BY_POOL, _pools_of_claim)
        self._slices.add_index(_BY_POOL, lambda item: (_pool_of(item),))
        self._waiting: dict[ObjectKey, str] = {}
        """Pods that will have to go when their time is over, by uid: they are told when they need not after all."""

    def _users_of_pool(self, item: Object) -> Keys:
        return [key for claim in self._claims.lister.by_index(_BY_POOL, _pool_of(item)) for key in _users_of(claim)]

    async def sync(self, key: ObjectKey) -> Result:
        pod = self.lister(PODS).get(*key)
        if pod is None or is_deleting(pod) or is_terminal(pod):
            self._waiting.pop(key, None)
            return Result()
        now = self.clock.now()
        due = self._due_at(pod, now)
        if due is None:
            if self._waiting.pop(key, None) == uid_of(pod):
                self.event(pod, "Normal", "DeviceTaintManagerEviction", "Cancelling deletion")
            return Result()
        left = (due - now).total_seconds()
        if left > 0:
            self._waiting[key] = uid_of(pod)
            return Result(requeue_after=left)
        self._waiting.pop(key, None)
        await self._evict(pod)
        return Result()

    def _due_at(self, pod: Object, now: datetime) -> datetime | None:
        """When the first taint of a device that the pod uses is not tolerated any more; None: never."""
        if not node_name_of(pod):
            return None
        moments = []
        for claim in self._used_claims(pod):
            for device in _devices_of(claim):
                slices = self._slices.lister.by_index(_BY_POOL, (device["driver"], device["pool"]))
                for taint in taints_of(slices, device["device"]):
                    moments.append(tolerated_until(device.get("tolerations") or (), taint, now))
        return min((moment for moment in moments if moment is not None), default=None)

    def _used_claims(self, pod: Object) -> Iterator[Object]:
        for entry in claims_of(pod):
            claim = self._claims.lister.get(namespace_of(pod), entry.claim) if entry.claim else None
            if claim is None or (entry.is_generated and not is_for(claim, pod)):
                continue
            if any(each.get("uid") == uid_of(pod) for each in consumers_of(claim)):
                yield claim

    async def _evict(self, pod: Object) -> None:
        self.event(pod, "Normal", "DeviceTaintManagerEviction", "Marking for deletion")
        message = "Device Taint manager: deleting due to NoExecute taint"
        condition = disruption_condition(pod, "DeletionByDeviceTaintManager", message, self.clock.now())
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [condition]}}
        try:
            await self.client.patch(
                PODS, name_of(pod), patch, namespace_of(pod), type="strategic", subresource="status"
            )
            await self.client.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except NotFound:
            return
        log.info("pod evicted by taint of a device pod=%s", key_of(pod))


def _pool_of(item: Object) -> Pool:
    return item["spec"].get("driver") or "", get_path(item, "spec", "pool", "name", default="")


def _pools_of_claim(claim: Object) -> set[Pool]:
    return {(device.get("driver") or "", device.get("pool") or "") for device in _devices_of(claim)}


def _users_of(claim: Object) -> list[ObjectKey]:
    if not _devices_of(claim):
        return []
    return [ObjectKey(namespace_of(claim), each["name"]) for each in consumers_of(claim) if is_pod(each)]


def _pod_changed(old: Object, new: Object) -> bool:
    def relevant(pod: Object) -> tuple[object, ...]:
        return uid_of(pod), node_name_of(pod), get_path(pod, "status", "resourceClaimStatuses")

    return relevant(old) != relevant(new)


def _claim_changed(old: Object, new: Object) -> bool:
    def relevant(claim: Object) -> tuple[object, ...]:
        return uid_of(claim), consumers_of(claim), _devices_of(claim)

    return relevant(old) != relevant(new)


def _slice_changed(old: Object, new: Object) -> bool:
    def relevant(item: Object) -> tuple[object, ...]:
        tainted = [
            (device["name"], device["taints"]) for device in item["spec"].get("devices") or () if device.get("taints")
        ]
        return _pool_of(item), _generation(item), tainted

    return relevant(old) != relevant(new)
