"""What a pod asks for in all: containers, sidecars, init containers, the pod as a whole, overhead.

Source: kubernetes.io/docs/concepts/workloads/pods/sidecar-containers#resource-sharing-within-containers,
.../configuration/manage-resources-containers "Pod-level resource specification", and in-place resizing (KEP-1287).
"""

from __future__ import annotations

from collections.abc import Callable

from timonel.api.objects import Object, find_by
from timonel.api.quota.amounts import Amounts, add, plus, raise_to, value_of

Kind = str
"""Either "requests" or "limits"."""


def is_pod_level(name: str) -> bool:
    """Whether `spec.resources` may give it for the pod as a whole."""
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def has_pod_level(spec: Object) -> bool:
    resources = spec.get("resources") or {}
    return any(is_pod_level(name) for kind in ("requests", "limits") for name in resources.get(kind) or ())


def pod_amounts(
    pod: Object,
    kind: Kind,
    *,
    with_status: bool = True,
    with_overhead: bool = True,
    overrides: Callable[[str], bool] = is_pod_level,
) -> Amounts:
    """`with_status`: a container being resized counts the larger of what it has and what it asks for.

    `overrides` says which resources the pod as a whole gives in place of the sum of its containers.
    """
    spec = pod.get("spec") or {}
    effective = _Effective(pod, kind) if with_status else None
    total: Amounts = {}
    for container in spec.get("containers") or ():
        add(total, effective.of(container) if effective else _given(container, kind))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            amounts = effective.of(container) if effective else _given(container, kind)
            add(total, amounts)
            add(sidecars, amounts)
            raise_to(peak, sidecars)
        else:
            moment = dict(_given(container, kind))
            add(moment, sidecars)
            raise_to(peak, moment)
    raise_to(total, peak)
    total.update({name: amount for name, amount in _given(spec, kind).items() if overrides(name)})
    if with_overhead:
        for name, amount in (spec.get("overhead") or {}).items():
            if kind == "requests":
                add(total, {name: amount})
            elif value_of(total.get(name, "0")):
                total[name] = plus(total[name], amount)
    return total


def _given(holder: Object, kind: Kind) -> Amounts:
    return (holder.get("resources") or {}).get(kind) or {}


class _Effective:
    """Amounts of a container that is perhaps being resized."""

    def __init__(self, pod: Object, kind: Kind) -> None:
        status = pod.get("status") or {}
        self._kind = kind
        self._statuses = {
            item.get("name"): item
            for field in ("containerStatuses", "initContainerStatuses")
            for item in status.get(field) or ()
        }
        pending = find_by(status.get("conditions"), "type", "PodResizePending")
        self._infeasible = pending is not None and pending.get("reason") == "Infeasible"

    def of(self, container: Object) -> Amounts:
        given = _given(container, self._kind)
        status = self._statuses.get(container.get("name"))
        if status is None or status.get("resources") is None:
            return given
        # What cannot be had is not counted.
        amounts = {} if self._infeasible else dict(given)
        raise_to(amounts, _given(status, self._kind))
        if self._kind == "requests":
            raise_to(amounts, status.get("allocatedResources") or {})
        return amounts
