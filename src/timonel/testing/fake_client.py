"""A client with an API server inside: for tests of components, in memory, without HTTP.

It keeps what tests of controllers lean on: resourceVersions and conflicts, uids, generation, the status and finalize
subresources, watches that resume and expire, selectors, finalizers, graceful deletion of pods that are on a node, and
discovery. It does not default, validate, authorise or collect garbage: that is the real server's and controllers' work.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self

import orjson

from timonel.api import refs
from timonel.api.clock import Clock, format_time
from timonel.api.errors import ApiError, Expired, already_exists, conflict, not_found
from timonel.api.fields import FieldSelector, parse_field_selector
from timonel.api.labels import Selector, parse_label_selector, selector_from_map, selector_from_object
from timonel.api.objects import Object, ObjectKey, copy_object, get_path, key_of, labels_of, name_of, namespace_of
from timonel.api.refs import ResourceRef
from timonel.client.rest import PatchType
from timonel.client.watching import EventType, WatchEvent
from timonel.testing.clock import VirtualClock

SERVED: tuple[ResourceRef, ...] = tuple(
    ref
    for ref in vars(refs).values()
    if isinstance(ref, ResourceRef) and not ref.plural.endswith("reviews") and ref.plural != "bindings"
)
_WITH_GENERATION = {
    refs.CRON_JOBS, refs.CUSTOM_RESOURCE_DEFINITIONS, refs.DAEMON_SETS, refs.DEPLOYMENTS, refs.DEVICE_CLASSES,
    refs.FLOW_SCHEMAS, refs.INGRESSES, refs.INGRESS_CLASSES, refs.JOBS, refs.NETWORK_POLICIES,
    refs.POD_DISRUPTION_BUDGETS, refs.PRIORITY_LEVEL_CONFIGURATIONS, refs.REPLICA_SETS, refs.REPLICATION_CONTROLLERS,
    refs.RESOURCE_SLICES, refs.STATEFUL_SETS, refs.VALIDATING_ADMISSION_POLICIES,
}  # fmt: skip
_WITH_STATUS = _WITH_GENERATION | {
    refs.API_SERVICES, refs.CERTIFICATE_SIGNING_REQUESTS, refs.HORIZONTAL_POD_AUTOSCALERS, refs.NAMESPACES, refs.NODES,
    refs.PERSISTENT_VOLUMES, refs.PERSISTENT_VOLUME_CLAIMS, refs.PODS, refs.RESOURCE_CLAIMS, refs.RESOURCE_QUOTAS,
    refs.SERVICES, refs.SERVICE_CIDRS, refs.VOLUME_ATTACHMENTS,
}  # fmt: skip
_WITH_SCALE = (refs.DEPLOYMENTS, refs.REPLICA_SETS, refs.REPLICATION_CONTROLLERS, refs.STATEFUL_SETS)
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
class _Change:
    revision: int
    new: Object | None
    old: Object | None


@dataclass(slots=True)
class _Kind:
    objects: dict[ObjectKey, Object] = field(default_factory=dict)
    history: list[_Change] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    compacted: int = 0

    def wake(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()


class FakeClient:
    """`writes` records every accepted change in order; `fail` makes requests fail; `disconnect` breaks all watches."""

    def __init__(
        self,
        *objects: Object,
        clock: Clock | None = None,
        served: Iterable[ResourceRef] = SERVED,
        with_scale: Iterable[ResourceRef] = _WITH_SCALE,
    ) -> None:
        self.clock: Clock = clock or VirtualClock()
        self.writes: list[Write] = []
        self.reads: list[tuple[str, ResourceRef]] = []
        """(verb, resource) of every get, list and watch."""
        self.served = tuple(served)
        self.with_scale = tuple(with_scale)
        """Kinds with the subresource `scale`."""
        self.revision = 1
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._failures: list[Callable[[str, ResourceRef, str], ApiError | None]] = []
        self._connection = 0
        self._counter = 0
        for obj in objects:
            self.add(obj)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.close()

    async def close(self) -> None:
        return

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

    # The client's side

    async def get(self, ref: ResourceRef, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        await self._arrive("get", ref, name)
        found = self._find(ref, name, namespace)
        return self._scale_of(ref, found) if subresource == "scale" else copy_object(found)

    async def list(
        self,
        ref: ResourceRef,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Object:
        await self._arrive("list", ref)
        selected = _Selection(namespace, label_selector, field_selector)
        found = [obj for _, obj in sorted(self._kind(ref).objects.items()) if selected.matches(obj)]
        start = int(continue_ or 0)
        end = start + limit if limit else len(found)
        metadata: Object = {"resourceVersion": str(self.revision)}
        if end < len(found):
            metadata |= {"continue": str(end), "remainingItemCount": len(found) - end}
        return {
            "kind": f"{ref.kind}List",
            "apiVersion": ref.api_version,
            "metadata": metadata,
            "items": [_view(obj, metadata_only) for obj in found[start:end]],
        }

    async def create(
        self,
        ref: ResourceRef,
        obj: Object,
        namespace: str = "",
        *,
        subresource: str = "",
        name: str = "",
        dry_run: bool = False,
        field_manager: str = "",
    ) -> Object:
        await self._arrive("create", ref, get_path(obj, "metadata", "name", default=name))
        if subresource == "binding":
            return self._bind(ref, obj, name, namespace or get_path(obj, "metadata", "namespace", default=""))
        new = copy_object(obj)
        new.setdefault("kind", ref.kind)
        new.setdefault("apiVersion", ref.api_version)
        metadata = new["metadata"]
        if namespace and ref.namespaced:
            metadata["namespace"] = namespace
        if not metadata.get("name"):
            self._counter += 1
            metadata["name"] = f"{metadata['generateName']}{self._counter:05d}"
        metadata.pop("resourceVersion", None)
        key = key_of(new)
        if key in self._kind(ref).objects:
            raise already_exists(ref, key.name)
        if ref in _WITH_STATUS:
            new.pop("status", None)
        if ref == refs.PODS:
            new["status"] = {"phase": "Pending"}
        if ref == refs.NAMESPACES:
            new.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
            new["status"] = {"phase": "Active"}
        if dry_run:
            return new
        stored = self._store(ref, self._stamped(ref, new), None)
        return self._record("create", ref, subresource, stored, obj)

    def _bind(self, ref: ResourceRef, binding: Object, name: str, namespace: str) -> Object:
        """pods/binding: puts a pod on a node, once."""
        old = self._find(ref, name, namespace)
        uid = get_path(binding, "metadata", "uid")
        if uid and uid != old["metadata"]["uid"]:
            raise conflict(ref, name, "Precondition failed: UID")
        if node := get_path(old, "spec", "nodeName"):
            raise conflict(ref, name, f'pod {name} is already assigned to node "{node}"')
        new = copy_object(old)
        new.setdefault("spec", {})["nodeName"] = binding["target"]["name"]
        conditions = [
            each for each in get_path(new, "status", "conditions", default=()) if each["type"] != "PodScheduled"
        ]
        new.setdefault("status", {})["conditions"] = [*conditions, {"type": "PodScheduled", "status": "True"}]
        return self._record("create", ref, "binding", self._store(ref, new, old), binding)

    async def update(self, ref: ResourceRef, obj: Object, *, subresource: str = "", field_manager: str = "") -> Object:
        await self._arrive("update", ref, name_of(obj))
        return self._write("update", ref, copy_object(obj), subresource, obj)

    async def patch(
        self,
        ref: ResourceRef,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        type: PatchType,
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        await self._arrive("patch", ref, name)
        new = copy_object(self._find(ref, name, namespace))
        if type == "json":
            from timonel.api.patch.json_patch import apply_json_patch

            new = apply_json_patch(new, patch)
        elif type == "strategic":
            from timonel.api.kinds import BUILTIN
            from timonel.api.patch.strategic import apply_strategic_patch

            new = apply_strategic_patch(new, patch, BUILTIN.row(ref).definition)
        elif type == "merge":
            new = _merge(new, patch)
        elif type == "apply" and force:
            new = _merge(new, patch)  # without the taking away of what the manager applied before
        else:
            raise AssertionError("the fake client does not do server-side apply with its conflicts")
        return self._write("patch", ref, new, subresource, patch)

    async def delete(
        self,
        ref: ResourceRef,
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation_policy: str | None = None,
    ) -> Object:
        await self._arrive("delete", ref, name)
        old = self._find(ref, name, namespace)
        metadata = old["metadata"]
        if uid and uid != metadata["uid"]:
            raise conflict(ref, name, "Precondition failed: UID")
        if resource_version and resource_version != metadata["resourceVersion"]:
            raise conflict(ref, name, "Precondition failed: ResourceVersion")
        body = {"gracePeriodSeconds": grace_period_seconds, "propagationPolicy": propagation_policy, "uid": uid}
        return self._record("delete", ref, "", self._delete(ref, old, grace_period_seconds, propagation_policy), body)

    async def delete_collection(
        self, ref: ResourceRef, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Object:
        await self._arrive("deletecollection", ref)
        selected = _Selection(namespace, label_selector, field_selector)
        for _, obj in sorted(self._kind(ref).objects.items()):
            if selected.matches(obj):
                self._record("delete", ref, "", self._delete(ref, obj, None, None), None)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    async def watch(
        self,
        ref: ResourceRef,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        allow_bookmarks: bool = True,
        send_initial_events: bool = False,
        timeout_seconds: int | None = None,
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        await self._arrive("watch", ref)
        selected = _Selection(namespace, label_selector, field_selector)
        kind = self._kind(ref)
        revision = int(resource_version or 0)
        connection = self._connection
        while connection == self._connection:
            if revision < kind.compacted:
                raise Expired(f"too old resource version: {revision} ({kind.compacted})")
            start = bisect_right(kind.history, revision, key=lambda change: change.revision)
            if start == len(kind.history):
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                kind.waiting.append(future)
                await future
                continue
            for change in kind.history[start:]:
                revision = change.revision
                event = selected.event(change, metadata_only)
                if event is not None:
                    yield event

    async def raw(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Discovery only."""
        await self._arrive("get", ResourceRef("", "", path, ""))
        document = self._discovery(path.rstrip("/"))
        if document is None:
            return 404, {}, b"{}"
        return 200, {"Content-Type": "application/json"}, orjson.dumps(document)

    # The server's side

    async def _arrive(self, verb: str, ref: ResourceRef, name: str = "") -> None:
        await asyncio.sleep(0)  # as with a real one, others may run before the answer
        if verb in ("get", "list", "watch"):
            self.reads.append((verb, ref))
        for failure in self._failures:
            error = failure(verb, ref, name)
            if error is not None:
                raise error

    def _kind(self, ref: ResourceRef) -> _Kind:
        return self._kinds.setdefault((ref.group, ref.plural), _Kind())

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
        if ref in _WITH_GENERATION:
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
            if subresource == "status":  # annotations may travel with a status, as upstream's strategies allow
                annotations = new["metadata"].get("annotations")
                kept["metadata"] |= {"annotations": annotations} if annotations else {}
            new = kept
        elif ref in _WITH_STATUS:
            new.pop("status", None)
            if "status" in old:
                new["status"] = copy_object(old)["status"]
        for name in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
            new["metadata"].pop(name, None)
            if name in old["metadata"]:
                new["metadata"][name] = old["metadata"][name]
        if ref in _WITH_GENERATION and new.get("spec") != old.get("spec"):
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
        kind.history.append(_Change(self.revision, new, old))
        kind.wake()

    def _record(self, verb: str, ref: ResourceRef, subresource: str, obj: Object, body: Any) -> Object:
        self.writes.append(Write(verb, ref, key_of(obj), subresource, copy_object(obj), body))
        return copy_object(obj)

    def _discovery(self, path: str) -> Object | None:
        groups: dict[str, dict[str, list[ResourceRef]]] = {}
        for ref in self.served:
            groups.setdefault(ref.group, {}).setdefault(ref.version, []).append(ref)
        documents = {
            group: {
                "name": group,
                "versions": [{"groupVersion": f"{group}/{v}", "version": v} for v in versions],
                "preferredVersion": {"groupVersion": f"{group}/{next(iter(versions))}"},
            }
            for group, versions in groups.items()
            if group
        }
        if path == "/apis":
            return {"kind": "APIGroupList", "groups": list(documents.values())}
        if path.removeprefix("/apis/") in documents:
            return {"kind": "APIGroup", **documents[path.removeprefix("/apis/")]}
        group, _, version = path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")
        found = groups.get(group, {}).get(version)
        if found is None:
            return None
        verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        rows: list[Object] = []
        for ref in found:
            row = {"name": ref.plural, "kind": ref.kind, "namespaced": ref.namespaced, "verbs": verbs}
            rows.append(row)
            if ref in self.with_scale:
                rows.append({**row, "name": f"{ref.plural}/scale", "kind": "Scale", "verbs": ["get", "update"]})
        return {"kind": "APIResourceList", "groupVersion": found[0].api_version, "resources": rows}


