"""Whatever the schema lets pass, the rules of a kind answer with findings, never with an exception."""

from __future__ import annotations

import random
from typing import Any

import pytest

from timonel.api import nodes
from timonel.api.json_schema_nodes import SchemaOrNode
from timonel.api.nodes import ListNode, MapNode, Node, StructNode
from timonel.api.objects import Object, copy_object
from timonel.api.resource import Occasion, Resource
from timonel.api.schema import schemas

from .samples import FAMILIES, NOW

_TEXTS = (
    "", "a", "a.b.example", "10.0.0.1", "fd00::1/64", "10.0.0.0/8", "/a/b", "*", "Exists", "In", "True", ".spec.a",
    "https://a.example", "a/b", "\x00", "ü" * 300, "object", "array", "string", "^(a", "2026-01-01T00:00:00Z",
)  # fmt: skip
_AMOUNTS = ("0", "-1", "1Gi", "1e400", "0.5", "99999999999999999999")
_ROUNDS, _DEEPEST, _LIKELY = 60, 9, 0.6


def any_value(dice: random.Random, node: Node, depth: int) -> Any:
    """A value that the node accepts; simpler the deeper it is."""
    small = depth > _DEEPEST
    if isinstance(node, StructNode):
        names = [name for name in node.fields if not small and dice.random() < _LIKELY]
        return {name: any_value(dice, node.node(name) or nodes.ANY, depth + 1) for name in names}
    if isinstance(node, ListNode):
        return [any_value(dice, node.items, depth + 1) for _ in range(0 if small else dice.randrange(4))]
    if isinstance(node, MapNode):
        keys = [] if small else dice.sample(_TEXTS, dice.randrange(3))
        return {key: any_value(dice, node.values, depth + 1) for key in keys}
    if isinstance(node, SchemaOrNode):
        simple: dict[str, Any] = {"schemas": [], "boolean": dice.random() < 0.5, "strings": ["a"]}
        return simple[node.alternative] if small or dice.random() < 0.3 else any_value(dice, node.schema, depth + 1)
    if node is nodes.QUANTITY:
        return dice.choice(_AMOUNTS)
    if node is nodes.BOOL:
        return dice.random() < 0.5
    if node is nodes.INT32 or node is nodes.INT64:
        return dice.choice((-(2**31), -1, 0, 1, 2, 80, 65536, 2**31 - 1))
    if node is nodes.NUMBER:
        return dice.choice((-1.5, 0, 3))
    if node is nodes.BYTES:
        return dice.choice(
            ("", "YWJj", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BQT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=")
        )
    if node in (nodes.TIME, nodes.MICRO_TIME):
        return "2026-01-01T00:00:00Z"
    if node is nodes.INT_OR_STRING:
        return dice.choice((-1, 0, 80, "", "http", "50%"))
    if node is nodes.ANY:
        return dice.choice((1, "a", True, [], {}, {"a": [1]}))
    return dice.choice(_TEXTS)


def any_object(dice: random.Random, row: Resource) -> Object:
    obj: Object = any_value(dice, schemas().node(row.definition), 0)
    obj["metadata"] = {"name": dice.choice(_TEXTS), "creationTimestamp": "2026-01-01T00:00:00Z"}
    checked = schemas().check(row.definition, obj)
    assert (checked.unknown, checked.error) == ([], None)
    return obj


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.ref.kind)
def test_rules_never_fail(row: Resource) -> None:
    dice, rules = random.Random(row.ref.kind), row.strategy
    old: Object | None = None
    for _ in range(_ROUNDS):
        new = any_object(dice, row)
        fresh = copy_object(new)
        rules.default(fresh)
        rules.prepare_create(fresh)
        rules.stamp(fresh, None, Occasion(NOW, username="ann"))
        rules.validate_create(fresh)
        rules.warnings(fresh, None)
        twice = copy_object(fresh)
        rules.default(twice)
        assert twice == fresh  # defaults are idempotent
        if old is not None:
            changed = copy_object(new)
            rules.default(changed)
            rules.prepare_update(changed, old)
            rules.stamp(changed, old, Occasion(NOW))
            rules.validate_update(changed, old)
            rules.warnings(changed, old)
            stated = {**copy_object(old), "status": changed.get("status") or {}}
            rules.prepare_status_update(stated, old)
            rules.stamp(stated, old, Occasion(NOW, "status"))
            rules.validate_status_update(stated, old)
            rules.status_warnings(stated, old)
        for column in row.columns:
            column.value(fresh, NOW)
        for read in row.selectable_fields.values():
            assert isinstance(read(fresh), str)
        old = fresh
