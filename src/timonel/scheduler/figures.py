"""What /metrics tells of scheduling: plain counts, kept while deciding.

Source: kubernetes.io/docs/reference/instrumentation/metrics
"""

from __future__ import annotations

from timonel.api.buckets import Buckets, powers
from timonel.scheduler.core.queue import Waiting

SCHEDULED_RESULT, UNSCHEDULABLE_RESULT, ERROR_RESULT = "scheduled", "unschedulable", "error"
_ATTEMPT_SECONDS = powers(0.001, 2, 15)
_BIND_SECONDS = powers(0.0001, 2, 12)
_POD_SECONDS = powers(0.01, 2, 20)
_ATTEMPTS = powers(1, 2, 5)
_MOST_ATTEMPTS = 15
"""More are one label value: "15+"."""


class SchedulingFigures:
    """Times in seconds."""

    __slots__ = ("algorithm", "attempts", "bindings", "by_result", "pods")

    def __init__(self) -> None:
        self.by_result = {
            result: Buckets(_ATTEMPT_SECONDS) for result in (SCHEDULED_RESULT, UNSCHEDULABLE_RESULT, ERROR_RESULT)
        }
        """Attempts, from when a pod was taken until its result was certain."""
        self.algorithm = Buckets(_ATTEMPT_SECONDS)
        self.bindings = Buckets(_BIND_SECONDS)
        self.pods: dict[str, Buckets] = {}
        """By number of attempts: from when a pod could first be placed until it was."""
        self.attempts = Buckets(_ATTEMPTS)

    def attempted(self, result: str, seconds: float) -> None:
        self.by_result[result].observe(seconds)

    def bound(self, waiting: Waiting, binding_seconds: float, now: float) -> None:
        """A pod has its node; `now` is monotonic."""
        self.attempted(SCHEDULED_RESULT, now - waiting.taken_at)
        self.bindings.observe(binding_seconds)
        self.attempts.observe(waiting.attempts)
        if waiting.entered is None:
            return
        label = str(waiting.attempts) if waiting.attempts < _MOST_ATTEMPTS else f"{_MOST_ATTEMPTS}+"
        buckets = self.pods.get(label)
        if buckets is None:
            buckets = self.pods[label] = Buckets(_POD_SECONDS)
        buckets.observe(now - waiting.entered)
