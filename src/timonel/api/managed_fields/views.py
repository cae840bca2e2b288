"""Kinds that are served in several shapes: each manager's fields are those of the version that it spoke.

Source: kubernetes.io/docs/reference/using-api/server-side-apply ("managedFields", apiVersion).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from timonel.api.managed_fields.changes import find_changes
from timonel.api.managed_fields.field_set import FieldSet, difference, intersection, union
from timonel.api.managed_fields.managers import ManagerKey, Managers, strip
from timonel.api.managed_fields.merging import prune
from timonel.api.managed_fields.typed import Changes, applied_fields
from timonel.api.nodes import Node
from timonel.api.objects import Object
from timonel.api.schema import schemas


@dataclass(frozen=True, slots=True)
class View:
    """One version, seen from the one at hand. Neither function changes what it is given."""

    definition: str
    to: Callable[[Object], Object]
    back: Callable[[Object], Object]

    @property
    def node(self) -> Node:
        return schemas().node(self.definition)


Views = Mapping[str, View]
"""By apiVersion, without the one at hand."""


def changes_in(
    views: Views, managers: Managers, old: Object, new: Object, ignored: tuple[tuple[str, ...], ...]
) -> dict[str, Changes]:
    """What a write changes, in the fields of each other version that some manager spoke."""
    found = {}
    for version in {entry.api_version for entry in managers.entries.values()} if views else ():
        if view := views.get(version):
            changes = find_changes(view.to(old), view.to(new), view.node)
            found[version] = Changes(strip(changes.changed, ignored), strip(changes.removed, ignored))
    return found


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a manager no longer applies goes, unless somebody owns it, in whatever version.

    `applied` is what it applies now, in the version at hand, with all that is never recorded.
    """

    node: Node
    api_version: str
    views: Views
    managers: Managers
    applied: FieldSet
    key: ManagerKey

    def prune(self, merged: Object, last: FieldSet, last_version: str) -> Object:
        owned = self._owned()
        here = self.api_version
        view = self.views.get(last_version)
        if view is None and len(owned) == 1:
            alone: Object = prune(merged, self.node, last, owned[here])
            return alone
        view = view or View("", _same, _same)
        node = view.node if view.definition else self.node
        before = view.to(merged)
        pruned = view.back(prune(before, node, last, owned.pop(last_version, {})))
        for version, fields in owned.items():
            if version == here:
                pruned = self._without_rest(merged, pruned, self.node, fields)
            elif other := self.views.get(version):
                pruned = other.back(self._without_rest(other.to(merged), other.to(pruned), other.node, fields))
        # What the manager did not own itself stays, and so does what comes back under the same name as another value.
        left = applied_fields(view.to(pruned), node)
        gone = intersection(difference(applied_fields(before, node), left), last)
        return view.back(prune(before, node, gone, left))

    @staticmethod
    def _without_rest(merged: Any, pruned: Any, node: Node, owned: FieldSet) -> Any:
        """What was pruned in another version comes back where somebody owns it in this one."""
        left = applied_fields(pruned, node)
        return prune(merged, node, difference(applied_fields(merged, node), left), union(left, owned))

    def _owned(self) -> dict[str, FieldSet]:
        owned: dict[str, FieldSet] = {self.api_version: self.applied}
        for key, entry in self.managers.entries.items():
            if key != self.key:
                version = entry.api_version if entry.api_version in self.views else self.api_version
                owned[version] = union(owned.get(version, {}), entry.fields)
        return owned


def _same(obj: Object) -> Object:
    return obj