class _Selection:
    def __init__(self, namespace: str, label_selector: str, field_selector: str) -> None:
        self._namespace = namespace
        self._labels: Selector = parse_label_selector(label_selector)
        self._fields: FieldSelector = parse_field_selector(field_selector)

    def matches(self, obj: Object) -> bool:
        if self._namespace and namespace_of(obj) != self._namespace:
            return False
        if not self._labels.matches(labels_of(obj)):
            return False
        return self._fields.matches(lambda path: str(get_path(obj, *path.split("."), default="")))

    def event(self, change: _Change, metadata_only: bool) -> WatchEvent | None:
        """What a selecting watcher sees: an object that leaves its selection is deleted, as far as it knows."""
        before = change.old is not None and self.matches(change.old)
        after = change.new is not None and self.matches(change.new)
        if not before and not after:
            return None
        kind: EventType = "DELETED" if not after else ("MODIFIED" if before else "ADDED")
        obj = _view((change.new if after else change.old) or {}, metadata_only)
        obj["metadata"]["resourceVersion"] = str(change.revision)
        return WatchEvent(kind, obj)


def _view(obj: Object, metadata_only: bool) -> Object:
    if metadata_only:
        meta = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
        return copy_object(meta)
    return copy_object(obj)


def _is_held(ref: ResourceRef, obj: Object) -> bool:
    """Whether something keeps a deleted object: finalizers, those of a namespace's spec, or a pod's grace."""
    if obj["metadata"].get("finalizers"):
        return True
    if ref == refs.NAMESPACES and get_path(obj, "spec", "finalizers"):
        return True
    return ref == refs.PODS and bool(obj["metadata"].get("deletionGracePeriodSeconds"))


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value)
    return result
