"""Server-side apply: the configuration of one manager, merged with everybody else's.

Source: kubernetes.io/docs/reference/using-api/server-side-apply.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from timonel.api.clock import format_time
from timonel.api.errors import BadRequest, Conflict
from timonel.api.managed_fields.changes import find_changes
from timonel.api.managed_fields.field_set import FieldSet, difference, paths, show_path
from timonel.api.managed_fields.managers import (
    Entry,
    InvalidEntries,
    ManagerKey,
    Managers,
    ignored_branches,
    strip,
    without_branches,
)  # fmt: skip
from timonel.api.managed_fields.merging import merge
from timonel.api.managed_fields.typed import applied_fields, find_type_problems
from timonel.api.managed_fields.views import Pruning, Views, changes_in
from timonel.api.nodes import Node
from timonel.api.objects import Object, copy_object
from timonel.api.schema import schemas

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
BEFORE_FIRST_APPLY = "before-first-apply"
_MAX_ANNOTATIONS_BYTES = 256 * 1024


def apply(
    live: Object | None,
    config: Object,
    definition: str,
    manager: str,
    force: bool,
    now: datetime,
    api_version: str,
    subresource: str = "",
    *,
    ignored: Iterable[tuple[str, ...]] | None = None,
    views: Views | None = None,
) -> Object:
    """The object after applying `config` as `manager`; it shares nothing with the arguments.

    `live` is None to create. The result is still to be checked, defaulted and validated, and has its managedFields;
    when nothing changed it equals `live`. Raises Conflict, naming managers and fields, when others own what would
    change and `force` is not set; BadRequest for a configuration that does not fit the kind. `views` are the other
    versions that managers may speak.
    """
    node = schemas().node(definition)
    _check_config(live, config, node, definition, api_version)
    current: Object = live if live is not None else {"kind": config["kind"], "apiVersion": config["apiVersion"]}
    run = _Apply(current, config, node, manager, api_version, subresource, now)
    run.ignored = ignored_branches(subresource) if ignored is None else tuple(ignored)
    run.views = views or {}
    run.managers = _read_managers(live, node, api_version, now, subresource)
    result = run.apply(force)
    if manager == "kubectl":
        _refresh_last_applied(result, config)
    return result


def _check_config(live: Object | None, config: Object, node: Node, definition: str, api_version: str) -> None:
    kind = (live or {}).get("kind") or definition.rpartition(".")[2]
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    if problems := find_type_problems(config, node):
        name = metadata.get("name") or "" if isinstance(metadata, dict) else ""
        namespace = metadata.get("namespace") or "" if isinstance(metadata, dict) else ""
        found = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {text}" for text in problems)
        version = api_version if "/" in api_version else f"/{api_version}"
        raise BadRequest(f"failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): {found}")


def _read_managers(live: Object | None, node: Node, api_version: str, now: datetime, subresource: str) -> Managers:
    if live is None:
        return Managers()
    try:
        managers = Managers.read(live["metadata"].get("managedFields"))
    except InvalidEntries as exc:
        raise BadRequest(f"failed to decode managed fields: {exc}") from None
    if not managers.entries:
        # Nobody was tracked so far: what is there belongs to a manager of that name, who can be conflicted with.
        fields = strip(find_changes(None, live, node).changed)
        if fields:
            key = ManagerKey.of(BEFORE_FIRST_APPLY, "Update", api_version, subresource)
            managers.entries[key] = Entry(api_version, fields, format_time(now))
    return managers


class _Apply:
    """One apply, step by step."""

    managers: Managers
    ignored: tuple[tuple[str, ...], ...]
    views: Views

    def __init__(
        self, live: Object, config: Object, node: Node, manager: str, api_version: str, subresource: str, now: datetime
    ) -> None:
        self.live = live
        self.config = config
        self.node = node
        self.api_version = api_version
        self.now = now
        self.key = ManagerKey.of(manager, "Apply", api_version, subresource)

    def apply(self, force: bool) -> Object:
        applied = applied_fields(self.config, self.node)
        claimed = strip(applied, self.ignored)
        previous = self.managers.entries.get(self.key)
        merged = merge(self.live, self.config, self.node)
        if previous is not None and previous.fields:
            # Nobody is recorded as the owner of names and the like; what applies them must not lose them even so.
            mine = without_branches(applied, self.ignored)
            pruning = Pruning(self.node, self.api_version, self.views, self.managers, mine, self.key)
            merged = pruning.prune(merged, previous.fields, previous.api_version)
        changes = find_changes(self.live, merged, self.node)
        changed = strip(changes.changed, self.ignored)
        changes = changes._replace(changed=changed, removed=strip(changes.removed, self.ignored))
        elsewhere = changes_in(self.views, self.managers, self.live, merged, self.ignored)
        if not force:
            self._refuse(self.managers.conflicts(changed, self.key, elsewhere))
        self._claim(claimed, previous, unchanged=not changes.changed and not changes.removed)
        self.managers.give_up(changes, self.key, elsewhere)
        result = copy_object(merged)
        metadata = result.setdefault("metadata", {})
        metadata.pop("managedFields", None)
        if self.managers.entries:
            metadata["managedFields"] = copy_object({"entries": self.managers.write()})["entries"]
        return result

    def _claim(self, claimed: FieldSet, previous: Entry | None, *, unchanged: bool) -> None:
        if not claimed:
            self.managers.entries.pop(self.key, None)
            return
        entry = Entry(self.api_version, claimed, format_time(self.now))
        if unchanged:
            # Only a change of the object has a time: who claims what is there already has none.
            entry = replace(entry, time=None if previous is None else previous.time)
            if entry == previous:
                entry = previous
        self.managers.entries[self.key] = entry

    def _refuse(self, conflicts: dict[ManagerKey, FieldSet]) -> None:
        """Raises Conflict when there are conflicts that client-side apply does not excuse."""
        if conflicts and self.key.manager == "kubectl":
            excused = _last_applied_fields(self.live, self.node, self.api_version)
            conflicts = {key: left for key, fields in conflicts.items() if (left := difference(fields, excused))}
        if not conflicts:
            return
        found = [(key, path) for key in sorted(conflicts, key=_rank) for path in paths(conflicts[key])]
        causes = [
            {"reason": "FieldManagerConflict", "message": f"conflict with {key}", "field": show_path(path)}
            for key, path in found
        ]
        if len(found) == 1:
            key, path = found[0]
            message = f"Apply failed with 1 conflict: conflict with {key}: {show_path(path)}"
        else:
            lines = []
            for key in sorted(conflicts, key=_rank):
                lines.append(f"conflicts with {key}:")
                lines += [f"- {show_path(path)}" for path in paths(conflicts[key])]
            listed = "\n".join(lines)
            message = f"Apply failed with {len(found)} conflicts: {listed}"
        raise Conflict(message, details={"causes": causes})


def _rank(key: ManagerKey) -> tuple[str, str, str, bool, str]:
    """Where a manager stands in messages: one that writes through a subresource before its plain self."""
    return key.manager, key.operation, key.api_version, not key.subresource, key.subresource


def _last_applied_fields(live: Object, node: Node, api_version: str) -> FieldSet:
    """What kubectl last applied from the client side and is still so: it may take that over without a conflict."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        last: Any = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(last, dict) or last.get("apiVersion") != api_version or find_type_problems(last, node):
        return {}
    changes = find_changes(last, live, node)
    return difference(difference(applied_fields(last, node), changes.changed), changes.removed)


def _refresh_last_applied(result: Object, config: Object) -> None:
    """Keeps the annotation of client-side apply true after kubectl applied from the server side."""
    annotations = result["metadata"].get("annotations")
    if not annotations or not annotations.get(LAST_APPLIED):
        return
    last = copy_object(config)
    (last.get("metadata") or {}).get("annotations", {}).pop(LAST_APPLIED, None)
    annotations[LAST_APPLIED] = orjson.dumps(last, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _MAX_ANNOTATIONS_BYTES:
        del annotations[LAST_APPLIED]
