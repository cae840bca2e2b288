"""Which fields a patch may change: the others are not checked again."""

from __future__ import annotations

from typing import Any

import pytest

from timonel.apiserver.registry.patching import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, touched_fields


@pytest.mark.parametrize(
    ("kind", "patch", "fields"),
    [
        (MERGE_PATCH, {"metadata": {"labels": {"a": "b"}}}, {"kind", "apiVersion", "metadata"}),
        (STRATEGIC_PATCH, {"spec": None}, {"kind", "apiVersion", "spec"}),
        (STRATEGIC_PATCH, {"$patch": "replace", "metadata": {}}, None),
        (STRATEGIC_PATCH, {"$retainKeys": ["metadata"], "metadata": {}}, None),
        (JSON_PATCH, [{"op": "remove", "path": "/spec"}], None),
    ],
)
def test_touched(kind: str, patch: Any, fields: set[str] | None) -> None:
    assert touched_fields(kind, patch) == fields
