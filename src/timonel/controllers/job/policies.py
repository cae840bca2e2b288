"""What a failed pod means by podFailurePolicy, and whether enough indexes succeeded by successPolicy. Pure.

Source: kubernetes.io/docs/concepts/workloads/controllers/job "Pod failure policy" and "Success policy".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from timonel.api.objects import Object, name_of, namespace_of
from timonel.controllers.job.indexes import IndexSet


@dataclass(frozen=True, slots=True)
class Failure:
    """By the first rule that a pod matches; without one it just counts."""

    action: str = ""
    message: str = ""
    """Of a FailJob: why."""

    @property
    def counts(self) -> bool:
        return self.action != "Ignore"


_JUST_COUNTS = Failure()


def judge_failure(job: Object, pod: Object) -> Failure:
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or ()
    for number, rule in enumerate(rules):
        why = _matching(rule, pod)
        if why is not None:
            action = rule["action"]
            message = f"{why} matching {action} rule at index {number}" if action == "FailJob" else ""
            return Failure(action, message)
    return _JUST_COUNTS


def _matching(rule: Object, pod: Object) -> str | None:
    """What of the pod the rule is about, in words; None when it is not about it."""
    status, where = pod.get("status") or {}, f"{namespace_of(pod)}/{name_of(pod)}"
    codes = rule.get("onExitCodes")
    if codes is not None:
        for kind in ("containerStatuses", "initContainerStatuses"):
            found = _exited(status.get(kind) or (), codes)
            if found is not None:
                container, code = found
                return f"Container {container} for pod {where} failed with exit code {code}"
        return None
    patterns = {(item.get("type"), item.get("status")) for item in rule.get("onPodConditions") or ()}
    for condition in status.get("conditions") or ():
        if (condition.get("type"), condition.get("status")) in patterns:
            return f"Pod {where} has condition {condition['type']}"
    return None


def _exited(statuses: Iterable[Object], codes: Object) -> tuple[str, int] | None:
    """(container, exit code) of the first one that failed as the rule says. Exit code 0 is never a failure."""
    wanted, only = codes.get("operator") == "In", codes.get("containerName")
    for status in statuses:
        terminated = (status.get("state") or {}).get("terminated")
        code = (terminated or {}).get("exitCode") or 0
        if code and (only is None or only == status.get("name")) and (code in (codes.get("values") or ())) == wanted:
            return status.get("name") or "", code
    return None


def met_success_rule(job: Object, succeeded: IndexSet) -> str | None:
    """Which rule of the successPolicy is met, in words; None for none."""
    rules = (job["spec"].get("successPolicy") or {}).get("rules") or ()
    if not succeeded:
        return None
    for number, rule in enumerate(rules):
        indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
        if indexes is not None:
            required = IndexSet.parse(indexes, job["spec"]["completions"])
            common = len(required & succeeded)
            met = bool(required) and (common == len(required) or (count is not None and common >= count))
        else:
            met = count is not None and len(succeeded) >= count
        if met:
            return f"Matched rules at index {number}"
    return None
