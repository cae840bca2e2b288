"""The ResourceQuota controller: writes the limits into the status, counts what is used, and gives back what was freed.

Admission raises the use before it lets an object be written; here it is counted from the objects themselves. It must
not be lowered by a count that has not seen an object just charged: what was charged less than a moment ago stays.
Source: kubernetes.io/docs/concepts/policy/resource-quotas
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from timonel.api.clock import Clock
from timonel.api.errors import Conflict
from timonel.api.objects import Object, ObjectKey, key_of, uid_of
from timonel.api.quota.amounts import Amounts, are_same, only, value_of
from timonel.api.quota.counting import count_usage, settled_usage
from timonel.api.quota.device_claims import DEVICES
from timonel.api.quota.evaluator import Evaluator
from timonel.api.quota.pods import end_of_deletion, is_quota_for_extended
from timonel.api.quota.registry import evaluator_for
from timonel.api.refs import API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS, PODS, RESOURCE_QUOTAS
from timonel.client.controller import Controller, Result, Watch, run_workers
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.resourcequota.kinds import QuotableKinds

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.5
"""Within it, an object that was charged has been written, or never will be, and is seen here."""
RESYNC_SECONDS = 300.0
"""The safety net: every quota is counted again so often, whatever happened."""
_CONFLICT_SECONDS = 0.1
"""After losing a race against admission; no growing delay, since a busy namespace must not wait the longest."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """What was recorded as used at a time: later, its objects are all in the count."""

    uid: str
    since: float
    used: Amounts


class ResourceQuotaController(Controller):
    """Keys are quotas."""

    name = "resourcequota"
    workers = 5

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        # The status is written here and by admission: neither is news.
        self.watches = (Watch(RESOURCE_QUOTAS, changed=lambda old, new: old.get("spec") != new.get("spec")),)
        self.kinds = QuotableKinds(
            client=client,
            informers=informers,
            clock=clock,
            is_concerned=lambda namespace: bool(self.lister(RESOURCE_QUOTAS).list(namespace)),
            on_release=self._release,
            on_known=self._look_again,
            on_change=self._look_at_all,
        )
        self._marks: dict[ObjectKey, _Mark] = {}

    def register(self) -> None:
        super().register()
        for ref in (CUSTOM_RESOURCE_DEFINITIONS, API_SERVICES):
            self.informers.of(ref, metadata_only=True).add_handler(
                on_add=lambda obj: self.kinds.doubt(),
                on_update=lambda old, new: self.kinds.doubt(),
                on_delete=lambda obj: self.kinds.doubt(),
            )

    async def run(self) -> None:
        self.register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.kinds.run(), name="quotable kinds")
            await self.informer(RESOURCE_QUOTAS).wait_synced()
            await run_workers(self.name, self.queue, self.sync, self.workers)

    # What makes a quota be looked at

    def _release(self, evaluator: Evaluator, namespace: str) -> None:
        quotas = self.lister(RESOURCE_QUOTAS).list(namespace)
        around = self.kinds.surroundings() if quotas else None
        for quota in quotas:
            if around is not None and evaluator.matching(_hard(quota), around):
                self.queue.add(key_of(quota))

    def _look_again(self, evaluator: Evaluator) -> None:
        around = self.kinds.surroundings()
        for quota in self.lister(RESOURCE_QUOTAS).list():
            if evaluator.matching(_hard(quota), around):
                self.queue.add(key_of(quota))

    def _look_at_all(self) -> None:
        for quota in self.lister(RESOURCE_QUOTAS).list():
            self.queue.add(key_of(quota))

    # What is done then

    async def sync(self, key: ObjectKey) -> Result:
        quota = self.lister(RESOURCE_QUOTAS).get(*key)
        if quota is None:
            self._marks.pop(key, None)
            return Result()
        if not self.kinds.are_known:
            return Result()  # all are looked at once they are
        status, hard, now = quota.get("status") or {}, _hard(quota), self.clock.monotonic()
        recorded: Amounts = status.get("used") or {}
        mark = self._marks.get(key)
        if mark is not None and mark.uid != uid_of(quota):
            mark = None
        is_stated = are_same(status.get("hard") or {}, hard) and "used" in status
        if is_stated and mark is not None and now < mark.since + SETTLE_SECONDS:
            return Result(requeue_after=mark.since + SETTLE_SECONDS - now)
        counted = self._count(quota, hard)
        is_ripe = mark is not None and now >= mark.since + SETTLE_SECONDS
        settled = settled_usage(counted, recorded, mark.used if mark is not None and is_ripe else {})
        used = only({**recorded, **settled}, hard.keys())
        if not is_stated or not are_same(used, recorded):
            wanted = {**quota, "status": {"hard": hard, "used": used}}
            try:
                await self.client.update(RESOURCE_QUOTAS, wanted, subresource="status")
            except Conflict:
                return Result(requeue_after=_CONFLICT_SECONDS)
            log.debug("quota was counted key=%s used=%s", key, used)
        # Objects made while the quota was not known to admission yet may not have been seen here either.
        if not is_stated or any(value_of(used[name]) > value_of(amount) for name, amount in counted.items()):
            self._marks[key] = _Mark(uid_of(quota), now, used)
            return Result(requeue_after=SETTLE_SECONDS)
        self._marks.pop(key, None)
        return Result(requeue_after=self._next_look(key, hard))

    def _count(self, quota: Object, hard: Amounts) -> Amounts:
        self.kinds.check_counts(hard)
        if any(name.endswith(DEVICES) or is_quota_for_extended(name) for name in hard):
            self.kinds.watch_device_classes()
        namespace = key_of(quota).namespace
        return count_usage(
            quota,
            self.kinds.evaluators(),
            lambda evaluator: self.kinds.objects(evaluator, namespace),
            self.kinds.surroundings(),
        )

    def _next_look(self, key: ObjectKey, hard: Amounts) -> float:
        """Seconds until the net catches, or until a pod that never goes was deleted so long ago it stops counting."""
        around = self.kinds.surroundings()
        if not evaluator_for(PODS.group_resource).matching(hard, around):
            return RESYNC_SECONDS
        ends = [
            (end - around.now).total_seconds() + 1
            for pod in self.lister(PODS).list(key.namespace)
            if (end := end_of_deletion(pod)) is not None and end >= around.now
        ]
        return min([RESYNC_SECONDS, *ends])


def _hard(quota: Object) -> Amounts:
    return (quota.get("spec") or {}).get("hard") or {}
