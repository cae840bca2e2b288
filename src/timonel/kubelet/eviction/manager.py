"""Looks at the node, ends a pod when it must, and makes room for critical pods.

A look reads a few small files of the kernel. Only when something runs short, or a pod has limits on the disk, is what
pods use read as well.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from timonel.api.clock import Clock
from timonel.api.objects import Object, name_of, namespace_of, uid_of
from timonel.kubelet.cri.runtime import RuntimeFailure
from timonel.kubelet.eviction.critical import is_critical, plan_preemption
from timonel.kubelet.eviction.limits import has_limits, violation
from timonel.kubelet.eviction.pressure import Observations, Pressure
from timonel.kubelet.eviction.ranking import eviction_message, rank
from timonel.kubelet.eviction.settings import EvictionConfig
from timonel.kubelet.eviction.thresholds import IMAGE_BYTES, IMAGE_INODES, Threshold
from timonel.kubelet.eviction.usage import PodUse
from timonel.kubelet.pods.allocation import Shortfall

log = logging.getLogger(__name__)

_LIMITS_SECONDS = 30.0
"""Between looks at pods with limits on the disk: their files are counted."""
_CLEANUP_SECONDS = 30.0
"""How long the end of an evicted pod is waited for before the next one is chosen."""
_IMMEDIATE_GRACE_SECONDS = 1
_IMAGE_SIGNALS = (IMAGE_BYTES, IMAGE_INODES)


@dataclass(frozen=True, slots=True)
class Eviction:
    """Why and how a pod has to go."""

    reason: str
    message: str
    grace_seconds: int | None = None
    """Instead of the pod's own; None: the pod's own."""
    disruption: str = ""
    """Message of its DisruptionTarget condition; "": it gets none."""
    annotations: Mapping[str, str] | None = None
    """Of the event."""


class Figures(Protocol):
    """Where figures come from. All may raise RuntimeFailure, OSError."""

    async def observe(self) -> Observations: ...

    async def image_disk(self) -> tuple[int, int]:
        """Bytes that are available, and that there are, where images lie."""
        ...

    async def images_apart(self) -> bool:
        """Whether images are on another file system than the kubelet's folder."""
        ...

    async def uses(self, pods: Iterable[Object], *, disk: bool) -> dict[str, PodUse]:
        """By uid; without `disk`, memory and processes only."""
        ...


