"""Which CPU and memory each pod of this node was granted, and which resize has to wait for room. Opens nothing.

A pod may ask for other amounts while it runs (its `resize` subresource). They are granted when they fit beside what the
other pods were granted; until then the pod goes on with what it has, and its PodResizePending condition says why. What
was granted is not kept on disk: after a restart it is what the pod's status says its containers run with.

Source: kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources, KEP-1287.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from timonel.api.clock import Clock
from timonel.api.objects import Object, uid_of
from timonel.api.quantity import int_value, milli_value
from timonel.kubelet.containers.resources import differs, pod_total
from timonel.kubelet.pods.conditions import RESIZE_IN_PROGRESS, RESIZE_PENDING, condition
from timonel.kubelet.pods.qos import GUARANTEED, qos_class
from timonel.kubelet.pods.spec import Kind, container_status, containers_of

_RESIZED = ("cpu", "memory")
_OF_POD = ""
"""Stands for the pod as a whole among its containers' names. Source: KEP-5419, pod-level resources that are resized."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What the node does not have for a pod; CPU in thousandths of a core, everything else in whole units."""

    resource: str
    requested: int
    used: int
    capacity: int

    @property
    def reason(self) -> str:
        return f"OutOf{self.resource}"

    def __str__(self) -> str:
        return (
            f"Node didn't have enough resource: {self.resource}, requested: {self.requested}, used: {self.used}, "
            f"capacity: {self.capacity}"
        )


def is_resizable(kind: Kind) -> bool:
    return kind in (Kind.MAIN, Kind.SIDECAR)


def same_amounts(one: Object, other: Object) -> bool:
    """Whether two containers' resources ask for the same CPU and memory, however it is spelled."""
    return not any(differs(one, other, name) for name in _RESIZED)


def _was_granted(wanted: Object, status: Object) -> bool:
    """Whether a container's status says that it was granted what it asks for, be it carried out or not."""
    allocated = status.get("allocatedResources")
    return allocated is not None and same_amounts({"requests": wanted.get("requests")}, {"requests": allocated})


def granted_pod(pod: Object, granted: Mapping[str, Object]) -> Object:
    """The pod with what it and its containers were granted instead of what they ask for; the same object if equal."""
    level = pod["spec"].get("resources") or {}
    level_differs = not same_amounts(level, granted.get(_OF_POD, level))
    changed = {
        container["name"]
        for kind, container in containers_of(pod)
        if is_resizable(kind) and not same_amounts(container.get("resources") or {}, granted[container["name"]])
    }
    if not changed and not level_differs:
        return pod
    spec = dict(pod["spec"])
    if level_differs:
        spec["resources"] = granted[_OF_POD]
    for name in ("initContainers", "containers"):
        if name in spec:
            spec[name] = [
                {**container, "resources": granted[container["name"]]} if container["name"] in changed else container
                for container in spec[name]
            ]
    return {**pod, "spec": spec}


def resize_message(what: str, pod: Object, error: str = "") -> str:
    """Text of an event about a resize: the amounts asked for, as JSON."""
    told: Object = {}
    for name in ("initContainers", "containers"):
        listed = [{"name": c["name"], "resources": c.get("resources") or {}} for c in pod["spec"].get(name) or ()]
        if listed:
            told[name] = listed
    told["generation"] = pod["metadata"].get("generation") or 0
    if error:
        told["error"] = error
    return f"Pod resize {what}: {orjson.dumps(told).decode()}"


@dataclass(slots=True)
class _Grant:
    pod: Object
    """As it is in the API."""
    resources: dict[str, Object]
    """By container."""
    effective: Object
    requests: dict[str, int]
    pending: str = ""
    """Why what the pod asks for is not granted."""
    pending_since: float = 0.0
    pending_generation: int = 0
    is_kept: bool = False
    """From before a restart, and not looked at since: others may not be known yet."""
    in_progress: int | None = None
    """Generation of the resize that is being carried out."""
    error: str = ""

    @property
    def increases(self) -> bool:
        return any((pod_total(self.pod, "requests", name) or 0) > self.requests.get(name, 0) for name in _RESIZED)

    @property
    def rank(self) -> tuple[bool, int, bool, float]:
        """Who is granted first: what frees something, then by priority, QoS class and how long it has waited."""
        priority = self.pod["spec"].get("priority") or 0
        return self.increases, -priority, qos_class(self.pod) != GUARANTEED, self.pending_since


