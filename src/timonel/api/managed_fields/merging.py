"""Merging an applied configuration into the live object, and taking out what its manager no longer applies.

Both build new containers where something changes and share the rest, so callers copy the result before changing it.
Source: kubernetes.io/docs/reference/using-api/server-side-apply ("Merge strategy", "Field management").
"""

from __future__ import annotations

from typing import Any

from timonel.api.managed_fields.field_set import FieldSet, is_member
from timonel.api.managed_fields.typed import NoIdentity, index_items, is_atomic, item_step
from timonel.api.nodes import ListNode, Node, StructNode


def merge(live: Any, config: Any, node: Node) -> Any:
    """`config` laid over `live`."""
    if not isinstance(config, type(live)) or not isinstance(live, (dict, list)) or is_atomic(node, config):
        if config is None and isinstance(live, (dict, list)) and not is_atomic(node, live):
            return live  # null says nothing about what is inside
        return config
    if isinstance(live, dict):
        merged = dict(live)
        for name, value in config.items():
            merged[name] = merge(live[name], value, node.child(name)) if name in live else value
        return merged
    assert isinstance(node, ListNode)
    return _merge_items(live, config, node)


def _merge_items(live: list[Any], config: list[Any], node: ListNode) -> list[Any]:
    theirs = {step: items[0] for step, items in index_items(node, config).items()}
    mine = [(_step(node, item), item) for item in live]
    known = index_items(node, live)
    merged = []
    for step, item in _interleaved(mine, list(theirs)):
        if step not in theirs:
            merged.append(item)
        elif len(known.get(step, ())) == 1:
            merged.append(merge(known[step][0], theirs[step], node.items))
        else:
            # New, or repeated in the live list: then the applied item stands for all of them.
            merged.append(theirs[step])
    return merged


def _step(node: ListNode, item: Any) -> str:
    try:
        return item_step(node, item)
    except NoIdentity:
        return ""


def _interleaved(live: list[tuple[str, Any]], applied: list[str]) -> list[tuple[str, Any]]:
    """The order of a merged list: applied items as applied, the others where they were between them."""
    in_live = {step for step, _ in live}
    in_applied = set(applied)
    shared = iter([step for step in applied if step in in_live])
    awaited = next(shared, None)
    placed: set[str] = set()
    result: list[tuple[str, Any]] = []
    left = right = 0
    while left < len(live) or right < len(applied):
        if left < len(live) and right < len(applied):
            step = live[left][0]
            if step == applied[right]:
                result.append((step, None))
                placed.add(step)
                left, right = left + 1, right + 1
                awaited = next(shared, None)
                continue
            if step in in_applied and awaited is not None and step != awaited:
                left += 1  # its place is later, among the applied
                continue
        if left < len(live):
            step, item = live[left]
            if step not in in_applied:
                result.append((step, item))
                left += 1
                continue
            if step in placed:
                left += 1
        if right < len(applied):
            step = applied[right]
            if step not in placed:
                result.append((step, None))
                placed.add(step)
            if step == awaited:
                awaited = next(shared, None)
            right += 1
    return result


def prune(value: Any, node: Node, last: FieldSet, owned: FieldSet) -> Any:
    """Without the fields and items in `last` that nobody owns now.

    `last` is what the manager applied the time before, `owned` the union of what all managers have, this
    manager's new configuration included.
    """
    if isinstance(value, dict):
        return _prune_map(value, node, last, owned)
    if isinstance(value, list) and isinstance(node, ListNode) and node.list_type != "atomic":
        return _prune_list(value, node, last, owned)
    return value


def _prune_map(value: dict[str, Any], node: Node, last: FieldSet, owned: FieldSet) -> dict[str, Any]:
    pruned = dict(value)
    for step, below in last.items():
        name = step[2:]
        if not step.startswith("f:") or name not in value:
            continue
        # A structure counts as owned by whoever owns anything in it.
        implied = isinstance(node, StructNode) and name in node.fields
        owner = owned.get(step)
        if (implied or is_member(below)) and (owner is None or not (implied or is_member(owner))):
            del pruned[name]
        elif below:
            pruned[name] = prune(value[name], node.child(name), below, owner or {})
    return pruned


def _prune_list(items: list[Any], node: ListNode, last: FieldSet, owned: FieldSet) -> list[Any]:
    pruned = []
    for item in items:
        step = _step(node, item)
        below = last.get(step)
        if below is None:
            pruned.append(item)
            continue
        owner = owned.get(step)
        if is_member(below) and (owner is None or not is_member(owner)):
            continue
        pruned.append(prune(item, node.items, below, owner or {}) if below else item)
    return pruned
