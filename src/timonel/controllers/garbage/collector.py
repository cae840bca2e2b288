"""Deletes what lost its owners, in the background or the foreground, or frees it when its owner asked to orphan.

Watches the metadata of every kind that can be listed, watched and deleted. Decisions rest on the cache and are carried
out with the uid and resourceVersion they were made from: a stale cache costs a retry, never a wrong deletion. That an
owner is gone is known from its own deletion event, or asked from the server.
Source: kubernetes.io/docs/concepts/architecture/garbage-collection
"""

from __future__ import annotations

import asyncio
import logging

from timonel.api.clock import Clock
from timonel.api.errors import NotFound
from timonel.api.objects import Object, is_deleting, namespace_of, owner_references, resource_version_of, uid_of
from timonel.api.refs import ResourceRef
from timonel.client.controller import Result, run_workers
from timonel.client.events import EventRecorder
from timonel.client.informer import Informer, Informers
from timonel.client.protocol import ApiClient
from timonel.client.workqueue import WorkQueue
from timonel.controllers.garbage.graph import (
    FOREGROUND,
    ORPHAN,
    GraphKey,
    OwnerGraph,
    blocks,
    finalizers_of,
    graph_key,
    orphans_dependents,
    owner_uids,
    waits_for_dependents,
)
from timonel.controllers.garbage.kinds import CollectableKinds
from timonel.controllers.garbage.owners import OwnerLookup, kind_of

log = logging.getLogger(__name__)

_START_SECONDS = 30.0
"""How long the start waits for kinds that cannot be listed."""


