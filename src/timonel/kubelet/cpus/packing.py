"""Which CPUs a container gets. Pure.

Whole NUMA nodes and sockets where it asks for as many, then whole cores, then single threads of cores that are in use
already; what is left should be as whole as before. Source: kubernetes.io/docs/tasks/administer-cluster/
cpu-management-policies, "Static policy".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable

from timonel.api.objects import Object
from timonel.api.quantity import milli_value
from timonel.kubelet.cpus.topology import CpuSet, Place, Topology
from timonel.kubelet.pods.qos import GUARANTEED, qos_class
from timonel.kubelet.pods.spec import is_sidecar


class NotEnoughCpus(Exception):
    def __init__(self, requested: int, available: int) -> None:
        super().__init__(f"not enough cpus available to satisfy request: requested={requested}, available={available}")


def _numa(place: Place) -> Hashable:
    return place.numa


def _socket(place: Place) -> Hashable:
    return place.socket


def _core(place: Place) -> Hashable:
    return place.core


def take(topology: Topology, available: CpuSet, count: int) -> CpuSet:
    """Raises NotEnoughCpus."""
    if count > len(available):
        raise NotEnoughCpus(count, len(available))
    taken: set[int] = set()
    sockets = {place.socket for place in topology.values()}
    nodes = {place.numa for place in topology.values()}
    larger_first = (_socket, _numa) if len(nodes) > len(sockets) else (_numa, _socket)
    for group_of in (*larger_first, _core):
        while True:
            left = available - taken
            sizes = Counter(group_of(place) for place in topology.values())
            free = Counter(group_of(topology[cpu]) for cpu in left)
            need = count - len(taken)
            whole = [group for group, size in sizes.items() if free[group] == size <= need]
            if not whole:
                break
            order = _order(topology, left, taken)
            best = min(whole, key=lambda group: min(order(cpu) for cpu in left if group_of(topology[cpu]) == group))
            taken |= {cpu for cpu in left if group_of(topology[cpu]) == best}
    while len(taken) < count:
        left = available - taken
        taken.add(min(left, key=_order(topology, left, taken)))
    return frozenset(taken)


def _order(topology: Topology, left: CpuSet, taken: set[int]) -> Callable[[int], tuple[int, int, int, int]]:
    """Near to what was taken already, then where least is left: of the socket, and of the core."""
    near = Counter(topology[cpu].socket for cpu in taken)
    in_socket = Counter(topology[cpu].socket for cpu in left)
    in_core = Counter(topology[cpu].core for cpu in left)

    def key(cpu: int) -> tuple[int, int, int, int]:
        place = topology[cpu]
        return -near[place.socket], in_socket[place.socket], in_core[place.core], cpu

    return key


def whole_cpus(pod: Object, container: Object) -> int:
    """How many CPUs of its own a container gets; 0: none."""
    if qos_class(pod) != GUARANTEED:
        return 0
    resources = container.get("resources") or {}
    request = (resources.get("requests") or resources.get("limits") or {}).get("cpu")
    milli = milli_value(str(request)) if request is not None else 0
    return 0 if milli % 1000 else milli // 1000


def plan_cpus(pod: Object, topology: Topology, available: CpuSet) -> dict[str, CpuSet]:
    """By container, for those that get CPUs of their own. What an init container had, those after it may have.

    Raises NotEnoughCpus.
    """
    planned: dict[str, CpuSet] = {}
    reusable: CpuSet = frozenset()
    for container in pod["spec"].get("initContainers") or ():
        count = whole_cpus(pod, container)
        if not count:
            continue
        given = _again(topology, reusable, available, count)
        available -= given
        planned[container["name"]] = given
        reusable = reusable - given if is_sidecar(container) else reusable | given
    for container in pod["spec"].get("containers") or ():
        count = whole_cpus(pod, container)
        if count:
            given = _again(topology, reusable, available, count)
            available, reusable = available - given, reusable - given
            planned[container["name"]] = given
    return planned


def _again(topology: Topology, reusable: CpuSet, available: CpuSet, count: int) -> CpuSet:
    """Of what the pod has already, as far as that goes."""
    if count <= len(reusable):
        return take(topology, reusable, count)
    return reusable | take(topology, available - reusable, count - len(reusable))
