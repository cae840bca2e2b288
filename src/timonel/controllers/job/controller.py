"""The loop around the planner of Jobs: pods made and deleted, then counted in two steps and written into the status.

What pods do is looked at once a second and not at each change, so that a Job of many short pods seldom writes its
status. Jobs that name another controller in `managedBy` are left alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, NotFound
from timonel.api.labels import selector_from_object
from timonel.api.objects import (
    Object,
    ObjectKey,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from timonel.api.refs import JOBS, PODS
from timonel.client.controller import Controller, Keys, Result, Watch, owner_key
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.client.workqueue import WorkQueue
from timonel.controllers.conditions import has_cause
from timonel.controllers.job.backoff import Backoff
from timonel.controllers.job.figures import Action, JobFigures, action_of
from timonel.controllers.job.orphans import ForsakenPods
from timonel.controllers.job.planner import JobPlan, NewPod, completed, plan_job
from timonel.controllers.job.pods import (
    TRACKING,
    finished_condition,
    is_failed,
    is_managed_elsewhere,
    is_tracked,
    pod_for_job,
)
from timonel.controllers.job.tracking import (
    Event,
    Outcome,
    Tally,
    events_of_end,
    normal_status,
    plan_settlement,
    plan_tally,
)
from timonel.controllers.job.view import View
from timonel.controllers.own_writes import OwnWrites
from timonel.controllers.ownership import (
    CONTROLLER_INDEX,
    apply_claims,
    controller_index,
    orphans_of,
    plan_claims,
)
from timonel.controllers.pods import is_ready, phase_of
from timonel.controllers.replicaset.controller import start_slowly

log = logging.getLogger(__name__)

BATCH_SECONDS = 1.0
"""Between what a pod does and the look at its Job. Upstream's."""
_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 60.0


@dataclass(slots=True)
class _Memory:
    """Of one Job, since this process leads; what it must not forget is in the status."""

    uid: str
    backoff: Backoff
    settled: set[str] = field(default_factory=set)
    """Uids of pods whose finalizer was removed, as long as the cache shows it still."""