class GarbageCollector:
    name = "garbage-collector"
    workers = 20

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        self._client = client
        self._informers = informers
        self._clock = clock
        self._graph = OwnerGraph()
        self._kinds: dict[tuple[str, str], Informer] = {}
        self._owners = OwnerLookup(client=client, graph=self._graph, kinds=self._kinds, recorder=recorder)
        self._served = CollectableKinds(client=client, informers=informers, clock=clock, on_change=self._kinds_changed)
        self.queue: WorkQueue[GraphKey] = WorkQueue(clock, name=self.name)
        self.queues = (self.queue,)

    async def run(self) -> None:
        await self.register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._served.run(), name="kinds to collect")
            await self._wait_listed()
            group.create_task(run_workers(self.name, self.queue, self.sync, self.workers), name="garbage workers")

    async def register(self) -> None:
        """Finds out what is served, and watches it; where there is a full informer already, that one."""
        await self._served.discover()

    async def _wait_listed(self) -> None:
        async def listed() -> None:
            for informer in list(self._kinds.values()):
                await informer.wait_synced()

        waiting = asyncio.create_task(listed(), name="kinds are listed")
        timer = asyncio.create_task(self._clock.sleep(_START_SECONDS), name="time limit of listing")
        try:
            await asyncio.wait((waiting, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (waiting, timer):
                task.cancel()
            await asyncio.gather(waiting, timer, return_exceptions=True)
        if missing := [informer.ref.group_resource for informer in self._kinds.values() if not informer.has_synced]:
            log.warning("garbage collected without some kinds, which cannot be listed kinds=%s", ",".join(missing))

    def _kinds_changed(self, appeared: list[ResourceRef], vanished: list[ResourceRef]) -> None:
        for ref in vanished:
            self._forget(ref)
        for ref in appeared:
            self._watch(ref)
        log.info("kinds to collect changed appeared=%d vanished=%d", len(appeared), len(vanished))

    def _forget(self, ref: ResourceRef) -> None:
        informer = self._kinds.pop((ref.group, ref.kind), None)
        if informer is None:
            return
        self._informers.forget(ref)
        for obj in informer.lister.list():
            self._graph.update(graph_key(ref, obj), obj, None)

    def _watch(self, ref: ResourceRef) -> None:
        informer = self._informers.of(ref, metadata_only=True)
        self._kinds[ref.group, ref.kind] = informer
        for key in self._owners.strangers.pop((ref.group, ref.kind), ()):
            self.queue.add(key)

        def on_add(obj: Object) -> None:
            key = graph_key(ref, obj)
            self._graph.update(key, None, obj)
            if owner_references(obj) or _needs_finalizing(obj):
                self.queue.add(key)

        def on_update(old: Object, new: Object) -> None:
            key = graph_key(ref, new)
            self._graph.update(key, old, new)
            if _needs_finalizing(new):
                self.queue.add(key)
                if not _needs_finalizing(old):
                    self._add_dependents(uid_of(new))
            elif owner_references(new) and (owner_uids(old) != owner_uids(new) or is_deleting(old) != is_deleting(new)):
                self.queue.add(key)
            for reference in owner_references(old):
                self._look_at_owner(reference, namespace_of(old))

        def on_delete(obj: Object) -> None:
            self._graph.update(graph_key(ref, obj), obj, None)
            self._graph.note_deleted(obj)
            self._owners.forget(graph_key(ref, obj), obj)
            self._add_dependents(uid_of(obj))
            for reference in owner_references(obj):
                self._look_at_owner(reference, namespace_of(obj))

        informer.add_handler(on_add=on_add, on_update=on_update, on_delete=on_delete)

    def _add_dependents(self, uid: str) -> None:
        for key in self._graph.dependents(uid):
            self.queue.add(key)

    def _look_at_owner(self, reference: Object, namespace: str) -> None:
        """A dependent changed: an owner that waits for it may go on."""
        owner = self._owners.cached(reference, namespace)
        if owner is not None and _needs_finalizing(owner):
            self.queue.add(graph_key(self._kinds[kind_of(reference)].ref, owner))

    def _find(self, key: GraphKey) -> Object | None:
        informer = self._kinds.get((key.ref.group, key.ref.kind))
        return informer.lister.get(key.namespace, key.name) if informer is not None else None

    async def sync(self, key: GraphKey) -> Result:
        obj = self._find(key)
        if obj is None:
            return Result()
        try:
            if orphans_dependents(obj):
                await self._orphan(key, obj)
            elif waits_for_dependents(obj):
                await self._finish_foreground(key, obj)
            elif not is_deleting(obj) and owner_references(obj):
                await self._check_owners(key, obj)
        except NotFound:
            log.debug("object was gone already key=%s", key)
        return Result()

    async def _check_owners(self, key: GraphKey, obj: Object) -> None:
        owners = await self._owners.classify(key, obj)
        if owners.solid:
            if owners.gone or owners.waiting:
                await self._drop_owners(key, obj, {r["uid"] for r in owners.gone + owners.waiting})
            return
        if owners.freed:
            await self._drop_owners(key, obj, {r["uid"] for r in owners.gone + owners.waiting})
            return
        dependents = self._graph.dependents(uid_of(obj))
        if owners.waiting and dependents:
            policy = "Foreground"
            if any(waits_for_dependents(self._find(dependent) or {"metadata": {}}) for dependent in dependents):
                # They wait for each other, in a circle most likely, and this is where it opens.
                obj = await self._stop_blocking(key, obj)
        elif ORPHAN in finalizers_of(obj):
            policy = "Orphan"
        elif FOREGROUND in finalizers_of(obj):
            policy = "Foreground"
        else:
            policy = "Background"
        await self._client.delete(
            key.ref,
            key.name,
            key.namespace,
            uid=uid_of(obj),
            resource_version=resource_version_of(obj),
            propagation_policy=policy,
        )
        log.info("garbage deleted key=%s policy=%s", key, policy)

    async def _drop_owners(self, key: GraphKey, obj: Object, uids: set[str]) -> None:
        kept = [reference for reference in owner_references(obj) if reference["uid"] not in uids]
        await self._set_owners(key, obj, kept)

    async def _set_owners(self, key: GraphKey, obj: Object, references: list[Object]) -> Object:
        patch = {
            "metadata": {
                "uid": uid_of(obj),
                "resourceVersion": resource_version_of(obj),
                "ownerReferences": references or None,
            }
        }
        return await self._client.patch(key.ref, key.name, patch, key.namespace, type="merge")

    async def _stop_blocking(self, key: GraphKey, obj: Object) -> Object:
        """The object as it is then: its owners need not wait for it any longer."""
        references = [
            {field: value for field, value in reference.items() if field != "blockOwnerDeletion"}
            for reference in owner_references(obj)
        ]
        return await self._set_owners(key, obj, references)

    async def _finish_foreground(self, key: GraphKey, obj: Object) -> None:
        blocking = False
        for dependent_key in self._graph.dependents(uid_of(obj)):
            dependent = self._find(dependent_key)
            if dependent is None or not blocks(dependent, uid_of(obj)):
                continue
            blocking = True
            if not is_deleting(dependent):
                self.queue.add(dependent_key)
        if not blocking:
            await self._remove_finalizer(key, obj, FOREGROUND)

    async def _orphan(self, key: GraphKey, obj: Object) -> None:
        async def free(dependent_key: GraphKey) -> None:
            dependent = self._find(dependent_key)
            if dependent is not None:
                try:
                    await self._drop_owners(dependent_key, dependent, {uid_of(obj)})
                except NotFound:
                    return

        self._graph.note_orphaned(uid_of(obj))
        await asyncio.gather(*(free(dependent) for dependent in self._graph.dependents(uid_of(obj))))
        await self._remove_finalizer(key, obj, ORPHAN)

    async def _remove_finalizer(self, key: GraphKey, obj: Object, finalizer: str) -> None:
        left = [item for item in finalizers_of(obj) if item != finalizer]
        patch = {
            "metadata": {
                "uid": uid_of(obj),
                "resourceVersion": resource_version_of(obj),
                "finalizers": left or None,
            }
        }
        await self._client.patch(key.ref, key.name, patch, key.namespace, type="merge")
        log.info("finalizer removed key=%s finalizer=%s", key, finalizer)


def _needs_finalizing(obj: Object) -> bool:
    return waits_for_dependents(obj) or orphans_dependents(obj)
