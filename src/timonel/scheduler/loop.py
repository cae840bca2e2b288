"""The loop around the core: takes the next pod, lets the core decide, assumes the decision, has it written.

Deciding is synchronous, so the cluster cannot change under it; writing is not, so the next decision does not wait for
it. A pod counts as placed from the decision on; if writing fails, that is undone and the pod tried again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Any

from timonel.api.clock import Clock
from timonel.api.errors import ApiError
from timonel.api.objects import Object, is_deleting, uid_of
from timonel.api.refs import REPLICA_SETS, REPLICATION_CONTROLLERS, SERVICES, STATEFUL_SETS
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.scheduler.binding import Binding
from timonel.scheduler.config import SchedulerConfig
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.diagnosis import diagnose
from timonel.scheduler.core.framework import Attempt, Change
from timonel.scheduler.core.gangs import PLUGIN as COSCHEDULING
from timonel.scheduler.core.gangs import Gang, gang_of
from timonel.scheduler.core.nominations import Nominations
from timonel.scheduler.core.pods import Pod
from timonel.scheduler.core.preemption import Preemption
from timonel.scheduler.core.profile import Profile
from timonel.scheduler.core.queue import SchedulingQueue, Waiting
from timonel.scheduler.core.schedule import NoFit, schedule
from timonel.scheduler.debugging import describe_diagnosis, describe_pod
from timonel.scheduler.device_binding import DeviceBinding
from timonel.scheduler.extenders import NAME as EXTENDERS
from timonel.scheduler.extenders import Answers, Extenders, Transport
from timonel.scheduler.figures import SchedulingFigures
from timonel.scheduler.groups import SpreadGroups
from timonel.scheduler.lane import TELLING, ExtenderLane
from timonel.scheduler.mirror import Mirror, profile_name
from timonel.scheduler.outcomes import Outcomes, full_name
from timonel.scheduler.permits import Permits
from timonel.scheduler.preemption import NOT_YET, Preemptor
from timonel.scheduler.reservations import Reservations
from timonel.scheduler.timing import ONE_IN, timed
from timonel.scheduler.volume_binding import VolumeBinding
from timonel.scheduler.writing import GATED, GATED_MESSAGE, Writer

log = logging.getLogger(__name__)


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
        services = informers.of(SERVICES)
        workloads = {
            (ref.api_version, ref.kind): informers.of(ref)
            for ref in (REPLICA_SETS, STATEFUL_SETS, REPLICATION_CONTROLLERS)
        }
        self._groups = SpreadGroups(services.lister, {key: each.lister for key, each in workloads.items()})
        self._group_informers = (services, *workloads.values())
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
        self._writer = Writer(
            client=client,
            clock=clock,
            pods=self._mirror.pods.lister,
            workers=self._config.writers,
            backlog=self._config.backlog,
        )
        self._outcomes = Outcomes(
            queue=self.queue,
            figures=self.figures,
            writer=self._writer,
            recorder=recorder,
            clock=clock,
            wake=self._wake.set,
        )
        self._lane = ExtenderLane(
            client=client,
            cluster=self.cluster,
            extenders=self._extenders,
            outcomes=self._outcomes,
            current=self._current,
            attempt=self._attempt,
            place=self._place,
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

        self._binding = Binding(
            writer=self._writer,
            mirror=self._mirror,
            permits=self._permits,
            reservations=self._reservations,
            extenders=self._extenders,
            outcomes=self._outcomes,
            clock=clock,
            spawn=self._spawn,
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
                group.create_task(self._lane.run(), name="scheduler-extenders")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.create_task(work, name=name)

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
            await self._place(waiting, obj)

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
            self._outcomes.say(obj, "Warning", "FailedScheduling", f"skip schedule deleting pod: {full_name(obj)}")
            return None
        return obj

    def _sampled(self, profile: Profile) -> Profile:
        """Every tenth time the one whose plugins are timed."""
        self._decided += 1
        return profile if self._decided % ONE_IN else self._timed[profile.name]

    def _attempt(self, waiting: Waiting, obj: Object) -> tuple[Attempt, Profile]:
        waiting.pod = self.cluster.parse_pod(obj)
        return self._attempt_of(waiting.pod, obj), self._profiles[waiting.profile]

    def _attempt_of(self, pod: Pod, obj: Object) -> Attempt:
        return Attempt(
            pod,
            self._groups.selector_of(obj),
            self._nominations.node_of(pod.uid),
            self._nominations.expected_by(pod),
            obj,
            self._clock.now(),
        )

    async def _place(self, waiting: Waiting, obj: Object, answers: Answers | None = None) -> None:
        """Decides and acts on it; `answers` are what extenders said."""
        began = self._clock.monotonic()
        try:
            attempt, profile = self._attempt(waiting, obj)
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
        except TELLING as exc:
            self._outcomes.failed(waiting, obj, str(exc))
            return
        except Exception as exc:  # one odd pod must not stop all others
            log.exception("Deciding failed pod=%s", full_name(obj))
            self._outcomes.failed(waiting, obj, f"scheduler failed: {exc!r}")
            return
        if isinstance(decision, NoFit):
            if self.queue.get(pod.uid) is waiting:  # it may have been deleted while victims were sought
                missed = self.queue.missed(waiting, decision.plugins)
                await self._refuse(waiting, attempt, decision, preemption, profile)
                if missed:
                    self.queue.reconsider(pod.uid, self._clock.monotonic())
                    self._wake.set()
            return
        self._mirror.assume(pod, decision.node)
        await self._binding.start(waiting, obj, reserved)

    async def _refuse(
        self, waiting: Waiting, attempt: Attempt, decision: NoFit, preemption: Preemption | str, profile: Profile
    ) -> None:
        """Until something changes, or those are gone that are evicted for the pod."""
        pod, obj, message, freed = waiting.pod, attempt.object, decision.message, ""
        if isinstance(preemption, Preemption):
            freed = preemption.node
            self._nominations.put(pod, freed)
            self._tasks.create_task(self._preempt(waiting, obj, preemption), name="preemption")
        else:
            message = f"{message} {preemption}" if preemption else message
            if preemption != NOT_YET:
                self._mirror.give_back(pod.uid)
                if profile.runs("postFilter", COSCHEDULING) and isinstance(gang := gang_of(pod), Gang):
                    why = f"pod group {gang.key} has no place for pod {full_name(obj)}"
                    self._permits.reject(gang.key, why, decision.plugins)
            freed = self._nominations.node_of(pod.uid)
        if profile.runs("postFilter", "DynamicResources"):
            message, freeing = self._reservations.free(attempt, message, profile)
            if freeing is not None:
                self._tasks.create_task(freeing, name="devices of no use to a pod")
        await self._outcomes.refused(waiting, obj, message, decision.plugins, freed)

    async def _preempt(self, waiting: Waiting, obj: Object, preemption: Preemption) -> None:
        try:
            await self._preemptor.carry_out(obj, waiting.pod, preemption)
        except ApiError as exc:
            # Those already evicted are lost; the pod is tried again, and may choose others.
            log.warning("Evicting failed pod=%s node=%s error=%s", full_name(obj), preemption.node, exc)
            if self._nominations.node_of(waiting.pod.uid) == preemption.node:
                self._mirror.give_back(waiting.pod.uid)
            # It may have found a place meanwhile, and be on its way there.
            if self.queue.get(waiting.pod.uid) is waiting and not waiting.is_taken:
                self.queue.failed(waiting, self._clock.monotonic())
                self._wake.set()

    # Telling

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
