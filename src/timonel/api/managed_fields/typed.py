"""Objects as the schema sees them: which fields a value has, and which ones changed between two values.

Lists merge by the schema's list type: atomic ones are one field, sets have their values as steps, maps the values of
their key fields. Structures and maps marked atomic are one field as well. Where there is no schema, maps are taken
apart and lists are not.

Source: kubernetes.io/docs/reference/using-api/server-side-apply ("Merge strategy").
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from timonel.api.field_errors import go_value, quote
from timonel.api.managed_fields.field_set import SELF, FieldSet, show_path
from timonel.api.nodes import (
    BOOL,
    AnyNode,
    BytesNode,
    IntNode,
    IntOrStringNode,
    ListNode,
    MapNode,
    Node,
    NumberNode,
    QuantityNode,
    StringNode,
    StructNode,
    TimeNode,
)  # fmt: skip
from timonel.api.scalars import RawNode


class NoIdentity(ValueError):
    """A list item that lacks what tells it from others; the message is upstream's."""


class Changes(NamedTuple):
    changed: FieldSet
    """Fields added or modified."""
    removed: FieldSet


def is_atomic(node: Node, value: Any) -> bool:
    """Whether a container is one field, with nothing below it."""
    if isinstance(node, (StructNode, MapNode)):
        return node.atomic
    if isinstance(node, ListNode):
        return node.list_type == "atomic"
    return isinstance(node, RawNode) or not isinstance(value, dict)


def item_step(node: ListNode, item: Any) -> str:
    """The step of an item in a set or map list. Raises NoIdentity."""
    if node.list_type == "set":
        if isinstance(item, (dict, list)) or item is None:
            if isinstance(item, list):
                raise NoIdentity("not supported: associative list with lists as elements")
            what = "a map type" if isinstance(item, dict) else "an explicit null"
            raise NoIdentity(f"associative list without keys has an element that's {what}")
        return f"v:{orjson.dumps(item).decode()}"
    if not isinstance(item, dict):
        what = "a null element" if item is None else "non-map elements"
        raise NoIdentity(f"associative list with keys may not have {what}")
    keys = {}
    defaults = node.items.defaults if isinstance(node.items, StructNode) else {}
    for name in node.keys:
        value = item.get(name, defaults.get(name))
        if value is not None:
            keys[name] = value
    if not keys:
        named = " ".join(quote(name) for name in node.keys)
        raise NoIdentity(
            f"associative list with keys has an element that omits all key fields [{named}] "
            "(and doesn't have default values for any key fields)"
        )
    return f"k:{orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()}"


def index_items(node: ListNode, items: list[Any]) -> dict[str, list[Any]]:
    """Items by their step, in order; more than one when they repeat. Items without identity are left out."""
    found: dict[str, list[Any]] = {}
    for item in items:
        try:
            found.setdefault(item_step(node, item), []).append(item)
        except NoIdentity:
            continue
    return found


def compare(old: dict[str, Any], new: dict[str, Any], node: Node, skip: frozenset[str] = frozenset()) -> Changes:
    """What changed between two maps; fields named in `skip` are not looked at."""
    changed: FieldSet = {}
    removed: FieldSet = {}
    for name, value in new.items():
        if name not in old:
            if name not in skip:
                changed["f:" + name] = everything(value, node.child(name))
            continue
        before = old[name]
        if before is value or before == value or name in skip:
            continue
        if not isinstance(value, (dict, list)) and not isinstance(before, (dict, list)):
            changed["f:" + name] = {}
        else:
            _compare_value(before, value, node.child(name), "f:" + name, changed, removed)
    for name, before in old.items():
        if name not in new and name not in skip:
            removed["f:" + name] = everything(before, node.child(name))
    return Changes(changed, removed)


def _compare_value(before: Any, after: Any, node: Node, step: str, changed: FieldSet, removed: FieldSet) -> None:
    """Adds what differs below `step` to both sets; the values are known to differ."""
    # null, as the empty object has it for lists that are always there, is an empty container.
    shape = after if after is not None else before
    matching = all(value is None or isinstance(value, type(shape)) for value in (before, after))
    if not isinstance(shape, (dict, list)) or not matching or is_atomic(node, shape) or not (before or after):
        changed[step] = {}
        return
    if isinstance(shape, dict):
        deeper = compare(before or {}, after or {}, node)
    else:
        assert isinstance(node, ListNode)
        deeper = _compare_items(before or [], after or [], node)
    if deeper.changed:
        changed[step] = deeper.changed
    if deeper.removed:
        removed[step] = deeper.removed


