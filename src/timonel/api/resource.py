"""One row per kind: what routing, discovery, storage, OpenAPI, tables and the write path need to know of it.

A new kind is a `Resource` row, a `Strategy` and fixtures (CONTRIBUTING.md). The rows of the built-in kinds are in
`timonel.api.kinds`; CustomResourceDefinitions will make the same rows at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from timonel.api.errors import FieldError
from timonel.api.names import validate_dns1123_subdomain
from timonel.api.objects import Object, copy_object
from timonel.api.refs import ResourceRef

STORED_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

Cell = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column. `value` gets the object and the present time (for ages) and returns a JSON scalar.

    `priority` 0 is always shown, 1 with `-o wide`. Source: meta/v1 TableColumnDefinition.
    """

    name: str
    value: Callable[[Object, datetime], Cell]
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


class Occasion(NamedTuple):
    """Of a write, what the server knows beside the objects: when, through what, by whom."""

    now: datetime
    subresource: str = ""
    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = MappingProxyType({})


class Strategy:
    """What one kind adds to the generic write path.

    `default` and `prepare_*` change the object given to them, a private copy but where they say so; `validate_*` only
    report.
    The generic path has by then dropped nulls, checked types against the schema, and it itself owns all of
    metadata: names, uid, timestamps, generation, managed fields, and their validation.
    Order on create: default → mutating admission → prepare_create → stamp → validate_create → validating admission.
    On update: default → mutating admission → prepare_update → stamp → validate_update → validating admission; `old` is
    read-only.
    """

    create_on_update = False
    """PUT of an object that does not exist creates it."""
    allow_unconditional_update = True
    """PUT without a resourceVersion overwrites whatever is there."""
    tracks_generation = True
    """metadata.generation starts at 1 and rises when anything but metadata and status changes."""
    generation_rises = True
    """Whether changes raise it. PriorityClasses stay at 1."""
    status_on_create = False
    """Whether clients may create objects with a status; else it is dropped. True for Nodes."""
    generation_follows: tuple[str, ...] = ()
    """Fields of metadata whose changes raise the generation too: a Deployment's annotations."""
    status_carries: tuple[str, ...] = ("labels", "annotations", "finalizers")
    """Fields of metadata that an update of the status may change too; for most kinds upstream lets these pass."""
    deletes_gracefully = False
    """Whether a delete may leave the object a period to end in: only Pods have one."""
    delete_warning = ""
    """What a delete that names no propagation policy is warned of."""
    orphans_dependents = False
    """A delete that names no propagation policy leaves dependents alone: Jobs and ReplicationControllers."""

    def validate_name(self, name: str) -> list[str]:
        """What is wrong with metadata.name, worded without the path; most kinds take a DNS subdomain."""
        return validate_dns1123_subdomain(name)

    repeats = False
    """Whether many objects of the kind are alike but for their names."""
    shares_parts = False
    """Whether `prepare_update` and `stamp` leave alone what a patch did not touch, or replace it: such parts of the new
    object are the old one's own. True without saying so where a strategy has neither."""

    def default(self, obj: Object) -> None:
        """Fills documented defaults. Must be idempotent."""

    def default_status(self, obj: Object) -> None:
        """The same for a write of the status: the other parts, which do not change then, are the live object's own."""
        if type(self).default is not Strategy.default:
            rest = {part: value for part, value in obj.items() if part not in ("metadata", "status")}
            whole = {**obj, **copy_object(rest)}
            self.default(whole)
            if "status" in whole:
                obj["status"] = whole["status"]

    def prepare_create(self, obj: Object) -> None:
        """Clears what clients may not set on create; by default, the status when the kind has that subresource."""

    def validate_create(self, obj: Object) -> list[FieldError]:
        return []

    def prepare_update(self, new: Object, old: Object) -> None:
        """Restores what this verb may not change; status is already restored when the kind has that subresource."""

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.validate_create(new)

    def prepare_status_update(self, new: Object, old: Object) -> None:
        """Spec and metadata (but labels, annotations, finalizers, managedFields) are already restored from `old`."""

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return []

    def stamp(self, new: Object, old: Object | None, occasion: Occasion) -> None:
        """Writes what only the server knows: the time of a transition, who asks. After prepare_*, before validate_*."""

    def grace_period_seconds(self, obj: Object, requested: int | None) -> int:
        """How long a deleted object stays, marked, before it goes: 0 is at once. Only Pods wait."""
        return 0

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        """Texts for `Warning: 299` headers on create (old is None) and update."""
        return []

    def status_warnings(self, obj: Object, old: Object) -> list[str]:
        """The same for an update of the status."""
        return []


@dataclass(frozen=True, slots=True)
class Subresource:
    """`kind`, `group`, `version` name the body when it is not the parent's own (Scale, Eviction, TokenRequest)."""

    name: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    kind: str = ""
    group: str = ""
    version: str = ""
    strategy: Strategy | None = None
    """Rules of writing the whole object through it, in place of the kind's own: `prepare_update`, `stamp`,
    `validate_update`. None for `status`, whose rules every strategy has, and for those that a handler answers."""


@dataclass(frozen=True, slots=True)
class Resource:
    ref: ResourceRef
    definition: str
    """Name in the OpenAPI definitions: "io.k8s.api.core.v1.Pod"."""
    singular: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = STORED_VERBS
    """("create",) alone marks a review: answered, never stored."""
    subresources: tuple[Subresource, ...] = ()
    strategy: Strategy = field(default_factory=Strategy)
    columns: tuple[Column, ...] = ()
    selectable_fields: Mapping[str, Callable[[Object], str]] = field(default_factory=dict)
    """Beside metadata.name and metadata.namespace, which every kind has."""
    storage_prefix: str = ""
    """Where objects live in the store, upstream's layout: "/registry/pods/". "" for reviews."""
    has_status: bool = False
    deprecation: str = ""
    """The text of a `Warning: 299` header on every request to this resource; "" when it is not deprecated."""

    def subresource(self, name: str) -> Subresource | None:
        return next((sub for sub in self.subresources if sub.name == name), None)

    def storage_key(self, namespace: str, name: str) -> str:
        if self.ref.namespaced:
            return f"{self.storage_prefix}{namespace}/{name}"
        return f"{self.storage_prefix}{name}"

    def storage_range(self, namespace: str = "") -> str:
        """The key prefix of all objects, or of one namespace's."""
        if self.ref.namespaced and namespace:
            return f"{self.storage_prefix}{namespace}/"
        return self.storage_prefix


class ResourceTable:
    """All rows a server serves, found by the names requests use. Lookups are one dict access."""

    def __init__(self, rows: Iterable[Resource]) -> None:
        self.rows: list[Resource] = []
        self._by_plural: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str, str], Resource] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Resource) -> None:
        ref = row.ref
        self.rows.append(row)
        self._by_plural[ref.group, ref.version, ref.plural] = row
        self._by_kind[ref.group, ref.version, ref.kind] = row

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_plural.get((group, version, plural))

    def find_kind(self, group: str, version: str, kind: str) -> Resource | None:
        return self._by_kind.get((group, version, kind))

    def row(self, ref: ResourceRef) -> Resource:
        """The row of a reference from `timonel.api.refs`; KeyError when it is not served."""
        return self._by_plural[ref.group, ref.version, ref.plural]


def split_api_version(api_version: Any) -> tuple[str, str]:
    """Takes "apps/v1" -> ("apps", "v1"), "v1" -> ("", "v1")."""
    group, _, version = str(api_version or "").rpartition("/")
    return group, version
