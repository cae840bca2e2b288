"""What a pod asks of a node, from its spec.

Source: kubernetes.io/docs/concepts/configuration/manage-resources-containers, .../workloads/pods/init-containers
("Resource sharing within containers"), .../pods/sidecar-containers, .../scheduling-eviction/pod-overhead,
.../tasks/configure-pod-container/assign-pod-level-resources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from timonel.api.objects import Object
from timonel.api.quantity import int_value, milli_value

Amounts = dict[str, int]
"""Per resource name: cpu in thousandths of a core, everything else in its base unit."""

_LARGEST = 2**55
"""More is taken for this much, so that sums over the pods of a node stay within 64 bits."""

CPU = "cpu"
MEMORY = "memory"
EPHEMERAL_STORAGE = "ephemeral-storage"
PODS = "pods"

ASSUMED: Mapping[str, int] = {CPU: 100, MEMORY: 200 * 1024 * 1024}
"""What scoring assumes of a container that asks for nothing, so that many such pods do not pile up on one node."""


def parse_amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    """Amounts of a ResourceList; what is finer than a unit is rounded up."""
    return {
        name: min(milli_value(str(quantity)) if name == CPU else int_value(str(quantity)), _LARGEST)
        for name, quantity in (quantities or {}).items()
    }


def pod_requests(spec: Object, assumed: Mapping[str, int] | None = None) -> Amounts:
    """The largest amounts the pod needs at any one time; `assumed` stands in for requests that a container lacks.

    Containers run side by side and are summed. Init containers run one after the other, each beside the sidecars
    (restartPolicy Always) started before it. Requests of the whole pod replace the containers' sum, for the resources
    they may name. Overhead comes on top.
    """
    total = _sum(_requests_of(container, assumed) for container in spec.get("containers") or ())
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        requests = _requests_of(container, assumed)
        if container.get("restartPolicy") == "Always":
            _add(total, requests)
            _add(sidecars, requests)
            step = sidecars
        else:
            step = _sum((requests, sidecars))
        for name, amount in step.items():
            peak[name] = max(peak.get(name, 0), amount)
    for name, amount in peak.items():
        total[name] = max(total.get(name, 0), amount)
    pod_level = (spec.get("resources") or {}).get("requests")
    for name, amount in parse_amounts(pod_level).items():
        if name in (CPU, MEMORY) or name.startswith("hugepages-"):
            total[name] = amount
    _add(total, parse_amounts(spec.get("overhead")))
    return {name: min(amount, _LARGEST) for name, amount in total.items()}


def _requests_of(container: Object, assumed: Mapping[str, int] | None) -> Amounts:
    requests = parse_amounts((container.get("resources") or {}).get("requests"))
    for name, amount in (assumed or {}).items():
        requests.setdefault(name, amount)
    return requests


def _add(total: Amounts, amounts: Mapping[str, int]) -> None:
    for name, amount in amounts.items():
        total[name] = total.get(name, 0) + amount


def _sum(parts: Iterable[Mapping[str, int]]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        _add(total, part)
    return total
