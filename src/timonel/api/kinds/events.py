"""Event, served in two shapes over one storage: core/v1, which is what is stored, and events.k8s.io/v1.

`to_core` and `from_core` convert; both leave their argument alone and lose nothing. Strategies, selectors and columns
of both rows work on the core shape.
Source: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, go_struct, invalid, required
from timonel.api.kinds.columns import NAME, cell_at, plain, since
from timonel.api.kinds.fields import text_at
from timonel.api.kinds.rules import Errors, check_immutable, check_text
from timonel.api.names import validate_dns1123_subdomain, validate_qualified_name
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
REPORTER_LIMIT = ACTION_LIMIT = REASON_LIMIT = 128
NOTE_LIMIT = 1024
_ELSEWHERE = "does not match event.namespace"
# In upstream's order, which looks at the reason twice.
_IMMUTABLE = (
    ("involvedObject", "involvedObject"), ("reason", "reason"), ("message", "message"), ("source", "source"),
    ("firstTimestamp", "firstTimestamp"), ("lastTimestamp", "lastTimestamp"), ("count", "count"),
    ("reason", "reason"), ("type", "type"), ("eventTime", "eventTime"), ("action", "action"), ("related", "related"),
    ("reportingComponent", "reportingController"), ("reportingInstance", "reportingInstance"),
)  # fmt: skip
_TEXTS = ("reason", "message", "type", "action", "reportingComponent", "reportingInstance")
_REFERENCE = {"Kind": "kind", "Namespace": "namespace", "Name": "name", "UID": "uid", "APIVersion": "apiVersion",
              "ResourceVersion": "resourceVersion", "FieldPath": "fieldPath"}  # fmt: skip


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


class EventStrategy(Strategy):
    """`strict` adds the rules of events.k8s.io/v1 to those that core/v1 always had."""

    create_on_update = True
    tracks_generation = False

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict

    def default(self, obj: Object) -> None:
        for name, empty in CORE_ALWAYS.items():
            if obj.get(name) is None:
                obj[name] = empty
        obj.setdefault("involvedObject", {})
        obj.setdefault("source", {})

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors = self._check(obj)
        if self._strict:
            _check_series(errors, obj)
            if not obj.get("eventTime"):
                errors.append(required(Path("eventTime")))
            kind = obj.get("type") or ""
            if kind not in ("Normal", "Warning"):
                errors.append(invalid(Path("type"), "", f"has invalid value: {kind}"))
            for name in ("firstTimestamp", "lastTimestamp", "count", "source"):
                if obj.get(name):
                    errors.append(invalid(Path(name), "", "needs to be unset"))
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self._check(new)
        if self._strict:
            if new.get("series") != old.get("series"):
                _check_series(errors, new)
            for name, called in _IMMUTABLE:
                check_immutable(errors, Path(called), _shown(name, new), _shown(name, old))
        return errors

    def _check(self, event: Object) -> Errors:
        errors: Errors = []
        namespace = event["metadata"].get("namespace") or ""
        about = (event.get("involvedObject") or {}).get("namespace") or ""
        where = Path("involvedObject") / "namespace"
        if event.get("eventTime"):
            if not about and namespace not in ("default", "kube-system"):
                errors.append(invalid(where, about, _ELSEWHERE))
            self._check_reporter(errors, event)
        elif namespace != about and (about or namespace not in ("", "default")):
            errors.append(invalid(where, about, _ELSEWHERE))
        check_text(errors, Path("namespace"), namespace, validate_dns1123_subdomain)
        return errors

    def _check_reporter(self, errors: Errors, event: Object) -> None:
        """Events with an eventTime say who reported what, in bounded length."""
        reporter = event.get("reportingComponent") or ""
        path = Path("reportingController" if self._strict else "reportingComponent")
        if not reporter:
            errors.append(required(path))
        check_text(errors, path, reporter, validate_qualified_name)
        limits = (("reportingInstance", REPORTER_LIMIT), ("action", ACTION_LIMIT), ("reason", REASON_LIMIT))
        for name, limit in limits:
            text = event.get(name) or ""
            if not text:
                errors.append(required(Path(name)))
            if len(text.encode()) > limit:
                errors.append(invalid(Path(name), "", f"can have at most {limit} characters"))
        if len((event.get("message") or "").encode()) > NOTE_LIMIT:
            errors.append(invalid(Path("message"), "", f"can have at most {NOTE_LIMIT} characters"))


def _shown(name: str, event: Object) -> Any:
    """A field as messages show it."""
    value = event.get(name)
    if name == "source":
        return go_struct(value or {}, {"component": "", "host": ""})
    if name == "involvedObject" or (name == "related" and value is not None):
        return {called: (value or {}).get(field) or "" for called, field in _REFERENCE.items()}
    if name in _TEXTS:
        return value or ""
    return (value or 0) if name == "count" else value


def _check_series(errors: Errors, event: Object) -> None:
    series = event.get("series")
    if series is not None:
        if (series.get("count") or 0) < 2:
            errors.append(invalid(Path("series.count"), "", "should be at least 2"))
        if not series.get("lastObservedTime"):
            errors.append(required(Path("series.lastObservedTime")))


def source_of(event: Object) -> str:
    """What the field selector `source` compares."""
    return get_path(event, "source", "component", default="") or event.get("reportingComponent") or ""


_OBJECT_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_CORE_FIELDS: dict[str, Callable[[Object], str]] = {
    **{f"involvedObject.{name}": text_at("involvedObject", name) for name in _OBJECT_FIELDS},
    "reason": text_at("reason"),
    "reportingComponent": text_at("reportingComponent"),
    "source": source_of,
    "type": text_at("type"),
}
_V1_FIELDS: dict[str, Callable[[Object], str]] = {
    **{f"regarding.{name}": text_at("involvedObject", name) for name in _OBJECT_FIELDS},
    "reason": text_at("reason"),
    "reportingController": text_at("reportingComponent"),
    "type": text_at("type"),
}


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

EVENTS = Resource(
    ref=refs.EVENTS,
    definition="io.k8s.api.core.v1.Event",
    singular="event",
    short_names=("ev",),
    strategy=EventStrategy(strict=False),
    columns=_COLUMNS,
    selectable_fields=_CORE_FIELDS,
    storage_prefix="/registry/events/",
)
EVENTS_V1 = Resource(
    ref=refs.EVENTS_V1,
    definition="io.k8s.api.events.v1.Event",
    singular="event",
    short_names=("ev",),
    strategy=EventStrategy(strict=True),
    columns=_COLUMNS,
    selectable_fields=_V1_FIELDS,
    storage_prefix="/registry/events/",
)
