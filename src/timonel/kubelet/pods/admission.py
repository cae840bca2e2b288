"""Which pods this node takes. The scheduler has decided already, but of what it knew; and some pods never met it.

Source: kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction; reasons and messages are upstream's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from timonel.api.objects import Object, get_path, labels_of, uid_of
from timonel.api.placement import matches_node, tolerates, untolerated_taint
from timonel.kubelet.containers.security import forbidden_sysctls
from timonel.kubelet.cpus.manager import Cpus
from timonel.kubelet.devices.manager import Devices
from timonel.kubelet.eviction.critical import is_critical, is_static
from timonel.kubelet.pods.allocation import Allocations, Shortfall
from timonel.kubelet.pods.host_ports import HostPorts
from timonel.kubelet.pods.qos import BEST_EFFORT, qos_class

_MEMORY_TAINT = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: room is being made."""

    seconds: float


def refused_by_pressure(pod: Object, conditions: Collection[str]) -> Refusal | None:
    """`conditions` of the node that are true now. Under pressure of memory alone, pods that asked for some may come."""
    if not conditions or is_critical(pod):
        return None
    if set(conditions) == {"MemoryPressure"}:
        tolerations = pod["spec"].get("tolerations") or ()
        if qos_class(pod) != BEST_EFFORT or any(tolerates(each, _MEMORY_TAINT) for each in tolerations):
            return None
    return Refusal("Evicted", f"The node had condition: [{' '.join(sorted(conditions))}]. ")


def refused_by_system(pod: Object, node: Object) -> Refusal | None:
    """What no room on the node would change."""
    spec = pod["spec"]
    wanted = (spec.get("nodeSelector") or {}).get("kubernetes.io/os")
    if wanted is not None and wanted != labels_of(node).get("kubernetes.io/os", "linux"):
        message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
        return Refusal("PodOSSelectorNodeLabelDoesNotMatch", message)
    if get_path(spec, "os", "name", default="linux") != "linux":
        return Refusal("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    strict = get_path(spec, "securityContext", "supplementalGroupsPolicy") == "Strict"
    if strict and not get_path(node, "status", "features", "supplementalGroupsPolicy"):
        message = "SupplementalGroupsPolicy=Strict is not supported in this node"
        return Refusal("SupplementalGroupsPolicyNotSupported", message)
    return None


def refused_by_placement(pod: Object, node: Object) -> Refusal | None:
    if not matches_node(pod["spec"], node):
        return _predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    tolerations = pod["spec"].get("tolerations") or ()
    if not is_static(pod) and untolerated_taint(node, tolerations, ("NoExecute",)) is not None:
        return _predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    return None


def _predicate(name: str, why: str) -> Refusal:
    return Refusal(name, f"Predicate {name} failed: {why}")


Preempt = Callable[[Object, Sequence[Shortfall]], bool]


@dataclass(slots=True)
class PodAdmission:
    """`check` a pod until it is taken or refused; a pod that is taken holds its ports and its share of the node."""

    allowed_unsafe_sysctls: tuple[str, ...]
    host_ports: HostPorts
    allocations: Allocations
    cpus: Cpus
    devices: Devices
    node: Callable[[], Object | None]
    """As the API has it; None: not known."""
    pressure: Callable[[], Collection[str]]
    preempt: Preempt
    """Has others end that are in the way of a critical pod; False: that would not be enough."""

    def check(self, pod: Object, *, is_new: bool) -> Refusal | Wait | None:
        """`is_new`: it has not been taken before, by this agent or by an earlier one. None: it may run."""
        if is_new:
            refusal = self._refused(pod)
            if refusal is not None:
                return refusal
        forbidden = forbidden_sysctls(pod, self.allowed_unsafe_sysctls)
        if forbidden:
            names = ", ".join(f'"{name}"' for name in forbidden)
            return Refusal("SysctlForbidden", f"forbidden sysctl: {names} not allowlisted")
        if not self.host_ports.take(pod):
            return _predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
        missing = self.allocations.admit(pod)
        if missing is None:
            # As its last step, since what one manager gave another one's refusal would have to take back.
            why = self.devices.admit(pod) or self.cpus.admit(pod)
            if why and not is_new:
                return None  # it runs already: what it cannot get any more its containers do without, or wait for
            if why:
                self.devices.release(uid_of(pod))
            unexpected = f"Allocate failed due to {why}, which is unexpected"
            return Refusal("UnexpectedAdmissionError", unexpected) if why else None
        if not is_critical(pod):
            return Refusal(missing.reason, str(missing))
        shortfalls = self.allocations.shortfalls(pod)
        if self.preempt(pod, shortfalls):
            return Wait(0.2)
        listed = ", ".join(
            f"(res: {each.resource}, q: {each.used + each.requested - each.capacity})" for each in shortfalls
        )
        return Refusal(
            "UnexpectedAdmissionError",
            "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of "
            f"pods to preempt: no set of running pods found to reclaim resources: [{listed}, ]",
        )

    def _refused(self, pod: Object) -> Refusal | None:
        refusal = refused_by_pressure(pod, self.pressure())
        node = self.node()
        if refusal is None and node is not None:
            refusal = refused_by_system(pod, node) or refused_by_placement(pod, node)
        return refusal
