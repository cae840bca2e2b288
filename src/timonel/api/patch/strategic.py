"""Strategic merge patch: lists merge by the keys the schema names, and directives say what a merge cannot.

    $patch: replace | delete              on a map, or as an item of a merged list
    $retainKeys: [names]                  fields of this map that stay; all others go
    $deleteFromPrimitiveList/field: [..]  values to take out of a list of scalars
    $setElementOrder/field: [..]          the order of a merged list afterwards

Source: github.com/kubernetes/community, contributors/devel/sig-api-machinery/strategic-merge-patch.md, and for the
order of items the design "preserve order in strategic merge patch".
Cost: n log n in the items of a list, since anybody who may patch may send a hundred thousand of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timonel.api.errors import BadRequest, Invalid
from timonel.api.field_errors import go_value, quote
from timonel.api.nodes import ANY, ListNode, MapNode, Node, StructNode
from timonel.api.objects import Object, copy_object
from timonel.api.schema import schemas

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList"
_ORDER = "$setElementOrder"

_BAD_PRIMITIVES = "invalid patch format of primitive list"
_BAD_RETAIN = "invalid patch format of retainKeys"
_BAD_ORDER = "invalid patch format of setElementOrder list"


def apply_strategic_patch(doc: Object, patch: Any, definition: str) -> Object:
    """The patched document, of the type `definition`.

    Raises BadRequest for a malformed patch, also where upstream answers 500 to it; Invalid for lists of lists.
    """
    if not isinstance(patch, dict):
        raise BadRequest(f"json: cannot unmarshal {_type_name(patch)} into Go value of type map[string]interface {{}}")
    return merge_strategically(copy_object(doc), copy_object(patch), definition)


def merge_strategically(doc: Object, patch: Object, definition: str) -> Object:
    """As `apply_strategic_patch`, taking both over."""
    return _merge_map(doc, patch, schemas().struct(definition))


def _merge_map(original: Object, patch: Object, node: Node) -> Object:
    """Merges `patch` into `original`; takes both over. The result may be either."""
    if _DIRECTIVE in patch:
        directive = patch.pop(_DIRECTIVE)
        if directive == "replace":
            return patch
        if directive == "delete":
            return {}
        raise BadRequest(f"unknown patch type: {directive} in map: {go_value({**patch, _DIRECTIVE: directive})}")
    _retain_keys(original, patch)
    _merge_ordered_lists(original, patch, node)
    for name, value in patch.items():
        deletes = name.startswith(_DELETE_PRIMITIVES)
        if deletes:
            name = _target_field(name, _DELETE_PRIMITIVES, _BAD_PRIMITIVES)
        if value is None:
            original.pop(name, None)
            continue
        current = original.get(name)
        if current is None or _type_name(current) != _type_name(value):
            if not deletes:
                _drop_nulls(value)
                _set(original, name, value)
        elif isinstance(value, dict):
            replaces = isinstance(node, StructNode) and name in node.replaces
            original[name] = value if replaces else _merge_map(current, value, _child(node, name))
        elif isinstance(value, list):
            original[name] = _merge_list(current, value, _child(node, name), deletes=deletes)
        else:
            original[name] = value
    return original


def _set(original: Object, name: str, value: Any) -> None:
    if _strip_directives(value):
        original[name] = value
    else:
        original.pop(name, None)


def _child(node: Node, name: str) -> Node:
    if isinstance(node, StructNode):
        # Without a schema for it, maps merge and lists are replaced.
        return node.node(name) or ANY
    return node.values if isinstance(node, MapNode) else ANY


def _target_field(name: str, prefix: str, otherwise: str) -> str:
    found, slash, field = name.partition("/")
    if found != prefix or not slash:
        raise BadRequest(otherwise)
    return field


def _retain_keys(original: Object, patch: Object) -> None:
    if _RETAIN not in patch:
        return
    retained = patch.pop(_RETAIN)
    if not isinstance(retained, list):
        raise BadRequest(_BAD_RETAIN)
    for name, value in patch.items():
        directive = name.startswith((_DELETE_PRIMITIVES, _ORDER))
        if value is not None and not directive and name not in retained:
            raise BadRequest(_BAD_RETAIN)
    for name in [name for name in original if name not in retained]:
        del original[name]


def _merge_ordered_lists(original: Object, patch: Object, node: Node) -> None:
    """Merges the lists that have an order directive, and takes both out of the patch."""
    for directive in [name for name in patch if name.startswith(_ORDER)]:
        order = patch.pop(directive)
        if not isinstance(order, list):
            raise BadRequest(_wrong_type("[]interface {}", order))
        name = _target_field(directive, _ORDER, _BAD_ORDER)
        if isinstance(node, StructNode) and node.node(name) is None:
            raise BadRequest(f"unable to find api field in struct {node.name} for the json field {quote(name)}")
        current, changed = original.get(name), patch.pop(name, None)
        for value in (current, changed):
            if value is not None and not isinstance(value, list):
                raise BadRequest(_wrong_type("[]interface {}", value))
        child = _child(node, name)
        key = child.merge_key if isinstance(child, ListNode) else ""
        _check_order(changed or [], order, key)
        if current is None and changed is None:
            continue
        if changed is None:
            merged = current or []
        elif current is None:
            merged = [item for item in changed if _strip_directives(item)]
        else:
            merged = _merge_list(current, changed, child)
        if merged:
            identify = _identifier(key)
            original[name] = _arranged(merged, order, current or [], identify)
        else:
            original[name] = merged


def _check_order(changed: list[Any], order: list[Any], key: str) -> None:
    """Every item of the patch must be in the order list, and in that order."""
    if not changed or not order:
        return
    identify = _identifier(key)
    remaining = iter([identify(item) for item in order])
    for item in changed:
        if isinstance(item, dict) and _DIRECTIVE in item:
            continue
        wanted = identify(item)
        if not any(candidate == wanted for candidate in remaining):
            raise BadRequest(
                f"The order in patch list:\n{go_value(changed)}\n doesn't match {_ORDER} list:\n{go_value(order)}\n"
            )


def _merge_list(original: list[Any], patch: list[Any], node: Node, *, deletes: bool = False) -> list[Any]:
    if not deletes and not (isinstance(node, ListNode) and node.merges):
        return patch
    if not original and not patch:
        return original
    kinds = {_type_name(item) for item in (*original, *patch)}
    if "[]interface {}" in kinds:
        raise Invalid(
            "the server rejected our request due to an error in our request",
            details={"causes": [{"reason": "UnexpectedServerResponse", "message": "lists of lists are not supported"}]},
        )
    if len(kinds) > 1:
        raise BadRequest(f"list element types are not identical: [{go_value(original)} {go_value(patch)}]")
    if not any(isinstance(item, dict) for item in (*original, *patch)):
        if deletes:
            gone = set(patch)
            return [item for item in original if item not in gone]
        merged = list(dict.fromkeys((*original, *patch)))
        return _arranged(merged, patch, original, lambda item: item)
    key = node.merge_key if isinstance(node, ListNode) else ""
    if not key:
        raise BadRequest("cannot merge lists without merge key for struct")
    items = node.items if isinstance(node, ListNode) else ANY
    original, patch = _apply_item_directives(original, patch, key)
    identify = _identifier(key)
    merged = list(original)
    places = {value: index for index, value in reversed([*enumerate(map(identify, merged))])}
    for item in patch:
        wanted = identify(item)
        place = places.get(wanted)
        if place is None:
            _drop_nulls(item)
            _strip_directives(item)
            places[wanted] = len(merged)
            merged.append(item)
        else:
            merged[place] = _merge_map(merged[place], item, items)
    return _arranged(merged, patch, original, identify)


def _apply_item_directives(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    plain, replaces = [], False
    gone = set()
    for item in patch:
        directive = item.get(_DIRECTIVE)
        if directive is None:
            plain.append(item)
        elif directive == "replace":
            replaces = True
        elif directive == "delete":
            if key not in item:
                raise BadRequest(_no_merge_key(item, key))
            if not isinstance(item[key], (dict, list)):  # nothing is called that
                gone.add(item[key])
        elif directive == "merge":
            raise BadRequest("merging lists cannot yet be specified in the patch")
        else:
            raise BadRequest(f"unknown patch type: {directive} in map: {go_value(item)}")
    # A list replaced by its own directive is the other items of the patch, with nothing to merge them into.
    if replaces:
        return [], plain
    if not gone:
        return original, plain
    return [
        other for other in original if isinstance(other.get(key), (dict, list)) or other.get(key) not in gone
    ], plain


def _arranged(merged: list[Any], order: list[Any], live: list[Any], identify: Callable[[Any], Any]) -> list[Any]:
    """`merged` in the order wanted: items named by the patch as it has them, the others between as they were."""
    wanted = {value: index for index, value in reversed([*enumerate(map(identify, order))])}
    before = {value: index for index, value in reversed([*enumerate(map(identify, live))])}
    mine = sorted((item for item in merged if identify(item) in wanted), key=lambda item: wanted[identify(item)])
    others = [item for item in merged if identify(item) not in wanted]
    others.sort(key=lambda item: before.get(identify(item), len(before)))
    result: list[Any] = []
    taken = 0
    for item in mine:
        place = before.get(identify(item))
        while place is not None and taken < len(others) and before.get(identify(others[taken]), len(before)) < place:
            result.append(others[taken])
            taken += 1
        result.append(item)
    return result + others[taken:]


def _identifier(key: str) -> Callable[[Any], Any]:
    """What tells items of a list apart: the value of their merge key, or the scalar itself."""

    def identify(item: Any) -> Any:
        if not key:
            if isinstance(item, (dict, list)):
                raise BadRequest(_BAD_ORDER)
            return item
        if not isinstance(item, dict):
            raise BadRequest(_wrong_type("map[string]interface {}", item))
        if key not in item:
            raise BadRequest(_no_merge_key(item, key))
        value = item[key]
        if isinstance(value, (dict, list)):
            raise BadRequest(_no_merge_key(item, key))
        return value

    return identify


def _drop_nulls(value: Any) -> None:
    if isinstance(value, dict):
        for name in [name for name, item in value.items() if item is None]:
            del value[name]
        for item in value.values():
            _drop_nulls(item)
    elif isinstance(value, list):
        for item in value:
            _drop_nulls(item)


def _strip_directives(value: Any) -> bool:
    """Takes directives, and maps with $patch, out of what is set as new; False when that is `value` itself."""
    if isinstance(value, dict):
        if _DIRECTIVE in value:
            return False
        for name in [name for name, item in value.items() if _is_directive(name) or not _strip_directives(item)]:
            del value[name]
    elif isinstance(value, list):
        value[:] = [item for item in value if _strip_directives(item)]
    return True


def _is_directive(name: str) -> bool:
    return name == _RETAIN or name.startswith((f"{_ORDER}/", f"{_DELETE_PRIMITIVES}/"))


def _no_merge_key(item: Object, key: str) -> str:
    return f"map: {go_value(item)} does not contain declared merge key: {key}"


def _wrong_type(expected: str, value: Any) -> str:
    return f"expected a {expected}, but received a {_type_name(value)}"


_TYPE_NAMES: dict[type, str] = {
    dict: "map[string]interface {}", list: "[]interface {}", bool: "bool", int: "int64", float: "float64",
    str: "string",
}  # fmt: skip


def _type_name(value: Any) -> str:
    return _TYPE_NAMES.get(type(value), "%!s(<nil>)")
