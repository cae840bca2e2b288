"""Namespaces that are being deleted: everything in them goes first, pods before the rest, then the namespace itself.

Source: kubernetes.io/docs/concepts/overview/working-with-objects/namespaces and KEP-5080 (ordered deletion).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, Conflict, MethodNotAllowed, NotFound
from timonel.api.objects import Object, ObjectKey, find_by, is_deleting, namespace_of
from timonel.api.refs import NAMESPACES, PODS, ResourceRef
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.discovery import ServedResource, discover_available, unreadable_message
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.conditions import condition

log = logging.getLogger(__name__)

FINALIZER = "kubernetes"
_PODS_CHECK_SECONDS = 15.0
_CHECK_SECONDS = 3.0
_HEALTHY = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}


@dataclass(slots=True)
class Remains:
    """What is still there after a round of deleting."""

    counts: dict[ResourceRef, int] = field(default_factory=dict)
    finalizers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    discovery_failure: str = ""
    unreadable: str = ""
    """The message about a group version that is none."""

    @property
    def nothing(self) -> bool:
        return not (self.counts or self.failures or self.discovery_failure or self.unreadable)


class NamespaceController(Controller):
    name = "namespace"
    workers = 10

    def __init__(
        self, *, client: ApiClient, informers: Informers, clock: Clock, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self.watches = (Watch(NAMESPACES), Watch(PODS, key=self._namespace_when_empty))

    def _namespace_when_empty(self, pod: Object) -> Keys:
        """The last pod of a namespace that waits for that went away."""
        namespace = self.lister(NAMESPACES).get("", namespace_of(pod))
        if namespace is None or not is_deleting(namespace) or self.lister(PODS).list(namespace_of(pod)):
            return None
        return ObjectKey("", namespace_of(pod))

    async def sync(self, key: ObjectKey) -> Result:
        namespace = self.lister(NAMESPACES).get(*key)
        if namespace is None or not is_deleting(namespace):
            return Result()
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        if FINALIZER not in finalizers:
            return Result()
        remains = await self._delete_content(key.name)
        vanishes = finalizers == [FINALIZER] and not namespace["metadata"].get("finalizers")
        try:
            if not (remains.nothing and vanishes):
                namespace = await self._write_conditions(namespace, remains)
            if remains.nothing:
                await self._finalize(namespace)
                return Result()
        except NotFound:
            return Result()
        # A pod's end is told by its watch; of other kinds only finalizers can hold up the deletion.
        return Result(requeue_after=_PODS_CHECK_SECONDS if PODS in remains.counts else _CHECK_SECONDS)

    async def _delete_content(self, namespace: str) -> Remains:
        remains = Remains()
        try:
            served = await discover_available(self.client)
        except ApiError as exc:
            remains.discovery_failure = exc.message
            return remains
        if served.failed:
            groups = ", ".join(sorted(f"{group}: {error}" for group, error in served.failed.items()))
            remains.discovery_failure = (
                f"Discovery failed for some groups, {len(served.failed)} failing: "
                f"unable to retrieve the complete list of server APIs: {groups}"
            )
        if served.unreadable:
            remains.unreadable = unreadable_message(served.unreadable[0])
        # What a part of the API keeps from being known does not keep the rest.
        kinds = [row for row in served.resources if row.ref.namespaced and {"delete", "list"} <= row.verbs]
        pods = [row for row in kinds if row.ref == PODS]
        others = [row for row in kinds if row.ref != PODS]
        await self._delete_kinds(namespace, pods, remains)
        if not remains.counts and not remains.failures:
            await self._delete_kinds(namespace, others, remains)
        return remains

    async def _delete_kinds(self, namespace: str, kinds: Sequence[ServedResource], remains: Remains) -> None:
        answers = await asyncio.gather(*(self._delete_kind(namespace, row) for row in kinds), return_exceptions=True)
        for row, answer in zip(kinds, answers, strict=True):
            if isinstance(answer, ApiError):
                remains.failures.append(answer.message)
            elif isinstance(answer, BaseException):
                raise answer
            elif answer:
                remains.counts[row.ref] = len(answer)
                remains.finalizers.update(
                    finalizer for item in answer for finalizer in item["metadata"].get("finalizers") or ()
                )

    async def _delete_kind(self, namespace: str, row: ServedResource) -> Sequence[Object]:
        """What is left of one kind. Costs one request when there is nothing."""
        present = await self._items(namespace, row.ref)
        if all(is_deleting(item) for item in present):
            return present
        if "deletecollection" in row.verbs:
            try:
                await self.client.delete_collection(row.ref, namespace)
            except (MethodNotAllowed, NotFound):
                return []
        else:
            for item in present:
                try:
                    await self.client.delete(row.ref, item["metadata"]["name"], namespace)
                except NotFound:
                    continue
        return await self._items(namespace, row.ref)

    async def _items(self, namespace: str, ref: ResourceRef) -> Sequence[Object]:
        try:
            items: Sequence[Object] = (await self.client.list(ref, namespace, metadata_only=True)).get("items") or ()
        except (MethodNotAllowed, NotFound):
            return ()
        return items

    async def _write_conditions(self, namespace: Object, remains: Remains) -> Object:
        status = namespace.get("status") or {}
        conditions = plan_conditions(status.get("conditions") or (), remains, self.clock.now())
        if conditions == (status.get("conditions") or []):
            return namespace
        changed = namespace | {"status": status | {"phase": "Terminating", "conditions": conditions}}
        return await self.client.update(NAMESPACES, changed, subresource="status")

    async def _finalize(self, namespace: Object) -> None:
        spec = namespace["spec"]
        left = [finalizer for finalizer in spec["finalizers"] if finalizer != FINALIZER]
        try:
            await self.client.update(
                NAMESPACES, namespace | {"spec": spec | {"finalizers": left}}, subresource="finalize"
            )
        except Conflict:
            # Somebody labelled it in between; its emptiness stands.
            fresh = await self.client.get(NAMESPACES, namespace["metadata"]["name"])
            await self.client.update(
                NAMESPACES, fresh | {"spec": fresh["spec"] | {"finalizers": left}}, subresource="finalize"
            )
        log.info("namespace emptied namespace=%s", namespace["metadata"]["name"])


def plan_conditions(present: Iterable[Object], remains: Remains, now: datetime) -> list[Object]:
    """All five conditions, in upstream's order; an unchanged one keeps its time."""
    found = _problems(remains)
    old = list(present)
    made = {item["type"]: item for item in old}
    for type, (ok_reason, ok_message) in _HEALTHY.items():
        status, reason, message = found.get(type, ("False", ok_reason, ok_message))
        before = find_by(old, "type", type)
        new = condition(type, status, reason, message, now)
        if before is not None and before.get("status") == status:
            new["lastTransitionTime"] = before.get("lastTransitionTime")
        made[type] = before if before == new and before is not None else new
    return list(made.values())


