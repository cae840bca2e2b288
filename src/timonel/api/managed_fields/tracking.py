"""Field management for create, update and every patch but apply: who wrote a field last owns it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from timonel.api.clock import format_time
from timonel.api.managed_fields.changes import find_changes
from timonel.api.managed_fields.managers import InvalidEntries, ManagerKey, Managers, ignored_branches, strip
from timonel.api.managed_fields.typed import Changes
from timonel.api.managed_fields.views import Views, changes_in
from timonel.api.objects import Object
from timonel.api.schema import schemas


def update_managed(
    old: Object | None,
    new: Object,
    definition: str,
    manager: str,
    now: datetime,
    api_version: str,
    subresource: str = "",
    *,
    ignored: Iterable[tuple[str, ...]] | None = None,
    views: Views | None = None,
) -> None:
    """Writes new.metadata.managedFields for a change from `old` (None on create) to `new`, both normalised.

    A client clears all tracking by sending managedFields [] or [{}], and may edit entries; what it sends malformed, or
    leaves out, or sends through a subresource, is replaced by the old object's. `ignored` are branches of fields that
    this request cannot change, by default by subresource; `views` are the other versions that managers may speak. A
    pod's status update costs about 55 µs, its create 85 µs.
    """
    metadata = new.setdefault("metadata", {})
    managers = _managers_to_start_from(old, metadata.pop("managedFields", None), subresource)
    if not managers.entries and old is not None:
        return  # tracking was never begun, or was cleared: only an apply begins it again
    node = schemas().node(definition)
    changes = find_changes(old, new, node)
    branches = ignored_branches(subresource) if ignored is None else tuple(ignored)
    changes = Changes(strip(changes.changed, branches), strip(changes.removed, branches))
    if changes.changed or changes.removed:
        key = ManagerKey.of(manager, "Update", api_version, subresource)
        managers.give_up(changes, key, changes_in(views, managers, old, new, branches) if views and old else None)
        managers.take(key, api_version, changes, format_time(now))
        managers.cap()
    if managers.entries:
        metadata["managedFields"] = managers.write()


def differs_only_in_times(new: Object, old: Object) -> bool:
    """Whether only the times of managed fields have changed, which is no reason to write.

    An apply of `env: []` to a container without any changes what is merged, and nothing of what is stored.
    """
    fields, before = new["metadata"].get("managedFields"), old["metadata"].get("managedFields")
    if not fields or not before or len(fields) != len(before):
        return False
    if any({**one, "time": None} != {**other, "time": None} for one, other in zip(fields, before, strict=True)):
        return False
    return {**new, "metadata": {**new["metadata"], "managedFields": before}} == old


def _managers_to_start_from(old: Object | None, sent: Any, subresource: str) -> Managers:
    before = old["metadata"].get("managedFields") if old is not None else None
    if not subresource:
        if sent is not None and (not sent or sent == [{}]):
            return Managers()
        if sent and sent != before:
            try:
                return Managers.read_checked(sent).without_empty()
            except InvalidEntries:
                pass
    try:
        return Managers.read(before)
    except InvalidEntries:
        return Managers()
