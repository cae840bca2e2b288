"""Why a pod goes where it goes or nowhere, node by node, and what would have to change so that it fits.

Every filter is asked about every node, so a node that two of them refuse shows both; its first failing check is the
one that counts in the pod's events. Opens nothing, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from timonel.scheduler.core.cluster import Cluster
from timonel.scheduler.core.framework import Attempt, Filter, PluginFailed
from timonel.scheduler.core.plugins.interpod_affinity import InterPodAffinity
from timonel.scheduler.core.plugins.node_affinity import NodeAffinity
from timonel.scheduler.core.plugins.node_ports import NodePorts
from timonel.scheduler.core.plugins.node_resources import NodeResourcesFit
from timonel.scheduler.core.plugins.node_unschedulable import NodeUnschedulable
from timonel.scheduler.core.plugins.taint_toleration import TaintToleration
from timonel.scheduler.core.plugins.topology_spread import PodTopologySpread
from timonel.scheduler.core.profile import Profile
from timonel.scheduler.core.requests import CPU, EPHEMERAL_STORAGE, MEMORY, PODS
from timonel.scheduler.core.schedule import NoFit, find_nodes, refusals_of
from timonel.scheduler.core.selectors import NodeRequirement, NodeTerm
from timonel.scheduler.core.taints import HARD_EFFECTS

EXPECTED = "room is kept there for pods that others were evicted for"
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that would have to be otherwise. `distance` compares steps: 1 is a label, a taint or the like."""

    kind: str
    """One of those that `scheduler/debugging.py` lists."""
    text: str
    detail: dict[str, object] = field(default_factory=dict)
    distance: float = 1.0


@dataclass(frozen=True, slots=True)
class NodeCheck:
    """`plugin` is the first that refuses the node, `reasons` what it says; "" where the pod fits."""

    node: str
    plugin: str = ""
    reasons: tuple[str, ...] = ()
    may_preempt: bool = False
    """Evicting pods could help."""
    steps: tuple[Step, ...] = ()
    """All that stands between the pod and the node, of every plugin."""

    @property
    def fits(self) -> bool:
        return not self.plugin

    @property
    def distance(self) -> float:
        """Fewer steps first, then smaller ones; what nobody can say how to change comes last."""
        return sum(10 + each.distance for each in self.steps) + 1000 * any(each.kind == "other" for each in self.steps)

    @property
    def text(self) -> str:
        return f"node {self.node} would fit with {' and '.join(each.text for each in self.steps)}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`decision` is None when some node will do; `failures` are plugins that could not answer."""

    checks: tuple[NodeCheck, ...]
    decision: NoFit | None
    failures: tuple[str, ...] = ()

    @property
    def feasible(self) -> int:
        return sum(each.fits for each in self.checks)

    def nearest(self, count: int) -> list[NodeCheck]:
        """Nodes that need the least to fit; none when some fit as they are."""
        if self.feasible:
            return []
        return sorted((each for each in self.checks if each.steps), key=lambda each: (each.distance, each.node))[:count]


@dataclass(slots=True)
class _Finding:
    plugin: Filter
    reasons: list[str]
    resolvable: bool


def diagnose(cluster: Cluster, attempt: Attempt, profile: Profile) -> Diagnosis:
    """Costs about as much as deciding, and for each refused node some microseconds."""
    found: dict[int, list[_Finding]] = {}
    failures = []
    for plugin in profile.filters:
        try:
            refusals = refusals_of(plugin, cluster, attempt)
        except PluginFailed as exc:
            failures.append(str(exc))
            continue
        for refusal in refusals:
            resolvable = np.broadcast_to(np.asarray(refusal.resolvable), refusal.mask.shape)
            for slot in np.flatnonzero(refusal.mask & cluster.nodes.alive):
                of_slot = found.setdefault(int(slot), [])
                if not of_slot or of_slot[-1].plugin is not plugin:
                    of_slot.append(_Finding(plugin, [], True))
                of_slot[-1].reasons.append(refusal.reason)
                of_slot[-1].resolvable &= bool(resolvable[slot])
    feasible, decision = _feasible(cluster, attempt, profile, failures)
    explained = _Steps(cluster, attempt, profile)
    checks = []
    for slot in np.flatnonzero(cluster.nodes.alive):
        name, findings = cluster.nodes.names[slot], found.get(int(slot), [])
        if findings:
            first = findings[0]
            steps = tuple(step for each in findings for step in explained.of(each, int(slot)))
            checks.append(NodeCheck(name, first.plugin.name, tuple(first.reasons), first.resolvable, steps))
        elif not failures and int(slot) not in feasible:
            checks.append(_refused_otherwise(attempt, name, decision))
        else:
            checks.append(NodeCheck(name))
    return Diagnosis(tuple(checks), decision, tuple(failures))


