"""Types of the variables whose shape an OpenAPI schema gives, with bounds of their sizes for estimates of cost.

What has no schema (unknown fields that are preserved) is not visible to expressions. Fields whose names are no
identifiers are escaped: `my-field` is `my__dash__field`.
Source: kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions#validation-rules
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from timonel.api.cel import types
from timonel.api.cel.environment import Environment, Field, Struct
from timonel.api.cel.estimates import Path
from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.sizes import Range
from timonel.api.cel.types import Type
from timonel.api.cel.values import KeyedList, parse_duration, parse_timestamp

Schema = Mapping[str, Any]

LARGEST_REQUEST = 3 * 1024 * 1024  # bytes
_LONGEST_TEXT = LARGEST_REQUEST - 2  # without the quotes
_RESERVED = frozenset(
    """
    true false null in as break const continue else for function if import let
    loop package namespace return var void while
    """.split()  # noqa: SIM905
)
_ESCAPED = re.compile(r"__|[-./]")
_SPELLED = {"__": "__underscores__", "-": "__dash__", ".": "__dot__", "/": "__slash__"}
_NAME = re.compile(r"[a-zA-Z_./-][a-zA-Z0-9_./-]*")
_ROOT_FIELDS: Mapping[str, Schema] = {
    "kind": {"type": "string"},
    "apiVersion": {"type": "string"},
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}},
}


@dataclass(frozen=True, slots=True)
class Declaration:
    """A type, how many items or characters its values have at most, and how few bytes of JSON they take."""

    type: Type
    most: int = 0
    least_bytes: int = 0
    item: Declaration | None = None  # of lists and maps
    key: Declaration | None = None  # of maps
    fields: Mapping[str, tuple[str, Declaration]] = field(default_factory=dict)  # escaped name -> own name, type
    format: str = ""  # of texts that are other values for expressions
    keyed: tuple[str, ...] | None = None  # of lists that are sets, (), or maps, the fields that are keys


BOOL = Declaration(types.BOOL, least_bytes=4)
INT = Declaration(types.INT, least_bytes=1)
DOUBLE = Declaration(types.DOUBLE, least_bytes=1)
STRING = Declaration(types.STRING, least_bytes=2)
TIMESTAMP = Declaration(types.TIMESTAMP, least_bytes=12, format="date-time")
DYN = Declaration(types.DYN, least_bytes=1)


def list_declaration(item: Declaration, most: int) -> Declaration:
    return Declaration(types.list_of(item.type), most, 2, item)


def map_declaration(key: Declaration, value: Declaration, most: int) -> Declaration:
    return Declaration(types.map_of(key.type, value.type), most, 2, value, key)


def struct_declaration(type_name: str, /, **fields: Declaration) -> Declaration:
    shown = {field: (field, declared) for field, declared in fields.items()}
    return Declaration(types.struct_of(type_name), least_bytes=2, fields=shown)


def escape(name: str) -> str:
    """The identifier for a property; "" where there is none."""
    if not _NAME.fullmatch(name):
        return ""
    if name in _RESERVED:
        return f"__{name}__"
    return _ESCAPED.sub(lambda found: _SPELLED[found[0]], name)


def declare_schema(schema: Schema, *, root: bool = False) -> Declaration | None:
    """None where expressions cannot see the value. `root`: of a custom resource, or of one embedded in another."""
    if schema.get("x-kubernetes-int-or-string"):
        length = schema.get("maxLength")
        return Declaration(types.DYN, _LONGEST_TEXT if length is None else 4 * max(length, 0), 1)
    if root:
        schema = _with_root_fields(schema)
    declare = _BY_TYPE.get(schema.get("type") or "")
    return declare(schema) if declare else None


def _declare_inner(schema: Schema) -> Declaration | None:
    return declare_schema(schema, root=bool(schema.get("x-kubernetes-embedded-resource")))


def _with_root_fields(schema: Schema) -> Schema:
    properties = schema.get("properties") or {}
    metadata = properties.get("metadata") or {}
    given = [properties.get("kind"), properties.get("apiVersion")]
    given += [(metadata.get("properties") or {}).get(name) for name in ("name", "generateName")]
    if metadata.get("type") == "object" and all((one or {}).get("type") == "string" for one in given):
        return schema
    return {**schema, "properties": {**properties, **_ROOT_FIELDS}}


def _declare_list(schema: Schema) -> Declaration | None:
    items = schema.get("items")
    item = _declare_inner(items) if isinstance(items, Mapping) else None
    if item is None:
        return None
    most = schema.get("maxItems")
    declared = list_declaration(item, (LARGEST_REQUEST - 2) // (item.least_bytes + 1) if most is None else max(most, 0))
    kind = schema.get("x-kubernetes-list-type")
    if kind in ("set", "map"):
        return replace(declared, keyed=tuple(schema.get("x-kubernetes-list-map-keys") or ()))
    return declared


def _declare_object(schema: Schema) -> Declaration | None:
    others = schema.get("additionalProperties")
    if isinstance(others, Mapping):
        value = _declare_inner(others)
        if value is None:
            return None
        most = schema.get("maxProperties")
        fitting = (LARGEST_REQUEST - 2) // (value.least_bytes + 6)
        return map_declaration(STRING, value, fitting if most is None else max(most, 0))
    required = schema.get("required") or ()
    fields: dict[str, tuple[str, Declaration]] = {}
    least = 2
    for name, inner in (schema.get("properties") or {}).items():
        declared = _declare_inner(inner)
        if declared is None:
            continue
        if escaped := escape(name):
            fields[escaped] = (name, declared)
        if name in required and "default" not in inner:
            least += len(name.encode()) + declared.least_bytes + 4
    return Declaration(types.struct_of("object"), 0, least, fields=fields)


def _declare_text(schema: Schema) -> Declaration:
    form, length = schema.get("format") or "", schema.get("maxLength")
    if form == "byte":
        return Declaration(types.BYTES, _LONGEST_TEXT if length is None else max(length, 0), 2, format="byte")
    if form == "duration":
        return Declaration(types.DURATION, 32, 3, format="duration")
    if form in ("date", "date-time"):
        return Declaration(types.TIMESTAMP, 12 if form == "date" else 32, 12 if form == "date" else 21, format=form)
    if length is not None:
        return replace(STRING, most=4 * max(length, 0))
    values = schema.get("enum") or ()
    longest = max((len(value.encode()) for value in values if isinstance(value, str)), default=0)
    return replace(STRING, most=longest if values else _LONGEST_TEXT)


_BY_TYPE: dict[str, Callable[[Schema], Declaration | None]] = {
    "array": _declare_list,
    "object": _declare_object,
    "string": _declare_text,
    "boolean": lambda schema: BOOL,
    "number": lambda schema: DOUBLE,
    "integer": lambda schema: INT,
}


# Names of structs, and environments


def named(declared: Declaration, name: str) -> Declaration:
    """With names for the structs inside it that have none, after where they are."""
    if declared.type.kind == "struct":
        if declared.type.name != "object":
            name = declared.type.name
        fields = {one: (own, named(inner, f"{name}.{one}")) for one, (own, inner) in declared.fields.items()}
        return replace(declared, type=types.struct_of(name), fields=fields)
    if declared.item is None:
        return declared
    if declared.key is not None:
        item = named(declared.item, f"{name}.@elem")
        return replace(declared, item=item, type=types.map_of(declared.key.type, item.type))
    item = named(declared.item, f"{name}.@idx")
    return replace(declared, item=item, type=types.list_of(item.type))


def structs_of(*declarations: Declaration) -> dict[str, Struct]:
    """Every struct in them, by name."""
    found: dict[str, Struct] = {}
    waiting = list(declarations)
    while waiting:
        declared = waiting.pop()
        if declared.item is not None:
            waiting.append(declared.item)
        if declared.type.kind == "struct":
            fields = {
                one: Field(inner.type, own if own != one else "") for one, (own, inner) in declared.fields.items()
            }
            found[declared.type.name] = Struct(fields)
            waiting += [inner for _, inner in declared.fields.values()]
    return found


def environment_of(**variables: Declaration) -> Environment:
    structs = structs_of(*variables.values())
    return Environment({name: declared.type for name, declared in variables.items()}, find_struct=structs.get)


def declared_size(root: Declaration, path: Path, any_key: Declaration | None = None) -> Range | None:
    """Of the value at a path whose first step, the variable, stands for `root`.

    In maps of `any_key`, a key is written like a field.
    """
    declared: Declaration | None = root
    for step in path[1:]:
        if declared is None:
            return None
        if step in ("@items", "@values"):
            declared = declared.item
        elif step == "@keys":
            declared = declared.key
        elif any_key is not None and declared.item is any_key:
            declared = any_key
        else:
            declared = declared.fields.get(step, ("", None))[1]
    return Range(0, declared.most & (2**64 - 1)) if path and declared is not None else None


# Values


def needs_conversion(declared: Declaration) -> bool:
    """Whether JSON of the schema has texts, numbers or lists that are other values for expressions."""
    if declared.format or declared.type is types.DOUBLE or declared.keyed is not None:
        return True
    if declared.item is not None and needs_conversion(declared.item):
        return True
    return any(needs_conversion(inner) for _, inner in declared.fields.values())


def convert(declared: Declaration, value: Any) -> Any:
    """JSON to a value for expressions; what does not fit its format stays as it is, and fails where it is used."""
    if value is None:
        return None
    if declared.format and isinstance(value, str):
        try:
            return _FORMATS[declared.format](value)
        except (EvaluationError, ValueError):
            return value
    if declared.type is types.DOUBLE and type(value) is int:
        return float(value)
    if isinstance(value, list) and declared.item is not None:
        items = [convert(declared.item, one) for one in value]
        return items if declared.keyed is None else KeyedList(items, declared.keyed)
    if isinstance(value, dict):
        if declared.item is not None:
            return {key: convert(declared.item, one) for key, one in value.items()}
        known = dict(declared.fields.values())
        return {key: convert(known[key], one) if key in known else one for key, one in value.items()}
    return value


_FORMATS: dict[str, Any] = {
    "byte": lambda text: base64.b64decode(text, validate=True),
    "duration": parse_duration,
    "date": lambda text: parse_timestamp(f"{text}T00:00:00Z"),
    "date-time": parse_timestamp,
}
