"""What differs between two objects of a kind, as sets of fields that somebody may own."""

from __future__ import annotations

from functools import lru_cache

import orjson

from timonel.api.managed_fields.managers import UNTRACKED, UNTRACKED_METADATA
from timonel.api.managed_fields.typed import Changes, compare
from timonel.api.nodes import Node, StructNode
from timonel.api.objects import Object

_SKIPPED_AT_TOP = UNTRACKED | {"metadata"}


def find_changes(old: Object | None, new: Object, node: Node) -> Changes:
    """What differs between two objects, but what is nobody's; from nothing, what `new` has beyond an empty object of
    its kind."""
    if old is None:
        old = _empty_object(node)
    top = compare(old, new, node, skip=_SKIPPED_AT_TOP)
    metadata = compare(old.get("metadata") or {}, new.get("metadata") or {}, node.child("metadata"), UNTRACKED_METADATA)
    if metadata.changed:
        top.changed["f:metadata"] = metadata.changed
    if metadata.removed:
        top.removed["f:metadata"] = metadata.removed
    return top


def _empty_object(node: Node) -> Object:
    loaded: Object = orjson.loads(_empty_bytes(node))
    return loaded


@lru_cache(maxsize=256)
def _empty_bytes(node: Node) -> bytes:
    """What a new object has before anybody sets anything: structures, and required lists and maps as null."""
    return orjson.dumps(_empty(node))


def _empty(node: Node) -> Object:
    if not isinstance(node, StructNode):
        return {}
    return {name: _empty(child) for name, child in node.filled} | dict(node.shown)
