"""Pods as the scheduler sees them: what decides where one may go, compiled once for all pods that are alike."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import orjson

from timonel.api.labels import Selector
from timonel.api.objects import Object, find_by, get_path, is_deleting, key_of, labels_of, namespace_of, uid_of
from timonel.api.volumes import claim_names
from timonel.scheduler.core.disks import DISKS, Disk, parse_disks
from timonel.scheduler.core.requests import ASSUMED, CPU, MEMORY, PODS, Amounts, pod_requests
from timonel.scheduler.core.selectors import (
    AffinityTerm,
    NodeRequirement,
    NodeTerm,
    parse_affinity_term,
    parse_node_term,
    parse_selector,
    require_own_labels,
)
from timonel.scheduler.core.taints import Toleration, parse_tolerations

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


class HostPort(NamedTuple):
    ip: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class SpreadConstraint:
    max_skew: int
    topology_key: str
    selector: Selector
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


@dataclass(slots=True, eq=False, weakref_slot=True)
class PodClass:
    """Everything that filters and scores read of a pod: pods of one ReplicaSet have the same."""

    namespace: str
    labels: Mapping[str, str]
    priority: int
    may_preempt: bool
    requests: Amounts
    assumed_cpu: int
    assumed_memory: int
    host_ports: tuple[HostPort, ...]
    tolerations: tuple[Toleration, ...]
    node_selector: NodeTerm | None
    node_affinity: tuple[NodeTerm, ...] | None
    preferred_nodes: tuple[tuple[int, NodeTerm], ...]
    affinity: tuple[AffinityTerm, ...]
    anti_affinity: tuple[AffinityTerm, ...]
    preferred_affinity: tuple[AffinityTerm, ...]
    preferred_anti_affinity: tuple[AffinityTerm, ...]
    spread_required: tuple[SpreadConstraint, ...]
    spread_preferred: tuple[SpreadConstraint, ...]
    has_spread: bool
    images: tuple[str, ...]
    containers: int
    not_built: tuple[str, ...]
    """What the pod asks for that this scheduler cannot honour yet."""
    memo: dict[Any, Any] = field(default_factory=dict)
    """What plugins computed for this class: masks and ratings of all nodes. Forgotten when others are asked about."""

    @property
    def node_names(self) -> frozenset[str] | None:
        """The only nodes its affinity can match, by name; None when it does not say."""
        names: frozenset[str] = frozenset()
        for term in self.node_affinity or ():
            of_term = term.node_names()
            if of_term is None:
                return None
            names |= of_term
        return names if self.node_affinity else None


class DeviceClaim(NamedTuple):
    """An entry of spec.resourceClaims. `claim`: its ResourceClaim; None: not made yet, "": none is needed."""

    name: str
    claim: str | None
    is_generated: bool


@dataclass(slots=True, eq=False)
class Pod:
    """One pod. `node` is where it is or is assumed to be, "" when it waits."""

    key: tuple[str, str]
    uid: str
    node: str
    is_terminating: bool
    klass: PodClass
    claims: tuple[tuple[str, bool], ...] = ()
    """(name, whether it is made for this pod alone) of the claims behind its volumes."""
    disks: tuple[Disk, ...] = ()
    """Disks that it names itself, without a claim."""
    device_claims: tuple[DeviceClaim, ...] = ()


_ATTACHED = frozenset({"persistentVolumeClaim", "ephemeral", *DISKS})
"""Sources of volumes whose place decides where a pod can run."""


_MEMOS = 32
"""Each holds about 100 KB in a cluster of 5 000 nodes."""


class _Memo(dict[Any, Any]):
    """One class's; when something is put into it, it is the newest of `recent`, and the oldest is emptied."""

    __slots__ = ("_recent",)

    def __init__(self, recent: OrderedDict[int, _Memo]) -> None:
        self._recent = recent

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        recent = self._recent
        recent[id(self)] = self
        recent.move_to_end(id(self))
        if len(recent) > _MEMOS:
            recent.popitem(last=False)[1].clear()


class PodClasses:
    """Compiles pods; equal specs give the same class as long as any pod has it."""

    def __init__(self) -> None:
        self._classes: WeakValueDictionary[bytes, PodClass] = WeakValueDictionary()
        self._recent: OrderedDict[int, _Memo] = OrderedDict()

    def pod(self, obj: Object) -> Pod:
        spec = obj.get("spec") or {}
        signature = _signature(obj, spec)
        klass = self._classes.get(signature)
        if klass is None:
            # A copy of the signature, since the buffer that orjson gives is kilobytes long, however little is in it.
            klass = self._classes[bytes(memoryview(signature))] = _compile(obj, spec)
            klass.memo = _Memo(self._recent)
        made = Pod(key_of(obj), uid_of(obj), spec.get("nodeName") or "", is_deleting(obj), klass)
        if any(not _ATTACHED.isdisjoint(volume) for volume in spec.get("volumes") or ()):
            made.claims, made.disks = tuple(claim_names(obj)), tuple(parse_disks(spec))
        if spec.get("resourceClaims"):
            made.device_claims = tuple(_device_claims(obj, spec))
        return made


