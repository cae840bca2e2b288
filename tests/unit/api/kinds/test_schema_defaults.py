"""Defaults in the schemas of custom resources are valid by those schemas; wording as upstream's."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.api.field_errors import Path
from timonel.api.kinds.crd.values import value_findings


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "string"}, "a", []),
        ({"type": "number"}, 1, []),
        ({"type": "string", "nullable": True}, None, []),
        ({"type": "string"}, 1, ['default: Invalid value: "integer":  in body must be of type string: "integer"']),
        ({"type": "integer"}, True, ['default: Invalid value: "boolean":  in body must be of type integer: "boolean"']),
        ({"x-kubernetes-int-or-string": True}, 1, []),
        ({"type": "integer", "maximum": 5}, 5, []),
        (
            {"type": "integer", "maximum": 5, "exclusiveMaximum": True},
            5,
            ["default: Invalid value: 5:  in body should be less than 5"],
        ),
        (
            {"type": "integer", "minimum": 2},
            1,
            ["default: Invalid value: 1:  in body should be greater than or equal to 2"],
        ),
        (
            {"type": "integer", "minimum": 2147483647},
            1,
            ["default: Invalid value: 1:  in body should be greater than or equal to 2147483647"],
        ),
        ({"type": "string", "enum": ["y"]}, "x", ['default: Unsupported value: "x": supported values: "y"']),
        ({"type": "string", "pattern": "^a"}, "b", ["default: Invalid value: \"b\":  in body should match '^a'"]),
        (
            {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}}},
            {"a": {"b": []}},
            ['default.a.b: Invalid value: "array": a.b in body must be of type string: "array"'],
        ),
        ({"type": "object", "required": ["a"]}, {}, ["default.a: Required value"]),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 2},
            ["a"],
            ["default: Invalid value: 1:  in body should have at least 2 items"],
        ),
    ],
)
def test_values(schema: dict[str, Any], value: Any, expected: list[str]) -> None:
    assert [str(error) for error in value_findings(Path("default"), value, schema)] == expected
