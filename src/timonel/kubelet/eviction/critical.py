"""Pods that a node cannot do without, and whom they may push off it. Pure.

Source: kubernetes.io/docs/tasks/administer-cluster/guaranteed-scheduling-critical-addon-pods
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from timonel.api.objects import Object, annotations_of
from timonel.kubelet.containers.resources import pod_total
from timonel.kubelet.eviction.ranking import priority_of
from timonel.kubelet.pods.qos import BEST_EFFORT, BURSTABLE, GUARANTEED, qos_class

SYSTEM_CRITICAL_PRIORITY = 2_000_000_000
MIRROR = "kubernetes.io/config.mirror"
SOURCE = "kubernetes.io/config.source"


def is_static(pod: Object) -> bool:
    """From a file of the node, or the API's image of such a pod."""
    annotations = annotations_of(pod)
    return MIRROR in annotations or annotations.get(SOURCE, "api") != "api"


def is_critical(pod: Object) -> bool:
    return is_static(pod) or priority_of(pod) >= SYSTEM_CRITICAL_PRIORITY


def may_preempt(pod: Object, other: Object) -> bool:
    return (is_critical(pod) and not is_critical(other)) or priority_of(pod) > priority_of(other)


def plan_preemption(
    pod: Object, others: Sequence[Object], missing: Mapping[str, int], *, leaving: Sequence[Object] = ()
) -> list[Object] | None:
    """Whom the pod pushes off: the least Quality of Service first, then as few and as small as can be.

    `missing`: what more the node would need, CPU in thousandths of a core; `leaving` are ending already.
    None: all of them would not be enough.
    """
    missing = _without(missing, leaving)
    candidates = [other for other in others if may_preempt(pod, other)]
    by_class = {
        quality: [other for other in candidates if qos_class(other) == quality]
        for quality in (BEST_EFFORT, BURSTABLE, GUARANTEED)
    }
    if _without(missing, candidates):
        return None
    # Of the better classes only who is needed even when all of the lesser ones go.
    guaranteed = _nearest(by_class[GUARANTEED], _without(missing, by_class[BEST_EFFORT] + by_class[BURSTABLE]))
    burstable = _nearest(by_class[BURSTABLE], _without(missing, by_class[BEST_EFFORT] + guaranteed))
    best_effort = _nearest(by_class[BEST_EFFORT], _without(missing, burstable + guaranteed))
    return best_effort + burstable + guaranteed


def _request(pod: Object, name: str) -> int:
    return 1 if name == "pods" else pod_total(pod, "requests", name) or 0


def _without(missing: Mapping[str, int], pods: Sequence[Object]) -> dict[str, int]:
    """What is still missing when these pods are gone."""
    left = {name: wanted - sum(_request(pod, name) for pod in pods) for name, wanted in missing.items()}
    return {name: wanted for name, wanted in left.items() if wanted > 0}


def _nearest(pods: Sequence[Object], missing: dict[str, int]) -> list[Object]:
    """Those whose requests come nearest to what is missing, one after the other; the smaller one of equals."""
    left = list(pods)
    chosen = []
    while missing and left:
        wanted = missing

        def key(pod: Object, wanted: dict[str, int] = wanted) -> tuple[float, int, int]:
            rest = ((amount - _request(pod, name), amount) for name, amount in wanted.items())
            distance = sum((short / amount) ** 2 for short, amount in rest if short > 0)
            return distance, _request(pod, "memory"), _request(pod, "cpu")

        best = min(left, key=key)
        left.remove(best)
        chosen.append(best)
        missing = _without(missing, [best])
    return chosen
