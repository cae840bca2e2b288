"""What /metrics tells of Jobs: how often and how long they are synced, how they and their pods end.

Source: kubernetes.io/docs/reference/instrumentation/metrics (job_controller)
"""

from __future__ import annotations

from typing import Literal

from timonel.api.buckets import Buckets, powers
from timonel.api.objects import Object
from timonel.controllers.job.planner import JobPlan

Action = Literal["reconciling", "tracking", "pods_created", "pods_deleted"]
_SECONDS = powers(0.004, 2, 15)


def completion_mode(job: Object) -> str:
    mode: str = job["spec"].get("completionMode") or "NonIndexed"
    return mode


def action_of(plan: JobPlan) -> Action:
    """What a sync is mostly about."""
    if plan.create:
        return "pods_created"
    if plan.end or plan.give_up:
        return "pods_deleted"
    return "reconciling"


class JobFigures:
    __slots__ = ("finished", "pods", "syncs")

    def __init__(self) -> None:
        self.syncs: dict[tuple[str, str, str], Buckets] = {}
        """By (completion mode, "success" or "error", action); seconds."""
        self.finished: dict[tuple[str, str, str], int] = {}
        """Jobs by (completion mode, "succeeded" or "failed", reason)."""
        self.pods: dict[tuple[str, str], int] = {}
        """Pods that were counted, by (completion mode, "succeeded" or "failed")."""

    def synced(self, job: Object, action: Action, *, failed: bool, seconds: float) -> None:
        key = completion_mode(job), "error" if failed else "success", action
        buckets = self.syncs.get(key)
        if buckets is None:
            buckets = self.syncs[key] = Buckets(_SECONDS)
        buckets.observe(seconds)

    def counted(self, job: Object, before: Object, after: Object) -> None:
        """A status was written: what it counts more than the one before."""
        for result in ("succeeded", "failed"):
            more = (after.get(result) or 0) - (before.get(result) or 0)
            if more > 0:
                key = completion_mode(job), result
                self.pods[key] = self.pods.get(key, 0) + more

    def ended(self, job: Object, condition: Object) -> None:
        """`condition` says that it is Complete or Failed, and why."""
        result = "succeeded" if condition["type"] == "Complete" else "failed"
        key = completion_mode(job), result, condition.get("reason") or ""
        self.finished[key] = self.finished.get(key, 0) + 1