class JobController(Controller):
    name = "job"

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.queue = WorkQueue(clock, name=self.name, base_delay=_RETRY_SECONDS, max_delay=_MAX_RETRY_SECONDS)
        self.watches = (
            Watch(JOBS, changed=_job_changed),
            Watch(PODS, key=self._keys_of_pod, delay_seconds=BATCH_SECONDS),
        )
        self._owner_key = owner_key(JOBS.kind, JOBS.group)
        self._own = OwnWrites(clock)
        self._forsaken = ForsakenPods(client=client, informers=informers, clock=clock)
        self._memories: dict[ObjectKey, _Memory] = {}
        self.figures = JobFigures()
        self._jobs = self.informer(JOBS)
        self._pods = self.informer(PODS)
        self._pods.add_index(CONTROLLER_INDEX, controller_index)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run(), name="jobs")
            group.create_task(self._forsaken.run(), name=self._forsaken.name)

    def _keys_of_pod(self, pod: Object) -> Keys:
        if controller_of(pod) is not None:
            return self._owner_key(pod)
        if is_deleting(pod):
            return None
        return [
            key_of(job)
            for job in self._jobs.lister.list(namespace_of(pod))
            if finished_condition(job) is None
            and selector_from_object(job["spec"].get("selector")).matches(labels_of(pod))
        ]

    async def sync(self, key: ObjectKey) -> Result:
        job = self._jobs.lister.get(*key)
        if job is None or is_managed_elsewhere(job) or finished_condition(job) is not None:
            self._own.forget(key)
            self._memories.pop(key, None)
            return Result()
        if not self._own.are_seen(key):
            return Result(requeue_after=1.0)  # the events themselves come sooner; this is for a lost watch
        began, failed = self.clock.monotonic(), True
        action: Action = "reconciling"
        try:
            plan, all_counted = await self._work_on(key, job)
            failed, action = False, action_of(plan)
        finally:
            self.figures.synced(job, action, failed=failed, seconds=self.clock.monotonic() - began)
        return Result(requeue_after=plan.requeue_after if all_counted else BATCH_SECONDS)

    async def _work_on(self, key: ObjectKey, job: Object) -> tuple[JobPlan, bool]:
        """What was decided and done, and whether all pods that ended are counted."""
        claims = plan_claims(job, selector_from_object(job["spec"].get("selector")), self._candidates(job))
        pods = await apply_claims(self.client, job, JOBS, PODS, claims, finalizers=(TRACKING,))
        memory = self._recall(key, job, pods)
        view = View(job, pods, self.clock.now(), memory.backoff, frozenset(memory.settled))
        plan = plan_job(view)
        outcome, error = await self._carry_out(key, view, plan)
        all_counted = await self._count(key, view, outcome, memory)
        if error is not None:
            raise error
        return plan, all_counted

    def _candidates(self, job: Object) -> Iterable[Object]:
        pods = self._pods.lister
        own = pods.by_index(CONTROLLER_INDEX, uid_of(job))
        return [*own, *pods.by_index(CONTROLLER_INDEX, orphans_of(namespace_of(job)))]

    def _recall(self, key: ObjectKey, job: Object, pods: Sequence[Object]) -> _Memory:
        memory = self._memories.get(key)
        if memory is None or memory.uid != uid_of(job):
            # After a restart, pods that were counted before tell how often it failed.
            counted = [pod for pod in pods if not is_tracked(pod)]
            successes = [pod for pod in counted if phase_of(pod) == "Succeeded"]
            failures = [pod for pod in counted if is_failed(pod, job)]
            memory = self._memories[key] = _Memory(uid_of(job), Backoff().after(successes, failures))
        memory.settled.intersection_update(uid_of(pod) for pod in pods if is_tracked(pod))
        return memory

    # Pods

    async def _carry_out(self, key: ObjectKey, view: View, plan: JobPlan) -> tuple[Outcome, ApiError | None]:
        """What became of the plan, and the first failure, if any; what succeeded is done all the same."""
        job, verdict = view.job, plan.verdict
        gone: list[Object] = []
        made: list[Object] = []
        error: ApiError | None = None
        if plan.create:
            wanted = iter(plan.create)
            error = await start_slowly(len(plan.create), lambda: self._create(key, job, next(wanted), made))
        else:
            failures = await asyncio.gather(
                *(self._delete(key, job, pod, gone) for pod in plan.end),
                *(self._give_up(key, job, pod, gone) for pod in plan.give_up),
            )
            error = next((failure for failure in failures if failure), None)
        active = len(view.active) + len(made) - len(gone)
        if verdict is not None and active:
            verdict = None  # not before all its pods are told to end
        elif verdict is None and plan.verdict is None:
            verdict = completed(view, active)
        outcome = Outcome(
            verdict=verdict,
            active=active,
            ready=sum(map(is_ready, view.active)) - sum(map(is_ready, gone)),
            terminating=view.terminating + len(gone),
            managed=plan.managed,
        )
        return outcome, error

    async def _create(self, key: ObjectKey, job: Object, new: NewPod, made: list[Object]) -> ApiError | None:
        try:
            pod = await self.client.create(PODS, pod_for_job(job, new.index, new.failures), namespace_of(job))
        except ApiError as exc:
            if has_cause(exc, "NamespaceTerminating"):
                return None  # every creation will fail from now on, and soon nobody wants any
            self.event(job, "Warning", "FailedCreate", f"Error creating: {exc.message}")
            return exc
        made.append(pod)
        self._own.wrote(key, self._pods, pod)
        self.event(job, "Normal", "SuccessfulCreate", f"Created pod: {name_of(pod)}")
        return None

    async def _give_up(self, key: ObjectKey, job: Object, pod: Object, gone: list[Object]) -> ApiError | None:
        """Not counted: so it must not have ended meanwhile, and the finalizer goes only from the pod as it was seen."""
        if is_tracked(pod):
            try:
                answer = await self._remove_finalizer(pod, resource_version_of(pod))
            except NotFound:
                gone.append(pod)
                return None
            except ApiError as exc:
                return exc
            self._own.wrote(key, self._pods, answer)
        return await self._delete(key, job, pod, gone)

    async def _delete(self, key: ObjectKey, job: Object, pod: Object, gone: list[Object]) -> ApiError | None:
        try:
            await self.client.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except NotFound:
            gone.append(pod)
            return None
        except ApiError as exc:
            self.event(job, "Warning", "FailedDelete", f"Error deleting: {exc.message}")
            return exc
        gone.append(pod)
        self._own.deleted(key, self._pods, pod)
        self.event(job, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        return None

    # Counting

    async def _count(self, key: ObjectKey, view: View, outcome: Outcome, memory: _Memory) -> bool:
        """False: more pods have ended than are counted at once."""
        job, tally = view.job, plan_tally(view, outcome)
        written = tally.status != normal_status(job)
        if written:
            job = await self._write(key, job, tally.status)
            self._tell(job, tally.events)
        if written or tally.release:
            memory.backoff = view.new_backoff
        error = await self._release(key, tally, memory)
        tracked = {uid_of(pod) for pod in view.tracked} - memory.settled
        status = plan_settlement(tally.status, tracked, tally, outcome, self.clock.now())
        if status != tally.status:
            job = await self._write(key, job, status)
            if (end := finished_condition(job)) is not None:
                self.figures.ended(job, end)
                self._tell(job, events_of_end(job))
                log.info("job ended job=%s succeeded=%s failed=%s", key, *map(status.get, ("succeeded", "failed")))
        if error is not None:
            raise error
        return tally.all_listed

    async def _release(self, key: ObjectKey, tally: Tally, memory: _Memory) -> ApiError | None:
        async def release(pod: Object) -> ApiError | None:
            try:
                answer = await self._remove_finalizer(pod)
            except NotFound:
                memory.settled.add(uid_of(pod))
                return None
            except ApiError as exc:
                return exc
            memory.settled.add(uid_of(pod))
            self._own.wrote(key, self._pods, answer)
            return None

        failures = await asyncio.gather(*map(release, tally.release))
        return next((failure for failure in failures if failure), None)

    async def _remove_finalizer(self, pod: Object, version: str = "") -> Object:
        metadata: Object = {"uid": uid_of(pod), "$deleteFromPrimitiveList/finalizers": [TRACKING]}
        if version:
            metadata["resourceVersion"] = version
        return await self.client.patch(PODS, name_of(pod), {"metadata": metadata}, namespace_of(pod), type="strategic")

    async def _write(self, key: ObjectKey, job: Object, status: Object) -> Object:
        """Raises Conflict when it changed meanwhile: nothing is lost then, it is all looked at again."""
        written = await self.client.update(JOBS, job | {"status": status}, subresource="status")
        self._own.wrote(key, self._jobs, written)
        self.figures.counted(job, job.get("status") or {}, status)
        return written

    def _tell(self, job: Object, events: Iterable[Event]) -> None:
        for kind, reason, message in events:
            self.event(job, kind, reason, message)


def _job_changed(old: Object, new: Object) -> bool:
    """Of its status, only an end that somebody else wrote matters: all else is this controller's own."""

    def relevant(job: Object) -> tuple[object, ...]:
        return uid_of(job), job["metadata"].get("generation"), is_deleting(job), finished_condition(job) is None

    return relevant(old) != relevant(new)