class EvictionManager:
    """`pods` are those that run, `leaving` those that are ending.

    `evict(pod, eviction)` begins the end of one, `ended(uid)` tells when it is over.
    `reclaim_containers` and `reclaim_images` give back what no pod needs any more; `changed` hears of conditions.
    """

    def __init__(
        self,
        *,
        config: EvictionConfig,
        figures: Figures,
        clock: Clock,
        pods: Callable[[], Sequence[Object]],
        leaving: Callable[[], Sequence[Object]],
        evict: Callable[[Object, Eviction], None],
        ended: Callable[[str], bool],
        tell_node: Callable[[str, str, str], None],
        reclaim_containers: Callable[[], Awaitable[None]],
        reclaim_images: Callable[[], Awaitable[None]],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._figures = figures
        self._clock = clock
        self._pods = pods
        self._leaving = leaving
        self._evict = evict
        self._ended = ended
        self._tell_node = tell_node
        self._reclaim_containers = reclaim_containers
        self._reclaim_images = reclaim_images
        self._changed = changed
        self._pressure = Pressure(config.thresholds, config.transition_seconds)
        self._limits_at = float("-inf")

    @property
    def conditions(self) -> Collection[str]:
        """Of the node, true now: "MemoryPressure", "DiskPressure", "PIDPressure"."""
        return self._pressure.conditions

    async def run(self) -> None:
        while True:
            evicted: list[Object] = []
            try:
                evicted = await self.look()
            except (RuntimeFailure, OSError) as exc:
                log.warning("pressure not looked at error=%s", exc)
            if evicted:
                await self._wait_ended(evicted)
            else:
                await self._clock.sleep(self._config.interval_seconds)

    async def look(self) -> list[Object]:
        """One look and what follows from it; the pods that are to end now."""
        observations = await self._figures.observe()
        before = self._pressure.conditions
        due = self._pressure.observe(observations, self._clock.monotonic())
        if self._pressure.conditions != before:
            log.info("pressure changed conditions=%s", ",".join(sorted(self._pressure.conditions)) or "none")
            self._changed()
        evicted = await self._hold_to_limits()
        if evicted or not due:
            return evicted
        return await self._relieve(due[0], observations)

    async def _hold_to_limits(self) -> list[Object]:
        if self._clock.monotonic() - self._limits_at < _LIMITS_SECONDS:
            return []
        self._limits_at = self._clock.monotonic()
        limited = [pod for pod in self._pods() if has_limits(pod)]
        if not limited:
            return []
        apart = await self._figures.images_apart()
        uses = await self._figures.uses(limited, disk=True)
        evicted = []
        for pod in limited:
            message = violation(pod, uses.get(uid_of(pod), PodUse()), images_apart=apart)
            if message and self._end(pod, Eviction("Evicted", message, _IMMEDIATE_GRACE_SECONDS)):
                evicted.append(pod)
        return evicted

    async def _relieve(self, threshold: Threshold, observations: Observations) -> list[Object]:
        self._tell_node("Warning", "EvictionThresholdMet", f"Attempting to reclaim {threshold.resource}")
        apart = await self._figures.images_apart()
        is_disk = threshold.resource in ("ephemeral-storage", "inodes")
        # Images on a file system of their own help nobody but those who wait for room there.
        if is_disk and (not apart or threshold.signal in _IMAGE_SIGNALS):
            await self._reclaim_containers()
            await self._reclaim_images()
            if self._pressure.is_relieved(await self._figures.observe()):
                log.info("pressure relieved without evictions resource=%s", threshold.resource)
                return []
        pods = self._pods()
        uses = await self._figures.uses(pods, disk=is_disk)
        for pod in rank(threshold.signal, pods, uses, images_apart=apart):
            message, annotations = eviction_message(threshold, observations, pod, uses.get(uid_of(pod)))
            eviction = Eviction("Evicted", message, self._grace(threshold, pod), message, annotations)
            if self._end(pod, eviction):
                return [pod]
        log.warning("no pod to evict resource=%s", threshold.resource)
        return []

    def _grace(self, threshold: Threshold, pod: Object) -> int:
        if threshold.is_hard:
            return _IMMEDIATE_GRACE_SECONDS
        own = pod["spec"].get("terminationGracePeriodSeconds")
        most = self._config.maximum_grace_seconds
        return most if own is None else min(most, int(own))

    def _end(self, pod: Object, eviction: Eviction) -> bool:
        """False for a pod that the node cannot do without: nobody would start a static one again."""
        if is_critical(pod):
            log.warning("critical pod not evicted pod=%s/%s", namespace_of(pod), name_of(pod))
            return False
        log.info("pod evicted pod=%s/%s message=%s", namespace_of(pod), name_of(pod), eviction.message)
        self._evict(pod, eviction)
        return True

    def preempt(self, pod: Object, missing: Sequence[Shortfall]) -> bool:
        """Has pods end that are in the way of a critical one; False: that would not be enough."""
        short = {each.resource: each.used + each.requested - each.capacity for each in missing}
        others = [other for other in self._pods() if uid_of(other) != uid_of(pod)]
        victims = plan_preemption(pod, others, short, leaving=self._leaving())
        for victim in victims or ():
            told = "Pod was preempted by Kubelet to accommodate a critical pod."
            self._evict(victim, Eviction("Preempting", "Preempted in order to admit critical pod", disruption=told))
        return victims is not None

    async def _wait_ended(self, pods: Sequence[Object]) -> None:
        until = self._clock.monotonic() + _CLEANUP_SECONDS
        while self._clock.monotonic() < until and not all(self._ended(uid_of(pod)) for pod in pods):
            await self._clock.sleep(1.0)
