"""metadata.managedFields: who owns what. Reading, writing, and the bookkeeping after a change.

Source: kubernetes.io/docs/reference/using-api/server-side-apply ("Field management"), meta/v1 ManagedFieldsEntry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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


def retimed(before: list[Object], actor: ManagerKey, changes: Changes, time: str) -> list[Object] | None:
    """What `read`, `give_up`, `take`, `cap` and `write` come to where all that changed is the actor's already and
    nobody else's, as with most writes: only the actor's time moves. None where that is not so, or cannot be told from
    a glance; `before` itself where nothing moves. A quarter of the cost of the long way."""
    changed, removed = changes
    changes_any = bool(changed or removed)
    known: set[tuple[str, str, str, str]] = set()
    ranks: list[tuple[str, str, str, str, str]] = []
    mine, updates = -1, 0
    for index, wire in enumerate(before):
        fields, version, operation = wire.get("fieldsV1"), wire.get("apiVersion"), wire.get("operation")
        if not fields or not version or wire.get("fieldsType") != "FieldsV1":
            return None
        manager, subresource = wire.get("manager") or "unknown", wire.get("subresource") or ""
        if operation == "Update":
            updates += 1
            key = (manager, operation, version, subresource)
        elif operation == "Apply":
            key = (manager, operation, "", subresource)
        else:
            return None
        if key in known:
            return None
        known.add(key)
        at = wire.get("time") or ""
        if key == actor:
            mine = index
            if changed:
                at = time
            if changes_any and (union(fields, changed) is not fields or difference(fields, removed) is not fields):
                return None
        elif changes_any and (difference(fields, changed) is not fields or difference(fields, removed) is not fields):
            return None
        ranks.append((operation, at, manager, version, subresource))
    if changes_any and (mine < 0 or updates > MAX_UPDATE_MANAGERS):
        return None
    after = before
    if changed and (before[mine].get("time") or "") != time:
        entry = Entry(actor.api_version, before[mine]["fieldsV1"], time, before[mine])
        after = [*before]
        after[mine] = _wire(actor, entry)
    if any(ranks[index] > ranks[index + 1] for index in range(len(ranks) - 1)):
        return [after[index] for index in sorted(range(len(ranks)), key=ranks.__getitem__)]
    return after


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
