"""JSON merge patch, RFC 7386."""

from __future__ import annotations

from typing import Any

from timonel.api.errors import BadRequest
from timonel.api.objects import Object, copy_object


def apply_merge_patch(doc: Object, patch: Any) -> Object:
    """The patched document. Raises BadRequest when the patch is no object; nulls in it delete."""
    if not isinstance(patch, dict):
        raise BadRequest("Invalid JSON Patch")
    merged = copy_object(doc)
    _merge(merged, patch)
    return merged


def _merge(target: Object, patch: Object) -> None:
    """Changes the target; what it gets of the patch is copied."""
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            current = target.get(name)
            if not isinstance(current, dict):
                current = target[name] = {}
            _merge(current, value)
        else:
            target[name] = _without_nulls(value)


def _without_nulls(value: Any) -> Any:
    """A copy. Fields that are null inside list items are left out too; null items stay."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