def _feasible(
    cluster: Cluster, attempt: Attempt, profile: Profile, failures: list[str]
) -> tuple[frozenset[int], NoFit | None]:
    if failures:
        return frozenset(), None
    try:
        decision = find_nodes(cluster, attempt, profile)
    except PluginFailed as exc:
        failures.append(str(exc))
        return frozenset(), None
    if isinstance(decision, NoFit):
        return frozenset(), decision
    return frozenset(int(slot) for slot in decision), None


def _refused_otherwise(attempt: Attempt, name: str, decision: NoFit | None) -> NodeCheck:
    """No filter minds the node: room is kept there, or the pod can go nowhere for a reason of its own."""
    if attempt.expected.get(name):
        return NodeCheck(name, "DefaultPreemption", (EXPECTED,), False, (Step("other", f"less on it: {EXPECTED}"),))
    plugin = min(decision.plugins, default="") if decision else ""
    why = decision.message.partition(": ")[2] if decision else ""
    return NodeCheck(name, plugin or "preFilter", (why,), False, (Step("other", why),))


class _Steps:
    """What would have to be otherwise about a node that a plugin refuses."""

    def __init__(self, cluster: Cluster, attempt: Attempt, profile: Profile) -> None:
        self._cluster, self._attempt = cluster, attempt
        self._klass = attempt.pod.klass
        self._skews = [
            each
            for plugin in profile.filters
            if isinstance(plugin, PodTopologySpread)
            for each in plugin.skews(cluster, attempt)
        ]

    def of(self, finding: _Finding, slot: int) -> Iterator[Step]:
        match finding.plugin:
            case NodeResourcesFit():
                yield from self._resources(finding.plugin, slot)
            case NodeUnschedulable():
                yield Step("uncordon", "the node uncordoned")
            case TaintToleration():
                yield from self._taints(slot)
            case NodeAffinity():
                yield from self._labels(finding.plugin, slot)
            case NodePorts():
                yield from self._ports(slot)
            case PodTopologySpread():
                yield from self._spread(slot)
            case InterPodAffinity():
                yield from self._affinity(finding.reasons)
            case _:
                yield from (Step("other", f"{finding.plugin.name} satisfied: {why}") for why in finding.reasons)

    def _resources(self, plugin: NodeResourcesFit, slot: int) -> Iterator[Step]:
        nodes = self._cluster.nodes
        for name, amount in plugin.checked(self._attempt).items():
            row = nodes.rows.get(name)
            total, used = (
                (0, 0) if row is None else (int(nodes.allocatable[row, slot]), int(nodes.requested[row, slot]))
            )
            missing = amount - (total - used)
            if missing <= 0:
                continue
            detail: dict[str, object] = {
                "resource": name, "missing": missing, "requested": amount, "allocatable": total, "used": used,
            }  # fmt: skip
            if name == PODS:
                yield Step("requestLess", "one pod less on it", detail)
            else:
                text = f"{format_amount(name, missing)} {name} less requested"
                yield Step("requestLess", text, detail, missing / amount)

    def _taints(self, slot: int) -> Iterator[Step]:
        for taint in self._cluster.nodes.taints_of(slot):
            if taint.effect in HARD_EFFECTS and not any(each.tolerates(taint) for each in self._klass.tolerations):
                shown = f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"
                detail: dict[str, object] = {"key": taint.key, "value": taint.value, "effect": taint.effect}
                yield Step("removeTaint", f"taint {shown} removed or tolerated", detail)

    def _labels(self, plugin: NodeAffinity, slot: int) -> Iterator[Step]:
        if self._klass.node_selector is not None:
            yield from self._unmet(self._klass.node_selector, slot)
        for terms in (self._klass.node_affinity, plugin.added.required):
            if terms is not None:
                # Any of the terms will do: the one that lacks the least.
                ways = [list(self._unmet(term, slot)) for term in terms if term.requirements]
                yield from min(ways, key=len, default=[Step("other", "a node affinity that some node can have")])

    def _unmet(self, term: NodeTerm, slot: int) -> Iterator[Step]:
        for requirement in term.requirements:
            if not requirement.mask(self._cluster.nodes)[slot]:
                yield _of_requirement(requirement, self._cluster.nodes.labels(slot).get(requirement.key))

    def _ports(self, slot: int) -> Iterator[Step]:
        for port in self._klass.host_ports:
            if slot in self._cluster.port_conflicts(port):
                detail: dict[str, object] = {"protocol": port.protocol, "port": port.port, "address": port.ip}
                yield Step("freePort", f"host port {port.port}/{port.protocol} free", detail)

    def _spread(self, slot: int) -> Iterator[Step]:
        for constraint, has_label, skew in self._skews:
            key = constraint.topology_key
            detail: dict[str, object] = {"topologyKey": key, "maxSkew": constraint.max_skew}
            if not has_label[slot]:
                yield Step("addLabel", f"label {key}", {"key": key, "operator": "Exists", "values": []})
            elif skew[slot] > constraint.max_skew:
                needed = int(skew[slot])
                text = f"maxSkew {needed} instead of {constraint.max_skew} over {key}"
                yield Step("maxSkew", text, detail | {"needed": needed}, 1 + needed - constraint.max_skew)

    def _affinity(self, reasons: Sequence[str]) -> Iterator[Step]:
        for reason in reasons:
            if "existing pods" in reason:
                yield Step("podAntiAffinity", "those pods gone whose anti-affinity keeps it away")
            elif "anti-affinity" in reason:
                yield Step("podAntiAffinity", "those pods gone that its anti-affinity avoids")
            else:
                yield Step("podAffinity", "pods in its domain that its affinity asks for")


