"""What a custom resource's schema may say at all, and how its extensions go together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from timonel.api.field_errors import Path, forbidden, invalid, not_supported, required
from timonel.api.kinds.crd.defaults import default_findings
from timonel.api.kinds.crd.rule_compiling import Place, compile_rules
from timonel.api.kinds.crd.rule_costs import Occurrence, TotalCost
from timonel.api.kinds.crd.structural import structural_findings, unsupported
from timonel.api.kinds.crd.validation_rules import check_validation_rules
from timonel.api.kinds.crd.walking import Schema
from timonel.api.kinds.rules import Errors

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_META_FIELDS = ("metadata", "kind", "apiVersion")
_BEFORE_TYPE = ("id", "$schema", "$ref")
_ROOT_FIELDS = (
    "Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum", "MaxLength",
    "MinLength", "Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items", "Properties",
    "ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations",
)  # fmt: skip
_AT_ROOT = frozenset(name[0].lower() + name[1:] for name in _ROOT_FIELDS[:-2]) | {
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
}  # fmt: skip
_LIST_TYPE, _MAP_TYPE = "x-kubernetes-list-type", "x-kubernetes-map-type"
_KEYS = "x-kubernetes-list-map-keys"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the object a schema applies: `no_defaults` says why defaults are forbidden there.

    `occurrence`: how often; None where rules are not compiled. `uncorrelated`: the part around it whose values have no
    old values that belong to them.
    """

    in_meta: bool = False
    no_defaults: str = ""
    occurrence: Occurrence | None = None
    uncorrelated: Path | None = None

    def inside(self, schema: Schema) -> _Place:
        return replace(self, occurrence=self.occurrence and self.occurrence.inside(schema))


def check_schema(errors: Errors, path: Path, schema: Schema, *, has_status: bool, costs_limited: bool = True) -> None:
    """`path` is that of openAPIV3Schema; with a status subresource the root may say less.

    `costs_limited`: a single rule may be too expensive; those of a stored schema may not.
    """
    before = len(errors)
    if has_status:
        _check_root(errors, path, schema)
    if schema.get("nullable"):
        errors.append(forbidden(path / "nullable", "nullable cannot be true at the root"))
    unreadable, total = unsupported(schema), TotalCost()
    place = _Place()
    if not unreadable:
        found = structural_findings(path, schema) or default_findings(path, schema)
        errors += found
        if not found:
            place = _Place(occurrence=Occurrence(1, total, costs_limited))
    of_rules: Errors = []
    _check(errors, of_rules, path, schema, place, root=True)
    errors += of_rules
    if unreadable and len(errors) == before:
        errors.append(invalid(path, "", unreadable))
    errors += total.findings(path)


def _check_root(errors: Errors, path: Path, schema: Schema) -> None:
    forbidden_first = any(schema.get(field) for field in _BEFORE_TYPE)
    if schema.get("type") not in (None, "object") and not forbidden_first:
        why = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        errors.append(invalid(path / "type", schema["type"], why))
    elif not schema.keys() <= _AT_ROOT:
        why = (
            f"only [{' '.join(_ROOT_FIELDS)}] fields are allowed at the root of the schema if the status subresource "
            "is enabled"
        )
        errors.append(invalid(path, schema, why))


def _check(errors: Errors, of_rules: Errors, path: Path, schema: Schema, place: _Place, *, root: bool = False) -> None:
    before, apart = len(errors), replace(place, occurrence=None)
    _check_allowed(errors, path, schema, place)
    if schema.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        errors.append(forbidden(path / "uniqueItems", why))
    others, properties = schema.get("additionalProperties"), schema.get("properties") or {}
    if others is not None and others is not True and properties:
        why = "additionalProperties and properties are mutual exclusive"
        errors.append(forbidden(path / "additionalProperties", why))
    if isinstance(others, dict):
        inner = place.inside(schema)
        if place.in_meta:
            inner = replace(inner, no_defaults="inside additionalProperties applying to object metadata")
        _check(errors, of_rules, path / "additionalProperties", others, inner)
    embedded = bool(schema.get("x-kubernetes-embedded-resource"))
    for name, field in properties.items():
        inner = place.inside(schema)
        if (root or embedded) and name in _META_FIELDS:
            inner = replace(inner, in_meta=True)
            if root:
                inner = replace(inner, no_defaults=f"in top-level {name}")
        _check(errors, of_rules, (path / "properties")[name], field, inner)
    if schema.get("not") is not None:
        _check(errors, of_rules, path / "not", schema["not"], apart)
    for junctor in ("allOf", "oneOf", "anyOf"):
        for index, part in enumerate(schema.get(junctor) or ()):
            _check(errors, of_rules, (path / junctor)[index], part, apart)
    for name, part in (schema.get("definitions") or {}).items():
        _check(errors, of_rules, (path / "definitions")[name], part, apart)
    items = schema.get("items")
    of_items = place.inside(schema)
    if schema.get(_LIST_TYPE) != "map" and place.uncorrelated is None:
        of_items = replace(of_items, uncorrelated=path)
    for index, item in enumerate(items if isinstance(items, list) else [items]):
        if isinstance(item, dict):
            here = (path / "items")[index] if isinstance(items, list) else path / "items"
            _check(errors, of_rules, here, item, of_items)
    for name, part in (schema.get("dependencies") or {}).items():
        if isinstance(part, dict):
            _check(errors, of_rules, (path / "dependencies")[name], part, apart)
    _check_extensions(errors, path, schema)
    check_validation_rules(errors, path / "x-kubernetes-validations", schema)
    # A schema with errors, here or inside, cannot be told apart from one that rules could use.
    if schema.get("x-kubernetes-validations") and len(errors) == before and place.occurrence is not None:
        compile_rules(of_rules, Place(path, root or embedded, place.occurrence, place.uncorrelated), schema)


