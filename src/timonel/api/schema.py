"""The definitions of API v1.36, compiled when first asked for: type checks, strict field validation, normalising.

The definitions come from the kubernetes_validate package; nothing of them is kept in this tree. In memory stays one
bytes object per definition without its descriptions (0.35 MB in all), and the compiled nodes of those in use.

    checked = schemas().check("io.k8s.api.apps.v1.Deployment", obj)   # normalises obj in place
    if checked.error: ...                                             # 400
    if checked.unknown: ...                                           # by fieldValidation: 400, warnings, or nothing

A good Pod of 2 KB costs about 33 µs (the one in tests/unit/api/samples.py); compiling a kind costs a few ms once. See
`timonel.api.nodes` for what normalising does.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from timonel.api import nodes
from timonel.api.json_schema_nodes import ALTERNATIVES, JSON_SCHEMA, SchemaOrNode
from timonel.api.metrics_definitions import resource_metrics_definitions
from timonel.api.nodes import BAD, Findings, ListNode, MapNode, Node, StructNode
from timonel.api.objects import Object
from timonel.api.presence import always_present, embedded_in, null_when_absent, shown_when_absent, zero_counts
from timonel.api.scalars import RAW

_VERSION = "v1.36.0-local"
_REF = "#/$defs/"
_SPECIAL: dict[str, Node] = {
    "io.k8s.apimachinery.pkg.runtime.RawExtension": RAW,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": nodes.QUANTITY,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": nodes.INT_OR_STRING,
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": nodes.TIME,
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": nodes.MICRO_TIME,
}
_KEY_DEFAULTS: dict[str, dict[str, Any]] = {
    "io.k8s.api.core.v1.ContainerPort": {"protocol": "TCP"},
    "io.k8s.api.core.v1.LocalObjectReference": {"name": ""},
    "io.k8s.api.core.v1.ServicePort": {"protocol": "TCP"},
}
"""Defaults of fields that identify list items, so that an applied port without protocol is the TCP one."""


@dataclass(frozen=True, slots=True)
class Checked:
    """`unknown`: messages such as 'unknown field "spec.foo"'. `error`: why the object cannot be read at all.

    With an error the object is partly normalised and must not be used; unknown fields are already removed.
    """

    unknown: list[str]
    error: str | None


_GOOD = Checked([], None)


class UnknownDefinition(KeyError):
    pass


class Schemas:
    """Definitions by full name, "io.k8s.api.core.v1.Pod". More can be added at run time, for custom resources."""

    def __init__(self) -> None:
        self._sources: dict[str, bytes] | None = None
        self._nodes: dict[str, Node] = {}

    def check(self, definition: str, obj: Any) -> Checked:
        """Checks types and fields of a decoded JSON value, and normalises it in place."""
        node = self.node(definition)
        return self._explain(node, obj) if node.settle(obj) is BAD else _GOOD

    def check_changes(
        self, definition: str, obj: Object, checked: Object, touched: Collection[str] | None = None
    ) -> Checked:
        """As `check`, for an object of which most is as in one that was checked before: all fields but those in
        `touched`, where it is known."""
        node = self.struct(definition)
        return self._explain(node, obj) if node.settle_changes(obj, checked, touched) is BAD else _GOOD

    def _explain(self, node: Node, obj: Any) -> Checked:
        findings = Findings()
        node.explain(obj, findings)
        if findings.error is None and node.settle(obj) is BAD:
            # null where the whole object should be is the one thing explain lets pass.
            findings.error = f"json: cannot unmarshal null into Go value of type {node.go_type}"
        return Checked(findings.unknown, findings.error)

    def node(self, definition: str) -> Node:
        """The compiled node of a definition; UnknownDefinition when there is none."""
        node = self._nodes.get(definition)
        return node if node is not None else self._compile(definition)

    def struct(self, definition: str) -> StructNode:
        """As `node`, for definitions that are objects with fields: every kind is."""
        node = self.node(definition)
        if not isinstance(node, StructNode):
            raise UnknownDefinition(definition)
        return node

    def has(self, definition: str) -> bool:
        return definition in self._nodes or definition in self._load()

    def add(self, definition: str, schema: Object) -> None:
        """Adds or replaces a definition, given as an OpenAPI v3 schema: a custom resource's version."""
        self._load()[definition] = orjson.dumps(schema)
        self._nodes.pop(definition, None)

    def _load(self) -> dict[str, bytes]:
        if self._sources is None:
            self._sources = {name: orjson.dumps(_without_texts(schema)) for name, schema in raw_definitions().items()}
        return self._sources

    def _compile(self, definition: str) -> Node:
        special = _SPECIAL.get(definition)
        if special is not None:
            return special
        node: Node
        if definition in ALTERNATIVES:
            node = SchemaOrNode(self.node(JSON_SCHEMA), definition)
            self._nodes[definition] = node
            return node
        source = self._load().get(definition)
        if source is None:
            raise UnknownDefinition(definition)
        schema = orjson.loads(source)
        *_, package, short = ("", *definition.rsplit(".", 2)[-2:])
        if "properties" in schema:
            struct = self._struct(schema, short, f"{package}.{short}")
            struct.definition = definition
            # Known before its fields are compiled: definitions refer to themselves (JSONSchemaProps).
            self._nodes[definition] = struct
            self._fill(struct, schema)
            struct.defaults = _key_defaults(definition, struct, schema)
            return struct
        node = self._schema_node(schema)
        self._nodes[definition] = node
        return node

    def _struct(self, schema: Object, name: str, go_type: str) -> StructNode:
        return StructNode(
            name,
            go_type,
            atomic=schema.get("x-kubernetes-map-type") == "atomic",
            open_=bool(schema.get("x-kubernetes-preserve-unknown-fields")),
        )

    def _fill(self, struct: StructNode, schema: Object) -> None:
        required = frozenset(schema.get("required") or ())
        zeroless, filled, replaces, shown = set(), [], set(), []
        built_in = struct.definition.startswith("io.k8s.")
        for name, field in schema["properties"].items():
            node = self._schema_node(field)
            optional = name not in required
            struct.fields[name] = str if node is nodes.STRING else bool if node is nodes.BOOL else node
            if node.is_struct:
                if always_present(struct.name, name, not optional):
                    filled.append((name, node))
            elif built_in and shown_when_absent(struct.name, name, not optional):
                shown.append((name, None if null_when_absent(struct.name, name) else _shown_zero(node)))
                if isinstance(node, (ListNode, MapNode)):
                    zeroless.add(name)  # then shown as null
            elif optional and _has_zero(node) and not zero_counts(struct.name, name):
                zeroless.add(name)
            if field.get("x-kubernetes-patch-strategy") == "replace":
                replaces.add(name)
            if embedded := embedded_in(struct.name, name):
                struct.embedded[name] = embedded
        struct.zeroless = frozenset(zeroless)
        # A structure inside itself would be filled forever; upstream has none that is always shown.
        struct.filled = tuple((name, node) for name, node in filled if isinstance(node, StructNode))
        struct.replaces = frozenset(replaces)
        struct.shown = tuple(shown)
        struct.nulls = frozenset(name for name, zero in shown if zero is None)

    def _schema_node(self, schema: Object) -> Node:
        if reference := schema.get("$ref"):
            node = self.node(reference.removeprefix(_REF))
            if schema.get("x-kubernetes-map-type") == "granular" and isinstance(node, StructNode) and node.atomic:
                # The field says otherwise than the type it is of: claimRef of a PersistentVolume.
                node = copy(node)
                node.atomic = False
            return node
        if schema.get("x-kubernetes-int-or-string"):
            return nodes.INT_OR_STRING
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[0]
        match kind, schema.get("format"):
            case "string", "byte":
                return nodes.BYTES
            case "string", "date-time":
                return nodes.TIME
            case "string", _:
                return nodes.STRING
            case "boolean", _:
                return nodes.BOOL
            case "integer", "int32":
                return nodes.INT32
            case "integer", _:
                return nodes.INT64
            case "number", _:
                return nodes.NUMBER
            case "array", _:
                return ListNode(
                    self._schema_node(schema.get("items") or {}),
                    list_type=schema.get("x-kubernetes-list-type", "atomic"),
                    keys=schema.get("x-kubernetes-list-map-keys", ()),
                    merge_key=schema.get("x-kubernetes-patch-merge-key", ""),
                    merges="merge" in schema.get("x-kubernetes-patch-strategy", "").split(","),
                )
            case "object", _:
                return self._object_node(schema)
        return nodes.ANY

    def _object_node(self, schema: Object) -> Node:
        if "properties" in schema:
            struct = self._struct(schema, "", "object")
            self._fill(struct, schema)
            return struct
        values = schema.get("additionalProperties")
        atomic = schema.get("x-kubernetes-map-type") == "atomic"
        if values is None or schema.get("x-kubernetes-preserve-unknown-fields"):
            return nodes.ANY
        return MapNode(self._schema_node(values if isinstance(values, dict) else {}), atomic=atomic)


