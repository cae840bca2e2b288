"""Sets of fields in their wire form, FieldsV1, and the algebra on them. Nothing here changes its arguments.

A set is a tree of dicts. Keys are steps: "f:name" a field or map key, "k:{...}" an item of a list by its identifying
fields, "v:..." an item of a list of scalars, "i:3" an index. A step whose value is {} is in the set; one that has more
steps below is in it too when "." is among them. {} at the root is the empty set. The wire form is used as it is, so
that reading and writing cost nothing and results share the parts that did not change.

Source: kubernetes.io/docs/reference/using-api/server-side-apply, meta/v1 FieldsV1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from timonel.api.field_errors import quote

FieldSet = dict[str, Any]
SELF = "."


def is_member(below: FieldSet) -> bool:
    """Whether a step with this value is itself in the set."""
    return not below or SELF in below


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """`left` itself when `right` adds nothing."""
    if not left or left is right:
        return right
    if not right:
        return left
    result: FieldSet | None = None
    for step, below in right.items():
        mine = left.get(step)
        if mine is None:
            joined = below
        elif not below:
            if is_member(mine):
                continue
            joined = {SELF: {}, **mine}
        elif not mine:
            joined = below if SELF in below else {SELF: {}, **below}
        else:
            joined = union(mine, below)
            if joined is mine:
                continue
        if result is None:
            result = dict(left)
        result[step] = joined
    return left if result is None else result


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """Without the members of `right`; what lies below them stays. `left` itself when nothing goes."""
    result: FieldSet | None = None
    for step, other in right.items():
        below = left.get(step)
        if below is None or step == SELF:
            continue
        before = _children(below)
        children = difference(before, _children(other))
        member = is_member(below)
        kept_member = member and not is_member(other)
        if kept_member == member and children is before:
            continue
        if result is None:
            result = dict(left)
        if children or kept_member:
            result[step] = _below(children, kept_member)
        else:
            del result[step]
    return left if result is None else result


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    result: FieldSet = {}
    for step, below in left.items():
        other = right.get(step)
        if other is None:
            continue
        children = intersection(_children(below), _children(other))
        member = is_member(below) and is_member(other)
        if children or member:
            result[step] = _below(children, member)
    return result


def without_branch(fields: FieldSet, path: tuple[str, ...]) -> FieldSet:
    """Without the step at the end of `path` and everything below it."""
    step, *rest = path
    below = fields.get(step)
    if below is None:
        return fields
    result = dict(fields)
    if rest:
        children = without_branch(_children(below), tuple(rest))
        if children or is_member(below):
            result[step] = _below(children, is_member(below))
            return result
    del result[step]
    return result


def paths(fields: FieldSet) -> Iterator[tuple[str, ...]]:
    """Every member as its steps: of each level first those in it, then what is below, sorted."""
    steps = sorted(step for step in fields if step != SELF)
    for step in steps:
        if is_member(fields[step]):
            yield (step,)
    for step in steps:
        for deeper in paths(fields[step]):
            yield (step, *deeper)


def ordered(fields: FieldSet) -> FieldSet:
    """A copy with its steps sorted, as it is written."""
    copied: FieldSet = orjson.loads(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS))
    return copied


def show_path(path: tuple[str, ...]) -> str:
    """As messages write a path: .spec.containers[name="a"].image"""
    return "".join(map(_show_step, path))


def _show_step(step: str) -> str:
    kind, text = step[:2], step[2:]
    match kind:
        case "f:":
            return f".{text}"
        case "k:":
            keys: dict[str, Any] = orjson.loads(text)
            return f"[{','.join(f'{name}={_show_value(value)}' for name, value in sorted(keys.items()))}]"
        case "v:":
            return f"[={_show_value(orjson.loads(text))}]"
    return f"[{text}]"


def _show_value(value: Any) -> str:
    return quote(value) if isinstance(value, str) else orjson.dumps(value).decode()


def is_field_set(fields: Any) -> bool:
    """Whether a client's FieldsV1 is well formed: known kinds of steps all the way down."""
    if not isinstance(fields, dict):
        return False
    for step, below in fields.items():
        if step == SELF:
            continue
        try:
            match step[:2]:
                case "f:":
                    pass
                case "k:":
                    if not isinstance(orjson.loads(step[2:]), dict):
                        return False
                case "v:":
                    orjson.loads(step[2:])
                case "i:":
                    int(step[2:])
                case _:
                    return False
        except ValueError:
            return False
        if not is_field_set(below):
            return False
    return True


def _children(below: FieldSet) -> FieldSet:
    if SELF not in below:
        return below
    return {step: deeper for step, deeper in below.items() if step != SELF}


def _below(children: FieldSet, member: bool) -> FieldSet:
    """The value of a step: what is below it, and whether it is itself in the set."""
    return {SELF: {}, **children} if member and children else children
