"""What became of an object's owners: there, gone, or waiting; of a kind nobody serves, or in the wrong namespace.

That an owner is gone is known from its own deletion event, or asked from the server.
Source: kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from timonel.api.errors import MethodNotAllowed, NotFound
from timonel.api.objects import Object, namespace_of, owner_references, uid_of
from timonel.client.events import EventRecorder
from timonel.client.informer import Informer
from timonel.client.protocol import ApiClient
from timonel.controllers.garbage.graph import GraphKey, OwnerGraph, waits_for_dependents


@dataclass(slots=True)
class Owners:
    """An object's owner references by what became of the owners."""

    solid: list[Object] = field(default_factory=list)
    gone: list[Object] = field(default_factory=list)
    waiting: list[Object] = field(default_factory=list)
    """Being deleted in the foreground, waiting for this object among others."""
    freed: bool = False
    """One of those that are gone had wished its dependents to stay."""


class OwnerLookup:
    """`kinds` are the informers by (group, kind): whichever version an owner reference names, it is the same object."""

    def __init__(
        self,
        *,
        client: ApiClient,
        graph: OwnerGraph,
        kinds: Mapping[tuple[str, str], Informer],
        recorder: EventRecorder | None,
    ) -> None:
        self._client = client
        self._graph = graph
        self._kinds = kinds
        self._recorder = recorder
        self.strangers: dict[tuple[str, str], set[GraphKey]] = {}
        """By (group, kind) that nobody serves: who names an owner of that kind."""

    def cached(self, reference: Object, namespace: str) -> Object | None:
        """The owner, if the cache has it where the object may have its owner."""
        informer = self._kinds.get(kind_of(reference))
        if informer is None:
            return None
        found = informer.lister.get(namespace if informer.ref.namespaced else "", reference["name"])
        return found if found is not None and uid_of(found) == reference["uid"] else None

    async def classify(self, key: GraphKey, obj: Object) -> Owners:
        """What became of the owners of an object. Raises ApiError when the server has to be asked and cannot."""
        owners = Owners()
        for reference in owner_references(obj):
            await self._classify(key, reference, obj, owners)
        return owners

    async def _classify(self, key: GraphKey, reference: Object, obj: Object, owners: Owners) -> None:
        uid = reference["uid"]
        owners.freed = owners.freed or self._graph.has_orphaned(uid)
        if self._graph.is_absent(uid):
            owners.gone.append(reference)
            return
        namespace = namespace_of(obj)
        owner = self.cached(reference, namespace)
        if owner is None:
            owner = await self._ask(key, reference, obj)
        if owner is None:
            if not self._is_elsewhere(key, reference, obj):
                self._graph.note_absent(uid)
            owners.gone.append(reference)
        elif waits_for_dependents(owner):
            owners.waiting.append(reference)
        else:
            owners.solid.append(reference)

    async def _ask(self, key: GraphKey, reference: Object, obj: Object) -> Object | None:
        """The owner from the server; None when it does not exist. Of an unknown kind, something stands for it."""
        stand_in: Object = {"metadata": {"uid": reference["uid"]}}
        informer = self._kinds.get(kind_of(reference))
        if informer is None:
            self.strangers.setdefault(kind_of(reference), set()).add(key)
            return stand_in
        namespace = namespace_of(obj) if informer.ref.namespaced else ""
        if informer.ref.namespaced and not namespace:
            # A cluster-wide object that names an owner in a namespace: nothing can be said, so it stays.
            self._tell_wrong_namespace(key, reference, obj)
            return stand_in
        try:
            found = await self._client.get(informer.ref, reference["name"], namespace)
        except NotFound:
            return None
        except MethodNotAllowed:
            return stand_in
        return found if uid_of(found) == reference["uid"] else None

    def _is_elsewhere(self, key: GraphKey, reference: Object, obj: Object) -> bool:
        """Whether what is named is there, but in another namespace, where it cannot own this object; which is told."""
        informer = self._kinds.get(kind_of(reference))
        if informer is None or not informer.ref.namespaced:
            return False
        named = informer.lister.named(reference["name"])
        if not any(uid_of(each) == reference["uid"] for each in named):
            return False
        self._tell_wrong_namespace(key, reference, obj)
        return True

    def _tell_wrong_namespace(self, key: GraphKey, reference: Object, obj: Object) -> None:
        if self._recorder is None:
            return
        namespace = namespace_of(obj)
        named = (
            f"[{reference['apiVersion']}/{reference['kind']}, namespace: {namespace}, name: {reference['name']}, "
            f"uid: {reference['uid']}]"
        )
        message = f'ownerRef {named} does not exist in namespace "{namespace}"'
        involved = {"kind": key.ref.kind, "apiVersion": key.ref.api_version, "metadata": obj["metadata"]}
        self._recorder.event(involved, "Warning", "OwnerRefInvalidNamespace", message)

    def forget(self, key: GraphKey, obj: Object) -> None:
        """An object that is gone waits for no kind to appear."""
        for reference in owner_references(obj) if self.strangers else ():
            if (waiting := self.strangers.get(kind_of(reference))) is not None:
                waiting.discard(key)
                if not waiting:
                    del self.strangers[kind_of(reference)]


def kind_of(reference: Object) -> tuple[str, str]:
    """(group, kind) of an owner."""
    return reference["apiVersion"].rpartition("/")[0], reference["kind"]
