"""Who owns whom, over all kinds, kept from watch events. Pure: events in, questions answered.

Only objects that have owners are in it, by the uid of each owner: memory follows the references, not the objects.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import NamedTuple

from timonel.api.objects import Object, name_of, namespace_of, owner_references, uid_of
from timonel.api.refs import ResourceRef

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_ABSENT = 5000


class GraphKey(NamedTuple):
    """Names any object of any kind."""

    ref: ResourceRef
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.ref.group_resource} {self.namespace}/{self.name}"


def graph_key(ref: ResourceRef, obj: Object) -> GraphKey:
    return GraphKey(ref, namespace_of(obj), name_of(obj))


def owner_uids(obj: Object) -> set[str]:
    return {reference["uid"] for reference in owner_references(obj)}


def blocks(obj: Object, owner_uid: str) -> bool:
    """Whether this dependent holds up the foreground deletion of that owner."""
    return any(r["uid"] == owner_uid and r.get("blockOwnerDeletion") for r in owner_references(obj))


def finalizers_of(obj: Object) -> Collection[str]:
    return obj["metadata"].get("finalizers") or ()


def waits_for_dependents(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp")) and FOREGROUND in finalizers_of(obj)


def orphans_dependents(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp")) and ORPHAN in finalizers_of(obj)


class OwnerGraph:
    def __init__(self) -> None:
        self._dependents: dict[str, dict[GraphKey, None]] = {}
        self._absent: OrderedDict[str, None] = OrderedDict()
        self._orphaned: OrderedDict[str, None] = OrderedDict()

    def dependents(self, owner_uid: str) -> list[GraphKey]:
        return list(self._dependents.get(owner_uid, ()))

    def update(self, key: GraphKey, old: Object | None, new: Object | None) -> None:
        before = owner_uids(old) if old else set()
        after = owner_uids(new) if new else set()
        for uid in before - after:
            entries = self._dependents.get(uid)
            if entries is not None:
                entries.pop(key, None)
                if not entries:
                    del self._dependents[uid]
        for uid in after - before:
            self._dependents.setdefault(uid, {})[key] = None

    def note_absent(self, uid: str) -> None:
        """This uid is gone for good: uids are never used twice."""
        _note(self._absent, uid)

    def is_absent(self, uid: str) -> bool:
        return uid in self._absent

    def note_orphaned(self, uid: str) -> None:
        """Its dependents were set free. One that was not known then, since its kind could not be read, is freed when
        it becomes known."""
        _note(self._orphaned, uid)

    def has_orphaned(self, uid: str) -> bool:
        return uid in self._orphaned

    def note_deleted(self, obj: Object) -> None:
        self.note_absent(uid_of(obj))


def _note(uids: OrderedDict[str, None], uid: str) -> None:
    uids[uid] = None
    if len(uids) > _ABSENT:
        uids.popitem(last=False)
