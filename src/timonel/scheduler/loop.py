"""The loop around the core: takes the next pod, lets the core decide, assumes the decision, has it written.

Deciding is synchronous, so the cluster cannot change under it; writing is not, so the next decision does not wait for
it. A pod counts as placed from the decision on; if writing fails, that is undone and the pod tried again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, Conflict, NotFound
from timonel.api.objects import Object, is_deleting, name_of, namespace_of, uid_of
from timonel.api.refs import PODS, REPLICA_SETS, SERVICES
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.scheduler.config import SchedulerConfig
from timonel.scheduler.core.arguments import CoschedulingArgs
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.diagnosis import diagnose
from timonel.scheduler.core.framework import Attempt, Change, PluginFailed
from timonel.scheduler.core.gangs import PLUGIN as COSCHEDULING
from timonel.scheduler.core.gangs import Gang, gang_of
from timonel.scheduler.core.nominations import Nominations
from timonel.scheduler.core.pods import Pod
from timonel.scheduler.core.preemption import Preemption
from timonel.scheduler.core.profile import Profile
from timonel.scheduler.core.queue import SchedulingQueue, Waiting
from timonel.scheduler.core.schedule import NoFit, find_nodes, schedule
from timonel.scheduler.debugging import describe_diagnosis, describe_pod
from timonel.scheduler.device_binding import DeviceBinding
from timonel.scheduler.extenders import NAME as EXTENDERS
from timonel.scheduler.extenders import Answers, ExtenderFailed, Extenders, Transport
from timonel.scheduler.figures import ERROR_RESULT, UNSCHEDULABLE_RESULT, SchedulingFigures
from timonel.scheduler.groups import SpreadGroups
from timonel.scheduler.lane import Lane
from timonel.scheduler.mirror import Mirror, profile_name
from timonel.scheduler.permits import Permit, Permits
from timonel.scheduler.preemption import NOT_YET, Preemptor
from timonel.scheduler.reservations import NotPrepared, Reservation, Reservations
from timonel.scheduler.timing import ONE_IN, timed
from timonel.scheduler.volume_binding import VolumeBinding
from timonel.scheduler.writing import GATED, GATED_MESSAGE, SCHEDULER_ERROR, UNSCHEDULABLE, Writer

log = logging.getLogger(__name__)

_TELLING = (PluginFailed, ExtenderFailed, ApiError)
"""What says itself why a pod has to wait."""


class Scheduler:
    """Places pods on nodes, until cancelled. The informers and the recorder are run by whoever made them."""

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        recorder: EventRecorder,
        clock: Clock,
        config: SchedulerConfig | None = None,
        rng: random.Random | None = None,
        transport: Transport | None = None,
    ) -> None:
        """`transport`: how extenders are asked, where there are any."""
        self._config = config or SchedulerConfig()
        self._clock = clock
        self._client = client
        self._recorder = recorder
        self._rng = rng or random.Random()
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self.figures = SchedulingFigures()
        self._decided = 0
        self.cluster = Cluster()
        configuration = self._config.configuration
        self._profiles = {profile.name: profile for profile in configuration.profiles}
        self._timed = {name: timed(each, self.figures, clock.monotonic) for name, each in self._profiles.items()}
        self.queue = SchedulingQueue(
            {plugin.name: plugin.helped_by for profile in configuration.profiles for plugin in profile.filters}
            | {EXTENDERS: frozenset(Change)},
            first_backoff_seconds=configuration.initial_backoff_seconds,
            longest_backoff_seconds=configuration.max_backoff_seconds,
        )
        self._gated: set[str] = set()
        """Pods whose gates are still to be told in their status."""
        services, replica_sets = informers.of(SERVICES), informers.of(REPLICA_SETS)
        self._groups = SpreadGroups(services.lister, {("apps/v1", "ReplicaSet"): replica_sets.lister})
        self._group_informers = (services, replica_sets)
        self._nominations = Nominations()
        self._mirror = Mirror(
            informers=informers,
            cluster=self.cluster,
            queue=self.queue,
            clock=clock,
            profiles=self._profiles,
            wake=self._wake.set,
            on_gated=self._note_gated,
            nominations=self._nominations,
        )
        self._extenders = Extenders(
            configuration.extenders, transport=transport, node=lambda name: self._mirror.nodes.lister.get("", name)
        )
        self._lane = Lane()
        self._writer = Writer(
            client=client,
            clock=clock,
            pods=self._mirror.pods.lister,
            workers=self._config.writers,
            backlog=self._config.backlog,
        )
        self._preemptor = Preemptor(
            client=client,
            informers=informers,
            pods=self._mirror.pods.lister,
            recorder=recorder,
            clock=clock,
            cluster=self.cluster,
            nominations=self._nominations,
            writer=self._writer,
            slice_seconds=self._config.slice_seconds,
            extenders=self._extenders,
        )
        self._tasks = asyncio.TaskGroup()
        self._permits = Permits(cluster=self.cluster, pods=self._mirror.pods, clock=clock, activate=self._activate)
        self._reservations = Reservations(
            cluster=self.cluster,
            volumes=VolumeBinding(client=client, mirror=self._mirror, clock=clock),
            devices=DeviceBinding(
                client=client, cluster=self.cluster, mirror=self._mirror.devices, clock=clock, recorder=recorder
            ),
            rng=self._rng,
        )

    async def run(self) -> None:
        await self._mirror.wait_synced()
        for informer in (*self._group_informers, self._preemptor.budgets):
            await informer.wait_synced()
        self._ready.set()
        log.info("Scheduler started nodes=%d waiting=%d", self.cluster.nodes.count, len(self.queue))
        async with asyncio.TaskGroup() as group:
            self._tasks = group
            group.create_task(self._writer.run(), name="scheduler-writers")
            group.create_task(self._decide(), name="scheduler-decisions")
            if self._config.configuration.extenders:
                group.create_task(self._ask_extenders(), name="scheduler-extenders")

    async def wait_ready(self) -> None:
        await self._ready.wait()

    @property
    def profile_names(self) -> tuple[str, ...]:
        return tuple(self._profiles)

    @property
    def configuration(self) -> Object:
        """With every default; {} when none was given."""
        return self._config.configuration.document

    def explain(self, namespace: str, name: str) -> Object | None:
        """Why a pod is where it is, or nowhere (`debugging.py` says what is in it); None for one that is not there."""
        obj = self._mirror.pods.lister.get(namespace, name)
        if obj is None:
            return None
        profile, waiting = self._profiles.get(profile_name(obj)), self.queue.get(uid_of(obj))
        told = describe_pod(obj, profile.name if profile else "", waiting)
        if profile is not None and told["state"] not in ("placed", "binding"):
            attempt = self._attempt_of(self.cluster.parse_pod(obj), obj)
            told |= describe_diagnosis(diagnose(self.cluster, attempt, profile))
        return told

    # Deciding

    async def _decide(self) -> None:
        slice_ends = self._clock.monotonic() + self._config.slice_seconds
        while True:
            await self._tell_gated()
            waiting = self.queue.take(self._clock.monotonic())
            if waiting is None:
                await self._wait()
            else:
                await self._try(waiting)
                if self._clock.monotonic() < slice_ends:
                    continue
                await asyncio.sleep(0)
            slice_ends = self._clock.monotonic() + self._config.slice_seconds

    async def _try(self, waiting: Waiting) -> None:
        obj = self._current(waiting)
        if obj is None:
            return
        waiting.taken_at, waiting.profile = self._clock.monotonic(), profile_name(obj)
        if self._extenders.are_asked(obj):
            self._lane.put(waiting)
        else:
            await self._place(waiting, obj, self._profiles[profile_name(obj)])

    def _current(self, waiting: Waiting) -> Object | None:
        """The pod as it is now; None when nothing is to be decided any more."""
        pod = waiting.pod
        if self.queue.get(pod.uid) is not waiting:
            return None  # gone, or placed by somebody else, while extenders were asked about others
        obj = self._mirror.pods.lister.get(*pod.key)
        if obj is None or uid_of(obj) != pod.uid:
            self.queue.remove(pod.uid)
            return None
        if is_deleting(obj):
            self.queue.remove(pod.uid)
            self._say(obj, "Warning", "FailedScheduling", f"skip schedule deleting pod: {_full_name(obj)}")
            return None
        return obj

    def _sampled(self, profile: Profile) -> Profile:
        """Every tenth time the one whose plugins are timed."""
        self._decided += 1
        return profile if self._decided % ONE_IN else self._timed[profile.name]

    def _attempt(self, waiting: Waiting, obj: Object) -> Attempt:
        waiting.pod = self.cluster.parse_pod(obj)
        return self._attempt_of(waiting.pod, obj)

    def _attempt_of(self, pod: Pod, obj: Object) -> Attempt:
        return Attempt(
            pod,
            self._groups.selector_of(obj),
            self._nominations.node_of(pod.uid),
            self._nominations.expected_by(pod),
            obj,
            self._clock.now(),
        )

    async def _place(self, waiting: Waiting, obj: Object, profile: Profile, answers: Answers | None = None) -> None:
        """Decides and acts on it; `answers` are what extenders said."""
        began = self._clock.monotonic()
        try:
            attempt = self._attempt(waiting, obj)
            pod = attempt.pod
            preemption: Preemption | str = ""
            asked = answers.added_to(profile) if answers else self._sampled(profile)
            decision = schedule(self.cluster, attempt, self._rng, asked)
            if isinstance(decision, NoFit):
                preemption = await self._preemptor.decide(attempt, decision, self._rng, profile)
                if decision.slots:
                    self.figures.preempted(len(preemption.victims) if isinstance(preemption, Preemption) else 0)
            else:
                reserved = self._reservations.make(attempt, decision.node, profile)
            self.figures.algorithm.observe(self._clock.monotonic() - began)
        except _TELLING as exc:
            await self._fail(waiting, obj, str(exc))
            return
        except Exception as exc:  # one odd pod must not stop all others
            log.exception("Deciding failed pod=%s", _full_name(obj))
            await self._fail(waiting, obj, f"scheduler failed: {exc!r}")
            return
        if isinstance(decision, NoFit):
            if self.queue.get(pod.uid) is waiting:  # it may have been deleted while victims were sought
                await self._refuse(waiting, attempt, decision, preemption, profile)
            return
        self._mirror.assume(pod, decision.node)
        permit = self._hold(reserved.gang, waiting, obj, reserved) if reserved.gang is not None else None
        if reserved.takes_time:
            self._tasks.create_task(
                self._prepare(waiting, obj, reserved, permit), name="what a pod needs before it is bound"
            )
        else:
            await self._writer.submit(pod.uid, lambda: self._bind(waiting, obj, reserved))

    async def _ask_extenders(self) -> None:
        """About one pod after the other. What they say holds for the nodes that would do when they are asked."""
        while True:
            waiting = await self._lane.next()
            obj = self._current(waiting)
            if obj is None:
                continue
            profile = self._profiles[profile_name(obj)]
            try:
                answers = None
                found = find_nodes(self.cluster, self._attempt(waiting, obj), profile)
                if not isinstance(found, NoFit):
                    # The informer's pods lack what only kubelets read.
                    whole = await self._client.get(PODS, name_of(obj), namespace_of(obj))
                    names = [self.cluster.nodes.names[slot] for slot in found]
                    answers = await self._extenders.answers(whole, names)
            except _TELLING as exc:
                await self._fail(waiting, obj, str(exc))
                continue
            except Exception as exc:
                log.exception("Asking extenders failed pod=%s", _full_name(obj))
                await self._fail(waiting, obj, f"scheduler failed: {exc!r}")
                continue
            if (obj := self._current(waiting)) is not None:
                await self._place(waiting, obj, profile, answers)

    async def _refuse(
        self, waiting: Waiting, attempt: Attempt, decision: NoFit, preemption: Preemption | str, profile: Profile
    ) -> None:
        """Until something changes, or those are gone that are evicted for the pod."""
        pod, obj, message, freed = waiting.pod, attempt.object, decision.message, ""
        now = self._clock.monotonic()
        if isinstance(preemption, Preemption):
            freed = preemption.node
            self._nominations.put(pod, freed)
            self._tasks.create_task(self._preempt(waiting, obj, preemption), name="preemption")
        else:
            message = f"{message} {preemption}" if preemption else message
            if preemption != NOT_YET:
                self._mirror.give_back(pod.uid)
                if profile.runs("postFilter", COSCHEDULING) and isinstance(gang := gang_of(pod), Gang):
                    why = f"pod group {gang.key} has no place for pod {_full_name(obj)}"
                    self._permits.reject(gang.key, why, decision.plugins)
            freed = self._nominations.node_of(pod.uid)
        if profile.runs("postFilter", "DynamicResources"):
            message, freeing = self._reservations.free(attempt, message, profile)
            if freeing is not None:
                self._tasks.create_task(freeing, name="devices of no use to a pod")
        self.queue.refused(waiting, decision.plugins, now)
        self.figures.attempted(UNSCHEDULABLE_RESULT, now - waiting.taken_at, waiting.profile)
        log.info("Found no node for a pod pod=%s attempts=%d why=%s", _full_name(obj), waiting.attempts, message)
        self._say(obj, "Warning", "FailedScheduling", message)
        await self._writer.tell(obj, UNSCHEDULABLE, message, freed)

    async def _preempt(self, waiting: Waiting, obj: Object, preemption: Preemption) -> None:
        try:
            await self._preemptor.carry_out(obj, waiting.pod, preemption)
        except ApiError as exc:
            # Those already evicted are lost; the pod is tried again, and may choose others.
            log.warning("Evicting failed pod=%s node=%s error=%s", _full_name(obj), preemption.node, exc)
            if self._nominations.node_of(waiting.pod.uid) == preemption.node:
                self._mirror.give_back(waiting.pod.uid)
            # It may have found a place meanwhile, and be on its way there.
            if self.queue.get(waiting.pod.uid) is waiting and not waiting.is_taken:
                self.queue.failed(waiting, self._clock.monotonic())
                self._wake.set()

    async def _fail(self, waiting: Waiting, obj: Object, why: str) -> None:
        if self.queue.get(waiting.pod.uid) is not waiting:
            return  # deleted, or placed after all: nothing is owed to it
        now = self._clock.monotonic()
        self.queue.failed(waiting, now)
        self.figures.attempted(ERROR_RESULT, now - waiting.taken_at, waiting.profile)
        self._wake.set()
        self._say(obj, "Warning", "FailedScheduling", why)
        self._writer.tell_nowait(obj, SCHEDULER_ERROR, why)

    # Binding: first what takes time, each pod by itself

    def _hold(self, gang: Gang, waiting: Waiting, obj: Object, reserved: Reservation) -> Permit:
        """Until enough of its group have a place as well."""
        uid = waiting.pod.uid

        def give_up() -> None:
            self._reservations.drop(reserved)
            self._mirror.forget(uid)

        def requeue(why: str, plugins: frozenset[str]) -> None:
            if self.queue.get(uid) is not waiting:
                return
            now = self._clock.monotonic()
            self.queue.refused(waiting, plugins, now)
            self.figures.attempted(UNSCHEDULABLE_RESULT, now - waiting.taken_at, waiting.profile)
            self._say(obj, "Warning", "FailedScheduling", why)
            self._writer.tell_nowait(obj, UNSCHEDULABLE, why)

        return self._permits.enter(gang, waiting.pod, give_up, requeue)

    async def _prepare(self, waiting: Waiting, obj: Object, reserved: Reservation, permit: Permit | None) -> None:
        if permit is not None:
            args: CoschedulingArgs = reserved.profile.args[COSCHEDULING]
            if not await self._permits.wait(permit, args.permit_waiting_time_seconds):
                return
        try:
            await self._reservations.carry_out(obj, reserved)
        except Exception as exc:
            if not isinstance(exc, NotPrepared):
                log.exception("Preparing to bind broke pod=%s", _full_name(obj))
            log.info("A pod cannot be bound pod=%s node=%s error=%s", _full_name(obj), reserved.node, exc)
            self._mirror.forget(waiting.pod.uid)
            await self._reservations.undo(obj, reserved)
            await self._fail(waiting, obj, str(exc))
        else:
            await self._writer.submit(waiting.pod.uid, lambda: self._bind(waiting, obj, reserved))

    # Then the pod, in a writer

    async def _bind(self, waiting: Waiting, obj: Object, reserved: Reservation) -> None:
        uid, node = waiting.pod.uid, reserved.node
        began = self._clock.monotonic()
        try:
            extender = self._extenders.binder(obj)
            if extender is None or not await self._extenders.bind(extender, obj, node):
                await self._writer.bind(obj, node)
        except (ExtenderFailed, ApiError) as exc:
            # Gone, or placed by somebody else, or its node is gone: what the informers tell next decides.
            level = logging.INFO if isinstance(exc, (NotFound, Conflict)) else logging.WARNING
            log.log(level, "A pod was not bound pod=%s node=%s error=%s", _full_name(obj), node, exc)
            self._mirror.forget(uid)
            await self._reservations.undo(obj, reserved)
            await self._fail(waiting, obj, f"binding rejected: {exc.message if isinstance(exc, ApiError) else exc}")
        else:
            now = self._clock.monotonic()
            self.figures.bound(waiting, now - began, now)
            self.queue.remove(uid)
            self._say(obj, "Normal", "Scheduled", f"Successfully assigned {_full_name(obj)} to {node}", "Binding")

    # Telling

    def _say(self, obj: Object, kind: str, reason: str, message: str, action: str = "Scheduling") -> None:
        self._recorder.event(obj, kind, reason, message, action=action, component=profile_name(obj))

    def _note_gated(self, obj: Object) -> None:
        self._gated.add(uid_of(obj))
        self._wake.set()

    async def _tell_gated(self) -> None:
        """The API server says so on creation; this catches pods whose status was written by something else."""
        while self._gated:
            waiting = self.queue.get(self._gated.pop())
            obj = waiting and self._mirror.pods.lister.get(*waiting.pod.key)
            if obj:
                await self._writer.tell(obj, GATED, GATED_MESSAGE)

    def _activate(self, uid: str) -> None:
        self.queue.activate(uid, self._clock.monotonic())
        self._wake.set()

    # Waiting

    async def _wait(self) -> None:
        """Until something happened, or the queue has something due."""
        due = self.queue.next_event()
        if self._wake.is_set():
            self._wake.clear()
            return
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[Any]] = {loop.create_task(self._wake.wait(), name="scheduler-wake")}
        if due is not None:
            delay = max(due - self._clock.monotonic(), 0.0)
            tasks.add(loop.create_task(self._clock.sleep(delay), name="scheduler-due"))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        self._wake.clear()


def _full_name(obj: Object) -> str:
    return f"{namespace_of(obj)}/{name_of(obj)}"
