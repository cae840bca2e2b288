"""Event, served in two shapes over one storage: core/v1, which is what is stored, and events.k8s.io/v1.

`to_core` and `from_core` convert; both leave their argument alone and lose nothing.
Source: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from timonel.api import refs
from timonel.api.kinds.columns import NAME, cell_at, plain, since
from timonel.api.kinds.fields import text_at
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

CORE_TO_V1 = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
V1_TO_CORE = {v1: core for core, v1 in CORE_TO_V1.items()}
# core/v1 always carries these, also when empty.
CORE_ALWAYS = {"reportingComponent": "", "reportingInstance": ""}


def to_core(event: Object) -> Object:
    """The core/v1 shape of an events.k8s.io/v1 Event; one already in core/v1 shape comes back equal."""
    if event.get("apiVersion") == "v1":
        return dict(event)
    core = {V1_TO_CORE.get(name, name): value for name, value in event.items()}
    core["apiVersion"] = "v1"
    for name, empty in CORE_ALWAYS.items():
        core.setdefault(name, empty)
    core.setdefault("involvedObject", {})
    return core


def from_core(event: Object) -> Object:
    """The events.k8s.io/v1 shape of a core/v1 Event."""
    if event.get("apiVersion") != "v1":
        return dict(event)
    shaped = {CORE_TO_V1.get(name, name): value for name, value in event.items()}
    shaped["apiVersion"] = "events.k8s.io/v1"
    return shaped


def source_of(event: Object) -> str:
    """What the field selector `source` compares; the stored (core) shape."""
    return get_path(event, "source", "component", default="") or event.get("reportingComponent") or ""


_OBJECT_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_CORE_FIELDS: dict[str, Callable[[Object], str]] = {
    **{f"involvedObject.{name}": text_at("involvedObject", name) for name in _OBJECT_FIELDS},
    "reason": text_at("reason"),
    "reportingComponent": text_at("reportingComponent"),
    "source": source_of,
    "type": text_at("type"),
}
# Selectors run over the stored shape whichever version they came through.
_V1_FIELDS: dict[str, Callable[[Object], str]] = {
    **{f"regarding.{name}": text_at("involvedObject", name) for name in _OBJECT_FIELDS},
    "reason": text_at("reason"),
    "reportingController": text_at("reportingComponent"),
    "type": text_at("type"),
}


class EventStrategy(Strategy):
    create_on_update = True
    tracks_generation = False


def _first_seen(event: Object, now: datetime) -> str:
    return since(event.get("firstTimestamp") or event.get("eventTime"), now)


def _last_seen(event: Object, now: datetime) -> str:
    series = event.get("series")
    if series:
        return since(series.get("lastObservedTime"), now)
    last = event.get("lastTimestamp")
    return since(last, now) if last else _first_seen(event, now)


def _count(event: Object) -> int:
    series = event.get("series")
    return int((series.get("count") or 0) if series else event.get("count") or 1)


def _object(event: Object) -> str:
    involved = event.get("involvedObject") or {}
    kind = (involved.get("kind") or "").lower()
    return f"{kind}/{involved['name']}" if involved.get("name") else kind


def _source(event: Object) -> str:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    instance = source.get("host") or event.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else component


_COLUMNS = (
    Column("Last Seen", _last_seen, description="Time since it last happened."),
    Column("Type", cell_at("type"), description="Normal or Warning."),
    Column("Reason", cell_at("reason"), description="What happened, in one word."),
    Column("Object", plain(_object), description="What it happened to."),
    Column("Subobject", cell_at("involvedObject", "fieldPath"), priority=1, description="Which part of it."),
    Column("Source", plain(_source), priority=1, description="Who reported it."),
    Column("Message", plain(lambda event: (event.get("message") or "").strip()), description="What happened."),
    Column("First Seen", _first_seen, priority=1, description="Time since it first happened."),
    Column("Count", plain(_count), priority=1, description="How often it happened."),
    replace(NAME, priority=1),
)
"""Cells read the stored (core) shape, as selectors do."""

EVENTS = Resource(
    ref=refs.EVENTS,
    definition="io.k8s.api.core.v1.Event",
    singular="event",
    short_names=("ev",),
    strategy=EventStrategy(),
    columns=_COLUMNS,
    selectable_fields=_CORE_FIELDS,
    storage_prefix="/registry/events/",
)
EVENTS_V1 = Resource(
    ref=refs.EVENTS_V1,
    definition="io.k8s.api.events.v1.Event",
    singular="event",
    short_names=("ev",),
    strategy=EventStrategy(),
    columns=_COLUMNS,
    selectable_fields=_V1_FIELDS,
    storage_prefix="/registry/events/",
)
