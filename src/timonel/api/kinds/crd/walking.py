"""Ways through a schema: to every schema inside it, and along a path of fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_TOKEN = re.compile(r"[.\[\]']")
_LISTS = ("allOf", "anyOf", "oneOf")
_MAPS = ("properties", "patternProperties", "definitions", "dependencies")
_SINGLES = ("not", "additionalProperties", "additionalItems")


def each_schema(schema: Any) -> Iterator[Schema]:
    """The schema itself and every one inside it."""
    if not isinstance(schema, dict):
        return
    yield schema
    items = schema.get("items")
    for item in items if isinstance(items, list) else [items]:
        yield from each_schema(item)
    for field in _LISTS:
        for part in schema.get(field) or ():
            yield from each_schema(part)
    for field in _SINGLES:
        yield from each_schema(schema.get(field))
    for field in _MAPS:
        for part in (schema.get(field) or {}).values():
            yield from each_schema(part)


def find_field(schema: Schema, path: str, *, subscripts: bool) -> tuple[tuple[str, ...], Schema] | str:
    """The steps of a path such as ".spec.size" or ".labels['a']" and the schema there; or what is wrong with it."""
    steps: list[str] = []
    rest = path
    while rest:
        if rest[0] == ".":
            end = min((place for mark in ".[]" if (place := rest.find(mark, 1)) > 0), default=len(rest))
            step, rest = rest[1:end], rest[end:]
            if not step:
                return "does not refer to a valid field" if rest else "unexpected end of JSON path"
        elif rest[0] == "[":
            if not subscripts:
                return "array notation is not allowed"
            end = rest.find("']", 2)
            if rest[1:2] != "'" or end < 0:
                return "unexpected end of JSON path" if len(rest) < 3 else "expected single quoted string"
            step, rest = rest[2:end].replace("\\'", "'"), rest[end + 2 :]
        else:
            return f"expected [ or . but got: {_TOKEN.split(rest, maxsplit=1)[0]}"
        properties, others = schema.get("properties"), schema.get("additionalProperties")
        found = properties.get(step) if properties else others
        if not isinstance(found, dict):
            return "does not refer to a valid field"
        schema = found
        steps.append(step)
    return tuple(steps), schema
