"""What is behind the fake client: objects with their history, and what an API server does to them when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from timonel.api import refs
from timonel.api.clock import Clock, format_time
from timonel.api.errors import ApiError, conflict, not_found
from timonel.api.labels import selector_from_map, selector_from_object
from timonel.api.objects import Object, ObjectKey, copy_object, get_path, key_of, name_of, namespace_of
from timonel.api.refs import ResourceRef
from timonel.testing.clock import VirtualClock

SERVED: tuple[ResourceRef, ...] = tuple(
    ref
    for ref in vars(refs).values()
    if isinstance(ref, ResourceRef) and not ref.plural.endswith("reviews") and ref.plural != "bindings"
)
WITH_GENERATION = {
    refs.CRON_JOBS, refs.CUSTOM_RESOURCE_DEFINITIONS, refs.DAEMON_SETS, refs.DEPLOYMENTS, refs.DEVICE_CLASSES,
    refs.FLOW_SCHEMAS, refs.INGRESSES, refs.INGRESS_CLASSES, refs.JOBS, refs.NETWORK_POLICIES,
    refs.POD_DISRUPTION_BUDGETS, refs.PRIORITY_LEVEL_CONFIGURATIONS, refs.REPLICA_SETS, refs.REPLICATION_CONTROLLERS,
    refs.RESOURCE_SLICES, refs.STATEFUL_SETS, refs.VALIDATING_ADMISSION_POLICIES,
}  # fmt: skip
WITH_STATUS = WITH_GENERATION | {
    refs.API_SERVICES, refs.CERTIFICATE_SIGNING_REQUESTS, refs.HORIZONTAL_POD_AUTOSCALERS, refs.NAMESPACES, refs.NODES,
    refs.PERSISTENT_VOLUMES, refs.PERSISTENT_VOLUME_CLAIMS, refs.PODS, refs.RESOURCE_CLAIMS, refs.RESOURCE_QUOTAS,
    refs.SERVICES, refs.SERVICE_CIDRS, refs.VOLUME_ATTACHMENTS,
}  # fmt: skip
WITH_SCALE = (refs.DEPLOYMENTS, refs.REPLICA_SETS, refs.REPLICATION_CONTROLLERS, refs.STATEFUL_SETS)
_SUBRESOURCE_FIELDS = {"approval": ("status",), "status": ("status",), "finalize": ("spec",), "scale": ()}


@dataclass(frozen=True, slots=True)
class Write:
    """One accepted change. `object` is what was stored afterwards, or last, of a deletion."""

    verb: str
    """create, update, patch, delete"""
    ref: ResourceRef
    key: ObjectKey
    subresource: str
    object: Object
    body: Any


@dataclass(slots=True)
class Change:
    revision: int
    new: Object | None
    old: Object | None


@dataclass(slots=True)
class Kind:
    objects: dict[ObjectKey, Object] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    compacted: int = 0

    def wake(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()


class FakeStore:
    """`writes` records every accepted change in order; what `add`, `change` and `remove` do is not among them."""

    def __init__(
        self,
        *objects: Object,
        clock: Clock | None = None,
        served: Iterable[ResourceRef] = SERVED,
        with_scale: Iterable[ResourceRef] = WITH_SCALE,
    ) -> None:
        self.clock: Clock = clock or VirtualClock()
        self.writes: list[Write] = []
        self.reads: list[tuple[str, ResourceRef]] = []
        """(verb, resource) of every get, list and watch."""
        self.served = tuple(served)
        self.with_scale = tuple(with_scale)
        """Kinds with the subresource `scale`."""
        self.revision = 1
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._failures: list[Callable[[str, ResourceRef, str], ApiError | None]] = []
        self._connection = 0
        self._counter = 0
        for obj in objects:
            self.add(obj)

    # The test's side

    def add(self, obj: Object) -> Object:
        """Puts an object there, as it is but for uid, creationTimestamp and resourceVersion; not among `writes`."""
        obj = copy_object(obj)
        ref = self.ref_of(obj)
        return copy_object(self._store(ref, self._stamped(ref, obj), None))

    def change(self, ref: ResourceRef, name: str, namespace: str, change: Callable[[Object], None]) -> Object:
        """Changes an object behind everybody's back, status and all; not among `writes`."""
        old = self._find(ref, name, namespace)
        new = copy_object(old)
        change(new)
        return copy_object(self._store(ref, new, old))

    def remove(self, ref: ResourceRef, name: str, namespace: str = "") -> None:
        """An object vanishes, finalizers or not; not among `writes`."""
        self._erase(ref, self._find(ref, name, namespace))

    def objects(self, ref: ResourceRef, namespace: str | None = None) -> list[Object]:
        """Copies, in order of namespace and name."""
        found = sorted(self._kind(ref).objects.items())
        return [copy_object(obj) for key, obj in found if namespace is None or key.namespace == namespace]

    def written(self, *, events: bool = False, leases: bool = False) -> list[Write]:
        """The recorded writes, without those of Events and Leases unless asked for."""
        return [
            write
            for write in self.writes
            if (events or write.ref.plural != "events") and (leases or write.ref != refs.LEASES)
        ]

    def fail(
        self, error: ApiError, *, verb: str = "", ref: ResourceRef | None = None, name: str = "", times: int = 1
    ) -> None:
        """The next `times` matching requests raise `error`. Verbs are those of RBAC."""
        left = times

        def failure(asked: str, asked_ref: ResourceRef, asked_name: str) -> ApiError | None:
            nonlocal left
            matches = (not verb or asked == verb) and (ref is None or asked_ref == ref)
            if not left or not matches or (name and asked_name != name):
                return None
            left -= 1
            return error

        self._failures.append(failure)

    def expire_history(self) -> None:
        """Compacts: running watches break, and resuming from any version until now answers 410."""
        for kind in self._kinds.values():
            kind.compacted = self.revision
            kind.history.clear()
        self.disconnect()

    def disconnect(self) -> None:
        """Ends every running watch."""
        self._connection += 1
        for kind in self._kinds.values():
            kind.wake()

    def ref_of(self, obj: Object) -> ResourceRef:
        for ref in self.served:
            if (ref.api_version, ref.kind) == (obj.get("apiVersion"), obj.get("kind")):
                return ref
        raise AssertionError(f"not served: {obj.get('apiVersion')} {obj.get('kind')}")

    # What a server does

    async def _arrive(self, verb: str, ref: ResourceRef, name: str = "") -> None:
        await asyncio.sleep(0)  # as with a real one, others may run before the answer
        if verb in ("get", "list", "watch"):
            self.reads.append((verb, ref))
        for failure in self._failures:
            error = failure(verb, ref, name)
            if error is not None:
                raise error

    def _kind(self, ref: ResourceRef) -> Kind:
        return self._kinds.setdefault((ref.group, ref.plural), Kind())

    def _find(self, ref: ResourceRef, name: str, namespace: str) -> Object:
        found = self._kind(ref).objects.get(ObjectKey(namespace if ref.namespaced else "", name))
        if found is None:
            raise not_found(ref, name)
        return found

    def _scale_of(self, ref: ResourceRef, obj: Object) -> Object:
        if ref not in self.with_scale:
            raise not_found(ref, name_of(obj))
        metadata = {name: obj["metadata"].get(name) for name in ("name", "namespace", "uid", "resourceVersion")}
        selector = get_path(obj, "spec", "selector", default={})
        chosen = selector_from_map(selector) if ref == refs.REPLICATION_CONTROLLERS else selector_from_object(selector)
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": {"replicas": get_path(obj, "spec", "replicas", default=0)},
            "status": {"replicas": get_path(obj, "status", "replicas", default=0), "selector": str(chosen)},
        }

    def _stamped(self, ref: ResourceRef, obj: Object) -> Object:
        metadata = obj["metadata"]
        self._counter += 1
        metadata.setdefault("uid", f"00000000-0000-0000-0000-{self._counter:012d}")
        metadata.setdefault("creationTimestamp", format_time(self.clock.now()))
        if ref in WITH_GENERATION:
            metadata.setdefault("generation", 1)
        return obj

    def _write(self, verb: str, ref: ResourceRef, new: Object, subresource: str, body: Any) -> Object:
        old = self._find(ref, name_of(new), namespace_of(new))
        metadata = new["metadata"]
        if metadata.get("resourceVersion", old["metadata"]["resourceVersion"]) != old["metadata"]["resourceVersion"]:
            raise conflict(ref, name_of(new))
        if metadata.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise conflict(ref, name_of(new), "Precondition failed: UID in precondition")
        if subresource:
            kept = copy_object(old)
            if subresource == "scale":
                kept["spec"]["replicas"] = new["spec"]["replicas"]
            for name in _SUBRESOURCE_FIELDS[subresource]:
                kept[name] = new.get(name)
            if subresource == "status":  # these may travel with a status, as upstream's strategies allow
                annotations = new["metadata"].get("annotations")
                kept["metadata"] |= {"annotations": annotations} if annotations else {}
                kept["metadata"].pop("finalizers", None)
                finalizers = new["metadata"].get("finalizers")
                kept["metadata"] |= {"finalizers": finalizers} if finalizers else {}
            new = kept
        elif ref in WITH_STATUS:
            new.pop("status", None)
            if "status" in old:
                new["status"] = copy_object(old)["status"]
        for name in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
            new["metadata"].pop(name, None)
            if name in old["metadata"]:
                new["metadata"][name] = old["metadata"][name]
        if ref in WITH_GENERATION and new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if new == old:
            return copy_object(old)  # nothing changed, nothing stored: as the real one
        if new["metadata"].get("deletionTimestamp") and not _is_held(ref, new):
            self._erase(ref, old)
            return self._record(verb, ref, subresource, new, body)
        return self._record(verb, ref, subresource, self._store(ref, new, old), body)

    def _delete(self, ref: ResourceRef, old: Object, grace: int | None, policy: str | None) -> Object:
        new = copy_object(old)
        metadata = new["metadata"]
        finalizers = set(metadata.get("finalizers") or ())
        if policy is not None:
            finalizers -= {"orphan", "foregroundDeletion"}
            finalizers |= {"Foreground": {"foregroundDeletion"}, "Orphan": {"orphan"}}.get(policy, set())
            if finalizers:
                metadata["finalizers"] = sorted(finalizers)
            else:
                metadata.pop("finalizers", None)
        seconds = 0
        if ref == refs.PODS and get_path(new, "spec", "nodeName"):
            seconds = get_path(new, "spec", "terminationGracePeriodSeconds", default=30) if grace is None else grace
        if ref == refs.PODS and not seconds and metadata.get("deletionTimestamp"):
            metadata["deletionGracePeriodSeconds"] = 0  # a deletion under way is shortened to nothing
        if not seconds and not _is_held(ref, new):
            self._erase(ref, old)
            return new
        if not metadata.get("deletionTimestamp"):
            metadata["deletionTimestamp"] = format_time(self.clock.now() + timedelta(seconds=seconds))
            metadata["deletionGracePeriodSeconds"] = seconds
        if ref == refs.NAMESPACES:
            new["status"] = {**new.get("status", {}), "phase": "Terminating"}
        return old if new == old else self._store(ref, new, old)

    def _store(self, ref: ResourceRef, new: Object, old: Object | None) -> Object:
        self.revision += 1
        new["metadata"]["resourceVersion"] = str(self.revision)
        self._kind(ref).objects[key_of(new)] = new
        self._publish(ref, new, old)
        return new

    def _erase(self, ref: ResourceRef, old: Object) -> None:
        self.revision += 1
        last = copy_object(old)
        last["metadata"]["resourceVersion"] = str(self.revision)
        del self._kind(ref).objects[key_of(old)]
        self._publish(ref, None, last)

    def _publish(self, ref: ResourceRef, new: Object | None, old: Object | None) -> None:
        kind = self._kind(ref)
        kind.history.append(Change(self.revision, new, old))
        kind.wake()

    def _record(self, verb: str, ref: ResourceRef, subresource: str, obj: Object, body: Any) -> Object:
        self.writes.append(Write(verb, ref, key_of(obj), subresource, copy_object(obj), body))
        return copy_object(obj)


def _is_held(ref: ResourceRef, obj: Object) -> bool:
    """Whether something keeps a deleted object: finalizers, those of a namespace's spec, or a pod's grace."""
    if obj["metadata"].get("finalizers"):
        return True
    if ref == refs.NAMESPACES and get_path(obj, "spec", "finalizers"):
        return True
    return ref == refs.PODS and bool(obj["metadata"].get("deletionGracePeriodSeconds"))
