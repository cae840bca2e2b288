"""metadata.managedFields: who owns what. Reading, writing, and the bookkeeping after a change.

Source: kubernetes.io/docs/reference/using-api/server-side-apply ("Field management"), meta/v1 ManagedFieldsEntry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, NamedTuple

from timonel.api.field_errors import quote
from timonel.api.managed_fields.field_set import (
    FieldSet,
    difference,
    intersection,
    is_field_set,
    ordered,
    union,
    without_branch,
)  # fmt: skip
from timonel.api.managed_fields.typed import Changes
from timonel.api.objects import Object

MAX_UPDATE_MANAGERS = 10
"""More entries from updates than these are merged, oldest first, into one called ANCIENT."""
ANCIENT = "ancient-changes"

# Never owned by anyone: the identity of the object and what the server itself writes.
UNTRACKED = frozenset({"apiVersion", "kind"})
UNTRACKED_METADATA = frozenset(
    {
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
        "resourceVersion",
    }
)  # fmt: skip
_STRIPPED: FieldSet = {
    **{f"f:{name}": {} for name in UNTRACKED},
    "f:metadata": {".": {}, **{f"f:{name}": {} for name in UNTRACKED_METADATA}},
}


class ManagerKey(NamedTuple):
    """What makes two entries the same: an applier is one whatever version it applies."""

    manager: str
    operation: str
    """"Apply" or "Update"."""
    api_version: str
    subresource: str

    @classmethod
    def of(cls, manager: str, operation: str, api_version: str, subresource: str) -> ManagerKey:
        return cls(manager or "unknown", operation, "" if operation == "Apply" else api_version, subresource)

    def __str__(self) -> str:
        text = quote(self.manager)
        if self.subresource:
            text += f" with subresource {quote(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(slots=True)
class Entry:
    """Nobody changes one: `replace` makes another. (Frozen ones take three times as long to make.)"""

    api_version: str
    fields: FieldSet
    time: str | None = None
    """RFC 3339; null in what clients wrote without it."""
    wire: Object | None = field(default=None, compare=False)
    """The entry as it was read; what did not change of it is written again as it is."""


class InvalidEntries(ValueError):
    pass


class Managers:
    """All entries of an object, by manager."""

    def __init__(self, entries: Mapping[ManagerKey, Entry] | None = None) -> None:
        self.entries: dict[ManagerKey, Entry] = dict(entries or {})

    @classmethod
    def read(cls, managed_fields: Iterable[Any] | None) -> Managers:
        """From metadata.managedFields. Raises InvalidEntries for what no server wrote."""
        entries: dict[ManagerKey, Entry] = {}
        for index, wire in enumerate(managed_fields or ()):
            operation, api_version = wire.get("operation"), wire.get("apiVersion")
            if operation not in ("Apply", "Update"):
                raise InvalidEntries("operation must be `Apply` or `Update`")
            if not api_version:
                raise InvalidEntries("apiVersion must not be empty")
            if (kind := wire.get("fieldsType") or "") != "FieldsV1":
                why = f"invalid fieldsType {quote(kind)}" if kind else "missing fieldsType"
                raise InvalidEntries(f"{why} in managed fields entry {index}")
            key = ManagerKey.of(wire.get("manager") or "", operation, api_version, wire.get("subresource") or "")
            entries[key] = Entry(api_version, wire.get("fieldsV1") or {}, wire.get("time"), wire)
        return cls(entries)

    @classmethod
    def read_checked(cls, managed_fields: Iterable[Any] | None) -> Managers:
        """As `read`, for entries that a client sent: their fields are looked at too."""
        managers = cls.read(managed_fields)
        for entry in managers.entries.values():
            if not is_field_set(entry.fields):
                raise InvalidEntries("error decoding set: invalid path element")
        return managers

    def without_empty(self) -> Managers:
        """Without entries that own nothing, which a client may have sent."""
        return Managers({key: entry for key, entry in self.entries.items() if entry.fields})

    def write(self) -> list[Object]:
        """For metadata.managedFields: appliers first, then by age."""
        keys = sorted(
            self.entries,
            key=lambda key: (
                key.operation, self.entries[key].time or "", key.manager, self.entries[key].api_version,
                key.subresource,
            ),
        )  # fmt: skip
        return [_wire(key, self.entries[key]) for key in keys]

    def conflicts(
        self, changed: FieldSet, actor: ManagerKey, elsewhere: Mapping[str, Changes] | None = None
    ) -> dict[ManagerKey, FieldSet]:
        """What others own of the changed fields; `elsewhere` are the changes in the fields of other versions."""
        found = {}
        for key, entry in self.entries.items():
            theirs = elsewhere[entry.api_version].changed if elsewhere and entry.api_version in elsewhere else changed
            if key != actor and (shared := intersection(entry.fields, theirs)):
                found[key] = shared
        return found

    def give_up(self, changes: Changes, actor: ManagerKey, elsewhere: Mapping[str, Changes] | None = None) -> None:
        """Others lose the fields that changed or went; entries left empty go too. The actor's entry is its own."""
        for key, entry in list(self.entries.items()):
            if key == actor:
                continue
            changed, removed = elsewhere.get(entry.api_version, changes) if elsewhere else changes
            kept = difference(difference(entry.fields, changed), removed)
            if not kept:
                del self.entries[key]
            elif kept is not entry.fields:
                self.entries[key] = replace(entry, fields=kept)

    def take(self, key: ManagerKey, api_version: str, changes: Changes, time: str) -> None:
        """An updater loses what it removed and gets what it changed; the time moves only with the second."""
        previous = self.entries.get(key) or Entry(api_version, {})
        fields = union(difference(previous.fields, changes.removed), changes.changed)
        if not fields:
            self.entries.pop(key, None)
        elif changes.changed:
            self.entries[key] = replace(previous, fields=fields, time=time)
        else:
            self.entries[key] = replace(previous, fields=fields)

    def cap(self) -> None:
        """Merges the oldest entries from updates when there are too many."""
        updaters = [key for key in self.entries if key.operation == "Update"]
        excess = len(updaters) - MAX_UPDATE_MANAGERS
        if excess <= 0:
            return
        updaters.sort(key=lambda key: (self.entries[key].time or "", key))
        first: dict[str, ManagerKey] = {}
        for key in updaters:
            if excess <= 0:
                break
            entry = self.entries[key]
            if entry.api_version not in first:
                first[entry.api_version] = key
                continue
            bucket = ManagerKey.of(ANCIENT, "Update", entry.api_version, "")
            if bucket not in self.entries:
                self.entries[bucket] = self.entries.pop(first[entry.api_version])
            merged = union(entry.fields, self.entries[bucket].fields)
            if key != bucket:
                del self.entries[key]
            self.entries[bucket] = Entry(entry.api_version, merged, entry.time)
            excess -= 1