def _of_requirement(requirement: NodeRequirement, label: str | None) -> Step:
    detail: dict[str, object] = {
        "key": requirement.key, "operator": requirement.operator, "values": list(requirement.values), "label": label,
    }  # fmt: skip
    values = " or ".join(requirement.values)
    if requirement.is_field:
        return Step("otherNode", f"the name {values}", detail, 5)
    match requirement.operator:
        case "In":
            text = f"label {requirement.key}={values}" + (f" instead of {label}" if label is not None else "")
        case "NotIn" | "DoesNotExist":
            text = f"label {requirement.key}={label} removed"
        case "Gt" | "Lt":
            sign = ">" if requirement.operator == "Gt" else "<"
            text = f"label {requirement.key} {sign} {values}" + (f" instead of {label}" if label is not None else "")
        case _:
            text = f"label {requirement.key}"
    return Step("addLabel", text, detail)


def format_amount(resource: str, amount: int) -> str:
    """As people write it, rounded up: 300 of cpu is "300m", 200 000 000 bytes of memory are "191Mi"."""
    if resource == CPU:
        return str(amount // 1000) if amount % 1000 == 0 else f"{amount}m"
    if resource in (MEMORY, EPHEMERAL_STORAGE) or resource.startswith("hugepages-"):
        return f"{-(-amount // _MIB)}Mi" if amount >= _MIB else f"{-(-amount // 1024)}Ki"
    return str(amount)
