"""What the kernel is told of a pod as a whole. Pure.

Source: kubernetes.io/docs/concepts/architecture/cgroups; the tree kubepods/{burstable,besteffort}/pod<uid> is
upstream's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from timonel.api.objects import Object, uid_of
from timonel.kubelet.containers.resources import CPU_PERIOD, MIN_SHARES, cpu_quota, cpu_shares, cpu_weight, pod_total
from timonel.kubelet.pods.qos import BEST_EFFORT, BURSTABLE, GUARANTEED, qos_class

TOP = "kubepods"
_BRANCH = {GUARANTEED: TOP, BURSTABLE: f"{TOP}/burstable", BEST_EFFORT: f"{TOP}/besteffort"}
BRANCHES = (TOP, f"{TOP}/burstable", f"{TOP}/besteffort")


@dataclass(frozen=True, slots=True)
class Limits:
    shares: int = MIN_SHARES
    quota: int = 0
    """Microseconds per period; 0: none."""
    memory: int = 0
    """Bytes; 0: none."""
    pids: int = 0
    """0: none."""


def pod_cgroup(pod: Object) -> str:
    """Below our root."""
    quality = (pod.get("status") or {}).get("qosClass") or qos_class(pod)
    return f"{_BRANCH[quality]}/pod{uid_of(pod)}"


def pod_limits(pod: Object, pids: int = 0) -> Limits:
    """A limit of the whole pod exists only where every container has one: else one could not use its own freely."""
    if qos_class(pod) == BEST_EFFORT:
        return Limits(pids=pids)
    return Limits(
        shares=cpu_shares(pod_total(pod, "requests", "cpu") or 0),
        quota=cpu_quota(pod_total(pod, "limits", "cpu") or 0),
        memory=pod_total(pod, "limits", "memory") or 0,
        pids=pids,
    )


def burstable_shares(pods: Iterable[Object]) -> int:
    """The burstable branch weighs as much as its pods asked for; best effort gets what is left."""
    return cpu_shares(sum(pod_total(pod, "requests", "cpu") or 0 for pod in pods if qos_class(pod) == BURSTABLE))


def render(limits: Limits, *, unified: bool) -> list[tuple[str, str, str]]:
    """(controller, file, text) to write, in order."""
    if unified:
        return [
            ("cpu", "cpu.weight", str(cpu_weight(limits.shares))),
            ("cpu", "cpu.max", f"{limits.quota or 'max'} {CPU_PERIOD}"),
            ("memory", "memory.max", str(limits.memory or "max")),
            ("pids", "pids.max", str(limits.pids or "max")),
        ]
    return [
        ("cpu", "cpu.shares", str(limits.shares)),
        ("cpu", "cpu.cfs_period_us", str(CPU_PERIOD)),
        ("cpu", "cpu.cfs_quota_us", str(limits.quota or -1)),
        ("memory", "memory.limit_in_bytes", str(limits.memory or -1)),
        ("pids", "pids.max", str(limits.pids or "max")),
    ]
