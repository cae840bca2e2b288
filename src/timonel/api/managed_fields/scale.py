"""Field management across the scale subresource: who owns a Scale's replicas, and what that means for its workload.

A Scale has no managed fields of its own. Those of the workload that own its replicas are shown as owners of the
Scale's; what a write through the Scale does to them is carried back. Entries made so have no time, as upstream's.
Source: kubernetes.io/docs/reference/using-api/server-side-apply ("Transferring ownership").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from timonel.api.managed_fields.field_set import FieldSet, difference, intersection, union
from timonel.api.managed_fields.managers import Entry, InvalidEntries, ManagerKey, Managers
from timonel.api.objects import Object

SCALE_VERSION = "autoscaling/v1"
REPLICAS: FieldSet = {"f:spec": {"f:replicas": {}}}
"""The same path in a Scale and in every built-in workload."""

_Who = tuple[str, str, str]
"""Manager, operation, subresource: an updater's version is the workload's in one place and the Scale's in the other."""


def managed_of_scale(managed_fields: Iterable[Any] | None) -> list[Object]:
    """metadata.managedFields of the Scale of a workload that has these."""
    entries: dict[ManagerKey, Entry] = {}
    for key, entry in _read(managed_fields).entries.items():
        if intersection(entry.fields, REPLICAS):
            seen = ManagerKey.of(key.manager, key.operation, SCALE_VERSION, key.subresource)
            entries[seen] = Entry(SCALE_VERSION, REPLICAS, entry.time)
    return Managers(entries).write()


def managed_of_workload(
    managed_fields: Iterable[Any] | None, scale_fields: Iterable[Any] | None, api_version: str
) -> list[Object]:
    """The workload's managedFields after a write that left its Scale with `scale_fields`."""
    managers = _read(managed_fields)
    shown = _read(scale_fields).entries
    owners = {_who(key): key for key, entry in shown.items() if intersection(entry.fields, REPLICAS)}
    for key, entry in list(managers.entries.items()):
        if _who(key) in owners:
            del owners[_who(key)]
            managers.entries[key] = replace(entry, fields=union(entry.fields, REPLICAS))
        elif left := difference(entry.fields, REPLICAS):
            managers.entries[key] = replace(entry, fields=left)
        else:
            del managers.entries[key]
    for manager, operation, subresource in owners:
        key = ManagerKey.of(manager, operation, api_version, subresource)
        managers.entries[key] = Entry(api_version, REPLICAS)
    return managers.write()


def _read(managed_fields: Iterable[Any] | None) -> Managers:
    try:
        return Managers.read(managed_fields)
    except InvalidEntries:
        return Managers()


def _who(key: ManagerKey) -> _Who:
    return key.manager, key.operation, key.subresource