def _problems(remains: Remains) -> Mapping[str, tuple[str, str, str]]:
    found = {}
    if remains.discovery_failure:
        found["NamespaceDeletionDiscoveryFailure"] = ("True", "DiscoveryFailed", remains.discovery_failure)
    if remains.unreadable:
        found["NamespaceDeletionGroupVersionParsingFailure"] = (
            "True", "GroupVersionParsingFailed", remains.unreadable
        )  # fmt: skip
    if remains.failures:
        message = (
            f"Failed to delete all resource types, {len(remains.failures)} remaining: "
            f"{', '.join(sorted(remains.failures))}"
        )
        found["NamespaceDeletionContentFailure"] = ("True", "ContentDeletionFailed", message)
    if remains.counts:
        kinds = sorted(
            f"{ref.plural}.{ref.group} has {count} resource instances" for ref, count in remains.counts.items()
        )
        message = f"Some resources are remaining: {', '.join(kinds)}"
        found["NamespaceContentRemaining"] = ("True", "SomeResourcesRemain", message)
    if remains.finalizers:
        names = sorted(f"{name} in {count} resource instances" for name, count in remains.finalizers.items())
        message = f"Some content in the namespace has finalizers remaining: {', '.join(names)}"
        found["NamespaceFinalizersRemaining"] = ("True", "SomeFinalizersRemain", message)
    return found
