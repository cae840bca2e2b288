"""Whether a value is one that a schema allows, in upstream's words: what a default must be.

Of structural schemas, after pruning; CEL rules and the formats of strings are for whoever validates custom resources.
Source: kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions ("Validation")
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid, not_supported, required, too_long, too_many, type_invalid
from timonel.api.kinds.crd.walking import Schema
from timonel.api.kinds.rules import Errors

_INT_OR_STRING = "x-kubernetes-int-or-string"


def value_findings(path: Path, value: Any, schema: Schema, name: str = "") -> Errors:
    """`name` is where the value is inside the whole, "a.b"; messages begin with it."""
    if value is None and schema.get("nullable"):
        return []
    errors: Errors = []
    wanted, kind = schema.get("type") or "", _kind_of(value)
    if wanted and wanted != kind and (wanted, kind) != ("number", "integer"):
        return [_wrong_type(path, name, kind, wanted)]
    if schema.get(_INT_OR_STRING) and kind not in ("integer", "string"):
        return [_wrong_type(path, name, kind, "integer,string")]
    if "enum" in schema and value not in schema["enum"]:
        allowed = [item if isinstance(item, str) else json.dumps(item) for item in schema["enum"]]
        errors.append(not_supported(path, value, allowed))
    if kind == "string":
        _check_text(errors, path, value, schema, name)
    elif kind in ("integer", "number"):
        _check_number(errors, path, value, schema, name)
    elif kind == "array":
        _check_list(errors, path, value, schema, name)
    elif kind == "object":
        _check_object(errors, path, value, schema, name)
    for part in schema.get("allOf") or ():
        errors += value_findings(path, value, part, name)
    return errors


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds = ((str, "string"), (int, "integer"), (float, "number"), (list, "array"), (dict, "object"))
    return next((kind for type_, kind in kinds if isinstance(value, type_)), "null")


def _wrong_type(path: Path, name: str, kind: str, wanted: str) -> FieldError:
    return type_invalid(path, kind, f'{name} in body must be of type {wanted}: "{kind}"')


def _check_text(errors: Errors, path: Path, value: str, schema: Schema, name: str) -> None:
    most, least, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
    if most is not None and len(value) > most:
        errors.append(too_long(path, most))
    if least is not None and len(value) < least:
        errors.append(invalid(path, value, f"{name} in body should be at least {least} chars long"))
    if pattern and not _matches(pattern, value):
        errors.append(invalid(path, value, f"{name} in body should match '{pattern}'"))


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True  # told of where the pattern stands


def _check_number(errors: Errors, path: Path, value: float, schema: Schema, name: str) -> None:
    bounds: tuple[tuple[str, str, str, Callable[[float, float], bool]], ...] = (
        ("maximum", "exclusiveMaximum", "less", lambda a, b: a < b),
        ("minimum", "exclusiveMinimum", "greater", lambda a, b: a > b),
    )
    for bound, exclusive, word, inside in bounds:
        limit = schema.get(bound)
        if limit is None or inside(value, limit) or (value == limit and not schema.get(exclusive)):
            continue
        than = f"{word} than" if schema.get(exclusive) else f"{word} than or equal to"
        errors.append(invalid(path, value, f"{name} in body should be {than} {_number(limit)}"))
    factor = schema.get("multipleOf")
    if factor and value % factor:
        errors.append(invalid(path, value, f"{name} in body should be a multiple of {_number(factor)}"))


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _check_list(errors: Errors, path: Path, value: list[Any], schema: Schema, name: str) -> None:
    items = schema.get("items")
    if isinstance(items, dict):
        for index, item in enumerate(value):
            errors += value_findings(path[index], item, items, f"{name}[{index}]")
    most, least = schema.get("maxItems"), schema.get("minItems")
    if most is not None and len(value) > most:
        errors.append(too_many(path, len(value), most))
    if least is not None and len(value) < least:
        errors.append(invalid(path, len(value), f"{name} in body should have at least {least} items"))


def _check_object(errors: Errors, path: Path, value: dict[str, Any], schema: Schema, name: str) -> None:
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    errors += [required(path / field) for field in schema.get("required") or () if field not in value]
    for field, item in value.items():
        inner = properties.get(field, others)
        if isinstance(inner, dict):
            errors += value_findings(path / field, item, inner, f"{name}.{field}" if name else field)
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if most is not None and len(value) > most:
        errors.append(too_many(path, len(value), most))
    if least is not None and len(value) < least:
        errors.append(invalid(path, len(value), f"{name} in body should have at least {least} properties"))
