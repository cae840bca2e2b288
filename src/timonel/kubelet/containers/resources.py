"""Requests and limits into the kernel's numbers. Pure.

Source: kubernetes.io/docs/concepts/configuration/manage-resources-containers, "How Kubernetes applies resource
requests and limits"; the CPU numbers are those of the CFS scheduler (kernel.org sched-bwc).
"""

from __future__ import annotations

from timonel.api.objects import Object
from timonel.api.quantity import int_value, milli_value

CPU_PERIOD = 100_000
_MIN_QUOTA = 1_000
MIN_SHARES = 2
MAX_SHARES = 262_144


def cpu_shares(milli_cpu: int) -> int:
    return MIN_SHARES if milli_cpu <= 0 else max(MIN_SHARES, min(MAX_SHARES, milli_cpu * 1024 // 1000))


def cpu_quota(milli_cpu: int) -> int:
    """Microseconds of CPU per period; 0: no limit."""
    return 0 if milli_cpu <= 0 else max(_MIN_QUOTA, milli_cpu * CPU_PERIOD // 1000)


def cpu_weight(shares: int) -> int:
    """cgroup v2's weight of 1 to 10000 for v1's shares of 2 to 262144, linearly as OCI runtimes do."""
    return 1 + (shares - 2) * 9999 // 262142


def amount(resources: Object, kind: str, name: str) -> int | None:
    """CPU in thousandths of a core, everything else in whole units; None when it is not set."""
    value = (resources.get(kind) or {}).get(name)
    if value is None:
        return None
    return milli_value(str(value)) if name == "cpu" else int_value(str(value))


def differs(one: Object, other: Object, name: str) -> bool:
    """Whether two containers' resources ask for other amounts of something, however it is spelled."""
    return any(amount(one, kind, name) != amount(other, kind, name) for kind in ("requests", "limits"))


def container_request(container: Object, name: str) -> int:
    """The request; without one, the limit stands for it."""
    resources = container.get("resources") or {}
    value = amount(resources, "requests", name)
    if value is None:
        value = amount(resources, "limits", name)
    return value or 0


def container_limit(container: Object, name: str) -> int | None:
    """None, or 0: no limit."""
    return amount(container.get("resources") or {}, "limits", name)


def pod_total(pod: Object, kind: str, name: str) -> int | None:
    """Sum over main containers and sidecars, or what one init container needs at its time if that is more.

    For limits, None as soon as one container has none. Source: KEP-753, "Resources calculation for scheduling and
    pod admission".
    """
    spec = pod["spec"]
    pod_level = amount(spec.get("resources") or {}, kind, name)
    if pod_level is not None:
        return pod_level

    def of(container: Object) -> int | None:
        return container_request(container, name) if kind == "requests" else (container_limit(container, name) or None)

    running = 0
    peak = 0
    for container in spec.get("initContainers") or ():
        value = of(container)
        if value is None:
            return None
        if container.get("restartPolicy") == "Always":
            running += value
            peak = max(peak, running)
        else:
            peak = max(peak, running + value)
    for container in spec.get("containers") or ():
        value = of(container)
        if value is None:
            return None
        running += value
    overhead = (spec.get("overhead") or {}).get(name)
    extra = 0
    if overhead is not None:
        extra = milli_value(str(overhead)) if name == "cpu" else int_value(str(overhead))
    return max(running, peak) + extra
