"""Taints and tolerations that the server adds: TaintNodesByCondition and DefaultTolerationSeconds.

Source: kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions
"""

from __future__ import annotations

from collections.abc import Sequence

from timonel.api.objects import Object
from timonel.apiserver.admission.chain import AdmissionRequest, Meeting, Plugin

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"


class TaintNodesByCondition(Plugin):
    """A new node is not ready until the node controller has seen it ready."""

    name = "TaintNodesByCondition"
    operations = frozenset({"CREATE"})
    resources = frozenset({("", "nodes")})

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.subresource or request.obj is None:
            return
        spec = request.obj.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(taint.get("key") == NOT_READY and taint.get("effect") == "NoSchedule" for taint in taints):
            spec["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]


class DefaultTolerationSeconds(Plugin):
    """A pod stays for a while on a node that is lost, unless it says otherwise."""

    name = "DefaultTolerationSeconds"
    operations = frozenset({"CREATE", "UPDATE"})
    resources = frozenset({("", "pods")})

    def __init__(self, *, not_ready_seconds: int = 300, unreachable_seconds: int = 300) -> None:
        self._seconds = {NOT_READY: not_ready_seconds, UNREACHABLE: unreachable_seconds}

    def cares(self, meeting: Meeting) -> bool:
        return not meeting.subresource

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.subresource or request.obj is None:
            return
        spec = request.obj["spec"]
        given = spec.get("tolerations") or []
        for key, seconds in self._seconds.items():
            if not any(
                (item.get("key") or key) == key and (item.get("effect") or "NoExecute") == "NoExecute" for item in given
            ):
                toleration = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
                spec = request.own("spec")
                spec["tolerations"] = [*(spec.get("tolerations") or []), toleration]


def merge_tolerations(first: Sequence[Object], second: Sequence[Object]) -> list[Object]:
    """Both, without those that another one covers; of equal ones the first stays."""
    together = [*first, *second]
    merged: list[Object] = []
    for index, toleration in enumerate(together):
        later = together[index + 1 :]
        if any(covers(kept, toleration) for kept in merged):
            continue
        if any(other != toleration and covers(other, toleration) for other in later):
            continue
        merged.append(toleration)
    return merged


def covers(wide: Object, narrow: Object) -> bool:
    """Whether `wide` tolerates everything that `narrow` does."""
    if wide == narrow:
        return True
    exists = wide.get("operator") == "Exists"
    if (narrow.get("key") or "") != (wide.get("key") or "") and not (exists and not wide.get("key")):
        return False
    if wide.get("effect") and (narrow.get("effect") or "") != wide["effect"]:
        return False
    if wide.get("effect") == "NoExecute" and wide.get("tolerationSeconds") is not None:
        seconds = narrow.get("tolerationSeconds")
        if seconds is None or seconds > wide["tolerationSeconds"]:
            return False
    if exists:
        return True
    return (
        wide.get("operator") in (None, "", "Equal")
        and narrow.get("operator") == "Equal"
        and (narrow.get("value") or "") == (wide.get("value") or "")
    )
