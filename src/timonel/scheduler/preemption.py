"""Makes room for a pod by evicting less important ones: asks the core whom, tells them why, and lets them end in peace.

The room is kept for the pod (`core/nominations.py`) while they end, and the pod is tried again when they are gone.
Source: kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from dataclasses import replace

from timonel.api.clock import Clock, format_time, parse_time
from timonel.api.errors import Conflict, NotFound
from timonel.api.objects import Object, find_by, get_path, is_deleting, name_of, namespace_of, uid_of
from timonel.api.refs import POD_DISRUPTION_BUDGETS, PODS
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.lister import Lister
from timonel.client.protocol import ApiClient
from timonel.scheduler.core import explain
from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt
from timonel.scheduler.core.nominations import Nominations
from timonel.scheduler.core.plugins import DEFAULT_PROFILE
from timonel.scheduler.core.pods import Pod
from timonel.scheduler.core.preemption import Budget, NoVictims, Preemption, VictimSearch
from timonel.scheduler.core.profile import Profile
from timonel.scheduler.core.schedule import NoFit, unhelped
from timonel.scheduler.core.selectors import parse_selector
from timonel.scheduler.extenders import ExtenderFailed, Extenders
from timonel.scheduler.writing import Writer

log = logging.getLogger(__name__)

REASON = "PreemptionByScheduler"
NOT_YET = explain.not_eligible("a terminating pod on the nominated node")
"""Said of a pod for which others are on their way out."""


class Preemptor:
    """`pods` is the lister of every pod; the informer of budgets is shared."""

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        pods: Lister,
        recorder: EventRecorder,
        clock: Clock,
        cluster: Cluster,
        nominations: Nominations,
        writer: Writer,
        slice_seconds: float,
        extenders: Extenders | None = None,
    ) -> None:
        self._client = client
        self._pods = pods
        self._recorder = recorder
        self._clock = clock
        self._cluster = cluster
        self._nominations = nominations
        self._writer = writer
        self._slice_seconds = slice_seconds
        self._extenders = extenders or Extenders(())
        self._chosen: set[str] = set()
        """Victims that the informer does not show as ending yet."""
        self.budgets = informers.of(POD_DISRUPTION_BUDGETS)

    # Deciding

    async def decide(
        self, attempt: Attempt, decision: NoFit, rng: random.Random, profile: Profile = DEFAULT_PROFILE
    ) -> Preemption | str:
        """Who is to go, or what to say in the event. Gives way to other tasks every slice of its time."""
        if not decision.slots:
            return ""
        self._chosen = {uid for uid in self._chosen if (pod := self._cluster.pod(uid)) and not pod.is_terminating}
        freed = self._nominations.node_of(attempt.pod.uid)
        if self._cluster.nodes.slots.get(freed) in decision.slots and self._is_being_freed(freed, attempt.pod):
            return NOT_YET
        search = VictimSearch(
            self._cluster,
            attempt,
            decision.slots,
            budgets=self._known_budgets(),
            started=self._started,
            rng=rng,
            profile=profile,
        )
        began = self._clock.monotonic()

        def is_tired() -> bool:
            return self._clock.monotonic() - began >= self._slice_seconds

        for _ in search.steps(is_tired):
            await asyncio.sleep(0)
            began = self._clock.monotonic()
        if self._extenders.narrow_preemption(attempt.object):
            found = await self._narrowed(attempt, search)
        else:
            found = search.result()
        if isinstance(found, str):
            return found
        if isinstance(found, NoVictims):
            return unhelped(self._cluster, found.reasons)
        self._chosen.update(victim.uid for victim in found.victims)
        return found

    async def _narrowed(self, attempt: Attempt, search: VictimSearch) -> Preemption | NoVictims | str:
        """What extenders leave of the candidates; they may spare victims, and break other budgets thereby."""
        candidates = {each.node: each for each in search.candidates()}
        if not candidates:
            return search.result()
        objects = {
            node: ([obj for pod in each.victims if (obj := self._pods.get(*pod.key))], each.violations)
            for node, each in candidates.items()
        }
        try:
            left = await self._extenders.narrowed(attempt.object, objects)
        except ExtenderFailed as exc:
            return f"preemption: {exc}"
        narrowed = []
        for node, (uids, violations) in left.items():
            victims = tuple(pod for pod in candidates[node].victims if pod.uid in uids and self._cluster.pod(pod.uid))
            if victims:
                narrowed.append(replace(candidates[node], victims=victims, violations=violations))
        if narrowed:
            return search.cheapest(narrowed)
        return "preemption: extenders left no candidate node."

    def _is_being_freed(self, node: str, pod: Pod) -> bool:
        slot = self._cluster.nodes.slots[node]
        for other in self._cluster.pods_on(slot):
            if other.klass.priority >= pod.klass.priority:
                continue
            if other.uid in self._chosen:
                return True
            if other.is_terminating:
                obj = self._pods.get(*other.key)
                condition = find_by(get_path(obj, "status", "conditions", default=()), "type", "DisruptionTarget")
                if condition and (condition.get("status"), condition.get("reason")) == ("True", REASON):
                    return True
        return False

    def _known_budgets(self) -> list[Budget]:
        return [
            Budget(
                namespace_of(obj),
                parse_selector(get_path(obj, "spec", "selector")),
                get_path(obj, "status", "disruptionsAllowed", default=0),
                frozenset(get_path(obj, "status", "disruptedPods", default={})),
            )
            for obj in self.budgets.lister.list()
        ]

    def _started(self, pod: Pod) -> float:
        obj = self._pods.get(*pod.key)
        text = get_path(obj, "status", "startTime")
        return parse_time(text).timestamp() if text else math.inf

    # Acting

    async def carry_out(self, obj: Object, pod: Pod, preemption: Preemption) -> None:
        """Raises ApiError when a victim could not be evicted: others may be on their way out by then."""
        for rival in self._nominations.less_important(preemption.node, pod.klass.priority):
            self._nominations.drop(rival.uid)
            self._writer.take_back_nomination(rival.key, rival.uid)
        evictions = (self._evict(victim, obj, preemption.node) for victim in preemption.victims)
        for outcome in await asyncio.gather(*evictions, return_exceptions=True):
            if isinstance(outcome, BaseException):
                self._chosen.difference_update(victim.uid for victim in preemption.victims)
                raise outcome
        log.info(
            "Evicted pods for a more important one pod=%s/%s node=%s victims=%d",
            *pod.key, preemption.node, len(preemption.victims),
        )  # fmt: skip

    async def _evict(self, victim: Pod, preemptor: Object, node: str) -> None:
        obj = self._pods.get(*victim.key)
        if obj is None or uid_of(obj) != victim.uid or is_deleting(obj):
            return
        condition = self._condition(obj, preemptor)
        try:
            await self._client.patch(
                PODS,
                name_of(obj),
                {"metadata": {"uid": uid_of(obj)}, "status": {"conditions": [condition]}},
                namespace_of(obj),
                type="strategic",
                subresource="status",
            )
            await self._client.delete(PODS, name_of(obj), namespace_of(obj), uid=uid_of(obj))
        except (NotFound, Conflict):
            return  # gone already, or another pod has its name
        message = f"Preempted by pod {uid_of(preemptor)} on node {node}"
        self._recorder.event(obj, "Normal", "Preempted", message, action="Preempting")

    def _condition(self, obj: Object, preemptor: Object) -> Object:
        scheduler = get_path(preemptor, "spec", "schedulerName", default="default-scheduler")
        made: Object = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": REASON,
            "message": f"{scheduler}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": format_time(self._clock.now()),
        }
        if generation := obj["metadata"].get("generation"):
            made["observedGeneration"] = generation
        return made
