"""Definitions as OpenAPI documents show them: without what the package's JSON Schema form added to them.

The package makes every optional value nullable and pins kind and apiVersion; upstream's documents do neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from timonel.api.objects import Object
from timonel.api.schema import raw_definitions

_SOURCE = "#/$defs/"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_NESTED = ("items", "additionalProperties")

Reference = Callable[[str, Object], Object]
"""Makes the schema that refers to a definition; gets its name and what stood beside the reference."""


def load_definitions() -> dict[str, Object]:
    """Read anew each time and given away: 15 MB as dicts, which nobody should keep."""
    return raw_definitions()


def reachable(definitions: dict[str, Object], roots: Iterable[str]) -> list[str]:
    """Names of the definitions that `roots` need, themselves included, sorted."""
    found: set[str] = set()
    waiting = [root for root in roots if root in definitions]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting += [each for each in _references(definitions[name]) if each not in found and each in definitions]
    return sorted(found)


def clean(name: str, schema: Object, *, reference: Reference, version: int) -> Object:
    """One definition for OpenAPI v2 or v3; `version` decides how values of two types are written."""
    if name == _INT_OR_STRING:
        made: Object = {"format": "int-or-string"}
        made |= {"type": "string"} if version == 2 else {"oneOf": [{"type": "integer"}, {"type": "string"}]}
    elif name == _QUANTITY:
        made = {"type": "string"} if version == 2 else {"oneOf": [{"type": "string"}, {"type": "number"}]}
    else:
        return _schema(schema, reference, pinned=True)
    if "description" in schema:
        made["description"] = schema["description"]
    return made


def _schema(schema: Object, reference: Reference, *, pinned: bool = False) -> Object:
    target = schema.get("$ref")
    if target is not None:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return reference(target.removeprefix(_SOURCE), beside)
    made: Object = {}
    for key, value in schema.items():
        if key == "type":
            made[key] = value[0] if isinstance(value, list) else value
        elif key in _NESTED and isinstance(value, dict):
            made[key] = _schema(value, reference)
        elif key == "properties":
            made[key] = {field: _property(field, each, reference, pinned) for field, each in value.items()}
        elif key != "oneOf":
            made[key] = value
    return made


def _property(field: str, schema: Object, reference: Reference, pinned: bool) -> Object:
    if pinned and field in ("kind", "apiVersion") and "enum" in schema:
        schema = {key: value for key, value in schema.items() if key != "enum"}
    return _schema(schema, reference)


def _references(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        target = schema.get("$ref")
        if isinstance(target, str):
            yield target.removeprefix(_SOURCE)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)
