"""Which pod goes first, and what is said to it. Pure.

Pods that use more than they asked for go before others, then those of lower priority, then those furthest above what
they asked for. Source: kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction, "Pod selection for
kubelet eviction".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from timonel.api.objects import Object, name_of, uid_of
from timonel.api.quantity import format_quantity
from timonel.kubelet.containers.resources import amount, pod_total
from timonel.kubelet.eviction.pressure import Observations
from timonel.kubelet.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    IMAGE_BYTES,
    IMAGE_INODES,
    MEMORY,
    NODE_BYTES,
    NODE_INODES,
    PROCESSES,
    Threshold,
)
from timonel.kubelet.eviction.usage import Disk, PodUse

_INODES = (NODE_INODES, IMAGE_INODES)


def priority_of(pod: Object) -> int:
    return int(pod["spec"].get("priority") or 0)


def rank(
    signal: str, pods: Sequence[Object], uses: Mapping[str, PodUse], *, images_apart: bool = False
) -> list[Object]:
    """The first to go first. `uses` by uid; a pod that nothing is known of goes before all others.

    `images_apart`: images and containers' layers are on another file system than everything else.
    """
    measure = _measure(signal, images_apart)
    asked_for = "memory" if signal in (MEMORY, ALLOCATABLE_MEMORY) else "ephemeral-storage"

    def key(pod: Object) -> tuple[bool, bool, int, int]:
        use = uses.get(uid_of(pod))
        if use is None:
            return False, False, 0, 0
        used = measure(use)
        if signal == PROCESSES:
            return True, False, priority_of(pod), -used
        request = pod_total(pod, "requests", asked_for) or 0
        # Nobody asks for inodes, so whoever uses any uses more than asked for.
        above = used > 0 if signal in _INODES else used > request
        return True, not above, priority_of(pod), request - used

    return sorted(pods, key=key)


def _measure(signal: str, images_apart: bool) -> Callable[[PodUse], int]:
    if signal in (MEMORY, ALLOCATABLE_MEMORY):
        return lambda use: use.memory
    if signal == PROCESSES:
        return lambda use: use.processes
    part: Callable[[PodUse], Disk] = lambda use: use.disk  # noqa: E731
    if images_apart and signal in (NODE_BYTES, NODE_INODES):
        part = lambda use: use.logs_and_volumes  # noqa: E731
    elif images_apart and signal in (IMAGE_BYTES, IMAGE_INODES):
        part = lambda use: use.layers  # noqa: E731
    if signal in _INODES:
        return lambda use: part(use).inodes
    return lambda use: part(use).bytes


def _bytes(value: int) -> str:
    return format_quantity(value, like="1Ki")


def eviction_message(
    threshold: Threshold, observations: Observations, pod: Object, use: PodUse | None
) -> tuple[str, dict[str, str]]:
    """Text of event and status, and the event's annotations, as upstream words them."""
    resource = threshold.resource
    spell = _bytes if resource in ("memory", "ephemeral-storage") else lambda value: format_quantity(value)
    message = f"The node was low on resource: {resource}. "
    seen = observations.get(threshold.signal)
    if seen is not None:
        wanted = _bytes(threshold.value.of(seen.capacity)) if threshold.value.share else spell(threshold.value.units)
        message += f"Threshold quantity: {wanted}, available: {spell(seen.available)}. "
    if use is None:
        return message, {}
    annotations = {}
    if resource == "memory" and amount(pod["spec"].get("resources") or {}, "requests", resource):
        told = str(pod["spec"]["resources"]["requests"][resource])
        used = _bytes(use.memory)
        message += f"Pod {name_of(pod)} was using {used}, request is {told}, has larger consumption of {resource}. "
        annotations = {"offending_pod": name_of(pod), "offending_pod_usage": used}
    names, usages = [], []
    for container in (pod["spec"].get("containers") or []) + (pod["spec"].get("initContainers") or []):
        found = use.containers.get(container["name"])
        if found is None or resource not in ("memory", "ephemeral-storage"):
            continue
        used_bytes = found.memory if resource == "memory" else found.layer.bytes + found.logs.bytes
        if used_bytes <= (amount(container.get("resources") or {}, "requests", resource) or 0):
            continue
        told = str(((container.get("resources") or {}).get("requests") or {}).get(resource, "0"))
        message += (
            f"Container {container['name']} was using {_bytes(used_bytes)}, request is {told}, "
            f"has larger consumption of {resource}. "
        )
        names.append(container["name"])
        usages.append(_bytes(used_bytes))
    return message, annotations | {
        "offending_containers": ",".join(names),
        "offending_containers_usage": ",".join(usages),
        "starved_resource": resource,
    }
