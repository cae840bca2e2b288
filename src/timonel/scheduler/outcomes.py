"""What becomes of attempts, told to everybody: the queue, the figures, the pod's events and its status."""

from __future__ import annotations

import logging
from collections.abc import Callable

from timonel.api.clock import Clock
from timonel.api.objects import Object, name_of, namespace_of
from timonel.client.events import EventRecorder
from timonel.scheduler.core.queue import SchedulingQueue, Waiting
from timonel.scheduler.figures import ERROR_RESULT, UNSCHEDULABLE_RESULT, SchedulingFigures
from timonel.scheduler.mirror import profile_name
from timonel.scheduler.writing import SCHEDULER_ERROR, UNSCHEDULABLE, Writer

log = logging.getLogger(__name__)


class Outcomes:
    """`wake`: the queue has something to look at."""

    def __init__(
        self,
        *,
        queue: SchedulingQueue,
        figures: SchedulingFigures,
        writer: Writer,
        recorder: EventRecorder,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._figures = figures
        self._writer = writer
        self._recorder = recorder
        self._clock = clock
        self._wake = wake

    async def refused(self, waiting: Waiting, obj: Object, why: str, plugins: frozenset[str], freed_node: str) -> None:
        """It waits until something changes; `freed_node` is where others are evicted for it."""
        self._note_refusal(waiting, obj, why, plugins)
        await self._writer.tell(obj, UNSCHEDULABLE, why, freed_node)

    def refused_nowait(self, waiting: Waiting, obj: Object, why: str, plugins: frozenset[str]) -> None:
        """The same of a pod that had a place and lost it, unless it is gone by now."""
        if self._queue.get(waiting.pod.uid) is waiting:
            self._note_refusal(waiting, obj, why, plugins)
            self._writer.tell_nowait(obj, UNSCHEDULABLE, why)

    def _note_refusal(self, waiting: Waiting, obj: Object, why: str, plugins: frozenset[str]) -> None:
        now = self._clock.monotonic()
        self._queue.refused(waiting, plugins, now)
        self._figures.attempted(UNSCHEDULABLE_RESULT, now - waiting.taken_at, waiting.profile)
        log.info("Found no node for a pod pod=%s attempts=%d why=%s", full_name(obj), waiting.attempts, why)
        self.say(obj, "Warning", "FailedScheduling", why)

    def failed(self, waiting: Waiting, obj: Object, why: str) -> None:
        """Something went wrong; it is tried again after its backoff."""
        if self._queue.get(waiting.pod.uid) is not waiting:
            return  # deleted, or placed after all: nothing is owed to it
        now = self._clock.monotonic()
        self._queue.failed(waiting, now)
        self._figures.attempted(ERROR_RESULT, now - waiting.taken_at, waiting.profile)
        self._wake()
        self.say(obj, "Warning", "FailedScheduling", why)
        self._writer.tell_nowait(obj, SCHEDULER_ERROR, why)

    def bound(self, waiting: Waiting, obj: Object, node: str, seconds: float) -> None:
        """It has its node; binding took `seconds`."""
        self._figures.bound(waiting, seconds, self._clock.monotonic())
        self._queue.remove(waiting.pod.uid)
        self.say(obj, "Normal", "Scheduled", f"Successfully assigned {full_name(obj)} to {node}", "Binding")

    def say(self, obj: Object, kind: str, reason: str, message: str, action: str = "Scheduling") -> None:
        self._recorder.event(obj, kind, reason, message, action=action, component=profile_name(obj))


def full_name(obj: Object) -> str:
    return f"{namespace_of(obj)}/{name_of(obj)}"
