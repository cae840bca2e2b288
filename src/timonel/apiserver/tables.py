"""Tables: what `kubectl get` prints, made by the server. Also PartialObjectMetadata.

Source: kubernetes.io/docs/reference/using-api/api-concepts ("Receiving resources as Tables").
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from timonel.api.errors import BadRequest
from timonel.api.field_errors import quote
from timonel.api.kinds.columns import DEFAULT_COLUMNS
from timonel.api.objects import Object
from timonel.api.resource import Column, Resource

INCLUDE_OPTIONS = ("None", "Metadata", "Object")
_FINISHED = {
    "Succeeded": {"type": "Completed", "status": "True", "reason": "Succeeded",
                  "message": "The pod has completed successfully."},
    "Failed": {"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."},
}  # fmt: skip


def include_option(text: str) -> str:
    """The includeObject option, Metadata when not given. Raises BadRequest."""
    if not text:
        return "Metadata"
    if text not in INCLUDE_OPTIONS:
        raise BadRequest(
            f"Unable to convert to Table as requested: includeObject: Invalid value: {quote(text)}: "
            "must be 'Metadata', 'Object', 'None', or empty"
        )
    return text


def column_definitions(resource: Resource) -> list[Object]:
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in _columns(resource)
    ]


def row(resource: Resource, obj: Object, served: Object, now: datetime, *, include: str, version: str) -> Object:
    """`obj` is the stored shape that columns read; `served` is what goes along as `object`."""
    made: Object = {"cells": [_cell(column, obj, now) for column in _columns(resource)]}
    if resource.ref.plural == "pods" and (condition := _FINISHED.get((obj.get("status") or {}).get("phase", ""))):
        made["conditions"] = [condition]
    if include == "Metadata":
        made["object"] = partial_metadata(served, version)
    elif include == "Object":
        made["object"] = served
    else:
        made["object"] = None
    return made


def table(
    rows: Iterable[Object], *, version: str, columns: list[Object] | None, list_metadata: Object | None = None
) -> Object:
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": list_metadata or {},
        "columnDefinitions": columns if columns is not None else [],
        "rows": list(rows),
    }


def partial_metadata(obj: Object, version: str) -> Object:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj["metadata"],
    }


def _columns(resource: Resource) -> tuple[Column, ...]:
    return resource.columns or DEFAULT_COLUMNS


def _cell(column: Column, obj: Object, now: datetime) -> Any:
    try:
        return column.value(obj, now)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        # An object stored before a column expected more of it must not make the whole list unreadable.
        return "<unknown>"
