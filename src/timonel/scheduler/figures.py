"""What /metrics tells of scheduling: plain counts, kept while deciding.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from timonel.api.buckets import Buckets, powers
from timonel.scheduler.core.queue import Waiting

SCHEDULED_RESULT, UNSCHEDULABLE_RESULT, ERROR_RESULT = "scheduled", "unschedulable", "error"
_ATTEMPT_SECONDS = powers(0.001, 2, 15)
_BIND_SECONDS = powers(0.0001, 2, 12)
_PLUGIN_SECONDS = powers(0.00001, 1.5, 20)
_POD_SECONDS = powers(0.01, 2, 20)
_ATTEMPTS = powers(1, 2, 5)
_VICTIMS = powers(1, 2, 7)
_MOST_ATTEMPTS = 15
"""More are one label value: "15+"."""


class SchedulingFigures:
    """Times in seconds. A profile is told by its name."""

    __slots__ = ("algorithm", "attempts", "bindings", "by_result", "evaluations", "executions", "pods", "preemptions",
                 "victims")  # fmt: skip

    def __init__(self) -> None:
        self.by_result: dict[tuple[str, str], Buckets] = {}
        """(result, profile): attempts, from when a pod was taken until its result was certain."""
        self.algorithm = Buckets(_ATTEMPT_SECONDS)
        self.bindings: dict[tuple[str, str], Buckets] = {}
        """(status, profile)"""
        self.pods: dict[str, Buckets] = {}
        """By number of attempts: from when a pod could first be placed until it was."""
        self.attempts = Buckets(_ATTEMPTS)
        self.preemptions = 0
        """Searches for victims."""
        self.victims = Buckets(_VICTIMS)
        """Of each search that found some."""
        self.evaluations: dict[tuple[str, str, str], int] = {}
        """(plugin, extension point, profile): how often it was asked about a pod, of the pods that are sampled."""
        self.executions: dict[tuple[str, str, str], Buckets] = {}
        """(plugin, extension point, status): how long that took."""

    def attempted(self, result: str, seconds: float, profile: str) -> None:
        _at(self.by_result, (result, profile), _ATTEMPT_SECONDS).observe(seconds)

    def bound(self, waiting: Waiting, binding_seconds: float, now: float) -> None:
        """A pod has its node; `now` is monotonic."""
        self.attempted(SCHEDULED_RESULT, now - waiting.taken_at, waiting.profile)
        self.tried_to_bind("Success", binding_seconds, waiting.profile)
        self.attempts.observe(waiting.attempts)
        if waiting.entered is None:
            return
        label = str(waiting.attempts) if waiting.attempts < _MOST_ATTEMPTS else f"{_MOST_ATTEMPTS}+"
        buckets = self.pods.get(label)
        if buckets is None:
            buckets = self.pods[label] = Buckets(_POD_SECONDS)
        buckets.observe(now - waiting.entered)

    def tried_to_bind(self, status: str, seconds: float, profile: str) -> None:
        _at(self.bindings, (status, profile), _BIND_SECONDS).observe(seconds)

    def preempted(self, victims: int) -> None:
        """A search for victims ended; 0: it found none."""
        self.preemptions += 1
        if victims:
            self.victims.observe(victims)

    def ran(self, plugin: str, point: str, status: str, profile: str, seconds: float) -> None:
        key = plugin, point, profile
        self.evaluations[key] = self.evaluations.get(key, 0) + 1
        executed = self.executions.get((plugin, point, status))
        if executed is None:
            executed = self.executions[plugin, point, status] = Buckets(_PLUGIN_SECONDS)
        executed.observe(seconds)


def _at(found: dict[tuple[str, str], Buckets], key: tuple[str, str], bounds: tuple[float, ...]) -> Buckets:
    buckets = found.get(key)
    if buckets is None:
        buckets = found[key] = Buckets(bounds)
    return buckets
