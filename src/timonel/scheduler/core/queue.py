"""Pods that wait: which is next, which must wait longer, which wait for the cluster to change.

Ready pods are taken by priority, then by time. A pod that fitted nowhere waits until something happens that could help
the plugins that refused it, and a while longer if it was tried only just now; a sweep tries all once in five minutes,
whatever happens. Time is an argument, in monotonic seconds.
Source: kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework, KEP-4247 (queueing hints)
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

from timonel.scheduler.core.framework import Change
from timonel.scheduler.core.pods import Pod
from timonel.scheduler.core.profile import DEFAULT_SCHEDULER

LONGEST_WAIT_SECONDS = 300.0


class _Place(Enum):
    ACTIVE = 1
    BACKING_OFF = 2
    UNSCHEDULABLE = 3
    GATED = 4
    TAKEN = 5


_STATES = {
    _Place.ACTIVE: "active",
    _Place.BACKING_OFF: "backoff",
    _Place.UNSCHEDULABLE: "unschedulable",
    _Place.GATED: "gated",
    _Place.TAKEN: "binding",
}


class Event:
    """Why a pod comes to a part of the queue, beside changes of the cluster."""

    ADDED = "added"
    UPDATED = "updated"
    UNGATED = "gates gone"
    FAILED = "attempt failed"
    BACKED_OFF = "backoff over"
    TIMED_OUT = "waited long enough"
    ACTIVATED = "activated"
    MEANWHILE = "changed during the attempt"


@dataclass(slots=True, eq=False)
class Waiting:
    pod: Pod
    since: float
    """When it last entered the queue."""
    entered: float | None = None
    """When it was first ready to be placed; its gates do not count."""
    taken_at: float = 0.0
    """When the attempt under way, or the last one, began."""
    backoff_limits: tuple[float, float] = (1.0, 10.0)
    """The first and the longest, seconds."""
    profile: str = DEFAULT_SCHEDULER
    """That decided about it last."""
    attempts: int = 0
    failed_at: float = 0.0
    failed_by_error: bool = False
    refused_by: frozenset[str] = frozenset()
    place: _Place = _Place.ACTIVE
    taken_number: int = 0
    """Changes of the cluster that had happened when it was taken."""
    has_changed: bool = False
    """Since it was taken."""
    ticket: int = field(default=0)
    """Entries of heaps with another ticket are leftovers of an earlier place."""

    @property
    def is_taken(self) -> bool:
        """It is being tried, or being bound."""
        return self.place is _Place.TAKEN

    @property
    def state(self) -> str:
        """As metrics name the parts of the queue, and "binding" for one that is being decided about or bound."""
        return _STATES[self.place]

    @property
    def backoff_seconds(self) -> float:
        """Doubles with every attempt: 1, 2, 4, 8, 10, 10 …"""
        if self.attempts == 0:
            return 0.0
        first, longest = self.backoff_limits
        return min(first * (1 << min(self.attempts - 1, 20)), longest)

    @property
    def ready_at(self) -> float:
        """On a full second, so that pods that failed at about the same time go by priority again."""
        return float(math.ceil(self.failed_at + self.backoff_seconds))


class SchedulingQueue:
    """`helped_by` says for each plugin which changes could make it change its mind."""

    def __init__(
        self,
        helped_by: Mapping[str, frozenset[Change]],
        *,
        first_backoff_seconds: float = 1.0,
        longest_backoff_seconds: float = 10.0,
    ) -> None:
        self._helped_by = helped_by
        self._backoff_limits = (first_backoff_seconds, longest_backoff_seconds)
        self._waiting: dict[str, Waiting] = {}
        self._active: list[tuple[int, float, int, Waiting]] = []
        self._backing_off: list[tuple[float, int, int, Waiting]] = []
        self._after_errors: list[tuple[float, int, int, Waiting]] = []
        self._unschedulable: dict[str, Waiting] = {}
        self._tickets = count(1)
        self._happened = 0
        """Changes of the cluster so far."""
        self._last: dict[Change, int] = {}
        """Which of them was the last of each kind."""
        self.incoming: Counter[tuple[str, str]] = Counter()
        """(state, why) -> how often a pod came to it; `why` is one of `Event` or of Change."""

    def __len__(self) -> int:
        return len(self._waiting)

    def get(self, uid: str) -> Waiting | None:
        return self._waiting.get(uid)

    def refused_by(self) -> Counter[tuple[str, str]]:
        """(plugin, profile) -> pods that wait because of it."""
        return Counter((plugin, each.profile) for each in self._unschedulable.values() for plugin in each.refused_by)

    def counts(self) -> dict[str, int]:
        """Pods per place, as upstream's metric names them."""
        counts = dict.fromkeys((state for place, state in _STATES.items() if place is not _Place.TAKEN), 0)
        for waiting in self._waiting.values():
            if not waiting.is_taken:
                counts[waiting.state] += 1
        return counts

    # Coming and going

    def put(self, pod: Pod, *, is_gated: bool, now: float) -> None:
        """A pod to be placed, or its new state; a changed pod is tried again."""
        waiting = self._waiting.get(pod.uid)
        if waiting is None:
            waiting = self._waiting[pod.uid] = Waiting(pod, now, backoff_limits=self._backoff_limits)
            self._move(waiting, _Place.GATED if is_gated else _Place.ACTIVE, now, Event.ADDED)
            return
        is_same = waiting.pod.klass is pod.klass
        waiting.pod = pod
        if waiting.place is _Place.TAKEN:
            waiting.has_changed |= not is_same
            return
        if is_gated:
            self._move(waiting, _Place.GATED, now, Event.UPDATED)
        elif waiting.place is _Place.GATED:
            self._move(waiting, _Place.ACTIVE, now, Event.UNGATED)
        elif not is_same:
            self._retry(waiting, now, Event.UPDATED)

    def remove(self, uid: str) -> None:
        waiting = self._waiting.pop(uid, None)
        if waiting is not None:
            waiting.ticket = 0
            self._unschedulable.pop(uid, None)

    def take(self, now: float) -> Waiting | None:
        """The next pod, to be given back by `remove`, `refused` or `failed`.

        When none is ready, one that backs off after a refusal is taken early: it only waits so that others go first.
        """
        self._release(now)
        while self._active:
            _, _, ticket, waiting = heapq.heappop(self._active)
            if waiting.ticket == ticket:
                return self._taken(waiting)
        while self._backing_off:
            _, _, ticket, waiting = heapq.heappop(self._backing_off)
            if waiting.ticket == ticket:
                return self._taken(waiting)
        return None

    def refused(self, waiting: Waiting, plugins: frozenset[str], now: float) -> None:
        """It fitted nowhere; it waits for a change that helps."""
        if self._waiting.get(waiting.pod.uid) is waiting:
            waiting.failed_at, waiting.failed_by_error, waiting.refused_by = now, False, plugins
            self._move(waiting, _Place.UNSCHEDULABLE, now, Event.FAILED)

    def failed(self, waiting: Waiting, now: float) -> None:
        """Something went wrong with it; it is tried again after its backoff."""
        if self._waiting.get(waiting.pod.uid) is waiting:
            waiting.failed_at, waiting.failed_by_error, waiting.refused_by = now, True, frozenset()
            self._move(waiting, _Place.BACKING_OFF, now, Event.FAILED)

    # What happens meanwhile

    def changed(
        self,
        changes: Iterable[Change],
        now: float,
        may_help: Callable[[Waiting, frozenset[str]], bool] = lambda waiting, plugins: True,
    ) -> None:
        """Retries the pods that a change of the cluster could help.

        `may_help` looks closer: at a pod, and at the plugins that refused it and could think again.
        """
        changes = tuple(changes)
        happened = frozenset(changes)
        self._happened += 1
        self._last.update(dict.fromkeys(happened, self._happened))
        if not happened or not self._unschedulable:
            return
        helped = {plugin for plugin, helped_by in self._helped_by.items() if helped_by & happened}
        why = changes[0].name
        for waiting in list(self._unschedulable.values()):
            plugins = waiting.refused_by & helped
            if plugins and may_help(waiting, plugins):
                self._retry(waiting, now, why)

    def missed(self, waiting: Waiting, plugins: frozenset[str]) -> bool:
        """Whether something happened, since the pod was taken, that could help against the plugins that refuse it."""
        return waiting.has_changed or any(
            self._last.get(change, 0) > waiting.taken_number
            for plugin in plugins
            for change in self._helped_by.get(plugin, ())
        )

    def reconsider(self, uid: str, now: float) -> None:
        """Retries a refused pod for what its attempt has missed."""
        waiting = self._unschedulable.get(uid)
        if waiting is not None:
            self._retry(waiting, now, Event.MEANWHILE)

    def activate(self, uid: str, now: float) -> None:
        """Lets a pod be tried at once, whatever it waits for."""
        waiting = self._waiting.get(uid)
        if waiting is not None and waiting.place in (_Place.UNSCHEDULABLE, _Place.BACKING_OFF):
            self._move(waiting, _Place.ACTIVE, now, Event.ACTIVATED)

    def helped(self, uid: str, plugin: str, now: float) -> None:
        """Retries one pod that the plugin refused: something changed that concerns it alone."""
        waiting = self._unschedulable.get(uid)
        if waiting is not None and plugin in waiting.refused_by:
            self._retry(waiting, now, Event.ACTIVATED)

    def next_event(self) -> float | None:
        """When something is due without any change: a backoff ends, or a pod has waited for the longest time."""
        times = [heap[0][0] for heap in (self._backing_off, self._after_errors) if heap]
        if self._unschedulable:
            times.append(next(iter(self._unschedulable.values())).since + LONGEST_WAIT_SECONDS)
        return min(times, default=None)

    # Parts

    def _release(self, now: float) -> None:
        for heap in (self._backing_off, self._after_errors):
            while heap and heap[0][0] <= now:
                _, _, ticket, waiting = heapq.heappop(heap)
                if waiting.ticket == ticket:
                    self._move(waiting, _Place.ACTIVE, now, Event.BACKED_OFF)
        # In order of `since`, for pods enter at the end and time does not run backwards.
        while self._unschedulable:
            waiting = next(iter(self._unschedulable.values()))
            if waiting.since + LONGEST_WAIT_SECONDS > now:
                break
            self._retry(waiting, now, Event.TIMED_OUT)

    def _retry(self, waiting: Waiting, now: float, why: str) -> None:
        self._move(waiting, _Place.BACKING_OFF if waiting.ready_at > now else _Place.ACTIVE, now, why)

    def _taken(self, waiting: Waiting) -> Waiting:
        waiting.attempts += 1
        waiting.place, waiting.ticket = _Place.TAKEN, 0
        waiting.taken_number, waiting.has_changed = self._happened, False
        return waiting

    def _move(self, waiting: Waiting, place: _Place, now: float, why: str) -> None:
        self.incoming[_STATES[place], why] += 1
        self._unschedulable.pop(waiting.pod.uid, None)
        waiting.place, waiting.ticket = place, next(self._tickets)
        if place is _Place.ACTIVE:
            if waiting.entered is None:
                waiting.entered = now
            heapq.heappush(self._active, (-waiting.pod.klass.priority, waiting.since, waiting.ticket, waiting))
        elif place is _Place.BACKING_OFF:
            heap = self._after_errors if waiting.failed_by_error else self._backing_off
            heapq.heappush(heap, (waiting.ready_at, -waiting.pod.klass.priority, waiting.ticket, waiting))
        elif place is _Place.UNSCHEDULABLE:
            waiting.since = now
            self._unschedulable[waiting.pod.uid] = waiting
