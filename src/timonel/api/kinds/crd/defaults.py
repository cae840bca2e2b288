"""Default values inside a schema: valid by it, and nothing in them that would be pruned from an object."""

from __future__ import annotations

from typing import Any

from timonel.api.field_errors import Path, invalid
from timonel.api.kinds.crd.values import value_findings
from timonel.api.kinds.crd.walking import Schema
from timonel.api.kinds.rules import Errors

_META_FIELDS = ("apiVersion", "kind", "metadata")
_EMBEDDED = "x-kubernetes-embedded-resource"


def default_findings(path: Path, schema: Schema, *, root: bool = True) -> Errors:
    """Of a structural schema. Inside metadata, defaults have rules of their own and are passed over."""
    errors: Errors = []
    if (default := schema.get("default")) is not None:
        if _has_unknown(default, schema, bool(schema.get(_EMBEDDED))):
            errors.append(invalid(path / "default", default, "must not have unknown fields"))
        errors += value_findings(path / "default", default, schema)
    if isinstance(schema.get("items"), dict):
        errors += default_findings(path / "items", schema["items"], root=False)
    for name, field in (schema.get("properties") or {}).items():
        if not ((root or schema.get(_EMBEDDED)) and name in _META_FIELDS):
            errors += default_findings((path / "properties")[name], field, root=False)
    return errors


def _has_unknown(value: Any, schema: Any, is_object: bool) -> bool:
    schema = schema if isinstance(schema, dict) else {}
    if isinstance(value, list):
        return any(_has_unknown(item, schema.get("items"), False) for item in value)
    if not isinstance(value, dict):
        return False
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    keeps_unknown = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    for name, item in value.items():
        if is_object and name in _META_FIELDS:
            continue
        if name in properties:
            field = properties[name]
            if _has_unknown(item, field, bool(field.get(_EMBEDDED))):
                return True
        elif others is not None:
            if not keeps_unknown and _has_unknown(item, others, False):
                return True
        elif not keeps_unknown:
            return True
    return False
