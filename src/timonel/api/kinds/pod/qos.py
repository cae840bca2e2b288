"""The quality of service class of a pod.

Source: kubernetes.io/docs/concepts/workloads/pods/pod-qos
"""

from __future__ import annotations

from timonel.api.kinds.resource_lists import quantity_of
from timonel.api.objects import Object

_COMPUTE = ("cpu", "memory")


def qos_class(spec: Object) -> str:
    """Guaranteed when everything is limited to what it requests, BestEffort when nothing is asked, else Burstable.

    Resources given for the pod as a whole count instead of those of its containers.
    """
    if spec.get("resources") is not None:
        holders = [spec]
    else:
        holders = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    asked, guaranteed = False, True
    for holder in holders:
        resources = holder.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in _COMPUTE:
            limit, request = quantity_of(limits.get(name, "0")), quantity_of(requests.get(name, "0"))
            asked = asked or bool(limit) or bool(request)
            guaranteed = guaranteed and bool(limit) and limit == request
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