def _check_allowed(errors: Errors, path: Path, schema: Schema, place: _Place) -> None:
    kind = schema.get("type") or ""
    if kind and kind not in _TYPES:
        errors.append(not_supported(path / "type", kind, _TYPES))
    if "default" in schema and place.no_defaults:
        errors.append(forbidden(path / "default", f"must not be set {place.no_defaults}"))
    for field in ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"):
        if schema.get(field) or (field in ("additionalItems", "dependencies", "$ref") and field in schema):
            errors.append(forbidden(path / field, f"{field} is not supported"))
    if kind == "null":
        errors.append(forbidden(path / "type", "type cannot be set to null, use nullable as an alternative"))
    if isinstance(schema.get("items"), list) and schema["items"]:
        errors.append(forbidden(path / "items", "items must be a schema object and not an array"))
    if place.in_meta and schema.get("x-kubernetes-embedded-resource"):
        why = "must not be used inside of resource meta"
        errors.append(forbidden(path / "x-kubernetes-embedded-resource", why))


def _check_extensions(errors: Errors, path: Path, schema: Schema) -> None:
    kind, list_type, map_type = schema.get("type") or "", schema.get(_LIST_TYPE), schema.get(_MAP_TYPE)
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        errors.append(invalid(path / "x-kubernetes-preserve-unknown-fields", False, "must be true or undefined"))
    _check_type_for(errors, path, kind, _MAP_TYPE if map_type is not None else "", "object")
    if map_type is not None and map_type not in ("atomic", "granular"):
        errors.append(not_supported(path / _MAP_TYPE, map_type, ("atomic", "granular")))
    items = schema.get("items")
    _check_type_for(errors, path, kind, _LIST_TYPE if list_type is not None else "", "array")
    if list_type == "set" and kind == "array" and isinstance(items, dict):
        _check_set_items(errors, path / "items", items)
    if list_type is not None and list_type not in ("atomic", "set", "map"):
        errors.append(not_supported(path / _LIST_TYPE, list_type, ("atomic", "set", "map")))
    if schema.get(_KEYS) and list_type != "map":
        why = f"must be map if {_KEYS} is non-empty"
        here = path / _LIST_TYPE
        errors.append(required(here, why) if list_type is None else invalid(here, list_type, why))
    if list_type == "map":
        _check_map_list(errors, path, schema)
    if list_type in ("set", "map") and isinstance(items, dict):
        _check_nullable(errors, path / "items", schema, items, list_type)


def _check_type_for(errors: Errors, path: Path, kind: str, extension: str, wanted: str) -> None:
    if not extension or kind == wanted:
        return
    why = f"must be {wanted} if {extension} is specified"
    errors.append(invalid(path / "type", kind, why) if kind else required(path / "type", why))


def _check_set_items(errors: Errors, path: Path, items: Schema) -> None:
    """Items of a set are compared as a whole."""
    why = "must be atomic as item of a list with x-kubernetes-list-type=set"
    list_type = items.get(_LIST_TYPE)
    if items.get("type") == "array" and list_type not in (None, "atomic"):
        errors.append(invalid(path / _LIST_TYPE, list_type, why))
    elif items.get("type") == "object" and items.get(_MAP_TYPE) != "atomic":
        errors.append(invalid(path / _MAP_TYPE, list_type, why))  # upstream shows the list type here too


def _check_map_list(errors: Errors, path: Path, schema: Schema) -> None:
    keys, items = schema.get(_KEYS) or [], schema.get("items")
    if not keys:
        errors.append(required(path / _KEYS, "must not be empty if x-kubernetes-list-type is map"))
    if items is None:
        errors.append(required(path / "items", "must have a schema if x-kubernetes-list-type is map"))
        return
    if not isinstance(items, dict):
        why = "must only have a single schema if x-kubernetes-list-type is map"
        errors.append(invalid(path / "items", items, why))
        return
    kind = items.get("type") or ""
    if kind != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        errors.append(invalid(path / "items" / "type", kind, why))
        return
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in properties:
            errors.append(invalid(path / _KEYS, keys, "entries must all be names of item properties"))
        elif properties[key].get("type") in ("array", "object"):
            why = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            errors.append(invalid((path / "items" / "properties")[key] / "type", kind, why))
        if key in keys[:index]:
            errors.append(invalid(path / _KEYS, keys, "must not contain duplicate entries"))


def _check_nullable(errors: Errors, path: Path, schema: Schema, items: Schema, list_type: str) -> None:
    if items.get("nullable"):
        errors.append(forbidden(path / "nullable", f"cannot be nullable when {_LIST_TYPE} is {list_type}"))
    properties = items.get("properties") or {}
    for key in (schema.get(_KEYS) or ()) if list_type == "map" else ():
        field, here = properties.get(key), (path / "properties")[key]
        if field is None:
            continue
        if key not in (items.get("required") or ()) and "default" not in field:
            why = f"this property is in {_KEYS}, so it must have a default or be a required property"
            errors.append(required(here / "default", why))
        if field.get("nullable"):
            errors.append(forbidden(here / "nullable", f"this property is in {_KEYS}, so it cannot be nullable"))
