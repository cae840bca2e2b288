"""QoS classes and what the kernel is told of them. Pure.

Source: kubernetes.io/docs/concepts/workloads/pods/pod-qos, kubernetes.io/docs/concepts/scheduling-eviction/
node-pressure-eviction, "Node out of memory behavior".
"""

from __future__ import annotations

from timonel.api.objects import Object
from timonel.api.quantity import int_value, milli_value
from timonel.kubelet.pods.spec import is_sidecar

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"
_COUNTED = ("cpu", "memory")

GUARANTEED_OOM_SCORE = -997
BEST_EFFORT_OOM_SCORE = 1000


def qos_class(pod: Object) -> str:
    spec = pod["spec"]
    containers = (spec.get("initContainers") or []) + (spec.get("containers") or [])
    pod_level = spec.get("resources") or {}
    sources = [pod_level] if pod_level.get("requests") or pod_level.get("limits") else []
    sources = sources or [container.get("resources") or {} for container in containers]
    anything = False
    guaranteed = True
    for resources in sources:
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in _COUNTED:
            request = milli_value(str(requests[name])) if name in requests else 0
            limit = milli_value(str(limits[name])) if name in limits else 0
            anything |= request > 0 or limit > 0
            guaranteed &= limit > 0 and (name not in requests or request == limit)
    if not anything:
        return BEST_EFFORT
    return GUARANTEED if guaranteed else BURSTABLE


def memory_request(container: Object) -> int:
    value = ((container.get("resources") or {}).get("requests") or {}).get("memory")
    return int_value(str(value)) if value is not None else 0


def oom_score_adjust(pod: Object, container: Object, memory_capacity: int) -> int:
    """A container that asked for more of the node's memory is killed later; never before Guaranteed ones."""
    if pod["spec"].get("priorityClassName") in ("system-node-critical", "system-cluster-critical"):
        return GUARANTEED_OOM_SCORE
    quality = pod.get("status", {}).get("qosClass") or qos_class(pod)
    if quality == GUARANTEED:
        return GUARANTEED_OOM_SCORE
    if quality == BEST_EFFORT:
        return BEST_EFFORT_OOM_SCORE
    score = 1000 - 1000 * memory_request(container) // memory_capacity
    if container in (pod["spec"].get("initContainers") or ()) and is_sidecar(container):
        smallest = min((memory_request(main) for main in pod["spec"].get("containers") or ()), default=0)
        score = min(score, 1000 - 1000 * smallest // memory_capacity)
    return max(1000 + GUARANTEED_OOM_SCORE, min(score, BEST_EFFORT_OOM_SCORE - 1))
