"""JSON merge patch, RFC 7386."""

from __future__ import annotations

from typing import Any

from timonel.api.errors import BadRequest
from timonel.api.objects import Object, copy_object


def apply_merge_patch(doc: Object, patch: Any) -> Object:
    """The patched document. Raises BadRequest when the patch is no object; nulls in it delete."""
    if not isinstance(patch, dict):
        raise BadRequest("Invalid JSON Patch")
    return merge_into(copy_object(doc), copy_object(patch))


def merge_into(target: Object, patch: Object) -> Object:
    """As `apply_merge_patch`, taking both over."""
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            current = target.get(name)
            if not isinstance(current, dict):
                current = target[name] = {}
            merge_into(current, value)
        else:
            if isinstance(value, list):
                _drop_nulls(value)
            target[name] = value
    return target


def _drop_nulls(value: Any) -> None:
    """Fields that are null inside list items go; null items stay."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, (dict, list)):
                _drop_nulls(item)
        return
    nulls = None
    for name, item in value.items():
        if item is None:
            nulls = [name] if nulls is None else [*nulls, name]
        elif isinstance(item, (dict, list)):
            _drop_nulls(item)
    for name in nulls or ():
        del value[name]
