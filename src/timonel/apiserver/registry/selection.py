"""Which objects a list or a watch is about: namespace, name, labels and fields, as one quick predicate.

Selectors are parsed once per text, and the common ones ("app=web") become a closure of one dict look-up, for it runs
over every object of a list. Their texts are interned, as the labels of cached objects are: one that is the same object
is found and compared without a look at its letters.
Source: kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from sys import intern

from timonel.api.errors import BadRequest
from timonel.api.field_errors import quote
from timonel.api.fields import FieldSelector, InvalidFieldSelector, parse_field_selector
from timonel.api.labels import InvalidSelector, Selector, parse_label_selector
from timonel.api.resource import Resource
from timonel.storage.cached_object import CachedObject

Matches = Callable[[CachedObject], bool]


@dataclass(frozen=True, slots=True)
class Selection:
    """`matches` is None when every object of the namespace is meant. `name` and `field` narrow a watch beforehand."""

    namespace: str = ""
    name: str = ""
    field: tuple[str, str] | None = None
    """A field other than the name that must have this value."""
    matches: Matches | None = None
    label: tuple[str, str] | None = None
    """The one label that it is all about, if it is."""

    def among(self, objects: Sequence[CachedObject]) -> Sequence[CachedObject]:
        """Those that match. For a single label without a call for each object, which takes half the time."""
        if self.label is not None:
            key, value = self.label
            return [cached for cached in objects if cached.labels.get(key) == value]
        matches = self.matches
        return objects if matches is None else [cached for cached in objects if matches(cached)]


_UNKNOWN_FIELD = {
    "jobs": 'field label "{}" not supported for Job',
    "resourceslices": "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {}",
}
"""Kinds that upstream has its own words for."""
_MAX_REMEMBERED = 4096
"""Characters: selectors that are longer are read anew each time, so that they cannot fill the memory."""


def select(resource: Resource, namespace: str, label_text: str, field_text: str) -> Selection:
    """Raises BadRequest for selectors that do not parse or name a field the resource does not have."""
    if not label_text and not field_text:
        return Selection(namespace)
    is_long = len(label_text) + len(field_text) > _MAX_REMEMBERED
    labels = _labels.__wrapped__(label_text) if is_long else _labels(label_text)
    fields = _fields.__wrapped__(field_text) if is_long else _fields(field_text)
    for path, _, _ in fields.requirements:
        if path not in resource.selectable_fields and path != "metadata.name":
            if path == "metadata.namespace" and (resource.ref.namespaced or not resource.selectable_fields):
                continue
            raise BadRequest(
                _UNKNOWN_FIELD.get(resource.ref.plural, "field label not supported: {}").format(path)
                if resource.selectable_fields
                else f'{quote(path)} is not a known field selector: only "metadata.name", "metadata.namespace"'
            )
    name = fields.exact_value("metadata.name") or ""
    field = next(
        ((path, value) for path, op, value in fields.requirements if op == "=" and not path.startswith("metadata.")),
        None,
    )
    matches = _predicate.__wrapped__(labels, fields) if is_long else _predicate(labels, fields)
    return Selection(namespace, name, field, matches, None if field_text else _single_label(labels))


@lru_cache(maxsize=1024)
def _labels(text: str) -> Selector:
    try:
        return parse_label_selector(text)
    except InvalidSelector as exc:
        raise BadRequest(str(exc)) from exc


@lru_cache(maxsize=1024)
def _fields(text: str) -> FieldSelector:
    try:
        return parse_field_selector(text)
    except InvalidFieldSelector as exc:
        raise BadRequest(str(exc)) from exc


@lru_cache(maxsize=1024)
def _predicate(labels: Selector, fields: FieldSelector) -> Matches | None:
    by_label = _label_predicate(labels)
    if not fields.requirements:
        return by_label
    if by_label is None:
        return lambda cached: fields.matches(cached.field)
    return lambda cached: by_label(cached) and fields.matches(cached.field)


def _single_label(labels: Selector) -> tuple[str, str] | None:
    if len(labels.requirements) != 1 or labels.nothing:
        return None
    key = labels.requirements[0].key
    value = labels.exact_value(key)
    return None if value is None else (intern(key), intern(value))


def _label_predicate(labels: Selector) -> Matches | None:
    if labels.everything:
        return None
    if all(r.operator in ("=", "==", "in") and len(r.values) == 1 for r in labels.requirements) and not labels.nothing:
        wanted = [(intern(r.key), intern(r.values[0])) for r in labels.requirements]
        if len(wanted) == 1:
            key, value = wanted[0]
            return lambda cached: cached.labels.get(key) == value
        return lambda cached: all(cached.labels.get(key) == value for key, value in wanted)
    return lambda cached: labels.matches(cached.labels)
