"""A client with an API server inside: for tests of components, in memory, without HTTP.

It keeps what tests of controllers lean on: resourceVersions and conflicts, uids, generation, the status and finalize
subresources, watches that resume and expire, selectors, finalizers, graceful deletion of pods that are on a node, and
discovery. It does not default, validate, authorise or collect garbage: that is the real server's and controllers' work.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

import orjson

from timonel.api import refs
from timonel.api.errors import Expired, already_exists, conflict
from timonel.api.objects import Object, copy_object, get_path, key_of, name_of
from timonel.api.refs import ResourceRef
from timonel.client.rest import PatchType
from timonel.client.watching import WatchEvent
from timonel.testing.fake_discovery import discovery_document
from timonel.testing.fake_selection import Selection, view
from timonel.testing.fake_store import WITH_STATUS, FakeStore


class FakeClient(FakeStore):
    """`writes` records every accepted change in order; `fail` makes requests fail; `disconnect` breaks all watches."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.close()

    async def close(self) -> None:
        return

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
        selected = Selection(namespace, label_selector, field_selector)
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
            "items": [view(obj, metadata_only) for obj in found[start:end]],
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
        if ref in WITH_STATUS:
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
        selected = Selection(namespace, label_selector, field_selector)
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
        selected = Selection(namespace, label_selector, field_selector)
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
        document = discovery_document(path.rstrip("/"), self.served, self.with_scale)
        if document is None:
            return 404, {}, b"{}"
        return 200, {"Content-Type": "application/json"}, orjson.dumps(document)


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
