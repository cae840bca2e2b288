"""Deletes Jobs some time after they ended, as they ask by `ttlSecondsAfterFinished`.

Source: kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished
"""

from __future__ import annotations

import logging
from datetime import datetime

from timonel.api.clock import parse_time
from timonel.api.errors import NotFound
from timonel.api.objects import Object, ObjectKey, is_deleting, key_of, uid_of
from timonel.api.refs import JOBS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.controllers.job.pods import finished_condition

log = logging.getLogger(__name__)


def seconds_left(job: Object, now: datetime) -> float | None:
    """0 or less: it is time; None: it stays, as far as can be told."""
    ttl, condition = job["spec"].get("ttlSecondsAfterFinished"), finished_condition(job)
    since = (condition or {}).get("lastTransitionTime")
    if ttl is None or since is None or is_deleting(job):
        return None
    return float(ttl - (now - parse_time(since)).total_seconds())


def _key(job: Object) -> Keys:
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    return key_of(job) if ttl is not None and finished_condition(job) is not None else None


class TtlAfterFinishedController(Controller):
    name = "ttl-after-finished"
    watches = (Watch(JOBS, key=_key),)

    async def sync(self, key: ObjectKey) -> Result:
        job = self.lister(JOBS).get(*key)
        left = seconds_left(job, self.clock.now()) if job is not None else None
        if left is None or left > 0:
            return Result(requeue_after=left)
        try:
            fresh = await self.client.get(JOBS, key.name, key.namespace)  # it may have been given more time
            left = seconds_left(fresh, self.clock.now())
            if left is None or left > 0:
                return Result(requeue_after=left)
            policy = "Foreground"
            await self.client.delete(JOBS, key.name, key.namespace, uid=uid_of(fresh), propagation_policy=policy)
        except NotFound:
            return Result()
        log.info("finished job was deleted job=%s", key)
        return Result()
