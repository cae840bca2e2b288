"""Structural schemas: every field has a type outside of allOf, anyOf, oneOf and not, which only restrict values.

Source: the documentation's "Specifying a structural schema", and KEP-95.
"""

from __future__ import annotations

from typing import Any

from timonel.api.field_errors import Path, forbidden, invalid, required
from timonel.api.kinds.crd.patterns import pattern_problem
from timonel.api.kinds.crd.walking import Schema, each_schema
from timonel.api.kinds.rules import Errors

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_INT_OR_STRING_ANY_OF = [{"type": "integer"}, {"type": "string"}]
_TYPELESS = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
_UNSUPPORTED = {
    "id": "id", "$schema": "schema", "$ref": "$ref", "patternProperties": "patternProperties",
    "dependencies": "dependencies", "additionalItems": "additionalItems", "definitions": "definitions",
}  # fmt: skip
_NOT_NESTED = {
    "type": "empty", "default": "undefined", "title": "empty", "description": "empty", "nullable": "false",
    _PRESERVE: "false", _EMBEDDED: "false", _INT_OR_STRING: "false", "x-kubernetes-list-map-keys": "empty",
    "x-kubernetes-list-type": "undefined", "x-kubernetes-map-type": "undefined", "x-kubernetes-validations": "empty",
}  # fmt: skip


def unsupported(schema: Schema) -> str:
    """Why the schema cannot even be read as a structural one; "" when it can."""
    for one in each_schema(schema):
        for field, called in _UNSUPPORTED.items():
            if one.get(field):
                return f"OpenAPIV3Schema '{called}' is not supported"
        if isinstance(one.get("items"), list):
            return "OpenAPIV3Schema 'items' must be a schema, but is an array"
        if one.get(_PRESERVE) is False:
            return f"internal error: '{_PRESERVE}' must be true or undefined"
    return ""


def structural_findings(path: Path, schema: Schema) -> Errors:
    """In the order of their texts, as upstream sorts them. The schema must not be `unsupported`."""
    errors: Errors = []
    _check(errors, path, schema, "root")
    _check_complete(errors, schema, schema, path, path)
    return sorted(errors, key=str)


def _check(errors: Errors, path: Path, schema: Schema, level: str) -> None:
    kind, items, properties = schema.get("type") or "", schema.get("items"), schema.get("properties") or {}
    others, embedded = schema.get("additionalProperties"), bool(schema.get(_EMBEDDED))
    if kind == "array" and items is None:
        errors.append(required(path / "items", "must be specified"))
    if items is not None:
        _check(errors, path / "items", items, "item")
    for name, field in properties.items():
        _check(errors, (path / "properties")[name], field, "field")
    if others is not None and level == "root":
        errors.append(forbidden(path / "additionalProperties", "must not be used at the root"))
    if isinstance(others, dict):
        _check(errors, path / "additionalProperties", others, "field")
    for extension in (_PRESERVE, _EMBEDDED):
        if schema.get(_INT_OR_STRING) and schema.get(extension):
            why = f"must be false if {_INT_OR_STRING} is true"
            errors.append(invalid(path / extension, True, why))
    any_of, all_of = schema.get("anyOf"), schema.get("allOf") or [{}]
    _check_values(
        errors, path, schema,
        skip_any_of=any_of == _INT_OR_STRING_ANY_OF, skip_first=all_of[0].get("anyOf") == _INT_OR_STRING_ANY_OF,
    )  # fmt: skip
    if embedded and kind != "object":
        why = f"must be object if {_EMBEDDED} is true"
        errors.append(invalid(path / "type", kind, why) if kind else required(path / "type", why))
    elif not kind and not schema.get(_INT_OR_STRING) and not schema.get(_PRESERVE):
        errors.append(required(path / "type", _TYPELESS[level]))
    if embedded and others is not None:
        errors.append(forbidden(path / "additionalProperties", f"must not be used if {_EMBEDDED} is set"))
    if level == "root" and kind and kind != "object":
        errors.append(invalid(path / "type", kind, "must be object at the root"))
    _check_object_fields(errors, path / "properties", properties, level == "root" or embedded, level == "root")
    if embedded and not schema.get(_PRESERVE) and not properties:
        why = f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}"
        errors.append(required(path / "properties", why))