def _compare_items(before: list[Any], after: list[Any], node: ListNode) -> Changes:
    old, new = index_items(node, before), index_items(node, after)
    changed: FieldSet = {}
    removed: FieldSet = {}
    for step, items in new.items():
        previous = old.get(step)
        if previous is None:
            changed[step] = everything(items[0], node.items) if len(items) == 1 else {}
        elif len(items) == 1 and len(previous) == 1:
            if items[0] != previous[0]:
                _compare_value(previous[0], items[0], node.items, step, changed, removed)
        elif items != previous:
            # Items that repeat are one field together.
            changed[step] = {}
            if len(items) > 1 and len(previous) == 1:
                removed[step] = everything(previous[0], node.items)
    for step, items in old.items():
        if step not in new:
            removed[step] = everything(items[0], node.items) if len(items) == 1 else {}
    return Changes(changed, removed)


def everything(value: Any, node: Node) -> FieldSet:
    """The value of a step that was added or removed whole: all fields below, and the step itself."""
    if not value or not isinstance(value, (dict, list)) or is_atomic(node, value):
        return {}
    below: FieldSet = {SELF: {}}
    if isinstance(value, dict):
        for name, item in value.items():
            if item and isinstance(item, (dict, list)):
                below["f:" + name] = everything(item, node.child(name))
            else:
                below["f:" + name] = {}
    else:
        assert isinstance(node, ListNode)
        for step, items in index_items(node, value).items():
            below[step] = everything(items[0], node.items) if len(items) == 1 else {}
    return below


def applied_fields(value: dict[str, Any], node: Node) -> FieldSet:
    """The fields an applied configuration claims: leaves, list items and map keys, but not structures as such."""
    claimed: FieldSet = {}
    for name, item in value.items():
        step, child = f"f:{name}", node.child(name)
        if item is None or item == {} or not isinstance(item, (dict, list)) or is_atomic(child, item):
            claimed[step] = {}
            continue
        # Keys of a map are claimed themselves; fields of a structure only through what is in them.
        own = not (isinstance(node, StructNode) and name in node.fields)
        if isinstance(item, dict):
            below = applied_fields(item, child)
        else:
            assert isinstance(child, ListNode)
            below = _applied_items(item, child)
        if below:
            claimed[step] = {SELF: {}, **below} if own else below
        elif own:
            claimed[step] = {}
    return claimed


def _applied_items(items: list[Any], node: ListNode) -> FieldSet:
    claimed: FieldSet = {}
    for step, same in index_items(node, items).items():
        item = same[0]
        if len(same) > 1 or not isinstance(item, dict) or is_atomic(node.items, item):
            claimed[step] = {}
        else:
            below = applied_fields(item, node.items)
            claimed[step] = {SELF: {}, **below} if below else {}
    return claimed


def find_type_problems(value: Any, node: Node) -> list[str]:
    """Why a configuration cannot be applied: undeclared fields, wrong types, list items that repeat.

    Each begins with where it is, which is put together on the way up: mostly there is nothing to say.
    """
    if value is None or isinstance(node, AnyNode):
        return []
    if isinstance(node, (StructNode, MapNode)):
        if not isinstance(value, dict):
            return [f": expected map, got {_show(value)}"]
        found: list[str] = []
        fields = node.fields if isinstance(node, StructNode) and not node.open else value
        for name, item in value.items():
            if name not in fields:
                found.append(f".{name}: field not declared in schema")
            elif problems := find_type_problems(item, node.child(name)):
                found += [f".{name}{problem}" for problem in problems]
        return found
    if isinstance(node, ListNode):
        return _find_list_problems(value, node)
    return _find_scalar_problems(value, node)


def _find_list_problems(value: Any, node: ListNode) -> list[str]:
    if not isinstance(value, list):
        return [f": expected list, got {_show(value)}"]
    found: list[str] = []
    seen: set[str] = set()
    for index, item in enumerate(value):
        step = ""
        if node.list_type != "atomic":
            try:
                step = item_step(node, item)
            except NoIdentity as exc:
                found.append(f": element {index}: {exc}")
                continue
            if step in seen:
                found.append(f": duplicate entries for key {show_path((step,))}")
            seen.add(step)
        if problems := find_type_problems(item, node.items):
            where = show_path((step,)) if step else f"[{index}]"
            found += [f"{where}{problem}" for problem in problems]
    return found


def _find_scalar_problems(value: Any, node: Node) -> list[str]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match node:
        case StringNode() if node is BOOL:
            wanted = "" if isinstance(value, bool) else f"expected boolean, got {_show(value)}"
        case IntNode() | NumberNode():
            wanted = "" if number else f"expected numeric (int or float), got {_type_name(value)}"
        case QuantityNode() | IntOrStringNode():
            scalar = number or isinstance(value, (str, bool))
            wanted = "" if scalar else f"expected any scalar, got {_show(value)}"
        case StringNode() | BytesNode() | TimeNode():
            wanted = "" if isinstance(value, str) else f"expected string, got {_show(value)}"
        case _:
            wanted = ""
    return [f": {wanted}"] if wanted else []


def _show(value: Any) -> str:
    if isinstance(value, (dict, list, str)):
        return f"&{{{go_value(value)}}}"
    return f"&value.valueUnstructured{{Value:{orjson.dumps(value).decode()}}}"


def _type_name(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case dict():
            return "map[string]interface {}"
    return "[]interface {}"