@dataclass(slots=True)
class Allocations:
    """`capacity`: the node's allocatable, as quantities. `wake` is called for a pod whose grant has changed."""

    capacity: Mapping[str, str]
    clock: Clock
    tell: Callable[[Object, str, str, str], None]
    """pod, type, reason, message of an event"""
    wake: Callable[[str], None]
    _grants: dict[str, _Grant] = field(default_factory=dict)

    def admit(self, pod: Object) -> Shortfall | None:
        """Grants a new pod what it asks for, or tells what is missing. May be called again and again."""
        grant = self._grants.get(uid_of(pod))
        if grant is not None:
            if grant.is_kept:
                grant.is_kept = False
                self.observe(pod)
            return None
        missing = self._missing(pod, uid_of(pod))
        if missing is None:
            wanted = {c["name"]: c.get("resources") or {} for _, c in containers_of(pod)}
            self._grant(pod, wanted | {_OF_POD: pod["spec"].get("resources") or {}})
        return missing

    def keep(self, pod: Object) -> None:
        """Of a pod that ran already when the kubelet came: what its status tells.

        What it asks for beyond that is looked at by `admit`, which must not be called before all such pods are kept.
        """
        status = pod.get("status") or {}
        granted = {}
        is_under_way = False
        for kind, container in containers_of(pod):
            wanted = container.get("resources") or {}
            known = container_status(status, container["name"]) or {}
            given = known.get("resources") if is_resizable(kind) and known.get("containerID") else None
            if given is not None and not same_amounts(given, wanted) and _was_granted(wanted, known):
                given, is_under_way = wanted, True
            granted[container["name"]] = wanted if given is None else given
        granted[_OF_POD] = status.get("resources") or pod["spec"].get("resources") or {}
        grant = self._grant(pod, granted)
        grant.is_kept = True
        if is_under_way:
            grant.in_progress = pod["metadata"].get("generation") or 0

    def observe(self, pod: Object) -> None:
        """The API's newest copy of a pod: grants a resize, or has it wait."""
        grant = self._grants.get(uid_of(pod))
        if grant is None:
            return
        before, grant.pod = grant.pod, pod
        if before["spec"] == pod["spec"] and grant.effective is before:
            grant.effective = pod
            return
        grant.effective = granted_pod(pod, grant.resources)
        if grant.effective is pod:
            grant.pending = ""
        elif not grant.is_kept:
            self._consider(grant)

    def release(self, uid: str) -> None:
        """The pod has ended: others may have what it had."""
        if self._grants.pop(uid, None) is not None:
            self._reconsider()

    def effective(self, pod: Object) -> Object:
        """The pod as it may run."""
        grant = self._grants.get(uid_of(pod))
        if grant is None:
            return pod
        return grant.effective if grant.pod is pod else granted_pod(pod, grant.resources)

    def in_progress(self, uid: str) -> bool:
        grant = self._grants.get(uid)
        return grant is not None and grant.in_progress is not None

    def finish(self, uid: str) -> None:
        """What was granted is what the containers run with."""
        grant = self._grants[uid]
        grant.in_progress, grant.error = None, ""
        self.tell(grant.effective, "Normal", "ResizeCompleted", resize_message("completed", grant.effective))

    def fail(self, uid: str, error: str) -> None:
        grant = self._grants[uid]
        if grant.error != error:
            grant.error = error
            self.tell(grant.pod, "Warning", "ResizeError", resize_message("error", grant.effective, error))

    def conditions(self, uid: str) -> list[Object]:
        grant = self._grants.get(uid)
        if grant is None:
            return []
        made = []
        if grant.pending:
            pending = condition(RESIZE_PENDING, True, "Deferred", grant.pending)
            made.append({**pending, "observedGeneration": grant.pending_generation})
        if grant.in_progress is not None:
            error = ("Error", grant.error) if grant.error else ("", "")
            made.append({**condition(RESIZE_IN_PROGRESS, True, *error), "observedGeneration": grant.in_progress})
        return made

    def _grant(self, pod: Object, resources: dict[str, Object]) -> _Grant:
        effective = granted_pod(pod, resources)
        made = self._grants[uid_of(pod)] = _Grant(pod, resources, effective, self._requests(effective))
        return made

    def _requests(self, pod: Object) -> dict[str, int]:
        asked = {name: pod_total(pod, "requests", name) or 0 for name in self.capacity if name != "pods"}
        return asked | {"pods": 1}

    def shortfalls(self, pod: Object) -> list[Shortfall]:
        """All that the node does not have for a new pod."""
        return list(self._lacking(pod, uid_of(pod)))

    def _missing(self, pod: Object, uid: str, names: Iterable[str] = ()) -> Shortfall | None:
        return next(self._lacking(pod, uid, names), None)

    def _lacking(self, pod: Object, uid: str, names: Iterable[str] = ()) -> Iterator[Shortfall]:
        requests = self._requests(pod)
        for name in names or self.capacity:
            text = str(self.capacity[name])
            capacity = milli_value(text) if name == "cpu" else int_value(text)
            wanted = requests[name]
            used = sum(grant.requests[name] for other, grant in self._grants.items() if other != uid)
            if wanted and used + wanted > capacity:
                yield Shortfall(name, wanted, used, capacity)

    def _consider(self, grant: _Grant) -> None:
        pod, uid = grant.pod, uid_of(grant.pod)
        generation = pod["metadata"].get("generation") or 0
        missing = self._missing(pod, uid, _RESIZED)
        if missing is not None:
            told = (grant.pending, grant.pending_generation)
            if not grant.pending:
                grant.pending_since = self.clock.monotonic()
            grant.pending, grant.pending_generation = str(missing), generation
            if told != (grant.pending, generation):
                self.tell(pod, "Warning", "ResizeDeferred", resize_message("Deferred", pod, grant.pending))
                self.wake(uid)
            return
        frees = not grant.increases
        grant.resources |= {c["name"]: c.get("resources") or {} for k, c in containers_of(pod) if is_resizable(k)}
        grant.resources[_OF_POD] = pod["spec"].get("resources") or {}
        grant.effective, grant.requests = pod, self._requests(pod)
        grant.pending, grant.error, grant.in_progress = "", "", generation
        self.tell(pod, "Normal", "ResizeStarted", resize_message("started", pod))
        self.wake(uid)
        if frees:
            self._reconsider()

    def _reconsider(self) -> None:
        for grant in sorted((grant for grant in self._grants.values() if grant.pending), key=lambda g: g.rank):
            if grant.pending:
                self._consider(grant)
