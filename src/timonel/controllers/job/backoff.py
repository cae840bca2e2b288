"""How long to wait before pods that failed are replaced: 10 s, doubled with every failure, six minutes at the most.

Source: kubernetes.io/docs/concepts/workloads/controllers/job "Pod backoff failure policy".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from timonel.api.objects import Object
from timonel.controllers.job.pods import failures_before, finished_at, ignored_failures_before

FIRST_SECONDS = 10.0
MAX_SECONDS = 360.0


@dataclass(frozen=True, slots=True)
class Backoff:
    failures: int = 0
    """Since the last pod that succeeded."""
    last: datetime | None = None

    def after(self, succeeded: Iterable[Object], failed: Iterable[Object]) -> Backoff:
        """With these pods ended as well. A success forgets the failures before it."""
        ends = [finished_at(pod) for pod in failed]
        success = max(map(finished_at, succeeded), default=None)
        before, last = self.failures, self.last
        if success is not None:
            before, last = 0, None
            ends = [moment for moment in ends if moment > success]
        return Backoff(before + len(ends), max(ends) if ends else last)

    def seconds_left(self, now: datetime) -> float:
        return _seconds_left(self.failures, self.last, now) if self.last is not None else 0.0


def seconds_left_of_index(last_failed: Object | None, now: datetime) -> float:
    """By the pod that failed last of that index; it carries how many did before it."""
    if last_failed is None:
        return 0.0
    failures = failures_before(last_failed) + ignored_failures_before(last_failed) + 1
    return _seconds_left(failures, finished_at(last_failed), now)


def _seconds_left(failures: int, last: datetime, now: datetime) -> float:
    if failures <= 0:
        return 0.0
    wait = min(FIRST_SECONDS * 2.0 ** min(failures - 1, 30), MAX_SECONDS)
    # A clock that was set back must not make it wait longer than the whole delay.
    return min(wait, max(0.0, wait - (now - last).total_seconds()))
