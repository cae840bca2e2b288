"""The loop around the planner of CronJobs: one timer each, for the next start, and Jobs named after the minute.

A Job's name is what keeps a start from being made twice, also when this controller dies before it wrote what it made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from timonel.api.buckets import Buckets, powers
from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, ApiError, NotFound
from timonel.api.objects import Object, ObjectKey, key_of, name_of, namespace_of, uid_of
from timonel.api.refs import CRON_JOBS, JOBS
from timonel.client.clock_changes import ClockChanges
from timonel.client.controller import Controller, Result, Watch, owner_key
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.conditions import has_cause
from timonel.controllers.cronjob.planner import (
    job_for_start,
    job_name,
    lost_references,
    missed_message,
    plan_cron_job,
    status_with,
    status_without,
)
from timonel.controllers.own_writes import OwnWrites
from timonel.controllers.ownership import CONTROLLER_INDEX, controller_index, is_controlled_by

log = logging.getLogger(__name__)

MAX_WAIT_SECONDS = 3600.0
"""Timers do not notice a wall clock that is set; where nobody tells of it, it is found out after so long."""


@dataclass(frozen=True, slots=True)
class _Schedule:
    uid: str
    text: tuple[str, str | None]
    """And its zone."""
    since: datetime | None = None
    """None: as it was when first seen."""


class CronJobController(Controller):
    name = "cronjob"

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        clock_changes: Callable[[], ClockChanges] = ClockChanges,
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._clock_changes = clock_changes
        self.watches = (Watch(CRON_JOBS), Watch(JOBS, key=owner_key(CRON_JOBS.kind, CRON_JOBS.group)))
        self._own = OwnWrites(clock)
        self._told_missed: dict[ObjectKey, datetime] = {}
        self._schedules: dict[ObjectKey, _Schedule] = {}
        self.skews = Buckets(powers(1, 2, 10))
        """Seconds from when Jobs were due to their creation."""
        self._cron_jobs = self.informer(CRON_JOBS)
        self._jobs = self.informer(JOBS)
        self._jobs.add_index(CONTROLLER_INDEX, controller_index)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run(), name=f"{self.name} workers")
            group.create_task(self._follow_clock(), name=f"{self.name} clock changes")

    async def _follow_clock(self) -> None:
        changes = self._clock_changes()
        try:
            while True:
                await changes.wait()
                log.info("wall clock was set, looking at all schedules")
                for cron_job in self._cron_jobs.lister.list():
                    self.queue.add(key_of(cron_job))
        finally:
            changes.close()

    async def sync(self, key: ObjectKey) -> Result:
        cron_job = self._cron_jobs.lister.get(*key)
        if cron_job is None:
            self._own.forget(key)
            self._told_missed.pop(key, None)
            self._schedules.pop(key, None)
            return Result()
        if not self._own.are_seen(key):
            return Result(requeue_after=1.0)  # the events themselves come sooner; this is for a lost watch
        jobs = self._jobs.lister.by_index(CONTROLLER_INDEX, uid_of(cron_job))
        lost = lost_references(cron_job, jobs)
        gone = {reference["uid"] for reference in lost if await self._is_gone(reference)}
        now = self.clock.now()
        plan = plan_cron_job(cron_job, jobs, gone, now, self._rescheduled(key, cron_job, now))
        for event in plan.events:
            self.event(cron_job, *event)
        if plan.missed is not None and self._told_missed.get(key) != plan.missed:
            self._told_missed[key] = plan.missed
            self.event(cron_job, "Warning", "MissSchedule", missed_message(plan.missed))
        status = plan.status
        error: ApiError | None = None
        for job in plan.delete:
            await self._delete(key, cron_job, name_of(job), uid_of(job))  # if it fails, the next look tries again
        for reference in plan.replace:
            error = error or await self._delete(key, cron_job, reference["name"], reference["uid"])
            if error is None:
                status = status_without(status, reference["uid"])
        if plan.start is not None and error is None:
            made, error = await self._start(key, cron_job, plan.start)
            if made is not None:
                status = status_with(status, made, plan.start)
        if status != (cron_job.get("status") or {}):
            written = await self.client.update(CRON_JOBS, cron_job | {"status": status}, subresource="status")
            self._own.wrote(key, self._cron_jobs, written)
        if error is not None:
            raise error
        wait = plan.requeue_after
        return Result(requeue_after=None if wait is None else min(wait, MAX_WAIT_SECONDS))

    def _rescheduled(self, key: ObjectKey, cron_job: Object, now: datetime) -> datetime | None:
        """When its schedule was seen to change, if it was."""
        text = cron_job["spec"]["schedule"], cron_job["spec"].get("timeZone")
        known = self._schedules.get(key)
        if known is None or known.uid != uid_of(cron_job):
            known = self._schedules[key] = _Schedule(uid_of(cron_job), text)
        elif known.text != text:
            known = self._schedules[key] = _Schedule(known.uid, text, now)
        return known.since

    async def _is_gone(self, reference: Object) -> bool:
        try:
            found = await self.client.get(JOBS, reference["name"], reference.get("namespace") or "")
        except NotFound:
            return True
        return bool(uid_of(found) != reference["uid"])

    async def _start(self, key: ObjectKey, cron_job: Object, start: datetime) -> tuple[Object | None, ApiError | None]:
        """The Job of that time, made now or by an earlier self; None when there is none of this CronJob's."""
        try:
            job = await self.client.create(JOBS, job_for_start(cron_job, start), key.namespace)
        except AlreadyExists:
            job = await self.client.get(JOBS, job_name(cron_job, start), key.namespace)
            return (job if is_controlled_by(job, cron_job) else None), None
        except ApiError as exc:
            if not has_cause(exc, "NamespaceTerminating"):
                self.event(cron_job, "Warning", "FailedCreate", f"Error creating job: {exc.message}")
            return None, exc
        self._own.wrote(key, self._jobs, job)
        self.skews.observe(max(0.0, (self.clock.now() - start).total_seconds()))
        self.event(cron_job, "Normal", "SuccessfulCreate", f"Created job {name_of(job)}")
        log.info("job was started cron_job=%s job=%s", key, name_of(job))
        return job, None

    async def _delete(self, key: ObjectKey, cron_job: Object, name: str, uid: str) -> ApiError | None:
        job = self._jobs.lister.get(namespace_of(cron_job), name)
        try:
            await self.client.delete(JOBS, name, key.namespace, uid=uid, propagation_policy="Background")
        except NotFound:
            return None
        except ApiError as exc:
            self.event(cron_job, "Warning", "FailedDelete", f"Deleted job: {exc.message}")
            return exc
        if job is not None and uid_of(job) == uid:
            self._own.deleted(key, self._jobs, job)
        self.event(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {name}")
        return None