def _signature(obj: Object, spec: Object) -> bytes:
    # Only what is compiled: names of token volumes and hostnames differ between pods that are alike otherwise.
    return orjson.dumps(
        [
            namespace_of(obj),
            labels_of(obj),
            [spec.get(name) for name in _SPEC_FIELDS],
            [_container_signature(container) for container in spec.get("containers") or ()],
            [_container_signature(container) for container in spec.get("initContainers") or ()],
            [sorted(volume.keys() - {"name"}) for volume in spec.get("volumes") or ()],
            [volume["image"] for volume in spec.get("volumes") or () if volume.get("image")],
        ],
        option=orjson.OPT_SORT_KEYS,
    )


_SPEC_FIELDS = (
    "affinity",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "resources",
    "schedulingGroup",
    "tolerations",
    "topologySpreadConstraints",
    "workloadRef",
)


def _container_signature(container: Object) -> list[Any]:
    return [container.get(name) for name in ("image", "ports", "resources", "restartPolicy")]


def _compile(obj: Object, spec: Object) -> PodClass:
    namespace, labels = namespace_of(obj), dict(labels_of(obj))
    affinity = spec.get("affinity") or {}
    required_nodes = get_path(affinity, "nodeAffinity", _REQUIRED)
    assumed = pod_requests(spec, ASSUMED)
    containers = (spec.get("containers") or []) + (spec.get("initContainers") or [])
    selector = spec.get("nodeSelector")

    def terms(kind: str, when: str) -> tuple[AffinityTerm, ...]:
        found = get_path(affinity, kind, when, default=())
        if when == _REQUIRED:
            return tuple(parse_affinity_term(term, namespace, labels) for term in found)
        return tuple(
            parse_affinity_term(item.get("podAffinityTerm") or {}, namespace, labels, item.get("weight") or 0)
            for item in found
        )

    return PodClass(
        namespace=namespace,
        labels=labels,
        priority=spec.get("priority") or 0,
        may_preempt=spec.get("preemptionPolicy") != "Never",
        requests=pod_requests(spec) | {PODS: 1},
        assumed_cpu=assumed.get(CPU, 0),
        assumed_memory=assumed.get(MEMORY, 0),
        host_ports=_host_ports(spec),
        tolerations=parse_tolerations(spec),
        node_selector=NodeTerm(tuple(NodeRequirement(key, "In", (value,)) for key, value in sorted(selector.items())))
        if selector
        else None,
        node_affinity=None
        if required_nodes is None
        else tuple(parse_node_term(term) for term in required_nodes.get("nodeSelectorTerms") or ()),
        preferred_nodes=tuple(
            (item.get("weight") or 0, parse_node_term(item.get("preference") or {}))
            for item in get_path(affinity, "nodeAffinity", _PREFERRED, default=())
        ),
        affinity=terms("podAffinity", _REQUIRED),
        anti_affinity=terms("podAntiAffinity", _REQUIRED),
        preferred_affinity=terms("podAffinity", _PREFERRED),
        preferred_anti_affinity=terms("podAntiAffinity", _PREFERRED),
        spread_required=_spread(spec, labels, "DoNotSchedule"),
        spread_preferred=_spread(spec, labels, "ScheduleAnyway"),
        has_spread=bool(spec.get("topologySpreadConstraints")),
        images=tuple(
            _full_name(image)
            for image in [container.get("image") or "" for container in containers]
            + [get_path(volume, "image", "reference", default="") for volume in spec.get("volumes") or ()]
            if image
        ),
        containers=len(containers),
        not_built=_not_built(spec),
    )


def _spread(spec: Object, labels: Mapping[str, str], action: str) -> tuple[SpreadConstraint, ...]:
    return tuple(
        SpreadConstraint(
            max_skew=item.get("maxSkew") or 1,
            topology_key=item.get("topologyKey", ""),
            selector=require_own_labels(
                parse_selector(item.get("labelSelector")), item.get("matchLabelKeys") or (), labels, "in"
            ),
            min_domains=item.get("minDomains") or 1,
            honor_affinity=item.get("nodeAffinityPolicy") != "Ignore",
            honor_taints=item.get("nodeTaintsPolicy") == "Honor",
        )
        for item in spec.get("topologySpreadConstraints") or ()
        if item.get("whenUnsatisfiable") == action
    )


def _host_ports(spec: Object) -> tuple[HostPort, ...]:
    """Of containers and of sidecars, which run as long."""
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    return tuple(
        HostPort(port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
        for container in [*(spec.get("containers") or ()), *sidecars]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def _full_name(image: str) -> str:
    """An image without a tag is the one tagged latest."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def _device_claims(obj: Object, spec: Object) -> Iterator[DeviceClaim]:
    statuses = get_path(obj, "status", "resourceClaimStatuses", default=())
    for entry in spec["resourceClaims"]:
        is_generated = bool(entry.get("resourceClaimTemplateName"))
        name = entry.get("resourceClaimName")
        if is_generated:
            status = find_by(statuses, "name", entry["name"])
            name = None if status is None else status.get("resourceClaimName") or ""
        yield DeviceClaim(entry["name"], name, is_generated)


def _not_built(spec: Object) -> tuple[str, ...]:
    found = []
    if spec.get("schedulingGroup") or spec.get("workloadRef"):
        found.append("scheduling of pod groups")
    if any(item.get("operator") in ("Gt", "Lt") for item in spec.get("tolerations") or ()):
        found.append("tolerations with the operators Gt and Lt")
    return tuple(found)