def _has_zero(node: Node) -> bool:
    return isinstance(node, (nodes.StringNode, nodes.IntNode, nodes.NumberNode, nodes.BytesNode, ListNode, MapNode))


def _shown_zero(node: Node) -> Any:
    """How a field that is always shown looks when nobody set it."""
    if isinstance(node, (nodes.StringNode, nodes.IntNode, nodes.NumberNode, nodes.QuantityNode)):
        return node.zero
    return 0 if isinstance(node, nodes.IntOrStringNode) else None


def _key_defaults(definition: str, struct: StructNode, schema: Object) -> dict[str, Any]:
    """What identifies an item that leaves a key out: required fields have their zero, and ports are TCP ports."""
    zeros = {name: struct.node(name) for name in schema.get("required") or () if name in struct.fields}
    defaults = {name: node.zero for name, node in zeros.items() if node is not None and _has_zero(node)}
    return {**defaults, **_KEY_DEFAULTS.get(definition, {})}


def _without_texts(schema: Object) -> Object:
    """Drops descriptions in place, of the definition and its fields: four fifths of its size, and nobody reads them."""
    schema.pop("description", None)
    for field in (schema.get("properties") or {}).values():
        field.pop("description", None)
    return schema


def raw_definitions() -> dict[str, Object]:
    """All definitions as published, read anew at each call and kept nowhere (1.6 MB of JSON, about 15 ms)."""
    # The package is found without importing it: that would load a validator nobody needs, for 0.1 s and 12 MB.
    found = find_spec("kubernetes_validate")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the package kubernetes-validate is not installed")
    folder = Path(found.submodule_search_locations[0], "kubernetes-json-schema", _VERSION)
    document: Object = orjson.loads((folder / "_definitions.json").read_bytes())
    definitions: dict[str, Object] = document["$defs"]
    return definitions | resource_metrics_definitions()


@lru_cache(maxsize=1)
def schemas() -> Schemas:
    """The one set of definitions of this process."""
    return Schemas()