def rewritten(before: list[Object], actor: ManagerKey, changes: Changes, time: str) -> list[Object] | None:
    """What `read`, `give_up`, `take`, `cap` and `write` come to, entry by entry as they are stored: a third of the cost
    for most writes, which move no more than the actor's time. `before` itself where nothing moves; None for entries
    that no server writes, or too many, which are left to the long way."""
    changed, removed = changes
    known: set[ManagerKey] = set()
    ranked: list[tuple[tuple[str, str, str, str, str], Object]] = []
    same, is_new, updates = True, bool(changed), 0
    for wire in before:
        fields, version, operation = wire.get("fieldsV1"), wire.get("apiVersion"), wire.get("operation")
        if not fields or not version or wire.get("fieldsType") != "FieldsV1" or operation not in ("Apply", "Update"):
            return None
        key = ManagerKey.of(wire.get("manager") or "", operation, version, wire.get("subresource") or "")
        if key in known:
            return None
        known.add(key)
        at, left = wire.get("time"), fields
        if key == actor:
            is_new = False
            if removed:
                left = difference(left, removed)
            if changed:
                left, at = union(left, changed), time
        else:
            if changed:
                left = difference(left, changed)
            if removed:
                left = difference(left, removed)
        if not left:
            same = False
            continue
        if left is not fields or at != wire.get("time"):
            same = False
            wire = _wire(key, Entry(version, left, at, wire))
        updates += operation == "Update"
        ranked.append(((operation, at or "", key.manager, version, key.subresource), wire))
    if is_new:
        same = False
        updates += 1
        entry = Entry(actor.api_version, changed, time)
        ranked.append(
            ((actor.operation, time, actor.manager, actor.api_version, actor.subresource), _wire(actor, entry))
        )
    if (changed or removed) and updates > MAX_UPDATE_MANAGERS:
        return None
    if any(ranked[index][0] > ranked[index + 1][0] for index in range(len(ranked) - 1)):
        same = False
        ranked.sort(key=itemgetter(0))
    return before if same else [wire for _, wire in ranked]


def _wire(key: ManagerKey, entry: Entry) -> Object:
    read = entry.wire
    unchanged = read is not None and read.get("fieldsV1") is entry.fields
    if read is not None and unchanged and read.get("time") == entry.time:
        return read
    wire: Object = {"manager": key.manager, "operation": key.operation, "apiVersion": entry.api_version}
    if entry.time:
        wire["time"] = entry.time
    wire["fieldsType"] = "FieldsV1"
    wire["fieldsV1"] = entry.fields if unchanged else ordered(entry.fields)
    if key.subresource:
        wire["subresource"] = key.subresource
    return wire


def strip(fields: FieldSet, ignored: Iterable[tuple[str, ...]] = ()) -> FieldSet:
    """Without what is never tracked, and without `ignored` branches such as ("f:status",)."""
    if not _STRIPPED.keys().isdisjoint(fields):
        fields = difference(fields, _STRIPPED)
    return without_branches(fields, ignored)


def without_branches(fields: FieldSet, branches: Iterable[tuple[str, ...]]) -> FieldSet:
    for path in branches:
        fields = without_branch(fields, path)
    return fields


def ignored_branches(subresource: str) -> tuple[tuple[str, ...], ...]:
    """What a request through this subresource cannot change and so cannot own."""
    match subresource:
        case "":
            return (("f:status",),)
        case "status":
            return (("f:spec",), ("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:ownerReferences"))
    return ()