def _check_object_fields(errors: Errors, path: Path, properties: Schema, is_object: bool, root: bool) -> None:
    """kind, apiVersion and metadata of what is a whole Kubernetes object."""
    for name in ("kind", "apiVersion"):
        kind = (properties.get(name) or {}).get("type") or ""
        if is_object and name in properties and kind != "string":
            errors.append(invalid(path[name] / "type", kind, "must be string"))
    metadata: Schema | None = properties.get("metadata")
    if metadata is None:
        return
    kind = metadata.get("type") or ""
    if is_object and kind != "object":
        errors.append(invalid(path["metadata"] / "type", kind, "must be object"))
    if root:
        rest = {field: value for field, value in metadata.items() if field not in ("type", "default")}
        if rest.get("properties") and rest["properties"].keys() <= {"name", "generateName"}:
            del rest["properties"]
        if rest:
            why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            errors.append(forbidden(path["metadata"], why))


def _check_values(errors: Errors, path: Path, schema: Schema, *, skip_any_of: bool, skip_first: bool = False) -> None:
    """What restricts values. The skips are for the two ways to write an int-or-string."""
    if not skip_any_of:
        for index, part in enumerate(schema.get("anyOf") or ()):
            _check_nested(errors, (path / "anyOf")[index], part)
    for index, part in enumerate(schema.get("allOf") or ()):
        _check_nested(errors, (path / "allOf")[index], part, skip_any_of=skip_first and index == 0)
    for index, part in enumerate(schema.get("oneOf") or ()):
        _check_nested(errors, (path / "oneOf")[index], part)
    if schema.get("not") is not None:
        _check_nested(errors, path / "not", schema["not"])
    if schema.get("pattern") and (problem := pattern_problem(schema["pattern"])):
        why = f"must be a valid regular expression, but isn't: {problem}"
        errors.append(invalid(path / "pattern", schema["pattern"], why))


def _check_nested(errors: Errors, path: Path, schema: Schema, *, skip_any_of: bool = False) -> None:
    _check_values(errors, path, schema, skip_any_of=skip_any_of)
    if schema.get("items") is not None:
        _check_nested(errors, path / "items", schema["items"])
    for name, field in (schema.get("properties") or {}).items():
        _check_nested(errors, (path / "properties")[name], field)
    for field, wanted in _NOT_NESTED.items():
        if schema.get(field) or (field == "default" and field in schema):
            errors.append(forbidden(path / field, f"must be {wanted} to be structural"))
    if schema.get("additionalProperties") not in (None, False):
        errors.append(forbidden(path / "additionalProperties", "must be undefined to be structural"))
    if "metadata" in (schema.get("properties") or ()):
        errors.append(forbidden((path / "properties")["metadata"], "must not be specified in a nested context"))


def _check_complete(errors: Errors, values: Schema, schema: Any, path: Path, at: Path) -> None:
    """Whatever `values`, found at `at`, restricts is specified in `schema`, which is at `path`."""
    for index, part in enumerate(values.get("allOf") or ()):
        _check_nested_complete(errors, part, schema, path, (at / "allOf")[index])
    for index, part in enumerate(values.get("anyOf") or ()):
        _check_nested_complete(errors, part, schema, path, (at / "anyOf")[index])
    for index, part in enumerate(values.get("oneOf") or ()):
        _check_nested_complete(errors, part, schema, path, (at / "oneOf")[index])
    if values.get("not") is not None:
        _check_nested_complete(errors, values["not"], schema, path, at / "not")


def _check_nested_complete(errors: Errors, values: Schema, schema: Any, path: Path, at: Path) -> None:
    if not isinstance(schema, dict):
        errors.append(required(path, f"because it is defined in {at}"))
        return
    _check_complete(errors, values, schema, path, at)
    if values.get("items") is not None:
        _check_nested_complete(errors, values["items"], schema.get("items"), path / "items", at / "items")
    known = schema.get("properties") or {}
    for name, field in (values.get("properties") or {}).items():
        here = (at / "properties")[name]
        _check_nested_complete(errors, field, known.get(name), (path / "properties")[name], here)
