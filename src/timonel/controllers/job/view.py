"""A Job and its pods at one moment, with what follows from them: what its planner and its counting both ask. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from timonel.api.objects import Object, uid_of
from timonel.controllers.job.backoff import Backoff
from timonel.controllers.job.indexes import IndexSet
from timonel.controllers.job.pods import (
    count_terminating,
    failures_before,
    finished_at,
    ignored_failures_before,
    indexes_of,
    is_failed,
    is_indexed,
    is_tracked,
    valid_index,
)
from timonel.controllers.job.policies import judge_failure
from timonel.controllers.pods import is_active, phase_of


@dataclass(frozen=True)
class View:
    """A Job and its pods at one moment, sorted once. `settled` are pods no longer tracked that the cache still shows
    with their finalizer; `backoff` is what was known of failures before.
    """

    job: Object
    pods: Sequence[Object]
    now: datetime
    backoff: Backoff = field(default_factory=Backoff)
    settled: Set[str] = frozenset()

    active: Sequence[Object] = field(init=False)
    tracked: Sequence[Object] = field(init=False)
    succeeded: int = field(init=False)
    failed: int = field(init=False)
    counted_indexes: IndexSet = field(init=False)
    """Of the status: succeeded before."""
    succeeded_indexes: IndexSet = field(init=False)
    failed_indexes: IndexSet | None = field(init=False)
    """None where failures are not limited per index."""
    kept_failures: dict[int, Object] = field(init=False)
    """By index, a failed pod that stays tracked until its replacement, which inherits its count, is there."""
    new_backoff: Backoff = field(init=False)
    terminating: int = field(init=False)

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        job, spec, status = self.job, self.job["spec"], self.job.get("status") or {}
        uncounted = status.get("uncountedTerminatedPods") or {}
        known = {*(uncounted.get("succeeded") or ()), *(uncounted.get("failed") or ())}
        put("active", [pod for pod in self.pods if is_active(pod)])
        put("tracked", [pod for pod in self.pods if is_tracked(pod) and uid_of(pod) not in self.settled])
        fresh = [pod for pod in self.tracked if uid_of(pod) not in known]
        if is_indexed(job):
            fresh = [pod for pod in fresh if valid_index(pod, job) is not None]
        successes = [pod for pod in fresh if phase_of(pod) == "Succeeded"]
        failures = [pod for pod in fresh if is_failed(pod, job)]
        put("new_backoff", self.backoff.after(successes, failures))
        counting = sum(judge_failure(job, pod).counts for pod in failures)
        put("failed", (status.get("failed") or 0) + len(uncounted.get("failed") or ()) + counting)
        put("terminating", count_terminating(self.pods))
        put("counted_indexes", IndexSet())
        put("succeeded_indexes", IndexSet())
        put("failed_indexes", None)
        put("kept_failures", {})
        if not is_indexed(job):
            listed = len(uncounted.get("succeeded") or ())
            put("succeeded", (status.get("succeeded") or 0) + listed + len(successes))
            return
        put("counted_indexes", IndexSet.parse(status.get("completedIndexes"), spec["completions"]))
        put("succeeded_indexes", self.counted_indexes | _valid_indexes(job, successes))
        put("succeeded", len(self.succeeded_indexes))
        if spec.get("backoffLimitPerIndex") is not None:
            before = IndexSet.parse(status.get("failedIndexes"), spec["completions"])
            ended = (pod for pod in self.tracked if is_failed(pod, job) and _fails_index(job, pod))
            put("failed_indexes", before | _valid_indexes(job, ended))
            put("kept_failures", self._kept_failures())

    @property
    def limits_per_index(self) -> bool:
        return self.failed_indexes is not None

    def _kept_failures(self) -> dict[int, Object]:
        found: dict[int, Object] = {}
        running = indexes_of(self.active)
        assert self.failed_indexes is not None
        for pod in self.tracked:
            index = valid_index(pod, self.job)
            if index is None or not is_failed(pod, self.job):
                continue
            if index in running or index in self.succeeded_indexes or index in self.failed_indexes:
                continue
            if index not in found or _failure_order(pod) >= _failure_order(found[index]):
                found[index] = pod
        return found


def _failure_order(pod: Object) -> tuple[int, datetime, str]:
    return failures_before(pod) + ignored_failures_before(pod), finished_at(pod), uid_of(pod)


def _valid_indexes(job: Object, pods: Iterable[Object]) -> IndexSet:
    return IndexSet.of(index for pod in pods if (index := valid_index(pod, job)) is not None)


def _fails_index(job: Object, pod: Object) -> bool:
    failure = judge_failure(job, pod)
    if failure.action == "FailIndex":
        return True
    return failure.counts and failures_before(pod) >= job["spec"]["backoffLimitPerIndex"]
